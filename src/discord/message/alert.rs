//! [`Alert`] → [`Message`]: one embed that says what and why, one for each example. And
//! what a digest says of those that opened in quiet hours.

use std::collections::BTreeSet;

use super::{
    EMBED_TEXT_MAX, Embed, FIELD_VALUE_MAX, Field, ITEM_TITLE_MAX, Message, NAME_MAX, footer, grouped,
    own_url,
};
use crate::alerts::record::{Alert, Ended, Example, Severity, State};
use crate::discord::digest::{Digest, QuietAlert};
use crate::discord::escape::{escape_within, link, units};

/// An overview, a closing line and these share the ten embeds of a message.
const EXAMPLES_SHOWN_MAX: usize = 5;
const WHY_MAX: usize = 1_200;
const LABEL_MAX: usize = 120;
/// Fields of a digest for alerts of quiet hours; what is left is for its items.
const QUIET_FIELDS_MAX: usize = 3;
const RESOLVED_COLOUR: u32 = 0x2e_a0_43;

/// The message of an alert as it is now; only a critical one makes a sound.
pub fn of_alert(alert: &Alert) -> Message {
    for examples in (0..=EXAMPLES_SHOWN_MAX.min(alert.examples.len())).rev() {
        let message = build(alert, examples);
        if message.embed_units() <= EMBED_TEXT_MAX || examples == 0 {
            return message;
        }
    }
    build(alert, 0)
}

fn build(alert: &Alert, examples: usize) -> Message {
    let mut urls = BTreeSet::new();
    let mut embeds = vec![overview(alert, &mut urls)];
    embeds.extend(alert.examples.iter().take(examples).map(|example| item(example, &mut urls)));
    if alert.removed > 0 {
        let by = if alert.removed == 1 { "its source" } else { "their sources" };
        let text = format!("{} removed by {by}", alert.removed);
        embeds.push(Embed { description: Some(text), ..Embed::default() });
    }
    embeds.last_mut().expect("the overview is there").footer = Some(footer(&alert.key));
    Message { content: None, embeds, silent: alert.severity != Severity::Critical }
}

fn overview(alert: &Alert, urls: &mut BTreeSet<String>) -> Embed {
    let rule = escape_within(&alert.rule, NAME_MAX);
    let mut title = match (alert.state, alert.severity) {
        (State::Resolved, _) => format!("Resolved · {rule}"),
        (State::Firing, Severity::Critical) => format!("Critical · {rule}"),
        (State::Firing, Severity::Warning) => format!("Warning · {rule}"),
        (State::Firing, Severity::Info) => format!("Info · {rule}"),
    };
    if alert.label != alert.rule {
        title.push_str(&format!(" · {}", escape_within(&alert.label, LABEL_MAX)));
    }
    let at = |millis: dataflows::time::Millis| millis.0.div_euclid(1_000);
    let mut lines = vec![escape_within(&alert.why, WHY_MAX)];
    let mut times = vec![format!("since <t:{}:f>", at(alert.since))];
    match alert.resolved {
        Some(resolved) => times.push(format!("ended <t:{}:f>", at(resolved))),
        None if alert.edits > 0 => times.push(format!("as of <t:{}:R>", at(alert.updated))),
        None => {}
    }
    match alert.ended {
        Some(Ended::RuleRemoved) => times.push("the rule was removed".to_string()),
        Some(Ended::RuleOff) => times.push("the rule was switched off".to_string()),
        Some(Ended::Over) | None => {}
    }
    lines.push(times.join(" · "));
    // What it is about, where that is no item below: a source.
    let own: Option<&String> = alert.links.first().filter(|_| alert.examples.is_empty());
    Embed {
        title: Some(title),
        url: own.and_then(|url| link(url)).and_then(|(url, _)| own_url(&url, urls)),
        description: Some(lines.join("\n")),
        colour: Some(colour(alert)),
        ..Embed::default()
    }
}

fn colour(alert: &Alert) -> u32 {
    match (alert.state, alert.severity) {
        (State::Resolved, _) => RESOLVED_COLOUR,
        (State::Firing, Severity::Info) => 0x5b_7f_a6,
        (State::Firing, Severity::Warning) => 0xd2_99_22,
        (State::Firing, Severity::Critical) => 0xc9_3c_37,
    }
}

fn item(example: &Example, urls: &mut BTreeSet<String>) -> Embed {
    let target = example.url.as_deref().and_then(link);
    let mut source = vec![escape_within(&example.platform, NAME_MAX)];
    source.extend(target.as_ref().map(|(_, host)| escape_within(host, NAME_MAX)));
    source.extend(example.published_at.map(|at| format!("<t:{}:R>", at.0.div_euclid(1_000))));
    if example.edited {
        source.push("edited since".to_string());
    }
    source.retain(|part| !part.is_empty());
    Embed {
        title: Some(escape_within(&example.title, ITEM_TITLE_MAX))
            .filter(|title| !title.is_empty())
            .or(Some(escape_within(&example.id, NAME_MAX)))
            .filter(|title| !title.is_empty())
            .or(Some("an item".to_string())),
        url: target.and_then(|(url, _)| own_url(&url, urls)),
        description: Some(source.join(" · ")).filter(|text| !text.is_empty()),
        ..Embed::default()
    }
}

/// What a digest says of alerts that opened in quiet hours, and how many of them it has no
/// room for: whole sentences where all fit, else shorter lines, so that more do; the rest
/// is "and n more".
pub(super) fn quiet_fields(digest: &Digest) -> (Vec<Field>, usize) {
    const WHY_STEPS: [usize; 3] = [200, 80, 0];
    let mut packed = (Vec::new(), 0);
    for why_max in WHY_STEPS {
        packed = pack(digest.alerts.iter().map(|alert| quiet_line(alert, why_max)));
        if packed.1 == 0 {
            break;
        }
    }
    let (mut values, left) = packed;
    if let Some(last) = values.last_mut().filter(|_| left > 0) {
        last.push_str(&format!("\nand {} more", grouped(left as u64)));
    }
    let name = |index| if index == 0 { "While it was quiet" } else { "While it was quiet, continued" };
    let field = |(index, value)| Field { name: name(index).to_string(), value };
    (values.into_iter().enumerate().map(field).collect(), left)
}

fn quiet_line(alert: &QuietAlert, why_max: usize) -> String {
    const LINE_LABEL_MAX: usize = 60;
    let mut line = format!("**{}**", escape_within(&alert.rule, NAME_MAX));
    if alert.label != alert.rule {
        line.push_str(&format!(" · {}", escape_within(&alert.label, LINE_LABEL_MAX)));
    }
    let ended = if alert.resolved.is_some() { ", over" } else { "" };
    line.push_str(&format!(" · <t:{}:t>{ended}", alert.since.0.div_euclid(1_000)));
    let why = escape_within(&alert.why, why_max);
    if why_max > 0 && !why.is_empty() {
        line.push_str(&format!(": {why}"));
    }
    line
}

/// Lines in as many fields as there may be, and how many lines are left over.
fn pack(lines: impl ExactSizeIterator<Item = String>) -> (Vec<String>, usize) {
    const ROOM_FOR_MORE: usize = 32;
    let mut left = lines.len();
    let mut values: Vec<String> = Vec::new();
    for line in lines {
        let is_last = values.len() == QUIET_FIELDS_MAX;
        let room = if is_last { FIELD_VALUE_MAX - ROOM_FOR_MORE } else { FIELD_VALUE_MAX };
        match values.last_mut() {
            Some(value) if units(value) + 1 + units(&line) <= room => {
                value.push('\n');
                value.push_str(&line);
            }
            _ if !is_last => values.push(line),
            _ => break,
        }
        left -= 1;
    }
    (values, left)
}
