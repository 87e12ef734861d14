//! Answers of Discord → how long to wait before the next request.
//!
//! Three limits hold together:
//! - what the headers say (bucket, remaining, reset-after) and 429 says (retry-after,
//!   global or not), by address;
//! - our own window of requests a minute per channel, below the limit that Discord
//!   enforces and its headers do not show;
//! - the guard: Discord bans an address after 10 000 invalid requests (401, 403, 429)
//!   in 10 minutes; requests stop long before.
//!
//! Pure: time comes in as milliseconds.

use std::collections::{HashMap, VecDeque};

pub const MINUTE_MS: i64 = 60_000;
/// The window in which Discord counts invalid requests.
pub const INVALID_WINDOW_MS: i64 = 600_000;
/// What a header or a body may make us wait at most; a day is a fault of a proxy.
const WAIT_MAX_MS: i64 = 3_600_000;
/// Not at once, even if a 429 says so.
const WAIT_MIN_MS: i64 = 100;
/// Without any hint how long.
const WAIT_DEFAULT_MS: i64 = 5_000;
/// Addresses remembered.
const SCOPES_MAX: usize = 4_096;

/// What an answer said about limits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hints {
    pub status: u16,
    pub bucket: Option<String>,
    pub remaining: Option<u64>,
    pub reset_after_ms: Option<i64>,
    /// From the header or the body of a 429.
    pub retry_after_ms: Option<i64>,
    pub global: bool,
    /// `X-RateLimit-Scope: shared`: not counted as invalid.
    pub shared: bool,
}

#[derive(Debug)]
pub struct Limits {
    per_channel_max: usize,
    invalid_max: usize,
    /// By address and method: the bucket it belongs to.
    buckets: HashMap<String, String>,
    /// By bucket and address: not before.
    blocked: HashMap<String, i64>,
    global_until: i64,
    /// By channel: when requests were made.
    recent: HashMap<String, VecDeque<i64>>,
    invalid: VecDeque<i64>,
}

impl Limits {
    pub fn new(per_channel_max: usize, invalid_max: usize) -> Self {
        Self {
            per_channel_max: per_channel_max.max(1),
            invalid_max: invalid_max.max(1),
            buckets: HashMap::new(),
            blocked: HashMap::new(),
            global_until: i64::MIN,
            recent: HashMap::new(),
            invalid: VecDeque::new(),
        }
    }

    /// Milliseconds until a request of `kind` (such as `post`) to `address` in
    /// `channel` may be made; 0 is now.
    pub fn wait_ms(&mut self, now: i64, kind: &str, address: &str, channel: &str) -> i64 {
        let mut until = self.global_until;
        if let Some(blocked) = self.blocked.get(&self.scope(kind, address)) {
            until = until.max(*blocked);
        }
        if let Some(recent) = self.recent.get_mut(channel) {
            while recent.front().is_some_and(|at| at + MINUTE_MS <= now) {
                recent.pop_front();
            }
            if recent.len() >= self.per_channel_max {
                until = until.max(recent[recent.len() - self.per_channel_max] + MINUTE_MS);
            }
        }
        if let Some(free_at) = self.guarded_until(now) {
            until = until.max(free_at);
        }
        until.saturating_sub(now).max(0)
    }

    /// When requests may go on, if the guard stops them.
    pub fn guarded_until(&mut self, now: i64) -> Option<i64> {
        while self.invalid.front().is_some_and(|at| at + INVALID_WINDOW_MS <= now) {
            self.invalid.pop_front();
        }
        let excess = self.invalid.len().checked_sub(self.invalid_max)?;
        Some(self.invalid[excess] + INVALID_WINDOW_MS)
    }

    pub fn invalid_count(&self) -> usize {
        self.invalid.len()
    }

    /// A request is about to be made.
    pub fn requested(&mut self, now: i64, channel: &str) {
        if self.recent.len() >= SCOPES_MAX {
            self.recent.retain(|_, times| times.back().is_some_and(|at| at + MINUTE_MS > now));
        }
        self.recent.entry(channel.to_string()).or_default().push_back(now);
    }

    /// Two names of one channel: requests made under `address` count for `channel`.
    pub fn same_channel(&mut self, address: &str, channel: &str) {
        if let Some(times) = self.recent.remove(address) {
            let all = self.recent.entry(channel.to_string()).or_default();
            all.extend(times);
            all.make_contiguous().sort_unstable();
        }
    }

    /// Learns from an answer. Whether it was an invalid request.
    pub fn answered(&mut self, now: i64, kind: &str, address: &str, hints: &Hints) -> bool {
        if self.blocked.len() >= SCOPES_MAX || self.buckets.len() >= SCOPES_MAX {
            self.blocked.retain(|_, until| *until > now);
            self.buckets.clear();
        }
        if let Some(bucket) = &hints.bucket {
            self.buckets.insert(format!("{kind} {address}"), bucket.clone());
        }
        let scope = self.scope(kind, address);
        if hints.status == 429 {
            let wait = hints
                .retry_after_ms
                .or(hints.reset_after_ms)
                .unwrap_or(WAIT_DEFAULT_MS)
                .clamp(WAIT_MIN_MS, WAIT_MAX_MS);
            if hints.global {
                self.global_until = self.global_until.max(now + wait);
            } else {
                self.blocked.insert(scope, now + wait);
            }
        } else if hints.remaining == Some(0) {
            let wait = hints.reset_after_ms.unwrap_or(WAIT_DEFAULT_MS).clamp(0, WAIT_MAX_MS);
            self.blocked.insert(scope, now + wait);
        }
        let invalid = matches!(hints.status, 401 | 403) || (hints.status == 429 && !hints.shared);
        if invalid {
            self.invalid.push_back(now);
            if self.invalid.len() > self.invalid_max * 2 {
                self.invalid.pop_front();
            }
        }
        invalid
    }

    /// A bucket is shared by routes of one address only (webhook id, channel id).
    fn scope(&self, kind: &str, address: &str) -> String {
        match self.buckets.get(&format!("{kind} {address}")) {
            Some(bucket) => format!("{bucket} {address}"),
            None => format!("{kind} {address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(remaining: u64, reset_after_ms: i64) -> Hints {
        Hints {
            status: 200,
            bucket: Some("b".into()),
            remaining: Some(remaining),
            reset_after_ms: Some(reset_after_ms),
            ..Hints::default()
        }
    }

    #[test]
    fn an_exhausted_bucket_waits_until_its_reset() {
        let mut limits = Limits::new(25, 100);
        limits.answered(0, "post", "w", &ok(1, 2_000));
        assert_eq!(limits.wait_ms(0, "post", "w", "c"), 0);
        limits.answered(10, "post", "w", &ok(0, 1_990));
        assert_eq!(limits.wait_ms(500, "post", "w", "c"), 1_500);
        assert_eq!(limits.wait_ms(500, "post", "other", "c"), 0);
        assert_eq!(limits.wait_ms(2_000, "post", "w", "c"), 0);
    }

    #[test]
    fn the_hidden_limit_is_never_reached_in_any_minute() {
        let mut limits = Limits::new(25, 100);
        let mut sent = Vec::new();
        let mut now = 0;
        while now < 10 * MINUTE_MS {
            let wait = limits.wait_ms(now, "post", "w", "c");
            if wait == 0 {
                limits.requested(now, "c");
                sent.push(now);
            }
            now += wait.max(37);
        }
        for (index, at) in sent.iter().enumerate() {
            assert!(sent[index..].iter().take_while(|t| **t < at + MINUTE_MS).count() <= 25);
        }
        assert!(sent.len() >= 225, "{} in ten minutes", sent.len());
    }

    #[test]
    fn a_global_limit_stops_every_address() {
        let mut limits = Limits::new(25, 100);
        let hints = Hints { status: 429, retry_after_ms: Some(700), global: true, ..Hints::default() };
        limits.answered(0, "post", "w", &hints);
        assert_eq!(limits.wait_ms(100, "edit", "other", "d"), 600);
    }

    #[test]
    fn the_guard_stops_and_lets_go() {
        let mut limits = Limits::new(25, 3);
        let forbidden = Hints { status: 403, ..Hints::default() };
        for at in [0, 10, 20] {
            assert_eq!(limits.wait_ms(at, "post", "w", "c"), 0);
            assert!(limits.answered(at, "post", "w", &forbidden));
        }
        assert_eq!(limits.wait_ms(30, "post", "w", "c"), INVALID_WINDOW_MS - 30);
        assert_eq!(limits.wait_ms(INVALID_WINDOW_MS, "post", "w", "c"), 0);
        let shared = Hints { status: 429, shared: true, ..Hints::default() };
        assert!(!limits.answered(40, "post", "w", &shared));
    }

    #[test]
    fn webhooks_of_one_channel_share_its_window() {
        let mut limits = Limits::new(2, 100);
        limits.requested(0, "webhook a");
        limits.requested(1, "channel");
        limits.same_channel("webhook a", "channel");
        assert!(limits.wait_ms(2, "post", "b", "channel") > 0);
    }
}
