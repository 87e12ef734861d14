//! Stories: what several authors or platforms publish about the same thing.

pub mod record;

pub use record::Story;
