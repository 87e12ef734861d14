//! Consumes what the running program answers, produces the sections of the report.

use std::collections::BTreeMap;
use std::time::Duration;

use dataflows::event::{Change, Enriched};
use serde::Deserialize;

use super::Outcome;
use super::archive;
use super::content::{Collection, Rated};
use super::expectation::{Check, Expectation};
use super::measure::{Sample, by_label, sum};
use super::play::Sent;
use super::program::{Program, ProgramError};
use super::report::{Lean, Table, count, mood, percent, plain, shortened};
use crate::eval::measures::{Agreement, agreement};
use crate::log::command::RecordLine;

const ENRICH_RECORDS: &str = "tidings_stage_records_total";

/// A cell of `GET /v1/volume?window=1d&by=platform,topic`.
#[derive(Clone, Debug, Deserialize)]
struct TopicCell {
    platform: String,
    topic: Option<String>,
    count: u64,
    scored: u64,
    compound_sum: i64,
}

#[derive(Deserialize)]
struct Topics {
    cells: Vec<TopicCell>,
}

/// A count and a mood.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    count: u64,
    scored: u64,
    compound_sum: i64,
}

impl Tally {
    fn add(&mut self, cell: &TopicCell) {
        self.count += cell.count;
        self.scored += cell.scored;
        self.compound_sum += cell.compound_sum;
    }

    fn mean(&self) -> Option<f64> {
        (self.scored > 0).then(|| self.compound_sum as f64 / 1e4 / self.scored as f64)
    }
}

/// The compound of every current item, by content id, as content.enriched holds it.
pub async fn compounds(program: &Program) -> Result<BTreeMap<String, f64>, ProgramError> {
    const PATH: &str = "/v1/topics/content.enriched/records";
    let mut compounds = BTreeMap::new();
    for line in program.text(PATH).await?.lines() {
        let record: RecordLine = super::program::parse(PATH, line)?;
        if record.value.is_null() {
            compounds.remove(&record.key);
            continue;
        }
        let enriched: Enriched = serde_json::from_value(record.value).map_err(|error| {
            ProgramError::Answer { what: PATH.to_string(), status: 200, body: error.to_string() }
        })?;
        // Records of one id lie in one partition, so the last one read is the current one.
        match enriched.content.and_then(|content| content.sentiment) {
            Some(sentiment) if enriched.change != Change::Deleted => {
                compounds.insert(enriched.id, sentiment.compound);
            }
            _ => {
                compounds.remove(&enriched.id);
            }
        }
    }
    Ok(compounds)
}

/// How our compounds agree with the human ratings.
pub fn agreements(texts: &[Rated], compounds: &BTreeMap<String, f64>) -> Vec<(Collection, usize, Agreement)> {
    Collection::ALL
        .into_iter()
        .map(|collection| {
            let pairs: Vec<(f64, f64)> = texts
                .iter()
                .filter(|rated| rated.collection == collection)
                .filter_map(|rated| Some((rated.rating, *compounds.get(&archive::content_id(rated))?)))
                .collect();
            (collection, pairs.len(), agreement(&pairs))
        })
        .collect()
}

/// How fast it went: each part until the log had it, and all of it until it was counted.
pub fn rates(parts: &[(&str, &Sent)], until_counted: Duration) -> Table {
    let mut table = Table::new(&[
        ("played", Lean::Left),
        ("lines", Lean::Right),
        ("MB", Lean::Right),
        ("seconds", Lean::Right),
        ("lines a second", Lean::Right),
        ("until", Lean::Left),
    ]);
    let (mut lines, mut bytes) = (0, 0);
    let mut row = |name: &str, lines: usize, bytes: usize, took: Duration, until: &str| {
        let seconds = took.as_secs_f64().max(1e-3);
        table.row([
            name.to_string(),
            count(lines as u64),
            format!("{:.1}", bytes as f64 / 1e6),
            format!("{seconds:.2}"),
            count((lines as f64 / seconds) as u64),
            until.to_string(),
        ]);
    };
    for (name, sent) in parts {
        row(name, sent.lines, sent.bytes, sent.took, "checked, durable and acknowledged");
        lines += sent.lines;
        bytes += sent.bytes;
    }
    row("together", lines, bytes, until_counted, "understood, counted and to be asked for");
    table
}

/// Platforms by items and mood, and topics with their mood on each kind of platform.
pub async fn volume(program: &Program) -> Result<(Table, Table), ProgramError> {
    let topics: Topics = program.json("/v1/volume?window=1d&by=platform,topic").await?;
    let whole: Topics = program.json("/v1/volume?window=1d&by=platform").await?;
    let mut platforms: BTreeMap<&str, Tally> = BTreeMap::new();
    for cell in &whole.cells {
        platforms.entry(&cell.platform).or_default().add(cell);
    }
    Ok((platform_table(&platforms), topic_table(&topics.cells)))
}

fn platform_table(platforms: &BTreeMap<&str, Tally>) -> Table {
    let mut rows: Vec<_> = platforms.iter().collect();
    rows.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.count));
    let mut table = Table::new(&[("platform", Lean::Left), ("items", Lean::Right), ("mood", Lean::Left)]);
    for (platform, tally) in rows {
        table.row([(*platform).to_string(), count(tally.count), mood(tally.mean())]);
    }
    table
}

/// Columns of the topic table: the four collections, and the made-up town.
const PLACES: [(&str, Option<Collection>); 5] = [
    ("microblog", Some(Collection::Tweets)),
    ("films", Some(Collection::Movies)),
    ("shop", Some(Collection::Products)),
    ("paper", Some(Collection::Editorials)),
    ("the town", None),
];

fn topic_table(cells: &[TopicCell]) -> Table {
    let mut topics: BTreeMap<&str, (Tally, [Tally; PLACES.len()])> = BTreeMap::new();
    for cell in cells {
        let (all, places) = topics.entry(cell.topic.as_deref().unwrap_or("(none of them)")).or_default();
        let place = Collection::ALL.iter().position(|known| known.platform() == cell.platform);
        all.add(cell);
        places[place.unwrap_or(PLACES.len() - 1)].add(cell);
    }
    let mut rows: Vec<_> = topics.into_iter().collect();
    rows.sort_by_key(|(_, (all, _))| std::cmp::Reverse(all.count));
    let mut columns = vec![("topic", Lean::Left), ("items", Lean::Right), ("mood", Lean::Right)];
    columns.extend(PLACES.map(|(name, _)| (name, Lean::Right)));
    let mut table = Table::new(&columns);
    for (topic, (all, places)) in rows {
        let place = |i: usize| match places[i].mean() {
            Some(mean) => format!("{} {mean:+.2}", count(places[i].count)),
            None => "-".to_string(),
        };
        table.row([
            topic.to_string(),
            count(all.count),
            all.mean().map_or("-".to_string(), |mean| format!("{mean:+.2}")),
            place(0),
            place(1),
            place(2),
            place(3),
            place(4),
        ]);
    }
    table
}

/// What did not become content, and why.
pub fn dropped(sent: &[&Sent], samples: &[Sample]) -> Table {
    let mut table =
        Table::new(&[("what", Lean::Left), ("how many", Lean::Right), ("why, with an example", Lean::Left)]);
    let outcome = |name: &str| sum(samples, ENRICH_RECORDS, &[("stage", "enrich"), ("outcome", name)]) as u64;
    for (name, why) in
        [("duplicate", "the log holds exactly this already"), ("stale", "the log holds a later revision")]
    {
        table.row([name.to_string(), count(outcome(name)), why.to_string()]);
    }
    let mut refused: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for (reason, (n, example)) in sent.iter().flat_map(|sent| &sent.refused) {
        refused.entry(reason).or_insert((0, example)).0 += n;
    }
    for (reason, (n, example)) in refused {
        table.row([format!("refused: {reason}"), count(n as u64), example.to_string()]);
    }
    for (reason, n) in by_label(samples, "tidings_dead_letters_total", "reason") {
        table.row([format!("dead letter: {reason}"), count(n as u64), "kept in dead.letters".to_string()]);
    }
    for (window, n) in by_label(samples, "tidings_late_items", "window") {
        let why = format!("beyond the horizon of windows of {window}; kept everywhere else");
        table.row([format!("late for {window}"), count(n as u64), why]);
    }
    table
}

/// Whether the program did what it should have done.
pub fn checks(
    expected: &Expectation,
    sent: &[&Sent],
    samples: &[Sample],
    cells: &[super::expectation::DayCell],
    compounds: &BTreeMap<String, f64>,
) -> Vec<Check> {
    let outcome = |name: &str| sum(samples, ENRICH_RECORDS, &[("stage", "enrich"), ("outcome", name)]) as u64;
    let refused: usize = sent.iter().flat_map(|sent| sent.refused.values()).map(|(n, _)| n).sum();
    let dead = sum(samples, "tidings_dead_letters_total", &[("stage", "enrich")]) as u64;
    let mut checks: Vec<Check> = Outcome::ALL
        .into_iter()
        .map(|kind| {
            let found = match kind {
                Outcome::Refused => refused as u64 + dead,
                kind => outcome(kind.name()),
            };
            Check::of_counts(
                format!("{} as the rules of identity say", kind.name()),
                expected.outcome(kind),
                found,
            )
        })
        .collect();
    checks.extend(expected.compare_cells(cells, compounds));
    checks
}

/// One line on how the texts of a collection were understood.
pub fn scored(compounds: &BTreeMap<String, f64>) -> String {
    let apart = compounds.values().filter(|compound| **compound != 0.0).count();
    let share = apart as f64 / compounds.len().max(1) as f64;
    format!(
        "{} current items are scored, {} of them not neutral",
        count(compounds.len() as u64),
        percent(share)
    )
}

/// The answer of `GET /v1/search`, as far as it is shown.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    hits: Vec<Hit>,
    mode: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Hit {
    platform: String,
    snippet: String,
    compound: Option<f64>,
}

impl Answer {
    pub fn lines(&self, query: &str) -> String {
        let mut text = format!("  \"{query}\" ({})\n", self.mode);
        for hit in &self.hits {
            let compound = hit.compound.map_or("      ".to_string(), |compound| format!("{compound:+.2} "));
            let line = format!("    {compound} {:<12} {}", hit.platform, plain(&hit.snippet));
            text += &format!("{}\n", shortened(&line, super::report::COLUMNS));
        }
        if self.hits.is_empty() {
            text += "    nothing\n";
        }
        text
    }
}

/// How far the memory has come.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    held: u64,
    pub embedded: u64,
}

impl Memory {
    pub fn of(samples: &[Sample]) -> Self {
        let points = |kind| sum(samples, "tidings_memory_points", &[("kind", kind)]) as u64;
        Self { held: points("item"), embedded: points("chunk") }
    }

    /// Every item has a piece with a vector, at least.
    pub fn is_settled(&self) -> bool {
        self.held > 0 && self.embedded >= self.held
    }

    pub fn line(&self) -> String {
        format!(
            "{} items can be found by their words, {} pieces of them by meaning so far",
            count(self.held),
            count(self.embedded)
        )
    }
}

/// One line of `tidings demo --live`.
pub fn live_line(samples: &[Sample]) -> String {
    let outcome =
        |name: &str| count(sum(samples, ENRICH_RECORDS, &[("stage", "enrich"), ("outcome", name)]) as u64);
    let polls = by_label(samples, "tidings_poll_requests_total", "outcome");
    let polls: Vec<String> = polls.iter().map(|(outcome, n)| format!("{outcome} {n}")).collect();
    format!(
        "items: {} new, {} edited, {} deleted; polls: {}",
        outcome("created"),
        outcome("updated"),
        outcome("deleted"),
        if polls.is_empty() { "none yet".to_string() } else { polls.join(", ") }
    )
}
