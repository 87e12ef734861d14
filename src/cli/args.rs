//! What the commands take. A command is listed in `Command` once the part
//! that does it is there.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use dataflows::time::Millis;

/// `tidings ingest FILE|-`
#[derive(Debug, Clone, Args)]
pub struct IngestArgs {
    /// Content events, one JSON object a line; - is standard input
    pub file: PathBuf,
}

/// `tidings topics …`
#[derive(Debug, Clone, Subcommand)]
pub enum TopicsCommand {
    /// Lists every topic with its partitions and records
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Prints the committed records of a topic
    Tail(TailArgs),
}

#[derive(Debug, Clone, Args)]
pub struct TailArgs {
    /// Name of the topic, with or without the deployment's prefix
    pub topic: String,
    /// Where to begin
    #[arg(long, value_enum, default_value_t = From::Beginning)]
    pub from: From,
    /// Ends after this many records
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// One JSON object a line: topic, partition, offset, timestamp, key, headers, value
    #[arg(long)]
    pub json: bool,
    /// Stays and prints what comes
    #[arg(long, short = 'f')]
    pub follow: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum From {
    Beginning,
    End,
}

/// `tidings outbox …`
#[derive(Debug, Clone, Subcommand)]
pub enum OutboxCommand {
    /// Lists what waits, what is uncertain, and why
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Settles an uncertain post by hand
    Resolve {
        key: String,
        #[command(flatten)]
        how: Resolution,
    },
}

/// Exactly one of them.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct Resolution {
    /// It was posted, as this message
    #[arg(long, value_name = "ID")]
    pub message_id: Option<String>,
    /// It was not posted: send it again
    #[arg(long)]
    pub resend: bool,
    /// Leave it, whatever happened
    #[arg(long)]
    pub drop: bool,
}

/// `tidings search QUERY`
#[derive(Debug, Clone, Args)]
pub struct SearchArgs {
    pub query: String,
    /// Only this platform
    #[arg(long)]
    pub platform: Option<String>,
    /// Only what was published at or after this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = Millis::parse)]
    pub since: Option<Millis>,
    /// Hits at most
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub limit: usize,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// `tidings sources …`
#[derive(Debug, Clone, Subcommand)]
pub enum SourcesCommand {
    /// Lists every source and how it does
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Fetches every source, or this one, and says what it found
    Check {
        /// Name of a source
        name: Option<String>,
    },
}

/// `tidings discord …`
#[derive(Debug, Clone, Subcommand)]
pub enum DiscordCommand {
    /// Sends one marked message, or says why not
    Test(RouteArgs),
}

/// `tidings digest …`
#[derive(Debug, Clone, Subcommand)]
pub enum DigestCommand {
    /// Shows what would be posted now
    Preview(RouteArgs),
    /// Posts now, not at the next schedule
    Send(RouteArgs),
}

#[derive(Debug, Clone, Args)]
pub struct RouteArgs {
    /// Only this route of routes.toml
    #[arg(long, value_name = "NAME")]
    pub route: Option<String>,
}

/// `tidings eval …`
#[derive(Debug, Clone, Subcommand)]
pub enum EvalCommand {
    /// Sentiment against people's ratings, beside the published figures
    Sentiment(EvalArgs),
}

#[derive(Debug, Clone, Args)]
pub struct EvalArgs {
    /// Folder of the data sets
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// `tidings models …`
#[derive(Debug, Clone, Subcommand)]
pub enum ModelsCommand {
    /// Lists the models, their checksums, and which are there
    List,
    /// Fetches what is missing
    Fetch,
}

/// `tidings demo`
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Ends by itself with code 0
    #[arg(long)]
    pub exit: bool,
    /// Follows the default sources instead
    #[arg(long, conflicts_with = "exit")]
    pub live: bool,
}
