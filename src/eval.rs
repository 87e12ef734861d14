//! `tidings eval`: our figures beside the published ones.

pub mod measures;
pub mod pii;
pub mod sentiment;
pub mod trends;
pub mod stories;

use std::io::Write;
use std::path::Path;

use anyhow::Context;

use crate::config::Config;

/// What can be evaluated.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Sentiment on VADER's four human-rated sets of texts
    Sentiment(sentiment::Args),
    /// Personal values found in a corpus of them and of what only looks like them
    Pii(pii::Args),
    /// Bursts hidden in a made-up week: how many are found, how soon, and how many are none
    Trends(trends::Args),
    /// Which of labelled texts are taken for one story, by words alone and with embeddings
    Stories(stories::Args),
}

/// Writes the figures to `out`; whether they are what they should be. `cache` is the folder
/// in which the scripts and `models fetch` leave what they fetched.
pub fn run(
    command: &Command,
    config: Option<&Config>,
    cache: Option<&Path>,
    out: &mut dyn Write,
) -> anyhow::Result<bool> {
    match command {
        Command::Sentiment(args) => sentiment::run(args, cache, out),
        Command::Pii(args) => pii::run(args, out),
        Command::Trends(args) => trends::run(args, out),
        Command::Stories(args) => {
            let config = config.context("the configuration is not valid: `tidings config check` says why")?;
            stories::run(args, config, cache, out)
        }
    }
}
