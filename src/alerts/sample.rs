//! What the process knows of itself at an instant: sources, disk, delivery.
//!
//! Taken once a minute of the pipeline clock. The sample that leads to a decision is
//! written into the alert, so that nothing of it is asked again after a restart.
//!
//! Retention: for `alerts test` one of five minutes is kept for a day, and of its sources
//! those that are in trouble or half way there, at most [`OLD_SOURCES_MAX`].

use std::collections::{BTreeMap, VecDeque};

use dataflows::time::{DAY_MS, MINUTE_MS, Millis};

/// How far apart the samples that are kept lie.
const KEPT_INTERVAL_MS: i64 = 5 * MINUTE_MS;
/// How long after it was taken a sample still says how things were.
const FRESH_MS: i64 = KEPT_INTERVAL_MS + MINUTE_MS;
const KEPT_MS: i64 = DAY_MS;
const SAMPLES_MAX: usize = 300;
pub const OLD_SOURCES_MAX: usize = 50;
/// More sources than this are not looked at; the rest is in `tidings sources list`.
pub const SOURCES_MAX: usize = 1_000;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    pub at: Millis,
    pub sources: Vec<SourceSample>,
    pub disk: Option<DiskSample>,
    /// `None` where nothing is delivered by this process.
    pub delivery: Option<DeliverySample>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceSample {
    pub key: String,
    pub name: String,
    pub url: String,
    pub condition: String,
    /// The server said that it is gone for good.
    pub gone: bool,
    pub last_success_at: Option<Millis>,
    pub last_item_at: Option<Millis>,
    pub last_error: Option<String>,
    pub errors_in_row: u32,
    pub usual_gap_s: Option<i64>,
    /// Without anything new for as long as this it is silent; `None` is not known yet.
    pub silent_after_ms: Option<i64>,
    /// Since when its polls fail; told by [`Samples`].
    pub failing_since: Option<Millis>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiskSample {
    pub free_bytes: u64,
    /// Without what the file system keeps back for others, so that shares are those of df.
    pub size_bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeliverySample {
    pub oldest_waiting_s: Option<u64>,
    /// Webhooks in use that Discord says are gone.
    pub retired_webhooks: u64,
    pub uncertain: u64,
    pub last_error: Option<String>,
}

impl SourceSample {
    /// How long it had brought nothing new when it answered last.
    pub fn quiet_ms(&self) -> Option<i64> {
        let (answered, item) = self.last_success_at.zip(self.last_item_at)?;
        Some((answered.0 - item.0).max(0))
    }
}

impl Sample {
    /// Without the sources that are well.
    fn shortened(mut self) -> Self {
        let nears_silence = |source: &SourceSample| {
            let quiet = source.quiet_ms();
            quiet.zip(source.silent_after_ms).is_some_and(|(quiet, after)| quiet >= after / 2)
        };
        self.sources.retain(|source| source.errors_in_row > 0 || nears_silence(source));
        self.sources.truncate(OLD_SOURCES_MAX);
        self.sources.shrink_to_fit();
        self
    }
}

/// Takes a sample at an instant of the pipeline clock.
pub type Sampler = Box<dyn Fn(Millis) -> Sample + Send>;

/// The samples of the last day.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    samples: VecDeque<Sample>,
    failing: BTreeMap<String, Millis>,
    /// When the first of this process was taken.
    first: Option<Millis>,
}

impl Samples {
    /// Whether it is time for the next.
    pub fn is_due(&self, at: Millis) -> bool {
        self.samples.back().is_none_or(|last| at.0 - last.at.0 >= MINUTE_MS)
    }

    pub fn push(&mut self, mut sample: Sample) {
        sample.sources.truncate(SOURCES_MAX);
        let first = *self.first.get_or_insert(sample.at);
        let mut failing = BTreeMap::new();
        for source in sample.sources.iter_mut().filter(|source| source.errors_in_row > 0) {
            // Its last answer, else the first time it was seen to fail. Before the first
            // sample nobody may have asked it.
            let known = self.failing.get(&source.key).copied();
            let since = source.last_success_at.or(known).unwrap_or(sample.at).max(first).min(sample.at);
            source.failing_since = Some(since);
            failing.insert(source.key.clone(), since);
        }
        self.failing = failing;
        if let Some(last) = self.samples.pop_back() {
            let before = self.samples.back().map(|before| before.at.0);
            if before.is_none_or(|before| last.at.0 - before >= KEPT_INTERVAL_MS) {
                self.samples.push_back(last.shortened());
            }
        }
        self.samples.push_back(sample);
        let oldest = self.samples.back().map_or(i64::MIN, |last| last.at.0 - KEPT_MS);
        while self.samples.len() > SAMPLES_MAX || self.samples.front().is_some_and(|s| s.at.0 < oldest) {
            self.samples.pop_front();
        }
    }

    /// How things were at `at`, if that is known.
    pub fn at(&self, at: Millis) -> Option<&Sample> {
        let sample = self.samples.iter().rev().find(|sample| sample.at <= at)?;
        (at.0 - sample.at.0 < FRESH_MS).then_some(sample)
    }

    pub fn len(&self) -> usize {
        self.samples.len()
    }

    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// When the oldest that is kept was taken.
    pub fn since(&self) -> Option<Millis> {
        self.samples.front().map(|sample| sample.at)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(at: i64, last_success: Option<i64>, errors: u32) -> Sample {
        let source = SourceSample {
            key: "k".into(),
            errors_in_row: errors,
            last_success_at: last_success.map(Millis),
            ..SourceSample::default()
        };
        Sample { at: Millis(at), sources: vec![source], ..Sample::default() }
    }

    #[test]
    fn a_source_fails_since_its_last_answer_or_since_it_was_first_seen_to() {
        let mut samples = Samples::default();
        let since =
            |samples: &Samples, at: i64| samples.at(Millis(at)).expect("known").sources[0].failing_since;
        samples.push(failing(MINUTE_MS, None, 1));
        samples.push(failing(2 * MINUTE_MS, None, 2));
        assert_eq!(since(&samples, 2 * MINUTE_MS), Some(Millis(MINUTE_MS)));
        samples.push(failing(3 * MINUTE_MS, Some(3 * MINUTE_MS), 0));
        assert_eq!(since(&samples, 3 * MINUTE_MS), None);
        samples.push(failing(9 * MINUTE_MS, Some(3 * MINUTE_MS), 4));
        assert_eq!(since(&samples, 9 * MINUTE_MS), Some(Millis(3 * MINUTE_MS)));
        assert!(samples.at(Millis(15 * MINUTE_MS)).is_none(), "too old to tell");
    }

    #[test]
    fn a_day_is_kept_of_what_is_in_trouble() {
        let mut samples = Samples::default();
        for minute in 0..5_000 {
            let errors = u32::from(minute % 10 == 0);
            samples.push(failing(minute * MINUTE_MS, None, errors));
        }
        assert!((286..=290).contains(&samples.len()), "{}", samples.len());
        assert_eq!(samples.iter().last().expect("the last").sources.len(), 1, "the last is whole");
        let kept: usize = samples.iter().map(|sample| sample.sources.len()).sum();
        assert!(kept < samples.len(), "sources that are well are not kept");
        assert!(samples.at(Millis(4_000 * MINUTE_MS)).is_some());
    }
}
