//! Hygiene as a test: what a reviewer would have to remember about files, names,
//! layers and documents, checked on the tree as it is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// From here on the module doc must say "long because"; past the last number nothing helps.
const LINES_EXPLAINED: usize = 400;
const LINES_MAX: usize = 700;

/// Folders that hold no source of ours.
const NOT_OURS: [&str; 6] = ["target", ".git", "data", "logs", "dist", "node_modules"];

/// All files below a folder of the repository, by their path from its root.
fn files(below: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(ROOT).join(below)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name());
            if !entry.file_type().expect("listed").is_dir() {
                found.push(path.strip_prefix(ROOT).expect("below the root").to_path_buf());
            } else if folder != Path::new(ROOT) || !NOT_OURS.iter().any(|other| name == *other) {
                folders.push(path);
            }
        }
    }
    found.sort();
    found
}

fn with_extension(below: &str, extension: &str) -> Vec<PathBuf> {
    files(below).into_iter().filter(|path| path.extension().is_some_and(|e| e == extension)).collect()
}

fn rust_files() -> Vec<PathBuf> {
    ["src", "dataflows", "tests", "benches"].into_iter().flat_map(|dir| with_extension(dir, "rs")).collect()
}

fn text(path: impl AsRef<Path>) -> String {
    let bytes = fs::read(Path::new(ROOT).join(&path)).expect("readable");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `path:line: content` of every line that `wrong` finds fault with.
fn lines_where(path: &Path, content: &str, wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let lines = content.lines().enumerate().filter(|(_, line)| wrong(line));
    lines.map(|(number, line)| format!("{}:{}: {}", path.display(), number + 1, line.trim())).collect()
}

fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn long_files_say_why_and_none_is_very_long() {
    let mut found = Vec::new();
    for path in rust_files() {
        let content = text(&path);
        let lines = content.lines().count();
        let doc: String = content.lines().take_while(|line| line.starts_with("//!")).collect();
        if lines > LINES_MAX {
            found.push(format!("{}: {lines} lines, {LINES_MAX} at most", path.display()));
        } else if lines > LINES_EXPLAINED && !doc.contains("long because") {
            found.push(format!(
                "{}: {lines} lines, and its doc does not say 'long because …'",
                path.display()
            ));
        }
    }
    none("files to split along their nouns", &found);
}

#[test]
fn modules_are_named_by_the_noun_they_own() {
    let vague = ["mod", "utils", "util", "common", "helpers", "manager"];
    let is_vague =
        |path: &&PathBuf| path.file_stem().is_some_and(|stem| vague.iter().any(|name| stem == *name));
    let found: Vec<String> =
        rust_files().iter().filter(is_vague).map(|path| path.display().to_string()).collect();
    none("name a file by the noun it owns (foo.rs beside foo/)", &found);
}

#[test]
fn nothing_is_left_unfinished_or_silenced() {
    // Written in halves, so that this file does not find itself.
    let marks = [("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("#[ig", "nore"), ("#![al", "low(")];
    let marks = marks.map(|(a, b)| format!("{a}{b}"));
    let scripts = with_extension("scripts", "sh").into_iter().chain(["Makefile".into(), ".ci/run".into()]);
    let unfinished = |line: &str| marks.iter().any(|mark| line.contains(mark.as_str()));
    let found: Vec<String> = rust_files()
        .into_iter()
        .chain(scripts)
        .flat_map(|path| lines_where(&path, &text(&path), unfinished))
        .collect();
    none("finish it, or write down elsewhere that it is wanted", &found);
}

#[test]
fn no_file_knows_somebodys_machine() {
    let folders = [("/ro", "ot/"), ("/ho", "me/"), ("/Us", "ers/"), ("/wo", "rk/")];
    let folders = folders.map(|(a, b)| format!("{a}{b}"));
    let starts_there =
        |line: &str, at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "_-.}".contains(c));
    let absolute = |line: &str| {
        folders.iter().any(|folder| line.match_indices(folder.as_str()).any(|(at, _)| starts_there(line, at)))
    };
    let ours = files("").into_iter().filter(|path| !path.ends_with("Cargo.lock") && !path.ends_with(".git"));
    let found: Vec<String> = ours.flat_map(|path| lines_where(&path, &text(&path), absolute)).collect();
    none("paths of one machine", &found);
}

/// Code outside of tests: up to the test module, which is last in a file.
fn product(content: &str) -> &str {
    content.split("\n#[cfg(test)]\nmod ").next().unwrap_or(content)
}

#[test]
fn dataflows_knows_neither_the_runtime_nor_the_world() {
    let manifest = text("dataflows/Cargo.toml");
    for runtime in
        ["tidings", "tokio", "reqwest", "rdkafka", "fjall", "rusqlite", "axum", "prometheus", "tracing"]
    {
        let depends = manifest.lines().any(|line| line.starts_with(runtime));
        assert!(!depends, "dataflows depends on {runtime}: it must not");
    }
    let world = [
        "std::fs",
        "std::net",
        "std::thread",
        "std::process",
        "std::env",
        "SystemTime",
        "Instant::now",
        "Timestamp::now",
        "Zoned::now",
        "println!(",
    ];
    let reaches_out = |line: &str| {
        let code = line.split("//").next().unwrap_or("");
        world.iter().any(|name| code.contains(name))
    };
    // Its tests and examples may reach out, its modules may not.
    let modules = with_extension("dataflows", "rs")
        .into_iter()
        .filter(|p| !p.starts_with("dataflows/tests") && !p.starts_with("dataflows/examples"))
        .filter(|p| !p.ends_with("tests.rs"));
    let found: Vec<String> =
        modules.flat_map(|path| lines_where(&path, product(&text(&path)), reaches_out)).collect();
    none("dataflows has no I/O, no clock and no threads: take it as an argument", &found);
}

fn source() -> impl Iterator<Item = PathBuf> {
    with_extension("src", "rs").into_iter().chain(with_extension("dataflows", "rs"))
}

/// The page is no part of the interface; whatever else is served is added with its
/// description, which `src/ops/openapi.rs` alone can do.
#[test]
fn no_route_is_added_without_its_description() {
    let mut found = Vec::new();
    for path in with_extension("src", "rs") {
        let undescribed =
            |line: &str| ["Router::new(", ".route(\"", ".nest("].iter().any(|call| line.contains(call));
        let wrong = |line: &str| match path.to_str() {
            Some("src/ops/openapi.rs") => false,
            Some("src/page.rs") => undescribed(line) && line.contains("/v1"),
            _ => undescribed(line),
        };
        found.extend(lines_where(&path, product(&text(&path)), wrong));
    }
    none("describe it: Routes::default().get(path, handler, Operation::new(…))", &found);
}

/// Every word of a text that begins with `tidings_`, with the character before it.
fn series(content: &str) -> Vec<(Option<char>, String)> {
    let word =
        |at: usize| content[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    content.match_indices("tidings_").map(|(at, _)| (content[..at].chars().next_back(), word(at))).collect()
}

#[test]
fn metrics_are_named_as_one_family() {
    let openings = ["Opts::new(", "Gauge::new(", "Counter::new("];
    let mut found = Vec::new();
    for path in source() {
        let content = text(&path);
        for (at, opening) in openings.iter().flat_map(|opening| content.match_indices(opening)) {
            let argument = content[at + opening.len()..].trim_start();
            if argument.starts_with('"') && !argument.starts_with("\"tidings_") {
                found.push(format!("{}: {}", path.display(), argument.lines().next().unwrap_or("")));
            }
        }
    }
    none("metrics start with tidings_", &found);
}

#[test]
fn every_series_that_is_watched_or_documented_exists() {
    let quoted = |path: PathBuf| series(&text(path)).into_iter().filter(|(before, _)| *before == Some('"'));
    let declared: BTreeSet<String> = source().flat_map(quoted).map(|(_, name)| name).collect();
    let watching = files("config/prometheus").into_iter().chain(files("config/grafana")).chain(documents());
    let watching: Vec<PathBuf> = watching.collect();
    let mut found = Vec::new();
    for needed in ["config/prometheus/alerts.yml", "config/grafana/dashboard.json"] {
        assert!(watching.iter().any(|path| path == Path::new(needed)), "{needed} is looked at");
    }
    for path in watching {
        for (_, word) in series(&text(&path)) {
            let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
            let known = declared.contains(&word) || of_histogram.is_some_and(|base| declared.contains(base));
            if !known && word != "tidings_" {
                found.push(format!("{}: {word}", path.display()));
            }
        }
    }
    none("series that no code declares", &found);
}

/// Targets of the Makefile that have a line in its help, and those that have none.
fn make_targets() -> (BTreeSet<String>, BTreeSet<String>) {
    let makefile = text("Makefile");
    let is_name =
        |target: &str| !target.is_empty() && target.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let rules =
        makefile.lines().filter_map(|line| line.split_once(':')).filter(|(target, _)| is_name(target));
    let (told, untold): (Vec<_>, Vec<_>) = rules.partition(|(_, rest)| rest.contains("## "));
    let names = |rules: Vec<(&str, &str)>| rules.into_iter().map(|(target, _)| target.to_string()).collect();
    (names(told), names(untold))
}

#[test]
fn makes_help_lists_every_target() {
    let (told, untold) = make_targets();
    assert!(untold.is_empty(), "targets without a line in the help: {untold:?}");
    let output = Command::new("make").arg("help").current_dir(ROOT).output().expect("make is installed");
    assert!(output.status.success());
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    for target in &told {
        let listed = help.lines().any(|line| line.trim_start().starts_with(&format!("{target} ")));
        assert!(listed, "{target} is missing:\n{help}");
    }
    let makefile = text("Makefile");
    let phony =
        makefile.lines().find_map(|line| line.strip_prefix(".PHONY:")).expect("a list of phony targets");
    let phony: BTreeSet<String> = phony.split_whitespace().map(str::to_string).collect();
    assert_eq!(phony, told, "every target is phony");
}

fn documents() -> Vec<PathBuf> {
    let top = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "THIRD-PARTY.md"];
    top.iter().map(PathBuf::from).chain(with_extension("docs", "md")).collect()
}

/// Lines of code in a document: of fenced blocks, and the pieces between backticks.
fn code_in(content: &str) -> Vec<String> {
    let mut fenced = false;
    let mut code = Vec::new();
    for line in content.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            code.push(line.trim().trim_start_matches("$ ").to_string());
        } else {
            code.extend(line.split('`').skip(1).step_by(2).map(str::to_string));
        }
    }
    code
}

#[test]
fn commands_in_documents_exist() {
    let (targets, _) = make_targets();
    let mut found = Vec::new();
    for path in documents() {
        for code in code_in(&text(&path)) {
            let words: Vec<&str> = code.split_whitespace().collect();
            let fault = match words.as_slice() {
                ["make", target, ..] if !target.contains(|c: char| c.is_ascii_uppercase()) => {
                    (!targets.contains(*target)).then(|| "no such target".to_string())
                }
                ["tidings", command, rest @ ..] if command.starts_with(|c: char| c.is_ascii_lowercase()) => {
                    command_fault(command, rest)
                }
                [script, ..] if script.starts_with("scripts/") || script.starts_with(".ci/") => {
                    (!Path::new(ROOT).join(script).exists()).then(|| "no such script".to_string())
                }
                _ => None,
            };
            found.extend(fault.map(|fault| format!("{}: {code}: {fault}", path.display())));
        }
    }
    none("commands in documents that do not exist", &found);
}

/// Asks the program itself whether it knows a command and, where the document names
/// several with bars between them, each of its subcommands.
fn command_fault(command: &str, rest: &[&str]) -> Option<String> {
    let known = |words: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_tidings"));
        program.args(words).arg("--help").env_clear().output().is_ok_and(|output| output.status.success())
    };
    if !known(&[command]) {
        return Some(format!("the program does not know '{command}'"));
    }
    let subcommands = rest.first().filter(|word| word.contains('|') && !word.starts_with(['[', '<', '-']))?;
    let is_name = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase());
    let unknown = subcommands.split('|').filter(is_name).find(|subcommand| !known(&[command, subcommand]))?;
    Some(format!("'{command}' does not know '{unknown}'"))
}

#[test]
fn links_in_documents_lead_somewhere() {
    let mut found = Vec::new();
    for path in documents() {
        let content = text(&path);
        let base = Path::new(ROOT).join(path.parent().unwrap_or(Path::new("")));
        for (at, _) in content.match_indices("](") {
            let target: String = content[at + 2..].chars().take_while(|c| *c != ')').collect();
            let file = target.split('#').next().unwrap_or("");
            if !file.is_empty() && !file.contains("://") && !base.join(file).exists() {
                found.push(format!("{}: {target}", path.display()));
            }
        }
    }
    none("links that lead nowhere", &found);
}

#[test]
fn shell_scripts_say_what_they_do_and_stop_at_the_first_fault() {
    let mut found = Vec::new();
    for path in with_extension("scripts", "sh").into_iter().chain([".ci/run".into()]) {
        let content = text(&path);
        let sourced = content.starts_with("# shellcheck shell=bash");
        let strict =
            content.starts_with("#!/usr/bin/env bash\n") && content.contains("\nset -euo pipefail\n");
        if !sourced && !strict {
            found.push(format!("{}: bash, with set -euo pipefail", path.display()));
        }
        if content.lines().nth(1).is_none_or(|line| !line.starts_with("# ")) {
            found.push(format!("{}: its second line says what it does", path.display()));
        }
    }
    none("shell scripts", &found);
}

#[test]
fn kustomization_lists_every_manifest() {
    let kustomization = text("k8s/kustomization.yaml");
    let names = with_extension("k8s", "yaml")
        .into_iter()
        .filter_map(|path| path.file_name()?.to_str().map(str::to_string));
    let left_out: Vec<String> = names
        .filter(|name| name != "kustomization.yaml" && name != "secret.example.yaml")
        .filter(|name| !kustomization.contains(&format!("- {name}")))
        .collect();
    none("manifests that kustomization.yaml leaves out", &left_out);
}
