//! Commands as people and scripts type them.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use tidings::config::{Environment, Overrides, load};
use tidings::ops::client::{Reach, reach};
use tidings::ops::health::Report;

use super::process::{Running, output, text, tidings};

#[test]
fn the_version_has_its_commit_and_unknown_words_a_suggestion() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let version = output(tidings(folder.path()).arg("--version"));
    let expected = format!("tidings {} ({})\n", tidings::VERSION, tidings::COMMIT);
    assert_eq!(String::from_utf8_lossy(&version.stdout), expected);
    let wrong = output(tidings(folder.path()).arg("confg"));
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong).contains("config"), "{}", text(&wrong));
    let wrong = output(tidings(folder.path()).args(["run", "--no-supervice"]));
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong).contains("--no-supervise"), "{}", text(&wrong));
    let bare = output(&mut tidings(folder.path()));
    assert_eq!(bare.status.code(), Some(2));
    for shell in ["bash", "zsh", "fish"] {
        let script = output(tidings(folder.path()).args(["completions", shell]));
        assert!(script.status.success() && script.stdout.len() > 500, "{shell}");
    }
}

#[test]
fn config_show_and_check_speak_of_the_env_file_and_the_overlays() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join(".env"), "LOG_LEVEL=debug\nTIDINGS_LISTEN=127.0.0.1:1\n").expect("writes");
    fs::create_dir_all(folder.path().join("data/config")).expect("creates");
    fs::write(folder.path().join("data/config/tidings.toml"), "[http]\ndrain_s = 9\n").expect("writes");
    let show = output(tidings(folder.path()).args(["config", "show"]).env("TIDINGS_LISTEN", "127.0.0.1:2"));
    let shown = String::from_utf8_lossy(&show.stdout).into_owned();
    assert!(show.status.success());
    let line = |knob: &str| shown.lines().find(|line| line.starts_with(knob)).expect(knob).to_string();
    assert!(line("logging.level = ").contains("LOG_LEVEL in .env:1"), "{shown}");
    assert!(line("listen = \"127.0.0.1:2\"").contains("environment variable TIDINGS_LISTEN"), "{shown}");
    assert!(line("http.drain_s = 9").contains("data/config/tidings.toml:2"), "{shown}");
    let without = output(tidings(folder.path()).args(["config", "show", "--no-env-file"]));
    assert!(text(&without).contains("listen = \"127.0.0.1:8080\""), "{}", text(&without));

    let check = output(tidings(folder.path()).args(["config", "check"]));
    assert_eq!((check.status.code(), text(&check).as_str()), (Some(0), "the configuration is valid\n"));
    fs::write(folder.path().join("data/config/tidings.toml"), "[http]\ndrain = 9\n[x]\ny = 1\n")
        .expect("writes");
    let check = output(tidings(folder.path()).args(["config", "check"]));
    assert_eq!(check.status.code(), Some(2));
    assert!(check.stdout.is_empty() && text(&check).contains("2 mistakes"), "{}", text(&check));
}

#[test]
fn no_output_and_no_log_file_ever_has_a_secret() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let secrets = [
        ("TIDINGS_API_TOKEN", "SECRET-api-0123456789"),
        ("DISCORD_WEBHOOK_URL", "https://discord.com/api/webhooks/1/SECRET-webhook"),
        ("DISCORD_PRIVATE_WEBHOOK", "https://discord.com/api/webhooks/2/SECRET-private"),
        ("DISCORD_BOT_TOKEN", "Bot SECRET-bot"),
        ("KAFKA_SASL_PASSWORD", "SECRET-sasl"),
        ("QDRANT_API_KEY", "SECRET-qdrant"),
        ("RUST_LOG", "trace"),
    ];
    let mut all = String::new();
    for arguments in
        [&["config", "show"][..], &["config", "check"], &["doctor"], &["config", "show", "--set", "x=1"]]
    {
        all += &text(&output(tidings(folder.path()).args(arguments).envs(secrets)));
    }
    let running = Running::spawn(
        tidings(folder.path())
            .args(["run", "--listen", "127.0.0.1:0", "--set", "logging.files=true"])
            .envs(secrets),
        folder.path(),
    );
    running.worker();
    let address = running.address().expect("serves");
    let token = "Authorization: Bearer SECRET-api-0123456789\r\n";
    for path in ["/health", "/metrics", "/readyz", "/nothing"] {
        all += &super::process::get(&address, path, token);
    }
    running.signal(Signal::TERM);
    let (code, log) = running.end();
    assert_eq!(code, Some(0), "{log}");
    all += &log;
    let application = fs::read_to_string(folder.path().join("logs/application.log")).expect("a log file");
    assert!(application.contains("serving"), "{application}");
    all += &application;
    assert!(all.len() > 5_000, "there was something to look at");
    let found = all.lines().find(|line| line.contains("SECRET"));
    assert_eq!(found, None);
}

#[test]
fn production_logs_are_json_on_standard_error_only() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = tidings(folder.path());
    command.args(["run", "--listen", "127.0.0.1:0", "--no-supervise"]).env("TIDINGS_ENV", "production");
    command.env("ENABLE_CACHING", "true").stdout(std::process::Stdio::null());
    let running = Running::spawn(&mut command, folder.path());
    running.worker();
    running.signal(Signal::TERM);
    let (_, log) = running.end();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    assert!(lines.iter().any(|line| line["message"] == "serving" && line["level"] == "INFO"), "{log}");
    let notices = lines.iter().filter(|line| line["variables"] == "ENABLE_CACHING").count();
    assert_eq!(notices, 1, "what has no effect is said once: {log}");
}

#[test]
fn doctor_says_what_is_wrong_and_how_to_mend_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let good = output(tidings(folder.path()).args(["doctor", "--listen", "127.0.0.1:0"]));
    assert_eq!(good.status.code(), Some(0), "{}", text(&good));
    assert!(text(&good).contains("ok    data folder"), "{}", text(&good));
    let bad = output(tidings(folder.path()).args(["doctor", "--set", "http.drain_s=soon"]));
    assert_eq!(bad.status.code(), Some(1));
    assert!(text(&bad).contains("FAIL  configuration"), "{}", text(&bad));
    let file = folder.path().join("file");
    fs::write(&file, "").expect("writes");
    let bad = output(tidings(folder.path()).args(["doctor", "--data-dir", file.to_str().expect("text")]));
    assert_eq!(bad.status.code(), Some(1));
    assert!(text(&bad).contains("set TIDINGS_DATA_DIR"), "{}", text(&bad));
}

fn reach_in(folder: &Path, variables: &Environment) -> Reach {
    let overrides = Overrides { data_dir: Some(folder.join("data")), ..Overrides::default() };
    reach(&load(variables, &overrides).expect("valid").config).expect("reachable")
}

#[test]
fn a_command_opens_a_free_folder_and_asks_whoever_holds_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    assert!(matches!(reach_in(folder.path(), &Environment::default()), Reach::Folder(_)));

    // Off loopback a token is needed: the folder's owner has one without being told.
    let mut command = tidings(folder.path());
    command.args(["run", "--listen", "0.0.0.0:0"]).env("TIDINGS_API_TOKEN", "0123456789abcdef");
    let running = Running::spawn(&mut command, folder.path());
    running.worker();
    let Reach::Server(client) = reach_in(folder.path(), &Environment::default()) else {
        panic!("the folder is held")
    };
    let report: Report = client.get("/health", &[]).expect("answers");
    assert!(report.components.iter().any(|c| c.name == "disk" && !c.details.is_null()), "{report:?}");

    // TIDINGS_URL is stronger than a free folder.
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let url = format!("http://{}", running.address().expect("serves"));
    let environment =
        Environment::of([("TIDINGS_URL", url.as_str()), ("TIDINGS_API_TOKEN", "0123456789abcdef")]);
    let Reach::Server(client) = reach_in(elsewhere.path(), &environment) else { panic!("not asked") };
    client.get::<Report>("/health", &[]).expect("answers");

    let doctor = output(tidings(folder.path()).arg("doctor").args(["--listen", "127.0.0.1:0"]));
    assert!(text(&doctor).contains("runs version"), "{}", text(&doctor));
    running.signal(Signal::TERM);
    assert_eq!(running.end().0, Some(0));
}
