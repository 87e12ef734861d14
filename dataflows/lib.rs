//! The graphs of Tidings, and the pure steps they are made of.
//!
//! No I/O, no clock, no threads: what a graph needs from the world it takes as an
//! argument, time comes in as data.

pub mod event;
pub mod record;
pub mod text;
pub mod time;

/// Timely's timestamp: a tick of the runtime's millisecond clock. Event time is data.
pub type Epoch = u64;
