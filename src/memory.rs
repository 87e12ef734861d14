//! The memory: embedded chunks and full text, searchable.
