//! Layers, mistakes, secrets: without processes.

use std::fs;
use std::path::Path;

use tidings::config::{Environment, Loaded, Mistakes, NAMED, Overrides, Profile, RECOGNISED, load};

/// Loads with this folder as overlay directory.
fn load_in(folder: &Path, environment: &Environment) -> Result<Loaded, Mistakes> {
    load(environment, &Overrides { config_dir: Some(folder.to_path_buf()), ..Overrides::default() })
}

fn load_env<const N: usize>(variables: [(&str, &str); N]) -> Result<Loaded, Mistakes> {
    let empty = tempfile::tempdir().expect("a temporary folder");
    load_in(empty.path(), &Environment::of(variables))
}

fn mistakes(result: Result<Loaded, Mistakes>) -> String {
    match result {
        Ok(_) => panic!("the configuration was accepted"),
        Err(mistakes) => mistakes.to_string(),
    }
}

#[test]
fn the_defaults_are_whole_and_every_named_variable_has_its_knob() {
    let loaded = load_env([]).expect("the defaults are valid");
    assert!(loaded.changed().is_empty() && loaded.profile.is_none());
    let shown = loaded.show();
    for named in NAMED {
        let line = shown.lines().find(|line| line.starts_with(&format!("{} = ", named.knob)));
        assert!(line.is_some(), "{} has no knob {}", named.name, named.knob);
    }
}

#[test]
fn each_layer_wins_over_the_ones_below_and_the_winner_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(
        folder.path().join("tidings.toml"),
        "[http]\nrequests_max = 1\nconnections_max = 1\nbody_bytes_max = 1\ndrain_s = 1\n",
    )
    .expect("writes");
    let environment = Environment::of([
        ("TIDINGS_ENV", "development"),
        ("TIDINGS__HTTP__CONNECTIONS_MAX", "2"),
        ("TIDINGS__LISTEN", "127.0.0.1:1111"),
        ("TIDINGS_LISTEN", "127.0.0.1:2222"),
        ("TIDINGS__HTTP__BODY_BYTES_MAX", "2"),
        ("LOG_LEVEL", "warn"),
    ]);
    let overrides = Overrides {
        config_dir: Some(folder.path().to_path_buf()),
        set: vec!["http.body_bytes_max=3".to_string()],
        ..Overrides::default()
    };
    let loaded = load(&environment, &overrides).expect("valid");
    let config = &loaded.config;
    assert_eq!(loaded.profile, Some(Profile::Development));
    assert_eq!(
        (config.http.requests_max, config.http.connections_max, config.http.body_bytes_max),
        (1, 2, 3)
    );
    assert_eq!(config.listen.port(), 2222);
    let shown = loaded.show();
    let origin = |knob: &str| {
        let line = shown.lines().find(|line| line.starts_with(&format!("{knob} = "))).expect(knob);
        line.split_once("  # ").expect("an origin").1.to_string()
    };
    assert!(origin("http.requests_max").ends_with("tidings.toml:2"), "{}", origin("http.requests_max"));
    assert_eq!(origin("http.connections_max"), "environment variable TIDINGS__HTTP__CONNECTIONS_MAX");
    assert_eq!(origin("http.body_bytes_max"), "flag --set");
    assert_eq!(origin("listen"), "environment variable TIDINGS_LISTEN");
    assert_eq!(origin("logging.level"), "environment variable LOG_LEVEL");
    assert!(origin("http.idle_timeout_s").starts_with("default.toml:"));
}

#[test]
fn profiles_change_what_they_say() {
    let level =
        |name| format!("{:?}", load_env([("TIDINGS_ENV", name)]).expect("valid").config.logging.level);
    assert_eq!(level("development"), "Debug");
    assert_eq!(level("production"), "Info");
    let staging = load_env([("ENVIRONMENT", "Staging")]).expect("the alias, in any case");
    assert!(staging.config.discord_access.dry_run);
    let production = load_env([("TIDINGS_ENV", "production"), ("ENVIRONMENT", "staging")]).expect("valid");
    assert_eq!(production.profile, Some(Profile::Production), "the alias has less weight");
}

#[test]
fn every_mistake_is_reported_at_once_with_its_place_and_the_nearest_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("writes");
    write("tidings.toml", "[http]\nrequest_max = 1\nidle_timeout_s = \"soon\"\n[loging]\nlevel = \"info\"\n");
    write("topics.toml", "[[topic]]\nname = \"a\"\nany = [\"a\"]\n[[topik]]\nname = \"b\"\n");
    write("sources.toml", "[[source]\n");
    write("topic.toml", "");
    let environment = Environment::of([
        ("TIDINGS_ENV", "prodction"),
        ("TIDINGS__HTTP__DRAIN_S", "-5"),
        ("TIDINGS__HTPP__DRAIN_S", "5"),
        ("ENABLE_DISCORD_PUBLISHNG", "true"),
        ("ENABLE_SENTIMENT_ANALYSIS", "150%"),
        ("TIDINGS_LISTN", "127.0.0.1:1"),
        ("TIDINGS_URL", "no address"),
    ]);
    let text = mistakes(load_in(folder.path(), &environment));
    for expected in [
        "tidings.toml:2: unknown key http.request_max; did you mean http.requests_max?",
        "tidings.toml:3: http.idle_timeout_s: invalid type",
        "tidings.toml:5: unknown key loging.level; did you mean logging.level?",
        "topics.toml:4: only [[topic]] belongs here, not topik; did you mean topic?",
        "sources.toml:1:",
        "topic.toml:1: unknown configuration file; did you mean topics.toml?",
        "environment variable TIDINGS_ENV: \"prodction\" is not one of development, staging, production; did you mean production?",
        "environment variable TIDINGS__HTTP__DRAIN_S: http.drain_s: invalid value",
        "environment variable TIDINGS__HTPP__DRAIN_S: unknown key htpp.drain_s; did you mean http.drain_s?",
        "unknown flag ENABLE_DISCORD_PUBLISHNG; did you mean ENABLE_DISCORD_PUBLISHING?",
        "environment variable ENABLE_SENTIMENT_ANALYSIS: features.sentiment_analysis:",
        "unknown variable TIDINGS_LISTN; did you mean TIDINGS_LISTEN?",
        "environment variable TIDINGS_URL: url:",
    ] {
        assert!(text.contains(expected), "missing: {expected}\nin: {text}");
    }
    assert!(text.starts_with("13 mistakes"), "each once: {text}");
}

#[test]
fn lists_belong_into_their_own_files_and_a_folder_cannot_move_itself() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("tidings.toml"), "[[route]]\nname = \"x\"\n").expect("writes");
    let text = mistakes(load_in(folder.path(), &Environment::default()));
    assert!(text.contains("[[route]] belongs into routes.toml"), "{text}");

    let data = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(data.path().join("config")).expect("creates");
    fs::write(data.path().join("config/tidings.toml"), "data_dir = \"/elsewhere\"\n").expect("writes");
    let overrides = Overrides { data_dir: Some(data.path().to_path_buf()), ..Overrides::default() };
    let text = mistakes(load(&Environment::default(), &overrides));
    assert!(text.contains("cannot be moved by a file inside"), "{text}");
}

#[test]
fn rules_of_alerts_are_checked_at_start_against_the_routes_that_there_are() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("writes");
    write("routes.toml", "[[route]]\nname = \"team\"\nto = \"webhook\"\nat = \"08:00\"\n");
    let loaded = load_in(folder.path(), &Environment::default()).expect("the shipped rules fit other routes");
    assert!(loaded.config.alert.len() >= 6);
    write(
        "alerts.toml",
        "[[alert]]\nname = \"a\"\nkind = \"keyword\"\nany = [\"x\"]\nroute = \"taem\"\nitem_min = 2\n\
         [[alert]]\nname = \"b\"\nkind = \"moood_drop\"\n",
    );
    let text = mistakes(load_in(folder.path(), &Environment::default()));
    for expected in [
        "alerts.toml:1: alert: alert \"a\": route = \"taem\" must be one of team, webhook, private; did you mean \"team\"?",
        "unknown key \"item_min\"; did you mean \"items_min\"?",
        "kind = \"moood_drop\"",
        "did you mean \"mood_drop\"?",
    ] {
        assert!(text.contains(expected), "missing: {expected}\nin: {text}");
    }
    assert!(text.starts_with("3 mistakes"), "{text}");
    // What they name has to be there; the user's own files count.
    let named = |source: &str, topic: &str| {
        format!(
            "[[alert]]\nname = \"a\"\nkind = \"source_silent\"\nsources = [{source:?}]\n\
             [[alert]]\nname = \"b\"\nkind = \"keyword\"\nany = [\"x\"]\ntopics = [{topic:?}]\n"
        )
    };
    write(
        "sources.toml",
        "[[source]]\ntype = \"feed\"\nname = \"Mine\"\nurl = \"https://mine.example/feed\"\n",
    );
    write("topics.toml", "[[topic]]\nname = \"own\"\nany = [\"own\"]\n");
    write("alerts.toml", &named("Mine", "own"));
    let loaded = load_in(folder.path(), &Environment::default()).expect("both are there");
    let naming = |source: &str| tidings::run::alerts::naming_source(&loaded.config, source).expect("valid");
    assert_eq!((naming("Mine"), naming("Other")), (vec!["a".to_string()], vec![]));
    write("alerts.toml", &named("Mein", "owm"));
    let text = mistakes(load_in(folder.path(), &Environment::default()));
    for expected in [
        "alerts.toml:1: alert: alert \"a\": sources: sources.toml has no \"Mein\"; did you mean \"Mine\"?",
        "alert \"b\": topics: topics.toml has no \"owm\"; did you mean \"own\"?",
    ] {
        assert!(text.contains(expected), "missing: {expected}\nin: {text}");
    }
    write("alerts.toml", "[[alarm]]\nname = \"a\"\n");
    let text = mistakes(load_in(folder.path(), &Environment::default()));
    assert!(text.contains("only [[alert]] belongs here, not alarm"), "{text}");
}

#[test]
fn no_address_off_loopback_without_a_token() {
    for listen in ["0.0.0.0:8080", "192.0.2.1:80", "[::]:8080"] {
        let text = mistakes(load_env([("TIDINGS_LISTEN", listen)]));
        assert!(text.contains("TIDINGS_API_TOKEN is required"), "{text}");
    }
    let text = mistakes(load_env([("TIDINGS_LISTEN", "0.0.0.0:8080"), ("TIDINGS_API_TOKEN", "short")]));
    assert!(text.contains("api_token: needs 16 or more"), "{text}");
    load_env([("TIDINGS_LISTEN", "0.0.0.0:8080"), ("TIDINGS_API_TOKEN", "0123456789abcdef")]).expect("valid");
    load_env([("TIDINGS_LISTEN", "[::1]:8080")]).expect("loopback needs none");
}

#[test]
fn secrets_come_from_files_too_and_are_never_shown() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("token");
    fs::write(&file, "file-secret-0123456789\n").expect("writes");
    let path = file.to_str().expect("text");
    let webhook = "https://discord.com/api/webhooks/1/hook-secret";
    let loaded = load_env([
        ("TIDINGS_API_TOKEN_FILE", path),
        ("KAFKA_SASL_PASSWORD", "sasl-secret"),
        ("KAFKA_SASL_USERNAME", "user-secret"),
        ("QDRANT_URL", "http://me:url-secret@localhost:6334"),
        ("QDRANT_API_KEY", "qdrant-secret"),
        ("DISCORD_WEBHOOK_URL", webhook),
        ("TIDINGS__DISCORD_ACCESS__BOT_TOKEN", "Bot bot-secret"),
        (
            "TIDINGS__LOG__KAFKA__PROPERTIES",
            "{ \"ssl.key.password\" = \"ssl-secret\", \"client.id\" = \"me\" }",
        ),
    ])
    .expect("valid");
    let token = loaded.config.api_token.as_ref().expect("set").expose();
    assert_eq!(token, "file-secret-0123456789", "without the line's end");
    assert_eq!(loaded.config.log.kafka.properties["client.id"].reveal(), "me");
    let shown = format!("{}\n{:?}", loaded.show(), loaded.config);
    assert!(!shown.contains("-secret"), "{shown}");
    assert!(shown.contains("(secret)") && shown.contains("named by TIDINGS_API_TOKEN_FILE"), "{shown}");
}

#[test]
fn mistakes_about_secrets_do_not_show_them() {
    let text = mistakes(load_env([
        ("DISCORD_WEBHOOK_URL", "htps:/hook-secret"),
        ("TIDINGS_API_TOKEN", "a secret with spaces"),
        ("TIDINGS__LOG__KAFKA__PROPERTIES", "{ \"sasl.password\" = 12345678 }"),
        ("QDRANT_API_KEY_FILE", "/nowhere/at/all"),
    ]));
    for shown in ["hook-secret", "a secret with", "12345678"] {
        assert!(!text.contains(shown), "{text}");
    }
    assert!(text.contains("cannot read the file /nowhere/at/all"), "{text}");
}

#[test]
fn empty_means_unset_and_the_first_name_wins() {
    let loaded = load_env([
        ("DISCORD_WEBHOOK_URL", ""),
        ("DISCORD_WEBHOOK", "https://discord.com/api/webhooks/1/alias"),
        ("KAFKA_BOOTSTRAP_SERVERS", ""),
        ("TIDINGS__HTTP__DRAIN_S", ""),
        ("TIDINGS_ENV", ""),
    ])
    .expect("valid");
    assert!(loaded.config.discord_access.webhook_url.is_some());
    let both = load_env([
        ("DISCORD_WEBHOOK_URL", "https://discord.com/api/webhooks/1/first"),
        ("DISCORD_WEBHOOK", "https://discord.com/api/webhooks/1/second"),
    ])
    .expect("valid");
    let webhook = both.config.discord_access.webhook_url.as_ref().expect("set").expose();
    assert!(webhook.ends_with("first"));
    assert!(both.notices.iter().any(|n| n.names == ["DISCORD_WEBHOOK"]), "{:?}", both.notices);
}

#[test]
fn other_peoples_variables_are_left_alone() {
    load_env([
        ("TIDINGS_PORT", "tcp://10.0.0.1:8080"),
        ("TIDINGS_SERVICE_HOST", "10.0.0.1"),
        ("TIDINGS_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("TIDINGS_CACHE", "/tmp/cache"),
        ("KAFKA_HEAP_OPTS", "-Xmx1g"),
    ])
    .expect("Kubernetes, make and Kafka set these");
}

#[test]
fn the_runbooks_environment_starts_and_says_what_has_no_effect() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut environment = Environment::default();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/runbook.env");
    environment.read_env_file(&fixture);
    let loaded = load_in(folder.path(), &environment).expect("the runbook's own variables start");
    assert_eq!(loaded.profile, Some(Profile::Production));
    let text = fs::read_to_string(&fixture).expect("reads");
    let noticed: Vec<&String> = loaded.notices.iter().flat_map(|notice| &notice.names).collect();
    let effective = [
        "ENVIRONMENT",
        "LOG_LEVEL",
        "DISCORD_BOT_TOKEN",
        "DISCORD_PRIVATE_WEBHOOK",
        "DISCORD_WEBHOOK",
        "DISCORD_DRY_RUN",
        "QDRANT_URL",
        "QDRANT_API_KEY",
        "ENABLE_DISCORD_PUBLISHING",
        "ENABLE_SENTIMENT_ANALYSIS",
        "ENABLE_PII_DETECTION",
        "ENABLE_YOUTUBE_INTEGRATION",
        "ENABLE_ALERTS",
    ];
    for line in
        text.lines().filter(|line| line.contains('=') && !line.starts_with('#') && !line.ends_with('='))
    {
        let name = line.split('=').next().expect("a name").to_string();
        let is_noticed = noticed.iter().filter(|noticed| ***noticed == name).count();
        assert_eq!(is_noticed, usize::from(!effective.contains(&name.as_str())), "{name}");
    }
    assert!(loaded.notices.iter().all(|n| n.why.starts_with("no effect in this version: ")));
}

#[test]
fn a_flag_has_one_class() {
    let mut names: Vec<&str> = RECOGNISED.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    names.extend(NAMED.iter().map(|named| named.name));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a variable is named twice");
}

/// `.env.example` is what the program reads, neither more nor less.
#[test]
fn the_env_example_lists_every_address_and_secret() {
    let mut expected = String::from(
        "# Addresses and secrets of Tidings. Copy to .env, which is read from the working folder\n\
         # and gives way to the real environment; what is empty is unset. Every secret may also\n\
         # be given as NAME_FILE, the path of a file that holds it. All other knobs:\n\
         # `tidings config show`.\n",
    );
    for named in NAMED {
        let Some(comment) = named.shown else { continue };
        expected += &format!("\n# {comment}");
        if !named.aliases.is_empty() {
            expected += &format!(" Also read: {}.", named.aliases.join(", "));
        }
        expected += &format!("\n{}=\n", named.name);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".env.example");
    let found = fs::read_to_string(path).unwrap_or_default();
    assert!(found == expected, ".env.example must be:\n{expected}");
}

/// The order of default.toml's comments is its documentation: no knob without one.
#[test]
fn every_knob_has_a_comment() {
    let text = include_str!("../../config/default.toml");
    let lines: Vec<&str> = text.lines().collect();
    let mut described = false;
    let mut naked = Vec::new();
    for line in &lines {
        match line.trim_start().chars().next() {
            Some('#') => described = true,
            None | Some('[') => described = described && line.starts_with('['),
            Some(_) if line.contains(" = ") && !described => naked.push(*line),
            Some(_) => {}
        }
    }
    assert!(naked.is_empty(), "without unit and reason: {naked:#?}");
}
