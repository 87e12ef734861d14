//! `tidings demo`: the steps of the demonstration in their order, and its report.

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dataflows::time::Millis;
use tokio::time::{Instant, sleep};

use super::content::{self, ContentError, Rated};
use super::expectation::{Check, Expectation, expectation};
use super::findings;
use super::happening::{Expected, Happening};
use super::play::{self, Sent};
use super::program::{self, Program, ProgramError};
use super::report::{COLUMNS, Table, agreement_table, check_table, count, plain, shortened};
use super::{Delivery, archive, scenario};

/// Options of `tidings demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Ends by itself: code 0 if every check holds
    #[arg(long, conflicts_with = "live")]
    exit: bool,
    /// Follows the default sources instead, until it is stopped
    #[arg(long)]
    live: bool,
    /// The package of texts, as scripts/vader_source.sh leaves it [default: that of the script]
    #[arg(long, value_name = "FILE")]
    texts: Option<PathBuf>,
    /// Folder of the demonstration, emptied when it starts [default: demo in the cache folder]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("{}: {error}: run scripts/vader_source.sh, which fetches it", path.display())]
    NoTexts { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Texts(#[from] ContentError),
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
}

const STEPS: usize = 8;
/// How long the memory gets to embed a part of the texts before it is searched.
const EMBED_PATIENCE: Duration = Duration::from_secs(45);
/// How often it is said how far the memory is.
const EMBED_SAID_EVERY: Duration = Duration::from_secs(10);
const QUERIES: [&str; 3] = [
    "why is the crossing to the other bank shut",
    "batteries that last",
    "a performance that moved me to tears",
];
const LIVE_EVERY: Duration = Duration::from_secs(15);

const CONFIG: [(&str, &str); 2] = [
    ("topics.toml", include_str!("topics.toml")),
    ("sources.toml", "# Everything is played by hand.\nsource = []\n"),
];

/// Runs the demonstration; whether all its checks hold.
pub fn run(args: &DemoArgs, cache: &Path, listen: SocketAddr, now: Millis) -> Result<bool, DemoError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let binary = std::env::current_exe()?;
    // Loopback whatever the configuration says: no token protects a demonstration.
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, listen.port()));
    let stage = Stage { binary, cache: cache.to_path_buf(), address: program::free_address(wanted)? };
    if args.live {
        return runtime.block_on(live(&stage, &cache.join("demo-live"))).map(|()| true);
    }
    let texts = args.texts.clone().unwrap_or_else(|| cache.join("vader-3.3.2").join(content::FILE_NAME));
    let folder = args.folder.clone().unwrap_or_else(|| cache.join("demo"));
    runtime.block_on(show(&stage, &texts, &folder, now, args.exit))
}

/// Where the program of the demonstration runs.
struct Stage {
    binary: PathBuf,
    cache: PathBuf,
    address: SocketAddr,
}

/// Says "step n of m" before a step and how long it took after it.
struct Steps {
    done: usize,
    began: Instant,
}

impl Steps {
    fn next(&mut self, what: &str) -> io::Result<()> {
        self.done += 1;
        self.began = Instant::now();
        print!("step {} of {STEPS}: {what} … ", self.done);
        io::stdout().flush()
    }

    fn end(&self, found: &str) {
        println!("{found} ({:.1} s)", self.began.elapsed().as_secs_f64());
    }
}

/// What was sent, and what must come of it.
struct Played {
    texts: Vec<Rated>,
    expected: Expectation,
    scenario: Sent,
    archive: Sent,
    /// From the first line sent until the last was counted.
    until_counted: Duration,
}

async fn show(
    stage: &Stage,
    texts: &Path,
    folder: &Path,
    now: Millis,
    exit: bool,
) -> Result<bool, DemoError> {
    let mut steps = Steps { done: 0, began: Instant::now() };
    steps.next("read the human-rated texts of VADER's authors")?;
    let texts = read(texts)?;
    steps.end(&format!("{} texts", count(texts.len() as u64)));

    steps.next("start Tidings in a folder of its own")?;
    let mut program = start(stage, folder).await?;
    steps.end(&program.url("/"));

    let played = play(&mut steps, &program, texts, now).await?;
    embed(&mut steps, &program).await?;
    steps.next("wait for the stories, trends and alerts that the scenario holds")?;
    let expected = Expected::read();
    let happening = Happening::wait(&program, &expected).await?;
    steps.end("done");
    let (mut checks, sections) = look(&mut steps, &program, stage, folder, &played, &happening).await?;
    checks.extend(expected.checks(&happening));
    for (title, text) in sections {
        println!("\n{title}\n{}", text.trim_end_matches('\n'));
    }
    let good = checks.iter().all(Check::passed);
    println!("\nWhat was checked against a recomputation, and against what the scenario was written to hold");
    print!("{}", check_table(&checks).render());
    println!("\n{}", if good { "Every check holds." } else { "NOT every check holds: see above." });
    if !exit {
        stay(&mut program).await?;
    }
    program.stop().await;
    Ok(good)
}

fn read(path: &Path) -> Result<Vec<Rated>, DemoError> {
    let file =
        std::fs::File::open(path).map_err(|error| DemoError::NoTexts { path: path.to_path_buf(), error })?;
    Ok(content::read(file)?)
}

async fn start(stage: &Stage, folder: &Path) -> Result<Program, ProgramError> {
    program::prepare_folder(folder)?;
    let config = folder.join("config");
    let written = std::fs::create_dir_all(&config)
        .and_then(|()| CONFIG.iter().try_for_each(|(name, text)| std::fs::write(config.join(name), text)));
    written.map_err(|error| ProgramError::Folder { path: config, error })?;
    launch(stage, folder, true).await
}

async fn launch(stage: &Stage, folder: &Path, own_config: bool) -> Result<Program, ProgramError> {
    let mut arguments: Vec<OsString> =
        ["run", "--no-supervise", "--no-env-file", "--listen"].map(OsString::from).into();
    arguments.push(stage.address.to_string().into());
    arguments.extend(["--data-dir".into(), folder.join("data").into_os_string()]);
    if own_config {
        arguments.extend(["--config-dir".into(), folder.join("config").into_os_string()]);
    }
    Program::start(&stage.binary, &arguments, &stage.cache, stage.address, folder.join("program.log")).await
}

async fn play(
    steps: &mut Steps,
    program: &Program,
    texts: Vec<Rated>,
    now: Millis,
) -> Result<Played, DemoError> {
    let written = scenario::deliveries(now);
    let archived = archive::events(&texts, now);
    let all: Vec<Delivery> = written.iter().chain(&archived).cloned().collect();
    let expected = expectation(&all, now);
    let began = Instant::now();
    steps.next("play a written scenario with edits, deletions, repeats and trouble")?;
    let scenario = play::send(program, &written).await?;
    steps.end(&format!("{} lines", count(scenario.lines as u64)));

    steps.next("play the real texts, with platforms, authors and times assigned")?;
    let archive = play::send(program, &archived).await?;
    steps.end(&format!("{} lines", count(archive.lines as u64)));

    steps.next("wait until everything is understood and counted")?;
    let items = expected.cells.values().map(|cell| cell.count).sum();
    let taken = (scenario.taken + archive.taken) as u64;
    let counted = play::wait_until_counted(program, taken, items).await?;
    steps.end(if counted { "done" } else { "given up: the checks will say what is missing" });
    Ok(Played { texts, expected, scenario, archive, until_counted: began.elapsed() })
}

/// Asks the program what it made of it all.
async fn look(
    steps: &mut Steps,
    program: &Program,
    stage: &Stage,
    folder: &Path,
    played: &Played,
    happening: &Happening,
) -> Result<(Vec<Check>, Vec<(&'static str, String)>), DemoError> {
    steps.next("ask what came of it")?;
    let compounds = findings::compounds(program).await?;
    let cells = play::day_cells(program).await?;
    let samples = play::samples(program).await?;
    let sent = [&played.scenario, &played.archive];
    let checks = findings::checks(&played.expected, &sent, &samples, &cells, &compounds);
    let (platforms, topics) = findings::volume(program).await?;
    let parts = [("scenario", &played.scenario), ("real texts", &played.archive)];
    let table = |table: Table| table.render();
    let sections = vec![
        ("How fast", table(findings::rates(&parts, played.until_counted))),
        ("Items and mood by platform", table(platforms)),
        ("Watched topics: items and mood, and on each kind of platform", table(topics)),
        (
            "Sentiment beside the ratings of twenty people each (r as the authors published it)",
            table(agreement_table(&findings::agreements(&played.texts, &compounds)))
                + "  "
                + &findings::scored(&compounds),
        ),
        ("Stories", happening.stories()),
        ("Trends", happening.trends()),
        ("Alerts", happening.alerts()),
        ("A search of the memory", search(program).await?),
        ("The digest that would be posted to Discord", digest(stage, folder).await?),
        ("What did not become content, and why", table(findings::dropped(&sent, &samples))),
    ];
    steps.end("done");
    Ok((checks, sections))
}

/// Gives the model a moment: it reads about a hundred texts a second on a core, and
/// nothing else waits for it.
async fn embed(steps: &mut Steps, program: &Program) -> Result<(), DemoError> {
    steps.next("let the model embed some of them for the search by meaning")?;
    let until = Instant::now() + EMBED_PATIENCE;
    let mut say_at = Instant::now() + EMBED_SAID_EVERY;
    let mut memory = findings::Memory::of(&play::samples(program).await?);
    while !memory.is_settled() && Instant::now() < until {
        sleep(Duration::from_millis(500)).await;
        memory = findings::Memory::of(&play::samples(program).await?);
        if Instant::now() >= say_at {
            say_at += EMBED_SAID_EVERY;
            print!("{} … ", count(memory.embedded));
            io::stdout().flush()?;
        }
    }
    steps.end(&format!("{} texts, the rest goes on", count(memory.embedded)));
    Ok(())
}

/// Hits for a few questions.
async fn search(program: &Program) -> Result<String, ProgramError> {
    let memory = findings::Memory::of(&play::samples(program).await?);
    let mut text = format!("  {}\n", memory.line());
    for query in QUERIES {
        let encoded: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let answer: findings::Answer = program.json(&format!("/v1/search?q={encoded}&limit=3")).await?;
        text += &answer.lines(query);
    }
    Ok(text)
}

/// What `tidings digest preview` says, asked as a user would.
async fn digest(stage: &Stage, folder: &Path) -> Result<String, DemoError> {
    let mut command = program::command(&stage.binary, &stage.cache);
    command.args(["digest", "preview", "--no-env-file", "--data-dir"]).arg(folder.join("data"));
    command.arg("--config-dir").arg(folder.join("config"));
    let output = tokio::task::spawn_blocking(move || command.output()).await.map_err(io::Error::other)??;
    let text = if output.status.success() { &output.stdout } else { &output.stderr };
    Ok(indented_digest(&String::from_utf8_lossy(text)))
}

/// The message as it would look, and of the candidates below it the first few.
fn indented_digest(preview: &str) -> String {
    const CANDIDATES_SHOWN: usize = 8;
    let is_candidate = |line: &&str| line.starts_with("in ") || line.starts_with("out ");
    let message = preview.lines().take_while(|line| !is_candidate(line));
    let candidates = preview.lines().skip_while(|line| !is_candidate(line)).take(CANDIDATES_SHOWN);
    let lines = message.chain(candidates).map(|line| shortened(&plain(line), COLUMNS - 2));
    let more = "  … (`tidings digest preview` says it for every candidate)\n";
    lines.map(|line| format!("  {line}").trim_end().to_string() + "\n").collect::<String>() + more
}

/// Leaves the program to whoever watches, until Ctrl-C.
async fn stay(program: &mut Program) -> io::Result<()> {
    let base = program.url("");
    println!(
        "\nTidings stays up until you press Ctrl-C. Look around at {base}/ in a browser, or for example:"
    );
    println!("  curl '{base}/v1/volume?window=1h&by=topic'");
    println!("  curl '{base}/v1/search?q=harbour+bridge'");
    println!("  curl '{base}/v1/topics/content.enriched/records?limit=3'");
    println!("  curl '{base}/health'   and   '{base}/metrics'");
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed,
        status = program.ended() => Err(io::Error::other(format!("the program ended: {status}; its log is {}", program.log.display()))),
    }
}

/// Follows the default sources, and says from time to time what arrived.
async fn live(stage: &Stage, folder: &Path) -> Result<(), DemoError> {
    std::fs::create_dir_all(folder)?;
    let mut program = launch(stage, folder, false).await?;
    println!("Tidings follows its default sources at {}; Ctrl-C ends it.", program.url("/"));
    println!("Its folder is {}, apart from your own data.", folder.display());
    loop {
        println!("{}", findings::live_line(&play::samples(&program).await?));
        tokio::select! {
            pressed = tokio::signal::ctrl_c() => {
                pressed?;
                program.stop().await;
                return Ok(());
            }
            status = program.ended() => {
                return Err(ProgramError::Ended { status, log: program.log.clone() }.into());
            }
            () = sleep(LIVE_EVERY) => {}
        }
    }
}
