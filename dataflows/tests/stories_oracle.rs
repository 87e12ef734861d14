//! Stories against recomputation and by literal cases: merge, split, expiry, edits,
//! deletions, restarts; chains and floods within their bounds.

#[path = "stories/bounds.rs"]
mod bounds;
#[path = "stories/cases.rs"]
mod cases;
#[path = "stories/harness.rs"]
mod harness;
#[path = "stories/oracle.rs"]
mod oracle;
#[path = "stories/random.rs"]
mod random;
