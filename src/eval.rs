//! `tidings eval`: our figures beside the published ones.

pub mod measures;
pub mod sentiment;

use std::io::Write;
use std::path::Path;

/// What can be evaluated.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Sentiment on VADER's four human-rated sets of texts
    Sentiment(sentiment::Args),
}

/// Writes the figures to `out`; whether they are what they should be. `cache` is the folder
/// in which the scripts leave what they fetched.
pub fn run(command: &Command, cache: Option<&Path>, out: &mut dyn Write) -> anyhow::Result<bool> {
    match command {
        Command::Sentiment(args) => sentiment::run(args, cache, out),
    }
}
