//! When a route fires: wall-clock times in its zone → instants, and the window that
//! each firing covers.
//!
//! Invariants:
//! - Windows of a route are disjoint and leave no gap: each reaches from the firing
//!   before to this one. A time within quiet hours does not fire, so its content is
//!   in the next window.
//! - A local time that a clock change skips fires as much later as the clock jumped
//!   (02:30 becomes 03:30); one that occurs twice fires the first time only.
//! - "1h" fires on full hours of UTC, so that no hour is skipped or doubled.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use dataflows::time::{HOUR_MS, Millis};

use super::routes::Route;

/// Days around an instant in which a firing is certain: one for the date line, one
/// for a clock change into quiet hours, one for a date that a zone left out.
const DAYS_AROUND: i32 = 3;

/// Firings that are counted: more than a year of hours.
const COUNTED_MAX: u64 = 10_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Local times of day, sorted.
    At(Vec<Time>),
    /// Every full hour of UTC.
    Hourly,
    /// For alerts only: there are no digests.
    Never,
}

/// From `from` until before `to`, over midnight where `to` is earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quiet {
    pub from: Time,
    pub to: Time,
}

/// From `start` until before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DigestWindow")]
pub struct Window {
    pub start: Millis,
    pub end: Millis,
}

impl Window {
    pub fn length_ms(self) -> i64 {
        self.end.0 - self.start.0
    }

    pub fn contains(self, at: Millis) -> bool {
        self.start <= at && at < self.end
    }

    /// The window of the same length before this one.
    pub fn previous(self) -> Self {
        Self { start: Millis(self.start.0 - self.length_ms()), end: self.start }
    }
}

impl Quiet {
    pub fn contains(self, time: Time) -> bool {
        if self.from < self.to {
            self.from <= time && time < self.to
        } else {
            time >= self.from || time < self.to
        }
    }
}

impl Schedule {
    /// `1h`, `6h` or `24h`.
    pub fn every(text: &str) -> Option<Self> {
        match text {
            "1h" => Some(Self::Hourly),
            "6h" => Some(Self::At([0, 6, 12, 18].map(hour).to_vec())),
            "24h" => Some(Self::At(vec![hour(0)])),
            _ => None,
        }
    }

    /// Whether nothing would ever fire.
    pub fn always_quiet(&self, quiet: Quiet) -> bool {
        match self {
            Self::At(times) => times.iter().all(|t| quiet.contains(*t)),
            // The shortest time that is not quiet may hold no full hour.
            Self::Hourly => (0..24).all(|h| quiet.contains(hour(h))),
            Self::Never => false,
        }
    }
}

fn hour(hour: i8) -> Time {
    Time::constant(hour, 0, 0, 0)
}

impl Route {
    /// The last firing at or before `at`; `None` before the calendar begins.
    pub fn last_fire(&self, at: Millis) -> Option<Millis> {
        self.fires_around(at)?.into_iter().rev().find(|fire| *fire <= at)
    }

    /// The first firing after `at`.
    pub fn next_fire(&self, at: Millis) -> Option<Millis> {
        self.fires_around(at)?.into_iter().find(|fire| *fire > at)
    }

    /// The window that the firing at `fire` covers.
    pub fn window_of(&self, fire: Millis) -> Option<Window> {
        let start = self.last_fire(Millis(fire.0 - 1))?;
        Some(Window { start, end: fire })
    }

    /// The firings after `after` up to and including `until`, the last `max` of them,
    /// and how many there were before those (counted up to `COUNTED_MAX`).
    pub fn fires_between(&self, after: Millis, until: Millis, max: usize) -> (Vec<Millis>, u64) {
        let mut fires = Vec::new();
        let mut before = 0;
        let mut at = until;
        while let Some(fire) = self.last_fire(at).filter(|fire| *fire > after) {
            if fires.len() < max {
                fires.push(fire);
            } else {
                before += 1;
            }
            if before == COUNTED_MAX {
                break;
            }
            at = Millis(fire.0 - 1);
        }
        fires.reverse();
        (fires, before)
    }

    /// Longer than any window of this route.
    pub fn window_bound_ms(&self) -> i64 {
        match (&self.schedule, self.quiet) {
            (Schedule::Hourly, None) | (Schedule::Never, _) => 2 * HOUR_MS,
            // A day, with an hour for a clock change.
            (Schedule::At(_), None) => 26 * HOUR_MS,
            // A clock change may move the only firing of a day into quiet hours.
            (_, Some(_)) => 50 * HOUR_MS,
        }
    }

    fn fires_around(&self, at: Millis) -> Option<Vec<Millis>> {
        let timestamp = Timestamp::from_millisecond(at.0).ok()?;
        let zone = match self.schedule {
            Schedule::At(_) => self.zone.clone(),
            Schedule::Hourly | Schedule::Never => TimeZone::UTC,
        };
        let today = timestamp.to_zoned(zone.clone()).date();
        let mut fires = Vec::new();
        for days in -DAYS_AROUND..=DAYS_AROUND {
            let Ok(day) = today.checked_add(jiff::Span::new().days(days)) else { continue };
            fires.extend(self.fires_on(day, &zone));
        }
        fires.retain(|fire| !self.is_quiet(*fire));
        fires.sort_unstable();
        fires.dedup();
        Some(fires)
    }

    fn fires_on(&self, day: Date, zone: &TimeZone) -> Vec<Millis> {
        let fire = |time: Time| {
            let zoned = day.to_datetime(time).to_zoned(zone.clone()).ok()?;
            Some(Millis(zoned.timestamp().as_millisecond()))
        };
        match &self.schedule {
            Schedule::At(times) => times.iter().copied().filter_map(fire).collect(),
            Schedule::Hourly => (0..24).map(hour).filter_map(fire).collect(),
            Schedule::Never => Vec::new(),
        }
    }

    /// Whether an instant lies in the quiet hours.
    pub fn is_quiet(&self, at: Millis) -> bool {
        let Some(quiet) = self.quiet else { return false };
        let local = Timestamp::from_millisecond(at.0).map(|t| t.to_zoned(self.zone.clone()).time());
        local.is_ok_and(|time| quiet.contains(time))
    }
}

#[cfg(test)]
mod tests {
    use super::super::routes::{Defaults, parse};
    use super::*;

    fn route(text: &str) -> Route {
        let text = format!("[[route]]\nname='r'\nto='webhook'\n{text}");
        parse(&text, &Defaults { items_max: 5, topics_max: 5 }).expect("valid").remove(0)
    }

    fn at(text: &str) -> Millis {
        Millis::parse(text).expect("a time")
    }

    fn fires(route: &Route, from: &str, to: &str) -> Vec<String> {
        let mut all = Vec::new();
        let mut now = at(from);
        while let Some(fire) = route.next_fire(now).filter(|f| *f <= at(to)) {
            all.push(fire.to_string());
            now = fire;
        }
        all
    }

    #[test]
    fn a_skipped_local_time_fires_once_and_later() {
        // Clocks in Berlin jump from 02:00 to 03:00 on 2026-03-29.
        let route = route("timezone='Europe/Berlin'\nat='02:30'");
        let expected = ["2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"];
        assert_eq!(fires(&route, "2026-03-28T00:00:00Z", "2026-03-30T12:00:00Z"), expected);
    }

    #[test]
    fn a_doubled_local_time_fires_the_first_time_only() {
        // 02:30 comes twice in Berlin on 2026-10-25: 00:30Z and 01:30Z.
        let route = route("timezone='Europe/Berlin'\nat='02:30'");
        let expected = ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"];
        assert_eq!(fires(&route, "2026-10-24T00:00:00Z", "2026-10-26T12:00:00Z"), expected);
        let long = route.window_of(at("2026-10-26T01:30:00Z")).expect("a window");
        assert_eq!(long.length_ms(), 25 * HOUR_MS);
    }

    #[test]
    fn times_that_a_clock_change_makes_equal_fire_once() {
        let route = route("timezone='Europe/Berlin'\nat=['02:30','03:30']");
        assert_eq!(fires(&route, "2026-03-29T00:00:00Z", "2026-03-29T12:00:00Z"), ["2026-03-29T01:30:00Z"]);
    }

    #[test]
    fn quiet_hours_span_midnight_and_queue_into_the_next_window() {
        let route = route("timezone='America/New_York'\nevery='1h'\nquiet_hours='22:00-07:00'");
        // In January New York is 5 hours behind.
        let first = route.next_fire(at("2026-01-10T03:00:00Z")).expect("fires");
        assert_eq!(first, at("2026-01-10T12:00:00Z"));
        let window = route.window_of(first).expect("a window");
        assert_eq!(window.start, at("2026-01-10T02:00:00Z"));
        assert_eq!(window.length_ms(), 10 * HOUR_MS);
        assert!(window.length_ms() < route.window_bound_ms());
    }

    #[test]
    fn windows_tile_the_year_in_every_zone() {
        for zone in [
            "UTC",
            "Europe/Berlin",
            "America/New_York",
            "Asia/Kolkata",
            "Australia/Lord_Howe",
            "Pacific/Apia",
            "Africa/Casablanca",
        ] {
            for schedule in
                ["at=['02:30','23:59']", "every='6h'", "every='24h'", "every='1h'\nquiet_hours='21:30-06:15'"]
            {
                let route = route(&format!("timezone='{zone}'\n{schedule}"));
                let mut fire = route.next_fire(at("2026-01-01T00:00:00Z")).expect("fires");
                while fire < at("2027-01-01T00:00:00Z") {
                    let next = route.next_fire(fire).expect("fires");
                    let window = route.window_of(next).expect("a window");
                    assert_eq!((window.start, window.end), (fire, next), "{zone} {schedule}");
                    assert!(window.length_ms() < route.window_bound_ms(), "{zone} {schedule} {fire}");
                    assert_eq!(route.last_fire(next), Some(next));
                    fire = next;
                }
            }
        }
    }

    #[test]
    fn counts_what_was_missed() {
        let route = route("every='1h'");
        let (last, before) = route.fires_between(at("2026-01-01T00:00:00Z"), at("2026-01-03T00:30:00Z"), 5);
        assert_eq!(last.last(), Some(&at("2026-01-03T00:00:00Z")));
        assert_eq!(last.len() as u64 + before, 48);
    }
}
