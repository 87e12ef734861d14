//! When a subject bursts: a pure function of its counts, of all items' counts, and of where
//! the pipeline clock stands.
//!
//! What is expected of a window is the exponentially weighted mean of the windows before it,
//! empty ones counting 0, times how much more or less than usual is published altogether: that
//! is the daily rhythm. A burst is measured against what was expected where it began, so that it
//! does not become its own baseline.
//!
//! Invariants:
//! - Everything is integers, in thousandths, so that any order of the same changes gives the
//!   same answer.
//! - Nothing before the range matters: whoever forgets it finds the same bursts. What is loud
//!   where the range begins has begun before and is not told again, as far as that can be told
//!   from the range: a long plateau becomes what is usual, and a peak on top of it may then
//!   be told, as ended, when the plateau's beginning has left.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::time::{HOUR_MS, MINUTE_MS, Millis};

/// Length of the windows in which trends are counted.
pub const BUCKET_MS: i64 = 10 * MINUTE_MS;
/// Windows without a burst after which it has ended.
pub const QUIET_BUCKETS: usize = 2;
/// Items of one author that count in a window: who posts the same ten times says it once, and
/// once more.
pub const AUTHOR_ITEMS_MAX: isize = 2;
/// Thousandths.
const MILLI: i64 = 1000;
/// At most so much less is expected because little is published altogether.
const RHYTHM_MIN_MILLI: i64 = 500;
/// Bits of a total that count: with 6, two totals within 3 % are one, so that every single
/// item does not change what is expected of everything.
const TOTAL_BITS: u32 = 6;

/// What a burst is, and what is kept for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Windows that are kept.
    pub retention_buckets: i64,
    /// The weights of the windows before one, the nearest first.
    weights: Vec<i64>,
    weight: i64,
    pub items_min: i64,
    pub authors_min: i64,
    pub ratio_milli: i64,
    pub score_milli: i64,
    pub continue_ratio_milli: i64,
    /// Windows after which a burst ends in any case.
    pub burst_buckets_max: usize,
    /// Expected of every subject in every window, in thousandths of an item.
    pub prior_milli: i64,
    /// Counted cells of terms, and cells with one item, that one worker holds.
    pub cells_max: usize,
    pub singles_max: usize,
}

/// Table `[trends.graph]`: the knobs that [`Settings`] are made of.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Knobs {
    pub retention_h: i64,
    pub history_windows: usize,
    pub alpha: f64,
    pub items_min: i64,
    pub authors_min: i64,
    pub ratio_min: f64,
    pub score_min: f64,
    pub continue_ratio_min: f64,
    pub burst_max_h: i64,
    pub prior_items: f64,
    pub cells_max: usize,
    pub singles_max: usize,
}

impl Settings {
    /// Errors name the knob.
    pub fn new(knobs: &Knobs) -> Result<Self, String> {
        const WEIGHT: i64 = 1 << 20;
        let retention_buckets = knobs.retention_h.saturating_mul(HOUR_MS / BUCKET_MS);
        if !(1..=1000).contains(&knobs.burst_max_h) {
            return Err("burst_max_h is between 1 and 1000".into());
        }
        let milli = |x: f64| (x * MILLI as f64).round() as i64;
        if !(1..=1000).contains(&knobs.history_windows) {
            return Err("history_windows is between 1 and 1000".into());
        }
        if !(1..=4000).contains(&knobs.retention_h) || retention_buckets <= knobs.history_windows as i64 {
            return Err("retention_h is longer than the history and at most 4000".into());
        }
        if !(0.001..1.0).contains(&knobs.alpha) {
            return Err("alpha is between 0.001 and 1".into());
        }
        if knobs.items_min < 2 || knobs.authors_min < 1 {
            return Err("items_min is at least 2 and authors_min at least 1".into());
        }
        let bounded = [knobs.ratio_min, knobs.score_min, knobs.continue_ratio_min, knobs.prior_items];
        if bounded.iter().any(|x| !(0.0..=1e6).contains(x)) {
            return Err("ratio_min, score_min, continue_ratio_min and prior_items are not negative".into());
        }
        let keep = MILLI - milli(knobs.alpha);
        let weights: Vec<i64> = std::iter::successors(Some(WEIGHT), |w| Some(w * keep / MILLI))
            .take(knobs.history_windows)
            .collect();
        Ok(Self {
            retention_buckets,
            weight: weights.iter().sum(),
            weights,
            items_min: knobs.items_min,
            authors_min: knobs.authors_min,
            ratio_milli: milli(knobs.ratio_min),
            score_milli: milli(knobs.score_min),
            continue_ratio_milli: milli(knobs.continue_ratio_min),
            burst_buckets_max: (knobs.burst_max_h * (HOUR_MS / BUCKET_MS)) as usize,
            prior_milli: milli(knobs.prior_items),
            cells_max: knobs.cells_max,
            singles_max: knobs.singles_max,
        })
    }

    /// Windows that a mean is of.
    pub fn history(&self) -> usize {
        self.weights.len()
    }

    /// The first window that is kept when the pipeline clock is at `clock`.
    pub fn edge(&self, clock: Millis) -> i64 {
        bucket(clock).saturating_sub(self.retention_buckets - 1)
    }

    fn has_support(&self, items: i64, authors: i64) -> bool {
        items >= self.items_min && authors >= self.authors_min
    }

    /// The weighted mean of the windows before `at`, in thousandths. There are enough of them.
    fn mean(&self, counts: &[i64], at: usize) -> i64 {
        let before = counts[at - self.weights.len()..at].iter().rev();
        before.zip(&self.weights).map(|(count, weight)| count * weight).sum::<i64>() * MILLI / self.weight
    }

    /// Whether a window could begin a burst if as little as possible is expected of it.
    /// `before` gives windows and their items.
    pub fn may_begin(&self, at: i64, counts: Counts, before: impl Iterator<Item = (i64, i64)>) -> bool {
        if !self.has_support(counts.items, counts.authors) {
            return false;
        }
        let weighted = |(bucket, items): (i64, i64)| {
            let back = usize::try_from(at - bucket - 1).ok();
            back.and_then(|back| self.weights.get(back)).map_or(0, |weight| weight * items)
        };
        let mean = before.map(weighted).sum::<i64>() * MILLI / self.weight;
        let least = (mean + self.prior_milli) * RHYTHM_MIN_MILLI / MILLI;
        self.begins(counts.items, counts.authors, least)
    }

    fn begins(&self, items: i64, authors: i64, expected: i64) -> bool {
        let surplus = i128::from(items * MILLI) - i128::from(expected);
        let threshold = i128::from(self.score_milli).pow(2) * (i128::from(expected) + i128::from(MILLI));
        self.has_support(items, authors)
            && is_times(items, self.ratio_milli, expected)
            && surplus > 0
            && surplus * surplus * i128::from(MILLI) >= threshold
    }

    /// Half the support, and more than expected.
    fn goes_on(&self, items: i64, authors: i64, expected: i64) -> bool {
        2 * items >= self.items_min
            && 2 * authors >= self.authors_min
            && is_times(items, self.continue_ratio_milli, expected)
    }
}

/// Whether there are at least `ratio_milli` thousandths as many items as expected.
fn is_times(items: i64, ratio_milli: i64, expected: i64) -> bool {
    i128::from(items * MILLI * MILLI) >= i128::from(ratio_milli) * i128::from(expected)
}

/// The number of the window that an instant lies in.
pub fn bucket(at: Millis) -> i64 {
    at.0.div_euclid(BUCKET_MS)
}

/// A total without the digits that do not count.
pub fn level(total: i64) -> i64 {
    let bits = i64::BITS - total.max(0).leading_zeros();
    let dropped = bits.saturating_sub(TOTAL_BITS);
    total.max(0) >> dropped << dropped
}

/// Items that count and distinct authors of a window; one with a single item counts as empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub items: i64,
    pub authors: i64,
}

/// What is usual in the whole stream, for each window that is kept; the last one is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The number of the first window.
    pub first: i64,
    levels: Vec<i64>,
    /// The first window that may begin a burst: all its history is there.
    from: usize,
    means: Vec<i64>,
}

impl Stream {
    /// Nothing was ever published.
    pub fn empty() -> Self {
        Self { first: 0, levels: Vec::new(), from: 0, means: Vec::new() }
    }

    /// The stream at `clock`; `totals` has the items of each window by its number. What is as
    /// it was in `self` is taken over.
    pub fn at(&self, settings: &Settings, clock: Millis, totals: &BTreeMap<i64, i64>) -> Self {
        let (first, last) = (settings.edge(clock), bucket(clock));
        let mut levels = vec![0; (last - first + 1) as usize];
        for (&window, &total) in totals.range(first..=last) {
            levels[(window - first) as usize] = level(total);
        }
        let began = levels.iter().position(|&level| level > 0).unwrap_or(levels.len());
        let from = (began + settings.history()).min(levels.len());
        // A mean is of windows before its own: those up to the first change are as they were.
        let place = |at: usize| usize::try_from(at as i64 + first - self.first).ok();
        let is_as_before = |at: usize| place(at).and_then(|at| self.levels.get(at)) == Some(&levels[at]);
        let same = (0..levels.len()).find(|&at| !is_as_before(at)).unwrap_or(levels.len());
        let before = |at| place(at).filter(|&p| at <= same && p >= self.from).and_then(|p| self.means.get(p));
        let mean = |at| match before(at) {
            _ if at < from => 0,
            Some(mean) => *mean,
            None => settings.mean(&levels, at),
        };
        let means = (0..levels.len()).map(mean).collect();
        Self { first, from, means, levels }
    }

    /// The number of windows, the open one included.
    pub fn len(&self) -> usize {
        self.levels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// What a rate of `base` comes to at `at`, where the whole stream had the mean `mean`.
    fn expected(&self, base: i64, mean: i64, at: usize) -> i64 {
        // Saturated, far more is expected than there will ever be.
        let scaled = base.saturating_mul(self.levels[at] * MILLI) / mean.max(1);
        // The open window has only a part of its items: that is no quiet hour.
        let least = if at + 1 == self.levels.len() { base } else { base * RHYTHM_MIN_MILLI / MILLI };
        scaled.max(least)
    }
}

/// One burst: windows by their place in the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    pub since: usize,
    /// After its last window; `None` while it goes on.
    pub until: Option<usize>,
    /// What was usual of the subject and of the whole stream where it began, in thousandths.
    base: i64,
    mean: i64,
}

impl Burst {
    /// Expected in a window, in thousandths, against what was usual where it began.
    pub fn expected(&self, stream: &Stream, at: usize) -> i64 {
        stream.expected(self.base, self.mean, at)
    }
}

enum State {
    /// Not known to be quiet: so many quiet windows in a row.
    Unsettled(usize),
    Quiet,
    /// The last loud window, and the quiet ones since.
    Bursting(Burst, usize, usize),
}

/// All bursts of a subject in the range; `counts` has a place for each window of `stream`.
/// Where [`Settings::may_begin`] is false `may_begin` may be: nothing is computed there.
pub fn bursts(
    settings: &Settings,
    stream: &Stream,
    counts: &[Counts],
    may_begin: impl Fn(usize) -> bool,
) -> Vec<Burst> {
    let items: Vec<i64> = counts.iter().map(|c| c.items).collect();
    let open = stream.len().saturating_sub(1);
    let mut found = Vec::new();
    let mut state = State::Unsettled(0);
    for (at, &Counts { items: n, authors }) in counts.iter().enumerate().skip(stream.from) {
        let usual = || {
            let base = settings.mean(&items, at) + settings.prior_milli;
            (base, stream.expected(base, stream.means[at], at))
        };
        if let State::Bursting(burst, _, _) = &state
            && at - burst.since >= settings.burst_buckets_max
        {
            found.push(Burst { until: Some(at), ..*burst });
            state = State::Unsettled(0);
        }
        state = match state {
            State::Unsettled(quiet) => {
                let quiet = if settings.goes_on(n, authors, usual().1) { 0 } else { quiet + 1 };
                if quiet >= QUIET_BUCKETS { State::Quiet } else { State::Unsettled(quiet) }
            }
            State::Quiet => match may_begin(at).then(usual) {
                Some((base, expected)) if settings.begins(n, authors, expected) => {
                    State::Bursting(Burst { since: at, until: None, base, mean: stream.means[at] }, at, 0)
                }
                _ => State::Quiet,
            },
            State::Bursting(burst, last, quiet) => {
                if settings.goes_on(n, authors, burst.expected(stream, at)) {
                    State::Bursting(burst, at, 0)
                } else if at == open {
                    // It may still become loud.
                    State::Bursting(burst, last, quiet)
                } else if quiet + 1 >= QUIET_BUCKETS {
                    found.push(Burst { until: Some(last + 1), ..burst });
                    State::Quiet
                } else {
                    State::Bursting(burst, last, quiet + 1)
                }
            }
        };
    }
    if let State::Bursting(burst, _, _) = state {
        found.push(burst);
    }
    found
}
