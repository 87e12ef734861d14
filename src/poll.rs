//! Pollers: what the platforms publish, as content events.
