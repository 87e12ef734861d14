//! results.stories → which stories have spread far enough.

use dataflows::stories::record::Story;

use super::results::Results;
use super::{Reading, Readings, counted};
use crate::alerts::record::Example;
use crate::alerts::rule::{Condition, Rule};

pub(super) fn readings(rule: &Rule, stories: &Results<Story>) -> Readings {
    let open = stories.values().filter(|story| story.merged_into.is_none());
    let taken = open.filter(|story| {
        let on = |platform: &String| story.platforms.iter().any(|p| p.platform == *platform);
        (rule.platforms.is_empty() || rule.platforms.iter().any(on))
            && (rule.topics.is_empty() || story.topics.iter().any(|topic| rule.topics.contains(topic)))
    });
    Readings { all: taken.filter_map(|story| reading(rule, story)).collect(), complete: true }
}

fn reading(rule: &Rule, story: &Story) -> Option<Reading> {
    let Condition::StorySpread { platforms_min, authors_min, items_per_hour_min } = rule.condition else {
        return None;
    };
    let platforms = story.platforms.len() as u64;
    let authors = u64::from(story.authors);
    let velocity = f64::from(story.velocity_per_hour);
    // What is asked for, the first of it as the number of the alert.
    let mut asked = Vec::new();
    if platforms_min > 1 {
        asked.push((platforms as f64, platforms_min as f64, "platforms"));
    }
    if authors_min > 1 {
        asked.push((authors as f64, authors_min as f64, "authors"));
    }
    if items_per_hour_min > 0.0 {
        asked.push((velocity, items_per_hour_min, "items an hour"));
    }
    let (value, threshold, _) = asked.first().copied().unwrap_or((platforms as f64, 1.0, "platforms"));
    let needed: Vec<String> = asked.iter().map(|(_, min, what)| format!("{min} {what}")).collect();
    let short: Vec<String> = asked.iter().map(|(has, min, what)| format!("{has} of {min} {what}")).collect();
    let names: Vec<&str> = story.platforms.iter().map(|p| p.platform.as_str()).collect();
    let platform = story.representative.split(':').next().unwrap_or_default();
    Some(Reading {
        subject: story.id.clone(),
        label: story.title.clone(),
        met: asked.iter().all(|(has, min, _)| has >= min),
        value,
        threshold,
        why: format!(
            "{} by {} on {} ({}), {} in the last hour; enough is {}",
            counted(u64::from(story.items), "item"),
            counted(authors, "author"),
            counted(platforms, "platform"),
            names.join(", "),
            story.velocity_per_hour,
            needed.join(" and ")
        ),
        short: short.join(", "),
        examples: vec![Example {
            id: story.representative.clone(),
            platform: platform.to_string(),
            title: story.title.clone(),
            url: story.url.clone(),
            published_at: None,
            version: Default::default(),
            edited: false,
        }],
        links: story.platforms.iter().filter_map(|p| p.url.clone()).collect(),
        fact: None,
    })
}
