//! The files that install Tidings, against the program: every variable, port, path, probe,
//! argument and exit code in them is one that it has. What systemd, Compose, Kubernetes and
//! Grafana make of the files is for `make check-deploy`.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use tidings::config::{CONFIG_DIR, Config, Environment, NAMED, Overrides, PROFILE, load};
use tidings::ops::exit::{Exit, Restart};

use super::filled::idle;
use super::process::{output, text, tidings};

const IMAGE: &str = "Dockerfile";
const COMPOSE: &str = "docker-compose.yml";
const CONFIG_MAP: &str = "k8s/configmap.yaml";
const SECRET: &str = "k8s/secret.example.yaml";
const SET: &str = "k8s/statefulset.yaml";
const SERVICE: &str = "k8s/service.yaml";
const SCRAPE: &str = "config/prometheus/prometheus.yml";
const UNIT: &str = "config/systemd/tidings.service";

/// Read by others than the configuration: the folder of the models, and the allocators.
const READ_ELSEWHERE: [&str; 4] =
    ["TIDINGS_CACHE", "MALLOC_TRIM_THRESHOLD_", "MALLOC_ARENA_MAX", "MIMALLOC_PURGE_DELAY"];

/// A file of the repository without its comments; of Compose, the service `tidings`.
fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let whole = std::fs::read_to_string(path).expect("reads");
    let lines = whole.lines().filter(|line| !line.trim_start().starts_with('#'));
    if name != COMPOSE {
        return lines.collect::<Vec<_>>().join("\n");
    }
    let is_inside = |line: &&str| line.starts_with("    ") || line.is_empty();
    let service = lines.skip_while(|line| *line != "  tidings:").skip(1).take_while(is_inside);
    service.collect::<Vec<_>>().join("\n")
}

/// What stands behind each occurrence of `marker`, up to white space or a quote.
fn behind(content: &str, marker: &str) -> Vec<String> {
    let word = |rest: &str| {
        let rest = rest.trim_start_matches('"');
        rest.split(|c: char| c.is_whitespace() || "\"',]".contains(c)).next().unwrap_or("").to_string()
    };
    let found = content.match_indices(marker).map(|(at, _)| word(&content[at + marker.len()..]));
    found.collect()
}

/// The one word behind `marker` in a file.
fn one(name: &str, marker: &str) -> String {
    let mut found = behind(&file(name), marker);
    assert_eq!(found.len(), 1, "{name}: {marker}: {found:?}");
    found.remove(0)
}

/// The lines of a file that set a variable: `NAME=value`, `NAME: value`.
fn variables(name: &str) -> Vec<(String, String)> {
    let set = |line: &str| {
        let line = line.trim();
        let line = line.strip_prefix("ENV ").or(line.strip_prefix("Environment=")).unwrap_or(line);
        let end = line.find(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_')?;
        let value = line[end..].strip_prefix('=').or(line[end..].strip_prefix(": "))?;
        let value = value.trim_end_matches('\\').trim().trim_matches('"');
        (end > 2).then(|| (line[..end].to_string(), value.to_string()))
    };
    file(name).lines().filter_map(set).collect()
}

fn defaults() -> Config {
    load(&Environment::default(), &Overrides::default()).expect("the defaults are valid").config
}

#[test]
fn every_variable_is_one_that_the_program_reads_and_its_value_is_taken() {
    let named = NAMED.iter().flat_map(|named| [&[named.name], named.aliases].concat());
    let mut known: BTreeSet<String> = named.map(str::to_string).collect();
    let secrets = NAMED.iter().filter(|named| named.secret).map(|named| format!("{}_FILE", named.name));
    known.extend(secrets);
    known.extend(PROFILE.iter().chain([&CONFIG_DIR]).chain(&READ_ELSEWHERE).map(|name| name.to_string()));

    let folder = tempfile::tempdir().expect("a temporary folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "0123456789abcdef").expect("writes");
    for names in [&[IMAGE, SECRET][..], &[COMPOSE], &[CONFIG_MAP, SECRET], &[UNIT]] {
        let mut lines = String::new();
        for name in names {
            let set = variables(name);
            assert!(set.len() >= 2, "{name} sets variables: {set:?}");
            for (variable, value) in set {
                assert!(known.contains(&variable), "{name}: {variable} is nothing that is read");
                let value = if variable.ends_with("_FILE") { token.to_str().expect("text") } else { &value };
                let value = value.replace("${TIDINGS_ENV:-production}", "production");
                lines +=
                    &format!("{variable}={}\n", value.replace("%S", "/var/lib").replace("%C", "/var/cache"));
            }
        }
        let path = folder.path().join("env");
        std::fs::write(&path, lines).expect("writes");
        let mut environment = Environment::default();
        environment.read_env_file(&path);
        let loaded = load(&environment, &Overrides::default()).unwrap_or_else(|e| panic!("{names:?}: {e}"));
        assert!(loaded.notices.is_empty(), "{names:?}: {:?}", loaded.notices);
    }
}

#[test]
fn what_the_allocators_give_back_is_set_alike_everywhere() {
    let own = include_str!("../../src/cli/run.rs");
    for allocator in &READ_ELSEWHERE[1..] {
        let of = |name| variables(name).into_iter().find(|(variable, _)| variable == allocator);
        let in_image = of(IMAGE).expect("set in the image");
        assert_eq!(of(UNIT), Some(in_image.clone()));
        assert!(own.contains(&format!("(\"{}\", \"{}\")", in_image.0, in_image.1)), "{in_image:?}");
    }
}

#[test]
fn every_port_is_the_one_that_the_program_listens_on() {
    let port = defaults().listen.port().to_string();
    let places: [(&str, &[&str]); 7] = [
        (IMAGE, &["TIDINGS_LISTEN=0.0.0.0:", "EXPOSE ", "http://127.0.0.1:"]),
        (COMPOSE, &["TIDINGS_LISTEN: 0.0.0.0:", "- 127.0.0.1:"]),
        (CONFIG_MAP, &["TIDINGS_LISTEN: 0.0.0.0:"]),
        (SET, &["containerPort: "]),
        (SERVICE, &["prometheus.io/port: ", " port: "]),
        (SCRAPE, &["targets: [tidings:"]),
        (UNIT, &[]),
    ];
    for (name, markers) in places {
        let content = file(name);
        for marker in markers {
            let found = behind(&content, marker);
            assert!(!found.is_empty(), "{name}: nothing behind {marker:?}");
            for word in found {
                assert!(word.split(['/', ':']).all(|part| part == port || part == "livez"), "{name}: {word}");
            }
        }
    }
    // Kubernetes names its port; whoever asks for another would find nothing.
    assert!(file(SET).contains("- name: http\n"));
    let asked =
        [(SET, "port: "), (SERVICE, "targetPort: ")].map(|(name, marker)| behind(&file(name), marker));
    assert_eq!(asked.map(|words| words.join(" ")), ["http http http", "http http"]);
    // What is not set is the default, on loopback.
    assert!(variables(UNIT).iter().all(|(name, _)| name != "TIDINGS_LISTEN"));
    assert!(defaults().listen.ip().is_loopback());
}

#[test]
fn data_is_kept_where_the_program_looks_for_it() {
    let folder = one(IMAGE, "TIDINGS_DATA_DIR=");
    assert_eq!(one(IMAGE, "VOLUME "), folder);
    assert_eq!(one(COMPOSE, "- data:"), folder);
    assert!(file(SET).contains(&format!("{{ name: data, mountPath: {folder} }}")));
    assert_eq!(one(IMAGE, "--uid "), one(SET, "runAsUser: "));
    let token = one(COMPOSE, "TIDINGS_API_TOKEN_FILE: ");
    let mounted = one(COMPOSE, "- token:");
    assert!(token.starts_with(mounted.trim_end_matches(":ro")), "{token} in {mounted}");

    assert_eq!(one(UNIT, "TIDINGS_DATA_DIR="), format!("%S/{}", one(UNIT, "\nStateDirectory=")));
    assert_eq!(one(UNIT, "WorkingDirectory="), one(UNIT, "TIDINGS_DATA_DIR="));
    assert_eq!(one(UNIT, "TIDINGS_CACHE="), format!("%C/{}", one(UNIT, "CacheDirectory=")));
    assert_eq!(format!("{}i", one(UNIT, "MemoryMax=")), one(SET, "limits: { memory: ").replace(" }", ""));
}

#[test]
fn every_probe_answers() {
    let mut paths: BTreeSet<String> = behind(&file(SET), "httpGet: { path: ").into_iter().collect();
    let of_image = one(IMAGE, "http://127.0.0.1:");
    paths.insert(format!("/{}", of_image.split_once('/').expect("a path").1));
    // Prometheus' own default, which the scrape configuration leaves as it is.
    assert!(!file(SCRAPE).contains("metrics_path"));
    paths.insert("/metrics".to_string());
    assert_eq!(paths.iter().map(String::as_str).collect::<Vec<_>>(), ["/livez", "/metrics", "/readyz"]);
    let program = idle();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts");
    for path in paths {
        let answer = runtime.block_on(reqwest::get(program.url(&path))).expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
    }
}

#[test]
fn the_program_takes_the_arguments_that_it_is_started_with() {
    let list = |name: &str, marker: &str| {
        let content = file(name);
        let (_, rest) = content.split_once(marker).unwrap_or_else(|| panic!("{name}: {marker}"));
        let line = rest.lines().next().expect("a line").trim().to_string();
        serde_json::from_str::<Vec<String>>(&line).expect("a list")
    };
    let unit = file(UNIT);
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a start");
    let mut words = start.split(' ').map(str::to_string);
    assert_eq!(words.next().as_deref(), Some("/usr/local/bin/tidings"), "as docs/operations.md installs it");
    assert_eq!(list(IMAGE, "ENTRYPOINT "), ["/usr/local/bin/tidings"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    for arguments in [list(IMAGE, "\nCMD "), list(SET, "args: "), words.collect()] {
        assert!(arguments.contains(&"--no-supervise".to_string()), "somebody else starts it again");
        // Taken, and then stopped by the configuration.
        let mut command = tidings(folder.path());
        let answer = text(&output(command.args(&arguments).args(["--set", "no.such=1"])));
        assert!(answer.contains("unknown key no.such"), "{arguments:?}: {answer}");
    }
}

#[test]
fn systemd_starts_again_what_the_supervisor_would() {
    let of = |when: Restart| {
        let codes = Exit::ALL.into_iter().filter(|exit| exit.restart() == when && *exit != Exit::Ok);
        codes.map(|exit| exit.code().to_string()).collect::<Vec<_>>().join(" ")
    };
    let unit = file(UNIT);
    let setting = |key: &str| {
        let value = unit.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
        value.unwrap_or_else(|| panic!("{key} is not set")).to_string()
    };
    // A clean end, also by a signal, is none of its business.
    assert_eq!(setting("Restart"), "on-failure");
    assert_eq!(setting("RestartPreventExitStatus"), of(Restart::Never));
    let config = defaults();
    let waits = format!(
        "[ \"$$EXIT_STATUS\" != {} ] || sleep {}",
        of(Restart::Later),
        config.supervise.fenced_delay_ms / 1_000
    );
    assert!(setting("ExecStopPost").contains(&waits), "{waits}");
    let seconds = |text: &str| text.trim_end_matches('s').parse::<u64>().expect("seconds");
    let grace = config.supervise.grace_s;
    for (name, marker) in [(COMPOSE, "stop_grace_period: "), (SET, "terminationGracePeriodSeconds: ")] {
        assert!(seconds(&one(name, marker)) > grace, "{name}");
    }
    assert!(seconds(&setting("TimeoutStopSec")) > grace.max(config.supervise.fenced_delay_ms / 1_000));
}

#[test]
fn the_dashboard_is_whole_and_is_mounted() {
    let dashboard: Value = serde_json::from_str(&file("config/grafana/dashboard.json")).expect("JSON");
    let source = one("config/grafana/datasource.yml", "uid: ");
    let panels = dashboard["panels"].as_array().expect("panels");
    let rows: Vec<&str> =
        panels.iter().filter(|p| p["type"] == "row").filter_map(|p| p["title"].as_str()).collect();
    let expected = ["Flow", "Sources", "Discord", "Memory and resources", "Trends, stories, alerts"];
    assert_eq!(rows, expected);
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64()), "an id twice: {panel}");
        assert!(places.insert(panel["gridPos"].to_string()), "two in one place: {panel}");
        let targets = panel["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert_eq!(targets.is_empty(), panel["type"] == "row", "{panel}");
        for target in targets {
            assert_eq!(target["datasource"]["uid"], source.as_str());
            assert!(target["expr"].as_str().is_some_and(|expr| expr.contains("tidings_")), "{target}");
        }
    }

    let compose =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(COMPOSE)).expect("reads");
    let mounts = behind(&compose, "- ./");
    for mount in &mounts {
        let path = mount.split(':').next().expect("a path");
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists(), "{mount}");
    }
    let looked_for = one("config/grafana/dashboards.yml", " path: ");
    let mounted = format!("config/grafana/dashboard.json:{looked_for}/tidings.json:ro");
    assert!(mounts.contains(&mounted), "{mounts:?}");
    for name in ["datasource.yml", "dashboards.yml"] {
        let is_it =
            |mount: &&String| mount.starts_with(&format!("config/grafana/{name}:/etc/grafana/provisioning/"));
        assert!(mounts.iter().any(|mount| is_it(&mount)), "{name} is not mounted");
    }
}
