//! The graphs of Tidings, and the pure steps they are made of.
//!
//! No I/O, no clock, no threads: what a graph needs from the world it takes as an
//! argument, time comes in as data.
//!
//! ```text
//!  content.events ── enrich ── content.enriched ─┬─ volume ── results.volume
//!                       │                        ├─ trends ── results.trends
//!                       │                        ├─ embed ─── content.vectors
//!                       └── dead.letters         └─ stories ── results.stories
//! ```

pub mod time;
pub mod record;
pub mod event;
pub mod faults;
pub mod check;
pub mod identity;
pub mod pii;
pub mod text;
pub mod enrich;
pub mod volume;
pub mod trends;
pub mod collect;
pub mod whole;
pub mod offload;
pub mod chunk;
pub mod vector;
pub mod embed;
pub mod stories;

/// Timely's timestamp: a tick of the runtime's millisecond clock. Event time is data.
pub type Epoch = u64;
