//! When to poll again: the outcome of a poll in, a time out. Pure.

use super::feed::Wishes;
use super::identity::Hash;
use super::settings::Settings;

/// How a poll ended, as the metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    NotModified,
    RateLimited,
    Http4xx,
    Http5xx,
    Parse,
    Timeout,
    Unreachable,
    TooLarge,
    Redirect,
    Blocked,
    Gone,
}

impl Outcome {
    pub fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotModified => "not_modified",
            Self::RateLimited => "rate_limited",
            Self::Http4xx => "http_4xx",
            Self::Http5xx => "http_5xx",
            Self::Parse => "parse",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::TooLarge => "too_large",
            Self::Redirect => "redirect",
            Self::Blocked => "blocked",
            Self::Gone => "gone",
        }
    }

    pub fn is_success(self) -> bool {
        matches!(self, Self::Ok | Self::NotModified)
    }
}

/// What the schedule depends on.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    pub outcome: Outcome,
    pub now_ms: i64,
    /// The source's own interval, if it has one.
    pub interval_s: Option<u64>,
    pub errors_in_row: u32,
    pub retry_after_s: Option<u64>,
    pub max_age_s: Option<u64>,
    pub wishes: &'a Wishes,
    /// In 0..1, of this source and poll.
    pub chance: f64,
}

/// When the source is due again.
pub fn next_due_ms(settings: &Settings, moment: &Moment<'_>) -> i64 {
    let interval_s = moment.interval_s.unwrap_or(settings.interval_s);
    if moment.outcome.is_success() {
        let wish_s = moment.max_age_s.max(moment.wishes.ttl_s).unwrap_or(0).min(settings.wish_max_s);
        let due_ms = after(moment, interval_s.max(wish_s), settings.jitter_ratio);
        return allowed(due_ms, moment.wishes);
    }
    let backoff_s = backoff_s(settings, moment.errors_in_row);
    let delay_s = match (moment.outcome, moment.retry_after_s) {
        (Outcome::Gone, _) => settings.gone_recheck_s,
        // The publisher's own figure, but never none at all.
        (_, Some(asked_s)) => asked_s.clamp(settings.backoff_min_s, settings.retry_after_max_s),
        _ => backoff_s,
    };
    after(moment, delay_s, settings.jitter_ratio)
}

/// Doubles with every error in a row, from the least to the most.
pub fn backoff_s(settings: &Settings, errors_in_row: u32) -> u64 {
    let doublings = errors_in_row.saturating_sub(1).min(32);
    settings.backoff_min_s.saturating_mul(1 << doublings).min(settings.backoff_max_s)
}

/// Jitter only lengthens: nobody is polled earlier than they asked.
fn after(moment: &Moment<'_>, delay_s: u64, jitter_ratio: f64) -> i64 {
    let delay_ms = i64::try_from(delay_s).unwrap_or(i64::MAX / 4_000).saturating_mul(1_000);
    let jitter_ms = (delay_ms as f64 * jitter_ratio * moment.chance) as i64;
    moment.now_ms.saturating_add(delay_ms).saturating_add(jitter_ms)
}

/// Moves a time out of the hours and days that the publisher asked to skip.
/// Wishes that leave no hour at all are none.
fn allowed(due_ms: i64, wishes: &Wishes) -> i64 {
    const HOUR_MS: i64 = 3_600_000;
    const DAY_MS: i64 = 24 * HOUR_MS;
    let mut at_ms = due_ms;
    for _ in 0..=7 * 24 {
        let hour = at_ms.div_euclid(HOUR_MS).rem_euclid(24);
        // 1970-01-01 was a Thursday, the fourth day.
        let day = (at_ms.div_euclid(DAY_MS) + 3).rem_euclid(7) + 1;
        let skipped = |list: &[u8], value: i64| list.iter().any(|v| i64::from(*v) == value);
        if !skipped(&wishes.skip_hours, hour) && !skipped(&wishes.skip_days, day) {
            return at_ms;
        }
        at_ms = (at_ms.div_euclid(HOUR_MS) + 1) * HOUR_MS;
    }
    due_ms
}

/// A number in 0..1 that depends on nothing but its arguments.
pub fn chance(seed: u64, source: &str, poll: u64) -> f64 {
    let hash = Hash::of(&[&seed.to_string(), source, &poll.to_string()]);
    let [a, b, c, d, ..] = hash.0;
    f64::from(u32::from_le_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0)
}

/// The seconds that a Retry-After asks for: a number, or an HTTP date.
pub fn retry_after_s(value: &str, now_ms: i64) -> Option<u64> {
    let value = value.trim();
    // Some servers send fractions.
    if let Ok(seconds) = value.parse::<f64>() {
        return (seconds.is_finite() && seconds >= 0.0).then_some(seconds.ceil() as u64);
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    u64::try_from((at.as_millisecond() - now_ms).max(0)).ok().map(|ms| ms.div_ceil(1_000))
}

/// How long a response may be reused by its Cache-Control and Age.
pub fn max_age_s(cache_control: &str, age: Option<&str>) -> Option<u64> {
    let mut max_age = None;
    for directive in cache_control.split(',').map(str::trim) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.to_ascii_lowercase().as_str() {
            "no-cache" | "no-store" => return None,
            "max-age" => max_age = value.trim().trim_matches('"').parse::<u64>().ok(),
            _ => {}
        }
    }
    let age = age.and_then(|a| a.trim().parse::<u64>().ok()).unwrap_or(0);
    max_age.map(|s| s.saturating_sub(age))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due_s(outcome: Outcome, errors: u32, retry_after_s: Option<u64>, max_age_s: Option<u64>) -> i64 {
        let wishes = Wishes::default();
        let moment = Moment {
            outcome,
            now_ms: 0,
            interval_s: None,
            errors_in_row: errors,
            retry_after_s,
            max_age_s,
            wishes: &wishes,
            chance: 0.0,
        };
        next_due_ms(&crate::poll::default_settings(), &moment) / 1_000
    }

    #[test]
    fn errors_back_off_to_a_ceiling() {
        let delays: Vec<i64> = (1..12).map(|n| due_s(Outcome::Http5xx, n, None, None)).collect();
        assert_eq!(&delays[..4], [60, 120, 240, 480]);
        assert_eq!(delays[10], 21_600);
        assert_eq!(due_s(Outcome::Http4xx, u32::MAX, None, None), 21_600);
        assert_eq!(due_s(Outcome::Gone, 1, None, None), 604_800);
    }

    #[test]
    fn the_publisher_is_heard_within_limits() {
        assert_eq!(due_s(Outcome::RateLimited, 5, Some(300), None), 300);
        assert_eq!(due_s(Outcome::RateLimited, 1, Some(0), None), 60);
        assert_eq!(due_s(Outcome::RateLimited, 1, Some(1 << 40), None), 86_400);
        assert_eq!(due_s(Outcome::Ok, 0, None, Some(60)), 900);
        assert_eq!(due_s(Outcome::NotModified, 0, None, Some(3_600)), 3_600);
        assert_eq!(due_s(Outcome::Ok, 0, None, Some(u64::MAX)), 86_400);
    }

    #[test]
    fn skipped_hours_and_days_are_skipped() {
        // Monday 1970-01-05 10:30 UTC.
        let monday_ms = (4 * 24 * 60 + 10 * 60 + 30) * 60_000;
        let wishes = Wishes { ttl_s: None, skip_hours: vec![10, 11], skip_days: vec![] };
        assert_eq!(allowed(monday_ms, &wishes), monday_ms + 90 * 60_000);
        let wishes = Wishes { ttl_s: None, skip_hours: vec![0], skip_days: vec![1, 2] };
        assert_eq!(allowed(monday_ms, &wishes), (6 * 24 + 1) * 3_600_000);
        let never = Wishes { ttl_s: None, skip_hours: (0..24).collect(), skip_days: vec![] };
        assert_eq!(allowed(monday_ms, &never), monday_ms);
    }

    #[test]
    fn headers_are_read() {
        assert_eq!(retry_after_s("120", 0), Some(120));
        assert_eq!(retry_after_s("1.5", 0), Some(2));
        assert_eq!(retry_after_s("Thu, 01 Jan 1970 00:02:00 GMT", 60_000), Some(60));
        assert_eq!(retry_after_s("Thu, 01 Jan 1970 00:02:00 GMT", 600_000), Some(0));
        assert_eq!(retry_after_s("soon", 0), None);
        assert_eq!(retry_after_s("-5", 0), None);
        assert_eq!(max_age_s("public, max-age=300", Some("100")), Some(200));
        assert_eq!(max_age_s("no-cache, max-age=300", None), None);
        assert_eq!(max_age_s("private", None), None);
    }

    #[test]
    fn chance_is_spread_and_repeatable() {
        let values: Vec<f64> = (0..1_000).map(|n| chance(7, "feed", n)).collect();
        let mean = values.iter().sum::<f64>() / 1_000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
        assert!(values.iter().all(|v| (0.0..1.0).contains(v)));
        assert_eq!(values[5], chance(7, "feed", 5));
    }
}
