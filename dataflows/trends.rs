//! Trends: bursts of watched topics and of emergent terms.

pub mod record;

pub use record::{Subject, SubjectKind, Trend, TrendBucket, TrendState};
