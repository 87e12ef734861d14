//! `tidings eval`: our figures beside the published ones.

pub mod measures;
pub mod pii;
pub mod sentiment;
pub mod trends;

use std::io::Write;
use std::path::Path;

/// What can be evaluated.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Sentiment on VADER's four human-rated sets of texts
    Sentiment(sentiment::Args),
    /// Personal values found in a corpus of them and of what only looks like them
    Pii(pii::Args),
    /// Bursts hidden in a made-up week: how many are found, how soon, and how many are none
    Trends(trends::Args),
}

/// Writes the figures to `out`; whether they are what they should be. `cache` is the folder
/// in which the scripts leave what they fetched.
pub fn run(command: &Command, cache: Option<&Path>, out: &mut dyn Write) -> anyhow::Result<bool> {
    match command {
        Command::Sentiment(args) => sentiment::run(args, cache, out),
        Command::Pii(args) => pii::run(args, out),
        Command::Trends(args) => trends::run(args, out),
    }
}
