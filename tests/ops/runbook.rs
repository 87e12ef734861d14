//! The rows of docs/runbook.md about the original bot, tried on the real program: a row
//! that says "same" must be the same, what replaces something must be there, and a
//! variable without an effect is accepted and named.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use tidings::config::{NAMED, PROFILE, RECOGNISED};

use super::filled::idle;
use super::process::{output, text, tidings};
use super::program::Program;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Claims that are wrong, each in its own way: whoever believes one believes anything.
const WRONG: &str = "
### Make targets of the original
| `compliance` | same | |
| `doctor` | replaced by `make doctor` | |
| `backup` | replaced by `tidings backup` | |
| `docker-up` | replaced by `compose.yml` | |
### Commands of the original
| `autointel` | same | |
### Endpoints of the original
| `/activities/health` | same | |
| `/pipeline/run` | replaced by `/v1/run` | |
### Variables of the original
| `ENABLE_CACHING` | same | |
| `ENABLE_CACHNG` | same | |
| `VECTOR_BATCH_SIZE` | same | |
| `VECTOR_BATCH_SIZE` | dropped because it is unknown | |
| `HTTP_TIMEOUT` | replaced by `http.timeout` | |
| `INGEST_DB_PATH` | replaced by `TIDINGS_DB_PATH` | |
### Metrics of the original
| `tool_runs_total` | same | |
| `tidings_build` | same | |
";

/// Rows that are none.
const MALFORMED: &str = "
### Metrics of the original
| `a` | as before | |
| `a` | dropped because | |
| `a` | replaced by something | |
| `a` | replaced by | |
| a | same | |
| `a`, `b` | same | |
| `a` | same |
### Ports of the original
| `a` | same | |
";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Target,
    Command,
    Endpoint,
    Variable,
    Metric,
}

#[derive(Debug)]
enum Here {
    Same,
    Replaced(Vec<String>),
    Dropped,
}

#[derive(Debug)]
struct Row {
    kind: Kind,
    there: String,
    here: Here,
}

fn kind(heading: &str) -> Option<Kind> {
    Some(match heading.strip_suffix(" of the original")? {
        "Make targets" => Kind::Target,
        "Commands" => Kind::Command,
        "Endpoints" => Kind::Endpoint,
        "Variables" => Kind::Variable,
        "Metrics" => Kind::Metric,
        _ => return None,
    })
}

/// `` `a`, `b` `` as its names; nothing else may be there.
fn names(cell: &str) -> Option<Vec<String>> {
    let name = |piece: &str| {
        let name = piece.trim().strip_prefix('`')?.strip_suffix('`')?;
        (!name.is_empty() && !name.contains('`')).then(|| name.to_string())
    };
    cell.split(',').map(name).collect()
}

fn row(kind: Kind, line: &str) -> Option<Row> {
    let cells: Vec<&str> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
    let [there, here, _] = cells.as_slice() else { return None };
    let there = names(there).filter(|names| names.len() == 1)?.remove(0);
    let here = match here.strip_prefix("replaced by ") {
        Some(things) => Here::Replaced(names(things)?),
        None if *here == "same" => Here::Same,
        None if here.strip_prefix("dropped because ").is_some_and(|why| why.len() > 10) => Here::Dropped,
        None => return None,
    };
    Some(Row { kind, there, here })
}

/// Every row below a heading "… of the original", and every line there that is none.
fn rows(document: &str) -> (Vec<Row>, Vec<String>) {
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    let mut below = None;
    for line in document.lines() {
        if line.starts_with('#') {
            let heading = line.trim_start_matches('#').trim();
            below = kind(heading);
            if below.is_none() && heading.ends_with(" of the original") {
                faults.push(format!("{line}: no kind that is known"));
            }
        }
        let is_row = line.starts_with('|') && !line.starts_with("| there |") && !line.starts_with("|---");
        let Some(kind) = below.filter(|_| is_row) else { continue };
        match row(kind, line) {
            Some(row) => found.push(row),
            None => faults.push(format!("{line}: neither same, replaced by `…` nor dropped because …")),
        }
    }
    (found, faults)
}

/// What claims are tried on.
struct Tried {
    program: Program,
    metrics: String,
    make_help: String,
    folder: tempfile::TempDir,
    /// The runbook's own values.
    values: BTreeMap<String, String>,
    /// `tidings config show` without any variable.
    shown: String,
    /// What `tidings config check` says of every variable that has no effect.
    notes: String,
}

impl Tried {
    fn new() -> Self {
        let program = idle();
        let (_, metrics) = fetched(&program.url("/metrics"));
        let help = Command::new("make").arg("help").current_dir(ROOT).output().expect("make is installed");
        let fixture = std::fs::read_to_string(Path::new(ROOT).join("tests/fixtures/runbook.env"));
        let lines = fixture.expect("reads");
        let pairs = lines.lines().filter(|line| !line.starts_with('#')).filter_map(|l| l.split_once('='));
        let mut values: BTreeMap<String, String> =
            pairs.map(|(name, value)| (name.to_string(), value.trim_matches('"').to_string())).collect();
        // Two names of one thing; the runbook's own file has only one.
        values.insert("DISCORD_WEBHOOK_URL".into(), values["DISCORD_WEBHOOK"].clone());
        let folder = tempfile::tempdir().expect("a temporary folder");
        let shown = text(&output(tidings(folder.path()).args(["config", "show"])));
        let without_effect = RECOGNISED.iter().flat_map(|(_, names)| names.iter().copied());
        let set = without_effect.map(|name| (name, value(&values, name)));
        let notes = output(tidings(folder.path()).args(["config", "check"]).envs(set));
        assert!(notes.status.success(), "{}", text(&notes));
        let (make_help, notes) = (text(&help), text(&notes));
        Self { program, metrics, make_help, folder, values, shown, notes }
    }

    /// What is wrong with a row.
    fn fault(&self, row: &Row) -> Option<String> {
        let there = row.there.as_str();
        match &row.here {
            Here::Same => {
                let is_there = match row.kind {
                    Kind::Target => self.has_target(there),
                    Kind::Command => self.has_command(there),
                    Kind::Endpoint => fetched(&self.program.url(there)).0 == 200,
                    Kind::Variable => self.has_effect(there),
                    Kind::Metric => self.has_series(there),
                };
                (!is_there).then(|| format!("{:?} {there} is not the same", row.kind))
            }
            Here::Dropped | Here::Replaced(_) if row.kind == Kind::Variable && !self.is_noted(there) => {
                Some(format!("{there} is not accepted as one without an effect"))
            }
            Here::Dropped => None,
            Here::Replaced(things) => {
                let missing = things.iter().find(|thing| !self.is_there(thing))?;
                Some(format!("{there} is said to be replaced by {missing}, which is not there"))
            }
        }
    }

    /// Something that replaces, by the form of its name.
    fn is_there(&self, thing: &str) -> bool {
        let is_variable = |c: char| c.is_ascii_uppercase() || c == '_';
        match thing.split_once(' ') {
            Some(("make", target)) => self.has_target(target),
            Some(("tidings", command)) => self.has_command(command),
            Some(_) => false,
            None if thing.starts_with('/') => fetched(&self.program.url(thing)).0 != 404,
            // Not all are there before something happened: tests/tidy.rs knows them all.
            None if thing.starts_with("tidings_") => true,
            None if thing.chars().all(is_variable) => NAMED.iter().any(|named| named.name == thing),
            None if Path::new(ROOT).join(thing).is_file() => true,
            None => self.shown.lines().any(|line| line.starts_with(&format!("{thing} = "))),
        }
    }

    /// A target with a text in the help.
    fn has_target(&self, target: &str) -> bool {
        let told = |rest: &str| rest.starts_with(' ') && rest.trim().len() > 10;
        self.make_help.lines().any(|line| line.trim().strip_prefix(target).is_some_and(told))
    }

    fn has_command(&self, command: &str) -> bool {
        let mut asked = tidings(self.folder.path());
        output(asked.args(command.split(' ')).arg("--help")).status.success()
    }

    fn has_series(&self, name: &str) -> bool {
        let of_it = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        self.metrics.lines().any(of_it)
    }

    /// Whether it changes a value, or where a value comes from.
    fn has_effect(&self, name: &str) -> bool {
        let mut asked = tidings(self.folder.path());
        let answer = output(asked.args(["config", "show"]).env(name, value(&self.values, name)));
        answer.status.success() && text(&answer) != self.shown
    }

    /// Whether the program takes it and says that it has no effect.
    fn is_noted(&self, name: &str) -> bool {
        let is_word = |word: &str| word == name;
        let is_noted = |line: &str| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(is_word);
        self.notes.lines().any(|line| line.contains("no effect in this version") && is_noted(line))
    }
}

fn value<'a>(values: &'a BTreeMap<String, String>, name: &str) -> &'a str {
    values.get(name).map(String::as_str).filter(|value| !value.is_empty()).unwrap_or("true")
}

/// Status and text; of a stream only the head is read.
fn fetched(url: &str) -> (u16, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts");
    runtime.block_on(async {
        let answer = reqwest::get(url).await.expect("an answer");
        let status = answer.status().as_u16();
        let is_stream = answer.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream");
        (status, if is_stream { String::new() } else { answer.text().await.expect("text") })
    })
}

#[test]
fn every_row_about_the_original_holds() {
    let document = std::fs::read_to_string(Path::new(ROOT).join("docs/runbook.md")).expect("reads");
    let (rows, malformed) = rows(&document);
    assert!(malformed.is_empty(), "{malformed:#?}");
    let tried = Tried::new();
    assert!(tried.has_series("tidings_build_info") && tried.has_command("doctor"), "what is there is found");
    let faults: Vec<String> = rows.iter().filter_map(|row| tried.fault(row)).collect();
    assert!(faults.is_empty(), "docs/runbook.md claims what is not so: {faults:#?}");

    let (wrong, _) = self::rows(WRONG);
    assert_eq!(wrong.len(), 15);
    let believed: Vec<&Row> = wrong.iter().filter(|row| tried.fault(row).is_none()).collect();
    assert!(believed.is_empty(), "wrong claims are believed: {believed:#?}");

    every_name_has_one_row(&rows, &tried.values);
}

fn every_name_has_one_row(rows: &[Row], values: &BTreeMap<String, String>) {
    let mut seen = BTreeSet::new();
    for row in rows {
        assert!(seen.insert((row.kind, row.there.as_str())), "{} has two rows", row.there);
    }
    for kind in [Kind::Target, Kind::Command, Kind::Endpoint, Kind::Variable, Kind::Metric] {
        assert!(rows.iter().any(|row| row.kind == kind), "no rows of kind {kind:?}");
    }
    let recognised = RECOGNISED.iter().flat_map(|(_, names)| names.iter().copied());
    let without: Vec<&str> = recognised
        .chain(values.keys().map(String::as_str))
        .filter(|name| !seen.contains(&(Kind::Variable, name)))
        .collect();
    assert!(without.is_empty(), "variables of the original without a row: {without:?}");
    let ours: BTreeSet<&str> = NAMED.iter().flat_map(|n| [&[n.name], n.aliases].concat()).collect();
    for row in rows.iter().filter(|row| row.kind == Kind::Variable) {
        let is_ours = ours.contains(row.there.as_str()) || PROFILE.contains(&row.there.as_str());
        assert_eq!(is_ours, matches!(row.here, Here::Same), "{}", row.there);
    }
}

#[test]
fn a_row_of_an_unknown_form_is_a_fault() {
    let (found, faults) = rows(MALFORMED);
    assert!(found.is_empty(), "{found:#?}");
    // Seven rows, and a heading; below an unknown heading nothing is a row.
    assert_eq!(faults.len(), 8, "{faults:#?}");
}
