//! `tidings doctor`: looks at everything that a start needs, and says how to mend
//! what is wrong.

use std::path::Path;

use crate::config::{Config, Loaded, Mistakes};
use crate::memory::models::{BUNDLES, Bundle, Presence, presence};
use crate::ops::client::{Client, Reach, reach};
use crate::ops::health::{Component, Report, Status, disk};

/// One line of the examination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub subject: &'static str,
    pub grade: Grade,
    pub says: String,
    /// How to mend it; empty when there is nothing to mend.
    pub remedy: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    Ok,
    /// Works with something missing.
    Warning,
    Failure,
}

impl Finding {
    pub fn ok(subject: &'static str, says: impl Into<String>) -> Self {
        Self { subject, grade: Grade::Ok, says: says.into(), remedy: String::new() }
    }

    pub fn warning(subject: &'static str, says: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { subject, grade: Grade::Warning, says: says.into(), remedy: remedy.into() }
    }

    pub fn failure(subject: &'static str, says: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { subject, grade: Grade::Failure, says: says.into(), remedy: remedy.into() }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mark = match self.grade {
            Grade::Ok => "ok",
            Grade::Warning => "warn",
            Grade::Failure => "FAIL",
        };
        write!(f, "{mark:<5} {:<14} {}", self.subject, self.says)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, " → {}", self.remedy) }
    }
}

/// Examines everything that can be reached without changing it; `cache_dir` has the models.
pub fn examine(loaded: &Result<Loaded, Mistakes>, cache_dir: &Path) -> Vec<Finding> {
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(mistakes) => return mistakes.0.iter().map(mistake).collect(),
    };
    let config = &loaded.config;
    let mut findings = vec![configuration(loaded)];
    findings.extend(
        loaded
            .notices
            .iter()
            .map(|notice| Finding::warning("configuration", notice.to_string(), "remove what has no effect")),
    );
    findings.extend(folder(config));
    findings.push(http(config));
    findings.extend(models(config, cache_dir));
    findings
}

/// The models: without them searches answer by words alone.
fn models(config: &Config, cache_dir: &Path) -> Vec<Finding> {
    const SUBJECT: &str = "models";
    let settings = config.models.clone().in_cache(cache_dir);
    let examined = |bundle: &'static Bundle| {
        let missing = bundle.files.iter().find_map(|file| match presence(&settings, bundle, file) {
            Presence::Present { .. } => None,
            Presence::Absent => Some(format!("{} is not on this machine", bundle.name)),
            Presence::Unknown => Some(format!("{}: {} is damaged or foreign", bundle.name, file.name)),
        });
        match missing {
            None => Finding::ok(SUBJECT, format!("{} is whole", bundle.name)),
            Some(says) => Finding::warning(
                SUBJECT,
                says,
                "run `tidings models fetch`; until then searches match words only",
            ),
        }
    };
    BUNDLES.iter().map(examined).collect()
}

fn mistake(mistake: &crate::config::Mistake) -> Finding {
    Finding::failure("configuration", mistake.to_string(), "correct it where it is set")
}

fn configuration(loaded: &Loaded) -> Finding {
    let profile = loaded.profile.map_or("no profile", |profile| profile.name());
    let changed = loaded.changed().len();
    Finding::ok("configuration", format!("{profile}, {changed} knobs changed from their defaults"))
}

/// The data folder, and whoever holds it.
fn folder(config: &Config) -> Vec<Finding> {
    const SUBJECT: &str = "data folder";
    let path = &config.data_dir;
    match reach(config) {
        Ok(Reach::Folder(folder)) => {
            let mut findings = vec![writable(folder.path())];
            findings.push(of_component("disk", &disk(folder.path(), &config.health)));
            findings.push(log(config, folder.path()));
            findings
        }
        Ok(Reach::Server(client)) => server(&client),
        Err(failure) => {
            let remedy = format!("make {} writable, or set TIDINGS_DATA_DIR", path.display());
            vec![Finding::failure(SUBJECT, failure.message, remedy)]
        }
    }
}

fn writable(path: &Path) -> Finding {
    const SUBJECT: &str = "data folder";
    match tempfile_in(path) {
        Ok(()) => Finding::ok(SUBJECT, format!("{} is writable and not in use", path.display())),
        Err(error) => {
            let says = format!("{} cannot be written: {error}", path.display());
            Finding::failure(SUBJECT, says, "change its owner, or set TIDINGS_DATA_DIR")
        }
    }
}

/// The log, unless looking at it would create it.
fn log(config: &Config, folder: &Path) -> Finding {
    const SUBJECT: &str = "log";
    let servers = &config.log.kafka.bootstrap_servers;
    if servers.is_empty() && !folder.join("log").exists() {
        return Finding::ok(SUBJECT, "embedded, and created at the first start");
    }
    let name = if servers.is_empty() { "embedded" } else { servers.as_str() };
    match crate::log::open(&config.log, folder).and_then(|log| log.topics()) {
        Ok(topics) => Finding::ok(SUBJECT, format!("{name}, {} topics", topics.len())),
        Err(error) => {
            let remedy = match servers.is_empty() {
                true => "restore the data folder, or start with another one (TIDINGS_DATA_DIR)",
                false => "check KAFKA_BOOTSTRAP_SERVERS, the KAFKA_… credentials and the network",
            };
            Finding::failure(SUBJECT, format!("{name}: {error}"), remedy)
        }
    }
}

/// Writes, syncs and removes a file.
fn tempfile_in(folder: &Path) -> std::io::Result<()> {
    use std::io::Write;
    let path = folder.join(format!("doctor.{}", std::process::id()));
    let mut file = std::fs::File::create_new(&path)?;
    let result = file.write_all(b"doctor").and_then(|()| file.sync_all());
    std::fs::remove_file(&path)?;
    result
}

/// A running Tidings: what it says of its own parts.
fn server(client: &Client) -> Vec<Finding> {
    let report: Report = match client.get("/health", &[]) {
        Ok(report) => report,
        Err(error) => {
            let remedy = "start it with `tidings run`, or unset TIDINGS_URL";
            return vec![Finding::failure("running", error.to_string(), remedy)];
        }
    };
    let version = format!("{} runs version {} ({})", client.base(), report.version, report.commit);
    let mut findings = vec![Finding::ok("running", version)];
    findings.extend(report.components.iter().map(|component| of_component("component", component)));
    findings
}

/// What a component says, as a finding; also for parts that are examined directly.
pub fn of_component(subject: &'static str, component: &Component) -> Finding {
    let says = match component.reasons.is_empty() {
        true => format!("{}: works", component.name),
        false => format!("{}: {}", component.name, component.reasons.join("; ")),
    };
    match component.status {
        Status::Ok | Status::Disabled => Finding::ok(subject, says),
        Status::Degraded => Finding::warning(subject, says, "see the reason"),
        Status::Down => Finding::failure(subject, says, "see the reason"),
    }
}

fn http(config: &Config) -> Finding {
    const SUBJECT: &str = "http";
    match std::net::TcpListener::bind(config.listen) {
        Ok(_) => Finding::ok(SUBJECT, format!("{} is free", config.listen)),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Finding::warning(
            SUBJECT,
            format!("{} is in use", config.listen),
            "fine if it is Tidings that runs there, else set TIDINGS_LISTEN",
        ),
        Err(error) => {
            let says = format!("{} cannot be bound: {error}", config.listen);
            Finding::failure(SUBJECT, says, "set TIDINGS_LISTEN to an address of this host")
        }
    }
}
