//! What a text says: markup removed, language, sentiment, watched topics. Pure functions.

pub mod sentiment;
