//! `tidings eval trends`: how many hidden bursts the graph finds, how soon, and how often it
//! cries wolf.
//!
//! Each seed is a week of a made-up stream with a daily and a weekly rhythm, 440 subjects and
//! 5 000 authors of very different popularity, late items, edits and deletions. Hidden in it
//! are 50 bursts of 3 to 20 times the usual rate, and 20 traps: one author, or two, who post
//! about one subject again and again. It goes through the same graph that runs in ANALYSE.
//!
//! The knobs were chosen on the development seeds; the held-out ones only judge them.

pub mod replay;
pub mod stream;

use std::io::Write;
use std::time::Instant;

use anyhow::Context;
use dataflows::time::MINUTE_MS;
use dataflows::trends::Settings;
use dataflows::trends::burst::BUCKET_MS;
use serde::Serialize;

use crate::config::{Environment, Overrides, load};
use replay::{Found, Replayed, replay};
use stream::{BEGIN, Hidden, Stream};

/// What each range of seeds must reach as a whole.
pub const RECALL_MIN: f64 = 0.9;
pub const DELAY_WINDOWS_MAX: f64 = 2.0;
pub const FALSE_ALARMS_PER_DAY_MAX: f64 = 1.0;

pub const DAYS: usize = 7;
pub const BURSTS: usize = 50;
pub const TRAPS: usize = 20;
const DEVELOPMENT: std::ops::Range<u64> = 1..4;
const HELD_OUT: std::ops::Range<u64> = 101..104;

/// A trend of a burst's subject that begins within so many minutes after it is still of it.
const ECHO_MINUTES: usize = 60;
const WINDOW: usize = (BUCKET_MS / MINUTE_MS) as usize;

#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// One more range of seeds, FROM..TO (TO excluded)
    #[arg(long, value_name = "RANGE")]
    pub seeds: Option<String>,
    /// Changes a knob, as in trends.graph.score_min=5
    #[arg(long, value_name = "KNOB=VALUE")]
    pub set: Vec<String>,
    /// Prints what was missed, and what was found that was not hidden
    #[arg(long)]
    pub errors: bool,
    /// Prints the figures as JSON
    #[arg(long)]
    pub json: bool,
}

/// Figures of a range of seeds.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct Figures {
    pub seeds: String,
    pub days: usize,
    pub items: usize,
    pub bursts: usize,
    pub found: usize,
    /// Of those that were found, in windows from the burst's first item to the publication.
    pub median_delay_windows: f64,
    pub worst_delay_windows: f64,
    /// Trends of a burst beyond the first.
    pub repeated: usize,
    /// Trends where nothing was hidden, traps included.
    pub false_alarms: usize,
    pub traps: usize,
    pub traps_fired: usize,
    pub records: usize,
    pub updates_per_item: f64,
    pub cells_max: usize,
    pub refused: u64,
    /// A line for each miss and each false alarm.
    #[serde(skip)]
    pub errors: Vec<String>,
}

impl Figures {
    pub fn recall(&self) -> f64 {
        if self.bursts == 0 { 1.0 } else { self.found as f64 / self.bursts as f64 }
    }

    pub fn false_alarms_per_day(&self) -> f64 {
        self.false_alarms as f64 / self.days.max(1) as f64
    }

    pub fn is_good(&self) -> bool {
        self.recall() >= RECALL_MIN
            && self.median_delay_windows <= DELAY_WINDOWS_MAX
            && self.false_alarms_per_day() <= FALSE_ALARMS_PER_DAY_MAX
            && self.traps_fired == 0
    }
}

/// Prints the figures; false if a range of seeds misses the bar.
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<bool> {
    let settings = settings(&args.set)?;
    let mut ranges = vec![("development", DEVELOPMENT), ("held-out", HELD_OUT)];
    if let Some(range) = &args.seeds {
        let (from, to) = range.split_once("..").context("a range of seeds is FROM..TO")?;
        ranges.push(("asked", from.parse()?..to.parse()?));
    }
    let mut all = Vec::new();
    for (name, seeds) in ranges {
        let began = Instant::now();
        let figures = evaluate(seeds, &settings, DAYS, BURSTS, TRAPS);
        if !args.json {
            write!(out, "{}", told(name, &figures, began.elapsed().as_secs_f64()))?;
            for error in figures.errors.iter().filter(|_| args.errors) {
                writeln!(out, "  {error}")?;
            }
        }
        all.push((name, figures));
    }
    if args.json {
        let figures: Vec<_> = all
            .iter()
            .map(|(name, figures)| serde_json::json!({ "range": name, "figures": figures }))
            .collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&figures)?)?;
    }
    Ok(all.iter().all(|(_, figures)| figures.is_good()))
}

/// The knobs as they are shipped, with these changes.
pub fn settings(set: &[String]) -> anyhow::Result<Settings> {
    let overrides = Overrides { set: set.to_vec(), ..Overrides::default() };
    let loaded = load(&Environment::of([] as [(&str, &str); 0]), &overrides)
        .map_err(|e| anyhow::Error::msg(e.to_string()))?;
    loaded.config.trends.graph().map_err(anyhow::Error::msg)
}

/// Replays each seed and compares what was found with what was hidden.
pub fn evaluate(
    seeds: std::ops::Range<u64>,
    settings: &Settings,
    days: usize,
    bursts: usize,
    traps: usize,
) -> Figures {
    let mut figures = Figures { seeds: format!("{}..{}", seeds.start, seeds.end), ..Figures::default() };
    let (mut delays, mut changes) = (Vec::new(), 0);
    // Seeds side by side.
    let replays: Vec<(u64, Stream, Replayed)> = std::thread::scope(|scope| {
        let replayed = |seed| {
            let mut stream = Stream::new(seed, days, bursts, traps);
            let replayed = replay(&mut stream, days * 24 * 60, settings);
            (seed, stream, replayed)
        };
        let started: Vec<_> = seeds.map(|seed| scope.spawn(move || replayed(seed))).collect();
        started.into_iter().map(|thread| thread.join().expect("a replay does not panic")).collect()
    });
    for (seed, stream, replayed) in replays {
        figures.days += days;
        figures.items += stream.items;
        figures.records += replayed.records;
        figures.cells_max = figures.cells_max.max(replayed.cells_max);
        figures.refused += replayed.refused.iter().sum::<u64>();
        changes += replayed.changes;
        compare(seed, &stream.hidden, &replayed.found, &mut figures, &mut delays);
    }
    delays.sort_unstable();
    let windows = |minutes: Option<&usize>| minutes.map_or(0.0, |m| *m as f64 / WINDOW as f64);
    figures.median_delay_windows = windows(delays.get(delays.len() / 2));
    figures.worst_delay_windows = windows(delays.last());
    figures.updates_per_item = changes as f64 / figures.items.max(1) as f64;
    figures
}

/// Counts for one seed; delays in minutes.
fn compare(seed: u64, hidden: &[Hidden], found: &[Found], figures: &mut Figures, delays: &mut Vec<usize>) {
    let since = |f: &Found| ((f.since.0 - BEGIN.0) / MINUTE_MS) as usize;
    // The window in which a burst begins may begin before it.
    let of = |h: &Hidden, f: &Found| {
        h.subject == f.subject && since(f) + WINDOW > h.start && since(f) < h.end + ECHO_MINUTES
    };
    let (bursts, traps): (Vec<&Hidden>, Vec<&Hidden>) = hidden.iter().partition(|h| h.authors == 0);
    for burst in &bursts {
        let mut trends = found.iter().filter(|f| of(burst, f));
        figures.bursts += 1;
        // Found is what is published while it lasts, or with its last window.
        match trends.next().filter(|f| f.minute >= burst.start && f.minute < burst.end + WINDOW) {
            Some(first) => {
                figures.found += 1;
                figures.repeated += trends.count();
                delays.push(first.minute + 1 - burst.start);
            }
            None => figures.errors.push(format!(
                "seed {seed}: missed {} times {:?} in minutes {}..{}",
                (burst.factor * 10.0).round() / 10.0,
                burst.subject.name,
                burst.start,
                burst.end
            )),
        }
    }
    figures.traps += traps.len();
    figures.traps_fired += traps.iter().filter(|trap| found.iter().any(|f| of(trap, f))).count();
    for alarm in found.iter().filter(|f| !bursts.iter().any(|burst| of(burst, f))) {
        figures.false_alarms += 1;
        let trap = if traps.iter().any(|trap| of(trap, alarm)) { " (a trap)" } else { "" };
        figures.errors.push(format!(
            "seed {seed}: false alarm {:?} at minute {}{trap}",
            alarm.subject.name, alarm.minute
        ));
    }
}

fn told(name: &str, f: &Figures, seconds: f64) -> String {
    format!(
        "{name} seeds {}: {} days, {} items, {seconds:.1} s\n\
         \x20 recall        {:.3}  ({} of {} bursts; at least {RECALL_MIN})\n\
         \x20 median delay  {:.1} windows of 10 minutes, worst {:.1}  (at most {DELAY_WINDOWS_MAX})\n\
         \x20 false alarms  {:.2} a day  ({} in {} days; at most {FALSE_ALARMS_PER_DAY_MAX})\n\
         \x20 traps         {} of {} fired (bursts by one author, and by two; at most 0)\n\
         \x20 told twice    {} further trends of bursts that were found\n\
         \x20 cost          {:.2} differential updates an item, {} records, {} cells at most, {} refused\n",
        f.seeds,
        f.days,
        f.items,
        f.recall(),
        f.found,
        f.bursts,
        f.median_delay_windows,
        f.worst_delay_windows,
        f.false_alarms_per_day(),
        f.false_alarms,
        f.days,
        f.traps_fired,
        f.traps,
        f.repeated,
        f.updates_per_item,
        f.records,
        f.cells_max,
        f.refused,
    )
}

#[cfg(test)]
mod tests {
    use dataflows::time::Millis;
    use dataflows::trends::{Subject, SubjectKind};

    use super::*;

    #[test]
    fn figures_by_hand() {
        let subject = |name: &str| Subject { kind: SubjectKind::Term, name: name.into() };
        let hidden = |name, start, authors| Hidden {
            subject: subject(name),
            start,
            end: start + 60,
            factor: 5.0,
            authors,
        };
        let found = |name, since: i64, minute| Found {
            subject: subject(name),
            since: Millis(BEGIN.0 + since * MINUTE_MS),
            minute,
        };
        let all = [hidden("a", 1_005, 0), hidden("b", 1_000, 0), hidden("c", 1_000, 1)];
        let seen = [
            // In the window that began before the burst; then once more.
            found("a", 1_000, 1_014),
            found("a", 1_100, 1_110),
            // After it was over.
            found("b", 1_050, 1_080),
            found("c", 1_000, 1_010),
            found("d", 1_000, 1_010),
        ];
        let (mut figures, mut delays) = (Figures { days: 2, ..Figures::default() }, Vec::new());
        compare(1, &all, &seen, &mut figures, &mut delays);
        assert_eq!(delays, [10]);
        assert_eq!((figures.found, figures.bursts, figures.repeated), (1, 2, 1));
        assert_eq!((figures.false_alarms, figures.traps, figures.traps_fired), (2, 1, 1));
        assert_eq!((figures.recall(), figures.false_alarms_per_day()), (0.5, 1.0));
        assert_eq!(figures.errors.len(), 3);
    }
}
