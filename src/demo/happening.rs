//! Consumes what the running program answers about stories, trends and alerts, produces
//! their sections of the report and their checks against `expected.toml`, which names
//! what the written scenario holds.

use std::collections::BTreeSet;
use std::time::Duration;

use dataflows::stories::Story;
use dataflows::trends::Trend;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::expectation::Check;
use super::program::{Program, ProgramError};
use super::report::{COLUMNS, plain, shortened};
use crate::alerts::record::Alert;

const EXPECTED: &str = include_str!("expected.toml");

/// How long what is expected may take to show: stories wait for the model, alerts for the
/// minute to end.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many of each a section shows.
const SHOWN: usize = 6;

/// `expected.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    story: Vec<NamedStory>,
    trend: Vec<NamedTrend>,
    alert: Vec<NamedAlert>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedStory {
    name: String,
    written: String,
    words: Vec<String>,
    items_min: u32,
    platforms_min: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedTrend {
    name: String,
    kind: String,
    subject: String,
    items_min: i64,
    authors_min: i64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedAlert {
    name: String,
    rule: String,
    words: Vec<String>,
}

/// What the program says is happening.
#[derive(Debug, Default)]
pub struct Happening {
    stories: Vec<Story>,
    trends: Vec<Trend>,
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
struct Stories {
    stories: Vec<Story>,
}

#[derive(Deserialize)]
struct Trends {
    trends: Vec<Trend>,
}

#[derive(Deserialize)]
struct Alerts {
    items: Vec<Alert>,
}

impl Expected {
    pub fn read() -> Self {
        toml::from_str(EXPECTED).expect("expected.toml is ours, and a test reads it")
    }

    /// One check for each that is named.
    pub fn checks(&self, found: &Happening) -> Vec<Check> {
        let check = |what: &str, name: &str, found: bool| {
            Check::new(format!("{what}: {name}"), "found", if found { "found" } else { "missing" })
        };
        let stories = self
            .story
            .iter()
            .map(|named| check("story", &named.name, found.stories.iter().any(|story| named.is(story))));
        let trends = self
            .trend
            .iter()
            .map(|named| check("trend", &named.name, found.trends.iter().any(|trend| named.is(trend))));
        let alerts = self
            .alert
            .iter()
            .map(|named| check("alert", &named.name, found.alerts.iter().any(|alert| named.is(alert))));
        stories.chain(trends).chain(alerts).collect()
    }
}

fn has_words(text: &str, words: &[String]) -> bool {
    let text = text.to_lowercase();
    words.iter().all(|word| text.contains(word))
}

impl NamedStory {
    fn is(&self, story: &Story) -> bool {
        // native ids of the scenario begin with the story that an item was written for
        let own = |id: &String| {
            id.split_once(':').is_some_and(|(_, native)| native.starts_with(&format!("{}-", self.written)))
        };
        has_words(&story.title, &self.words)
            && story.items >= self.items_min
            && story.platforms.len() >= self.platforms_min
            && story.members.iter().all(own)
    }
}

impl NamedTrend {
    fn is(&self, trend: &Trend) -> bool {
        trend.subject.kind.name() == self.kind
            && trend.subject.name == self.subject
            && trend.items >= self.items_min
            && trend.authors >= self.authors_min
    }
}

impl NamedAlert {
    fn is(&self, alert: &Alert) -> bool {
        alert.rule == self.rule && has_words(&format!("{} {}", alert.label, alert.why), &self.words)
    }
}

impl Happening {
    async fn ask(program: &Program) -> Result<Self, ProgramError> {
        let Stories { stories } = program.json("/v1/stories?limit=500").await?;
        let Trends { trends } = program.json("/v1/trends?limit=500").await?;
        let Alerts { items } = program.json("/v1/alerts?limit=500").await?;
        Ok(Self { stories, trends, alerts: items })
    }

    /// Asks until everything that is expected is there, or patience ends.
    pub async fn wait(program: &Program, expected: &Expected) -> Result<Self, ProgramError> {
        let until = Instant::now() + PATIENCE;
        loop {
            let found = Self::ask(program).await?;
            if expected.checks(&found).iter().all(Check::passed) || Instant::now() >= until {
                return Ok(found);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Stories over several platforms first, since those are what a person would miss.
    pub fn stories(&self) -> String {
        let mut stories: Vec<&Story> = self.stories.iter().filter(|s| s.merged_into.is_none()).collect();
        stories.sort_by_key(|s| std::cmp::Reverse((s.platforms.len(), s.items)));
        section(&stories, "no two authors published the same thing", |story| {
            let platforms: BTreeSet<&str> = story.platforms.iter().map(|p| p.platform.as_str()).collect();
            let platforms: Vec<&str> = platforms.into_iter().collect();
            [
                plain(&story.title),
                format!(
                    "{} items by {} authors on {}, first on {}: {}",
                    story.items,
                    story.authors,
                    platforms.join(", "),
                    story.first_seen.platform,
                    story.why
                ),
            ]
        })
    }

    pub fn trends(&self) -> String {
        section(
            &self.trends.iter().collect::<Vec<_>>(),
            "nothing was mentioned much more than usual",
            |trend| {
                let state = trend.until.map_or("still rising".to_string(), |until| format!("until {until}"));
                [format!("{} ({state})", plain(&trend.subject.name)), trend.why.clone()]
            },
        )
    }

    pub fn alerts(&self) -> String {
        section(&self.alerts.iter().collect::<Vec<_>>(), "no rule found what it looks for", |alert| {
            let posted = match (&alert.suppressed, alert.queued) {
                (Some(why), _) => format!("not posted: {why}"),
                (None, true) => "in the next digest".to_string(),
                (None, false) => format!("for the route {}", alert.route),
            };
            [format!("[{}] {} ({posted})", alert.rule, plain(&alert.label)), plain(&alert.why)]
        })
    }
}

/// The first few, each as a line and a line below it.
fn section<T>(all: &[&T], nothing: &str, lines: impl Fn(&T) -> [String; 2]) -> String {
    if all.is_empty() {
        return format!("  {nothing}\n");
    }
    let mut text = String::new();
    for one in all.iter().take(SHOWN) {
        let [first, second] = lines(one);
        text += &format!("  {}\n", shortened(&first, COLUMNS - 2));
        text += &format!("      {}\n", shortened(&second, COLUMNS - 6));
    }
    if all.len() > SHOWN {
        text += &format!("  and {} more\n", all.len() - SHOWN);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_expected_is_found_in_nothing() {
        let expected = Expected::read();
        let checks = expected.checks(&Happening::default());
        assert_eq!(checks.len(), expected.story.len() + expected.trend.len() + expected.alert.len());
        assert!(checks.len() >= 5 && checks.iter().all(|check| !check.passed()));
    }
}
