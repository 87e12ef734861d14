//! What is understood of a text: our sentiment against the reference implementation itself,
//! on every text of its four ground-truth sets and on thousands of made-up ones; and what is
//! masked, by figures and through the real program; which bursts and which stories
//! are found.

#[path = "text/pii.rs"]
mod pii;
#[path = "text/redaction.rs"]
mod redaction;
#[path = "text/stories.rs"]
mod stories;
#[path = "text/trends.rs"]
mod trends;

use std::collections::BTreeMap;
use std::path::PathBuf;

use dataflows::event::Sentiment;
use dataflows::text::sentiment;
use dataflows::text::topics::{Topics, TopicsFile};

/// Texts in the published sets; a shorter file is a broken one.
const SETS: [(&str, usize); 4] =
    [("tweets", 4_200), ("movie_reviews", 10_605), ("amazon_reviews", 3_708), ("nyt_editorials", 5_190)];
const SYNTHETIC_MIN: usize = 20_000;

struct Scored {
    set: String,
    id: String,
    text: String,
    sentiment: Sentiment,
}

/// The cache folder of scripts/vader_reference.sh.
#[expect(clippy::disallowed_methods, reason = "the script that fills the folder knows no configuration")]
fn reference_file() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("TIDINGS_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("tidings")))
        .or_else(|| Some(set("HOME")?.join(".cache/tidings")));
    cache.expect("HOME is set").join("vader-3.3.2/reference.tsv")
}

fn reference() -> Vec<Scored> {
    let file = reference_file();
    let Ok(lines) = std::fs::read_to_string(&file) else {
        panic!("{} is missing: run scripts/vader_reference.sh, which makes it", file.display());
    };
    lines
        .lines()
        .map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            let [set, id, text, _rating, compound, positive, neutral, negative] = columns[..] else {
                panic!("{} has a line of {} columns", file.display(), columns.len());
            };
            let figure = |column: &str| column.parse::<f64>().expect("readable");
            Scored {
                set: set.to_string(),
                id: id.to_string(),
                text: serde_json::from_str(text).expect("readable"),
                sentiment: Sentiment {
                    compound: figure(compound),
                    positive: figure(positive),
                    neutral: figure(neutral),
                    negative: figure(negative),
                },
            }
        })
        .collect()
}

#[test]
fn sentiment_equals_the_reference_on_every_text() {
    let reference = reference();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for scored in &reference {
        *counts.entry(scored.set.as_str()).or_default() += 1;
        let ours = sentiment::score(&scored.text);
        // Both are decimals rounded to the same places, so equal figures are equal numbers.
        if ours != scored.sentiment {
            wrong.push((scored, ours));
        }
    }
    for (scored, ours) in wrong.iter().take(20) {
        let text: String = scored.text.chars().take(300).collect();
        eprintln!(
            "{} {}: {text:?}\n  reference {:?}\n  ours      {ours:?}",
            scored.set, scored.id, scored.sentiment
        );
    }
    assert_eq!(wrong.len(), 0, "of {} texts differ", reference.len());
    for (set, texts) in SETS {
        assert_eq!(counts.get(set), Some(&texts), "texts of {set}");
    }
    assert!(counts["synthetic"] >= SYNTHETIC_MIN, "only {} synthetic texts", counts["synthetic"]);
}

#[test]
fn a_long_hostile_text_takes_linear_time() {
    // The reference is quadratic in the words around a "but"; two million of them would take it days.
    let text = format!("{} but {}", "good bad ".repeat(500_000), "not nice ".repeat(500_000));
    let start = std::time::Instant::now();
    let sentiment = sentiment::score(&text);
    let taken = start.elapsed();
    assert!(sentiment.compound.is_finite());
    assert!(taken.as_secs() < 20, "{taken:?}");
}

#[test]
fn the_default_topics_are_valid_and_find_something() {
    let file: TopicsFile = toml::from_str(include_str!("../config/topics.toml")).unwrap();
    let topics = Topics::new(file.topics).unwrap_or_else(|errors| panic!("{errors:?}"));
    let text = "OpenAI and the White House argue over inflation, C++ and the World Cup final.";
    assert_eq!(topics.matches(text), ["ai", "economy", "politics", "sport", "technology"]);
}
