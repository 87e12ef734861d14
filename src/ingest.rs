//! The way in: content events are checked and appended to the log.
