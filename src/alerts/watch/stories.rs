//! results.stories → which stories have spread far enough, and still do.
//!
//! A story is published when something new comes, so what it says of the last hour is true
//! as long as that hour is not over: later its speed is 0.

use dataflows::stories::record::Story;
use dataflows::time::{HOUR_MS, Millis};

use super::newest::Newest;
use super::results::Results;
use super::{Detail, Reading, Readings, counted};
use crate::alerts::record::Example;
use crate::alerts::rule::{Condition, Rule};

pub(super) fn readings(
    rule: &Rule,
    at: Millis,
    stories: &Results<Story>,
    detail: Detail,
    newest: &Newest,
) -> Readings {
    let open = stories.values().filter(|story| story.merged_into.is_none());
    let taken = open.filter(|story| {
        let on = |platform: &String| story.platforms.iter().any(|p| p.platform == *platform);
        (rule.platforms.is_empty() || rule.platforms.iter().any(on))
            && (rule.topics.is_empty() || story.topics.iter().any(|topic| rule.topics.contains(topic)))
    });
    let all = taken.filter_map(|story| reading(rule, at, story, detail, newest)).collect();
    Readings { all, complete: true }
}

/// What there is, what is needed, and of what.
type Asked = (f64, f64, &'static str);

fn reading(rule: &Rule, at: Millis, story: &Story, detail: Detail, newest: &Newest) -> Option<Reading> {
    let Condition::StorySpread { platforms_min, authors_min, items_per_hour_min, quiet_ms } = rule.condition
    else {
        return None;
    };
    let platforms = story.platforms.len() as u64;
    let authors = u64::from(story.authors);
    let quiet_for = at.0 - story.last_seen.0;
    let velocity = if quiet_for > HOUR_MS { 0 } else { story.velocity_per_hour };
    // What is asked for, the first of it as the number of the alert.
    let asked = [
        (platforms_min > 1).then_some((platforms as f64, platforms_min as f64, "platforms")),
        (authors_min > 1).then_some((authors as f64, authors_min as f64, "authors")),
        (items_per_hour_min > 0.0).then_some((f64::from(velocity), items_per_hour_min, "items an hour")),
    ];
    let asked: Vec<Asked> = asked.into_iter().flatten().collect();
    let met = quiet_for < quiet_ms && asked.iter().all(|(has, min, _)| has >= min);
    if !detail.wants(met) {
        return None;
    }
    let (value, threshold, _) = asked.first().copied().unwrap_or((platforms as f64, 1.0, "platforms"));
    let short = |(has, min, what): &Asked| format!("{has} of {min} {what}");
    let bare = Reading {
        subject: story.id.clone(),
        label: story.title.clone(),
        met,
        value,
        threshold,
        short: detail.short(met, || {
            let quiet = quiet_for >= quiet_ms;
            let quiet = quiet.then(|| format!("nothing new for {}", super::duration(quiet_for)));
            asked.iter().map(short).chain(quiet).collect::<Vec<_>>().join(", ")
        }),
        ..Reading::default()
    };
    Some(if met { shown(bare, story, &asked, velocity, newest) } else { bare })
}

/// With its sentence and the item that stands for the story, as it is known now.
fn shown(bare: Reading, story: &Story, asked: &[Asked], velocity: u32, newest: &Newest) -> Reading {
    let needed: Vec<String> = asked.iter().map(|(_, min, what)| format!("{min} {what}")).collect();
    let names: Vec<&str> = story.platforms.iter().map(|p| p.platform.as_str()).collect();
    let published = Example {
        id: story.representative.clone(),
        platform: story.representative.split(':').next().unwrap_or_default().to_string(),
        title: story.title.clone(),
        url: story.url.clone(),
        published_at: None,
        version: Default::default(),
        edited: false,
    };
    let mut links: Vec<String> = story.platforms.iter().filter_map(|p| p.url.clone()).collect();
    let now = newest.shown(&published);
    // The title and the link of the story are those of the item.
    let label = match &now {
        Some(now) if now.is_same(&published) => published.title.clone(),
        Some(now) => now.title.clone(),
        None => story.id.clone(),
    };
    if now.as_ref().is_none_or(|now| now.url != published.url) {
        links.retain(|link| Some(link) != published.url.as_ref());
    }
    Reading {
        label,
        why: format!(
            "{} by {} on {} ({}), {velocity} in the last hour; enough is {}",
            counted(u64::from(story.items), "item"),
            counted(u64::from(story.authors), "author"),
            counted(story.platforms.len() as u64, "platform"),
            names.join(", "),
            needed.join(" and ")
        ),
        examples: now.map(|now| if now.is_same(&published) { published } else { now }).into_iter().collect(),
        links,
        ..bare
    }
}
