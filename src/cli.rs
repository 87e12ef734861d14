//! The command line: what it takes, and which part does it.
//!
//! Data goes to standard output, logs and messages to standard error. Exit codes
//! are [`Exit`]; wrong usage ends with 2 before anything is touched.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use dataflows::time::Millis;

use crate::alerts::command::AlertsCommand;
use crate::config::{Config, Environment, Loaded, Mistakes, Overrides, load};
use crate::demo::show::DemoArgs;
use crate::discord::command::{DigestCommand, DiscordCommand, OutboxCommand};
use crate::ingest::command::{self, Target};
use crate::log::command::TailArgs;
use crate::ops::client::{Reach, reach};
use crate::ops::doctor::{Grade, examine};
use crate::ops::exit::{Exit, Failure};
use crate::poll::command::SourcesCommand;

pub mod args;
mod alerts;
mod discord;
mod run;
mod topics;

pub use run::RunArgs;

/// Watches many platforms at once, understands what is published, and tells
/// Discord what matters.
#[derive(Debug, Parser)]
#[command(name = "tidings", version = VERSION, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("TIDINGS_COMMIT"), ")");

const EXIT_CODES: &str = "Exit codes: 0 ok, 1 a negative result, 2 usage or configuration, 3 log unavailable, \
4 taken over by another process, 5 data folder held by another process, 6 a live set runs already, \
7 HTTP address in use, 8 failed (a restart may help), 9 killed after the grace period.";

/// Options of every command.
#[derive(Debug, Clone, Args)]
struct Global {
    /// Overlay directory, read after the defaults [env: TIDINGS_CONFIG_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// Folder of all data [env: TIDINGS_DATA_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address of HTTP [env: TIDINGS_LISTEN]
    #[arg(long, global = true, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// error, warn, info, debug or trace [env: LOG_LEVEL]
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Sets any knob for this run
    #[arg(long, global = true, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// File of variables that the environment does not set
    #[arg(long, global = true, value_name = "FILE", default_value = ".env")]
    env_file: PathBuf,
    /// Reads no such file
    #[arg(long, global = true)]
    no_env_file: bool,
}

impl Global {
    fn load(&self) -> Result<Loaded, Mistakes> {
        let file: Option<&Path> = (!self.no_env_file).then_some(&self.env_file);
        let overrides = Overrides {
            config_dir: self.config_dir.clone(),
            data_dir: self.data_dir.clone(),
            listen: self.listen.clone(),
            log_level: self.log_level.clone(),
            set: self.set.clone(),
        };
        load(&Environment::of_process(file), &overrides)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs everything in one process, under a supervisor
    Run(RunArgs),
    /// Plays real texts and a written scenario through a Tidings of its own, and shows what came of it
    Demo(DemoArgs),
    /// Takes content events in from NDJSON: a file, or - for standard input
    Ingest { file: PathBuf },
    /// The topics of the log
    #[command(subcommand)]
    Topics(TopicsCommand),
    /// The sources that are followed
    #[command(subcommand)]
    Sources(SourcesCommand),
    /// Alerts: which there were, and what a rule would have fired
    #[command(subcommand)]
    Alerts(AlertsCommand),
    /// Digests: preview one, or post it now
    #[command(subcommand)]
    Digest(DigestCommand),
    /// Posts that wait or need a decision
    #[command(subcommand)]
    Outbox(OutboxCommand),
    /// Whether Discord can be reached
    #[command(subcommand)]
    Discord(DiscordCommand),
    /// Searches the memory by meaning and by words
    Search(crate::memory::command::SearchArgs),
    /// The models that embed
    #[command(subcommand)]
    Models(crate::memory::command::ModelsCommand),
    /// Looks at everything that a start needs and says how to mend what is wrong
    Doctor,
    /// The effective configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Our figures beside the published ones
    #[command(subcommand)]
    Eval(crate::eval::Command),
    /// Prints a completion script for a shell
    Completions { shell: clap_complete::Shell },
}

#[derive(Debug, Subcommand)]
enum TopicsCommand {
    /// Every topic with its partitions
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Prints committed records, up to the end seen at the start
    Tail(TailArgs),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Prints every effective value and where it was set
    Show,
    /// Says whether the configuration is valid
    Check,
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(exit) => exit,
        Err(failure) => {
            // Nothing is left to do if standard error is gone.
            let _ = writeln!(io::stderr(), "tidings: {failure}");
            failure.exit.into()
        }
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode, Failure> {
    let loaded = cli.global.load();
    let valid = |loaded: Result<Loaded, Mistakes>| {
        loaded.map_err(|mistakes| Failure::new(Exit::Usage, mistakes.to_string()))
    };
    match cli.command {
        Command::Run(args) => run::run(valid(loaded)?, &args),
        Command::Demo(args) => demo(&valid(loaded)?.config, &args),
        Command::Ingest { file } => ingest(&valid(loaded)?.config, &file),
        Command::Topics(command) => topics::run(&valid(loaded)?.config, command),
        Command::Sources(command) => sources(&valid(loaded)?, command),
        Command::Alerts(command) => alerts::run(&valid(loaded)?.config, command),
        Command::Digest(command) => discord::run(&valid(loaded)?.config, async |c| command.run(c).await),
        Command::Outbox(command) => discord::run(&valid(loaded)?.config, async |c| command.run(c).await),
        Command::Discord(command) => discord::run(&valid(loaded)?.config, async |c| command.run(c).await),
        Command::Search(args) => {
            let config = valid(loaded)?.config;
            let found = crate::memory::command::search(&config, &cache_dir(), &args, &mut io::stdout())?;
            Ok(if found { Exit::Ok } else { Exit::Negative }.into())
        }
        Command::Models(command) => {
            let config = valid(loaded)?.config;
            crate::memory::command::models(&config, &cache_dir(), &command, &mut io::stdout())
                .map(|()| Exit::Ok.into())
        }
        Command::Doctor => {
            let findings = examine(&loaded, &cache_dir());
            let text: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
            print(&text)?;
            let failed = findings.iter().any(|finding| finding.grade == Grade::Failure);
            Ok(if failed { Exit::Negative } else { Exit::Ok }.into())
        }
        Command::Config(ConfigCommand::Show) => print(&valid(loaded)?.show()).map(|()| Exit::Ok.into()),
        Command::Config(ConfigCommand::Check) => {
            let loaded = valid(loaded)?;
            let notices: String = loaded.notices.iter().map(|notice| format!("note: {notice}\n")).collect();
            print(&format!("{notices}the configuration is valid\n")).map(|()| Exit::Ok.into())
        }
        Command::Eval(command) => {
            let cache = Environment::of_process(None).cache_dir();
            let config = loaded.as_ref().ok().map(|loaded| &loaded.config);
            let good = crate::eval::run(&command, config, cache.as_deref(), &mut io::stdout())
                .map_err(|error| Failure::failed(format!("{error:#}")))?;
            Ok(if good { Exit::Ok } else { Exit::Negative }.into())
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tidings", &mut script);
            print(&String::from_utf8_lossy(&script)).map(|()| Exit::Ok.into())
        }
    }
}

fn sources(loaded: &Loaded, command: SourcesCommand) -> Result<ExitCode, Failure> {
    use crate::poll::{command, overlay::OverlayFile, source};
    let config = &loaded.config;
    let sources =
        source::of_tables(&config.source).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::failed(format!("cannot start the runtime: {error}")))?;
    // What a check shows of items has not been through the pipeline.
    let mut out = crate::pii::MaskedLines::new(io::stdout(), &crate::pii::of_preview(config)?);
    if let SourcesCommand::Remove { name } = &command {
        for rule in crate::run::alerts::naming_source(config, name)? {
            // The next start refuses a rule that names what is not there.
            let note = format!("tidings: the alert {rule:?} names {name:?}: change alerts.toml too");
            let _ = writeln!(io::stderr(), "{note}");
        }
    }
    let place = command::Place {
        settings: &config.poll,
        sources: &sources,
        folder: &config.data_dir,
        overlay: OverlayFile(loaded.list_path("sources.toml")),
    };
    let run = command::run(command, &place, &mut out);
    let good = runtime.block_on(run).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    out.finish().map_err(|error| Failure::failed(format!("cannot write to standard output: {error}")))?;
    Ok(if good { Exit::Ok } else { Exit::Negative }.into())
}

fn demo(config: &Config, args: &DemoArgs) -> Result<ExitCode, Failure> {
    let cache = Environment::of_process(None).cache_dir();
    let cache =
        cache.ok_or_else(|| Failure::new(Exit::Usage, "no cache folder is known: set TIDINGS_CACHE"))?;
    let now = Millis(crate::run::now_ms());
    let good = crate::demo::show::run(args, &cache, config.listen, now)
        .map_err(|error| Failure::failed(error.to_string()))?;
    Ok(if good { Exit::Ok } else { Exit::Negative }.into())
}

/// The user's folder for what was fetched.
fn cache_dir() -> PathBuf {
    Environment::of_process(None).cache_dir().unwrap_or_else(|| PathBuf::from("cache"))
}

fn ingest(config: &Config, file: &Path) -> Result<ExitCode, Failure> {
    let mut input: Box<dyn io::BufRead> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let opened = std::fs::File::open(file)
            .map_err(|error| Failure::new(Exit::Usage, format!("cannot open {}: {error}", file.display())))?;
        Box::new(io::BufReader::new(opened))
    };
    let mut out = io::stdout().lock();
    let all_accepted = match reach(config)? {
        Reach::Server(client) => command::ingest(&mut input, &Target::Server(&client), &mut out)?,
        Reach::Folder(folder) => {
            let log = crate::run::open_log(config, folder.path())?;
            let index = crate::run::open_index(folder.path())?;
            let ingest = crate::run::open_ingest(config, &log, index);
            command::ingest(&mut input, &Target::Log(&ingest), &mut out)?
        }
    };
    Ok(if all_accepted { Exit::Ok } else { Exit::Negative }.into())
}

/// Writes data to standard output. A reader that went away (`| head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Whether progress may be drawn: never into a file or a pipe.
pub fn is_interactive() -> bool {
    io::stderr().is_terminal()
}
