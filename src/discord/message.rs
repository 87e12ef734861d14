//! [`Digest`] → [`Message`]: what Discord is to show, within every documented limit.
//!
//! Invariants:
//! - [`check`] holds for every message that [`of_digest`] makes, for any digest.
//! - All text of others went through [`super::escape`]; links are http or https and
//!   their host is shown beside them.
//! - Every embed with a link has one of its own: Discord merges embeds of one link.
//! - The last footer carries the short outbox key, by which a post is found again.

mod also;

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use dataflows::time::Millis;

use super::digest::{Digest, Item, Standing};
use super::escape::{escape, escape_within, link, units};

mod alert;
mod preview;

pub use alert::of_alert;
use alert::quiet_fields;
pub use preview::preview;

pub const EMBEDS_MAX: usize = 10;
/// Over all embeds of a message together.
pub const EMBED_TEXT_MAX: usize = 6_000;
pub const TITLE_MAX: usize = 256;
pub const DESCRIPTION_MAX: usize = 4_096;
pub const FIELDS_MAX: usize = 25;
pub const FIELD_NAME_MAX: usize = 256;
pub const FIELD_VALUE_MAX: usize = 1_024;
pub const FOOTER_MAX: usize = 2_048;
pub const CONTENT_MAX: usize = 2_000;
const URL_MAX: usize = 2_048;
/// What a reader takes in of one item at a glance.
const ITEM_TITLE_MAX: usize = 200;
const ITEM_TEXT_MAX: usize = 280;
const NAME_MAX: usize = 60;
const OVERVIEW_COLOUR: u32 = 0x5b_7f_a6;

/// A message without addresses or secrets; the sender adds `allowed_mentions` and flags.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    pub embeds: Vec<Embed>,
    /// Post without a sound (SUPPRESS_NOTIFICATIONS).
    pub silent: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Embed {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub colour: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub footer: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Field {
    pub name: String,
    pub value: String,
}

impl Embed {
    /// What counts towards the limit over all embeds.
    pub fn units(&self) -> usize {
        let fields: usize = self.fields.iter().map(|f| units(&f.name) + units(&f.value)).sum();
        [&self.title, &self.description, &self.footer].into_iter().flatten().map(|t| units(t)).sum::<usize>()
            + fields
    }
}

impl Message {
    pub fn embed_units(&self) -> usize {
        self.embeds.iter().map(Embed::units).sum()
    }
}

/// The outbox key as a post carries it: 16 hexadecimal digits, also its nonce.
pub fn short_key(key: &str) -> String {
    blake3::hash(key.as_bytes()).to_hex()[..16].to_string()
}

/// What the footer of a post of this key says, and what its history is searched for.
pub fn footer(key: &str) -> String {
    format!("tidings {}", short_key(key))
}

/// The first limit that a message breaks; Discord would refuse it.
pub fn check(message: &Message) -> Result<(), String> {
    let within = |what: &str, size: usize, max: usize| {
        if size > max { Err(format!("{what} has {size} of at most {max}")) } else { Ok(()) }
    };
    within("content", message.content.as_deref().map_or(0, units), CONTENT_MAX)?;
    within("embeds", message.embeds.len(), EMBEDS_MAX)?;
    within("text of all embeds", message.embed_units(), EMBED_TEXT_MAX)?;
    if message.embeds.is_empty() && message.content.as_deref().is_none_or(|c| c.trim().is_empty()) {
        return Err("the message is empty".to_string());
    }
    let mut urls = BTreeSet::new();
    for embed in &message.embeds {
        within("title", embed.title.as_deref().map_or(0, units), TITLE_MAX)?;
        within("description", embed.description.as_deref().map_or(0, units), DESCRIPTION_MAX)?;
        within("footer", embed.footer.as_deref().map_or(0, units), FOOTER_MAX)?;
        within("fields", embed.fields.len(), FIELDS_MAX)?;
        if embed.units() == 0 {
            return Err("an embed is empty".to_string());
        }
        for field in &embed.fields {
            within("field name", units(&field.name), FIELD_NAME_MAX)?;
            within("field value", units(&field.value), FIELD_VALUE_MAX)?;
            if field.name.trim().is_empty() || field.value.trim().is_empty() {
                return Err("a field is empty".to_string());
            }
        }
        if let Some(url) = &embed.url {
            within("url", units(url), URL_MAX)?;
            if link(url).is_none() {
                return Err("a url is not http or https".to_string());
            }
            if !urls.insert(url) {
                return Err("two embeds have one url".to_string());
            }
        }
    }
    Ok(())
}

/// The message of a digest. Items that do not fit are counted as more.
pub fn of_digest(digest: &Digest, zone: &TimeZone) -> Message {
    let text_steps = [ITEM_TEXT_MAX, 160, 80, 0];
    for text_max in text_steps {
        let message = build(digest, zone, digest.items.len(), text_max);
        if message.embed_units() <= EMBED_TEXT_MAX {
            return message;
        }
    }
    let fitting = (0..digest.items.len()).rev().map(|count| build(digest, zone, count, 0));
    let mut last = Message::default();
    for message in fitting {
        last = message;
        if last.embed_units() <= EMBED_TEXT_MAX {
            break;
        }
    }
    last
}

/// How many alerts of quiet hours the message of a digest only counts as more.
pub fn alerts_unshown(digest: &Digest) -> usize {
    quiet_fields(digest).1
}

fn build(digest: &Digest, zone: &TimeZone, items: usize, text_max: usize) -> Message {
    let items = items.min(EMBEDS_MAX - 2);
    let mut embeds = vec![overview(digest, zone)];
    let mut urls = BTreeSet::new();
    embeds.extend(digest.items.iter().take(items).map(|item| item_embed(item, text_max, &mut urls)));
    let more = digest.items_more + (digest.items.len() - items) as u64;
    let mut closing = Vec::new();
    if more > 0 {
        closing.push(format!("and {} more", grouped(more)));
    }
    if digest.removed > 0 {
        closing.push(format!(
            "{} removed by {}",
            digest.removed,
            if digest.removed == 1 { "its source" } else { "their sources" }
        ));
    }
    if !closing.is_empty() {
        embeds.push(Embed { description: Some(closing.join(" · ")), ..Embed::default() });
    }
    let last = embeds.last_mut().expect("the overview is there");
    last.footer = Some(footer(&digest.key));
    Message { content: None, embeds, silent: true }
}

fn overview(digest: &Digest, zone: &TimeZone) -> Embed {
    let title = format!("{} · {}", digest.route, span(digest, zone));
    let mut lines = vec![totals(&digest.total)];
    if digest.missed > 0 {
        lines.push(format!("{} earlier digests were missed while Tidings was down.", grouped(digest.missed)));
    }
    let (mut fields, _) = quiet_fields(digest);
    let mut field = |name: &str, standings: &[Standing], more: u64| {
        if let Some(value) = standings_text(standings, more) {
            fields.push(Field { name: name.to_string(), value });
        }
    };
    field("Most active topics", &digest.topics, digest.topics_more);
    field("Most active channels", &digest.channels, digest.channels_more);
    Embed {
        title: Some(escape_within(&title, TITLE_MAX)),
        description: Some(lines.join("\n")),
        colour: Some(OVERVIEW_COLOUR),
        fields,
        ..Embed::default()
    }
}

/// `24 Nov 08:00 to 25 Nov 08:00, Europe/Berlin`.
fn span(digest: &Digest, zone: &TimeZone) -> String {
    let local = |at: Millis| match Timestamp::from_millisecond(at.0) {
        Ok(timestamp) => timestamp.to_zoned(zone.clone()).strftime("%-d %b %H:%M").to_string(),
        Err(_) => at.to_string(),
    };
    let zone = zone.iana_name().unwrap_or("UTC");
    format!("{} to {}, {zone}", local(digest.window.start), local(digest.window.end))
}

fn totals(total: &Standing) -> String {
    let items =
        if total.count == 1 { "1 item".to_string() } else { format!("{} items", grouped(total.count)) };
    format!("{items} ({} before){}", grouped(total.previous_count), mood_text(total))
}

/// As many lines as a field holds; the rest as "and n more".
fn standings_text(standings: &[Standing], more: u64) -> Option<String> {
    const ROOM_FOR_MORE: usize = 32;
    let mut value = String::new();
    let mut left = more;
    for (index, standing) in standings.iter().enumerate() {
        let name = escape_within(standing.label.as_deref().unwrap_or(&standing.name), NAME_MAX);
        let line =
            format!("**{name}** {} ({}){}\n", grouped(standing.count), change(standing), mood_text(standing));
        if units(&value) + units(&line) + ROOM_FOR_MORE > FIELD_VALUE_MAX {
            left += (standings.len() - index) as u64;
            break;
        }
        value.push_str(&line);
    }
    if value.is_empty() {
        return None;
    }
    if left > 0 {
        value.push_str(&format!("and {} more", grouped(left)));
    }
    Some(value.trim_end().to_string())
}

/// `new`, `+12 %`, `±0 %`.
fn change(standing: &Standing) -> String {
    let (now, before) = (standing.count as f64, standing.previous_count as f64);
    if standing.previous_count == 0 {
        return "new".to_string();
    }
    match ((now - before) / before * 100.0).round() as i64 {
        0 => "±0 %".to_string(),
        n if n > 0 => format!("+{} %", grouped(n.unsigned_abs())),
        n => format!("−{} %", n.unsigned_abs()),
    }
}

/// `, mood +0.31 (▲ 0.12)`; nothing where nothing is scored.
fn mood_text(standing: &Standing) -> String {
    let Some(mood) = standing.mood else { return String::new() };
    let delta = standing.previous_mood.map(|before| mood - before);
    let arrow = match delta {
        Some(d) if d >= 0.005 => format!(" (▲ {d:.2})"),
        Some(d) if d <= -0.005 => format!(" (▼ {:.2})", -d),
        _ => String::new(),
    };
    format!(", mood {}{arrow}", signed(mood))
}

fn signed(x: f64) -> String {
    let text = format!("{:.2}", x.abs());
    match text.as_str() {
        "0.00" => text,
        _ if x < 0.0 => format!("−{text}"),
        _ => format!("+{text}"),
    }
}

fn item_embed(item: &Item, text_max: usize, urls: &mut BTreeSet<String>) -> Embed {
    let target = item.url.as_deref().and_then(link);
    let heading = item.title.as_deref().or(item.text.as_deref()).unwrap_or(&item.id);
    let mut lines = Vec::new();
    let text = item.title.as_ref().and(item.text.as_deref());
    if let Some(text) = text.map(|t| escape_within(t, text_max)).filter(|t| !t.is_empty() && text_max > 0) {
        lines.push(text);
    }
    let mut source = vec![escape_within(&item.platform, NAME_MAX)];
    source.extend(item.channel.as_deref().or(item.author.as_deref()).map(|c| escape_within(c, NAME_MAX)));
    source.extend(target.as_ref().map(|(_, host)| escape_within(host, NAME_MAX)));
    source.push(format!("<t:{}:R>", item.published_at.0.div_euclid(1_000)));
    if item.edited {
        source.push("edited since".to_string());
    }
    lines.push(source.join(" · "));
    lines.extend(item.story.as_ref().and_then(|story| also::text(story, text_max > 0)));
    lines.push(why_text(item));
    Embed {
        title: Some(escape_within(heading, ITEM_TITLE_MAX))
            .filter(|t| !t.is_empty())
            .or(Some(escape_within(&item.id, NAME_MAX))),
        url: target.and_then(|(url, _)| own_url(&url, urls)),
        description: Some(lines.join("\n")),
        colour: Some(mood_colour(item.mood)),
        ..Embed::default()
    }
}

/// The link, told apart by its fragment where an embed before has the same.
fn own_url(url: &str, urls: &mut BTreeSet<String>) -> Option<String> {
    let mut candidate = url.to_string();
    let mut count = 1;
    while !urls.insert(candidate.clone()) {
        count += 1;
        let base = url.split('#').next().unwrap_or(url);
        candidate = format!("{base}#tidings-{count}");
        if units(&candidate) > URL_MAX {
            return None;
        }
    }
    Some(candidate)
}

/// Why the item is there, in words; the numbers are those of the score.
pub fn why_text(item: &Item) -> String {
    let why = &item.why;
    let mut parts = Vec::new();
    if why.engagement_percentile > 0.0 {
        parts.push(format!("engagement above {:.0} % here", why.engagement_percentile * 100.0));
    }
    if let Some(mood) = item.mood.filter(|m| m.abs() >= 0.05) {
        parts.push(format!("mood {}", signed(mood)));
    }
    if let Some(topic) = &why.burst_topic {
        parts.push(format!("{} is rising", escape_within(topic, NAME_MAX)));
    }
    let reasons = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    format!("*score {:.2}{reasons}*", why.score)
}

fn mood_colour(mood: Option<f64>) -> u32 {
    match mood {
        Some(m) if m >= 0.05 => 0x2e_a0_43,
        Some(m) if m <= -0.05 => 0xc9_3c_37,
        _ => 0x8b_94_9e,
    }
}

/// `12 345`: thin spaces, which do not break.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A marked message that shows that a route works.
pub fn test_message(route: &str, key: &str) -> Message {
    let description = format!("Test of the route **{}**. Nothing needs to be done.", escape(route));
    let embed = Embed {
        title: Some("Tidings can post here".to_string()),
        description: Some(description),
        colour: Some(OVERVIEW_COLOUR),
        footer: Some(footer(key)),
        ..Embed::default()
    };
    Message { content: None, embeds: vec![embed], silent: true }
}
