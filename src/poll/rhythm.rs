//! When a source brought something new, so that its silence can be told from its
//! usual quiet. Pure: times are arguments.
//!
//! Of each of the last [`DAYS_MAX`] days the longest gap without anything new is kept;
//! the longest of them is the usual one. So a feed that sleeps at night is not silent
//! every night. Before a whole day and [`GAPS_MIN`] gaps nothing is usual yet.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::settings::Settings;

pub const DAYS_MAX: usize = 7;
pub const GAPS_MIN: u32 = 5;
const DAY_MS: i64 = 86_400_000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rhythm {
    first_ms: Option<i64>,
    /// When something new came last.
    pub last_ms: Option<i64>,
    gaps: u32,
    /// Day (since 1970) and milliseconds of the longest gap that ended on it.
    longest: VecDeque<(i64, i64)>,
}

impl Rhythm {
    /// Something new came.
    pub fn came(&mut self, now_ms: i64) {
        self.first_ms.get_or_insert(now_ms);
        let Some(last_ms) = self.last_ms.replace(now_ms) else { return };
        let gap_ms = (now_ms - last_ms).max(0);
        let day = now_ms.div_euclid(DAY_MS);
        self.gaps = self.gaps.saturating_add(1);
        match self.longest.back_mut() {
            Some((of, longest_ms)) if *of == day => *longest_ms = gap_ms.max(*longest_ms),
            _ => self.longest.push_back((day, gap_ms)),
        }
        self.longest.drain(..self.longest.len().saturating_sub(DAYS_MAX));
    }

    /// The longest gap of the last days.
    pub fn usual_gap_ms(&self) -> Option<i64> {
        let known_ms = self.last_ms? - self.first_ms?;
        if self.gaps < GAPS_MIN || known_ms < DAY_MS {
            return None;
        }
        self.longest.iter().map(|(_, gap_ms)| *gap_ms).max()
    }

    /// After how many milliseconds without anything new the source is silent.
    pub fn silent_after_ms(&self, settings: &Settings) -> Option<i64> {
        Some(silent_after_ms(self.usual_gap_ms()?, settings))
    }
}

/// How much longer than the usual gap is silence.
pub fn silent_after_ms(usual_gap_ms: i64, settings: &Settings) -> i64 {
    let usual_ms = usual_gap_ms as f64 * settings.silence_factor;
    let least_ms = i64::try_from(settings.silence_min_s.saturating_mul(1_000)).unwrap_or(i64::MAX);
    (usual_ms as i64).max(least_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    #[test]
    fn a_source_that_sleeps_at_night_is_silent_only_when_it_sleeps_longer() {
        let settings = crate::poll::default_settings();
        let mut rhythm = Rhythm::default();
        for (day, minute) in (0..4).flat_map(|d| (8 * 60..23 * 60).step_by(15).map(move |m| (d, m))) {
            let now_ms = day * DAY_MS + minute * 60_000;
            rhythm.came(now_ms);
            let known = rhythm.silent_after_ms(&settings);
            assert_eq!(known.is_some(), day > 0, "{day} {minute}");
        }
        // From a quarter to eleven to eight, times the factor.
        assert_eq!(rhythm.silent_after_ms(&settings), Some((9 * HOUR_MS + HOUR_MS / 4) * 2));
    }

    #[test]
    fn a_stream_is_not_silent_within_the_least_time_and_its_memory_is_bounded() {
        let mut rhythm = Rhythm::default();
        for now_ms in (0..20 * DAY_MS).step_by(60_000) {
            rhythm.came(now_ms);
        }
        assert_eq!(rhythm.longest.len(), DAYS_MAX);
        assert_eq!(rhythm.usual_gap_ms(), Some(60_000));
        assert_eq!(rhythm.silent_after_ms(&crate::poll::default_settings()), Some(HOUR_MS));
    }
}
