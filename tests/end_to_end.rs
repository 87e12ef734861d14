//! The whole line with the real program: a feed served here is polled, understood,
//! counted, remembered, and told to a local Discord, once; what is shown at the end is
//! what the feed said, and a search by meaning finds it. A burst is told with examples,
//! and the same after a kill.

#[expect(dead_code, reason = "shared with tests/discord.rs, which uses all of it")]
#[path = "support/discord_server.rs"]
mod server;
#[path = "support/program.rs"]
mod program;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use program::{Program, eventually};
use serde_json::Value;
use server::{Conduct, DiscordServer};
use tidings::config::Environment;

/// Serves one document to every request.
fn serve_feed(body: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/feed.xml", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            // One read takes a request without a body whole.
            let _ = stream.read(&mut [0; 8192]);
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/rss+xml\r\nConnection: close";
            let _ = write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    url
}

fn feed() -> String {
    let now = jiff::Timestamp::now();
    let item = |n: i64, title: &str, text: &str| {
        let at = now - jiff::SignedDuration::from_mins(n);
        let date = jiff::fmt::rfc2822::to_string(&at.to_zoned(jiff::tz::TimeZone::UTC)).expect("a date");
        format!(
            "<item><guid>item-{n}</guid><title>{title}</title><link>https://news.example/{n}</link>\
             <description><![CDATA[{text}]]></description><pubDate>{date}</pubDate></item>"
        )
    };
    format!(
        "<?xml version=\"1.0\"?><rss version=\"2.0\"><channel><title>Example News</title>\
         <link>https://news.example</link><description>d</description>{}{}{}</channel></rss>",
        item(3, "A wonderful day for football", "<p>The team <b>loves</b> its great new stadium.</p>"),
        item(2, "Markets fall", "<p>A terrible, awful day for the economy &amp; everyone. @everyone</p>"),
        item(1, "Software release", "<p>New software for the climate was published.</p>"),
    )
}

/// Where the models of this machine are; `tidings models fetch` puts them there.
fn models() -> std::path::PathBuf {
    Environment::of_process(None).cache_dir().expect("a home folder")
}

/// The program, following `feed` and telling `discord`.
fn start(feed: &str, discord: &DiscordServer) -> Program {
    Program::start(|command, config| {
        let sources = format!(
            "[[source]]\ntype = \"feed\"\nname = \"example\"\nplatform = \"rss\"\nurl = \"{feed}\"\nbackfill = \"last:10\"\n"
        );
        std::fs::write(config.join("sources.toml"), sources).expect("can be written");
        command
            .args(["--set", "poll.allow_private_addresses=true"])
            .args(["--set", &format!("discord.api_base={}", discord.base())])
            // The disk of this machine may be worth an alert.
            .env("ENABLE_ALERTS", "false")
            .env("DISCORD_WEBHOOK_URL", discord.webhook_url())
            .env("TIDINGS_CACHE", models());
    })
}

/// Runs a command against the running process, as its user would.
fn command(program: &Program, args: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tidings"))
        .env_clear()
        .args(args)
        .args(["--no-env-file", "--data-dir"])
        .arg(program.folder())
        .output()
        .expect("runs");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

#[test]
fn a_feed_becomes_counts_a_memory_and_one_digest() {
    let discord = DiscordServer::start(Conduct::default(), 1);
    let program = start(&serve_feed(feed()), &discord);
    eventually("readiness", || program.get("/readyz"));
    let cells = eventually("counting", || {
        let volume = program.get("/v1/volume?window=1d&by=platform")?;
        let count: i64 =
            volume["cells"].as_array().into_iter().flatten().filter_map(|c| c["count"].as_i64()).sum();
        if count == 3 { Ok(volume) } else { Err(volume.to_string()) }
    });
    assert_eq!(cells["cells"][0]["platform"], "rss");

    let (good, tail) = command(&program, &["topics", "tail", "content.enriched", "--json"]);
    assert!(good, "{tail}");
    let lines: Vec<Value> = tail.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    assert_eq!(lines.len(), 3, "{tail}");
    let texts: Vec<&str> = lines.iter().filter_map(|l| l["value"]["content"]["text"].as_str()).collect();
    assert!(texts.contains(&"The team loves its great new stadium."), "markup is removed: {texts:?}");

    let (good, sent) = command(&program, &["digest", "send"]);
    assert!(good, "{sent}");
    eventually("the post", || match discord.messages().len() {
        1 => Ok(()),
        n => Err(format!("{n} messages; health: {:?}", program.get("/health/discord"))),
    });
    let message = serde_json::to_string(&discord.messages()[0].body).expect("JSON");
    assert!(message.contains("football"), "{message}");
    assert!(!message.contains("@everyone"), "nothing pings: {message}");
    discord.assert_no_violations();
    assert_eq!(discord.messages().len(), 1, "one post for one digest");

    // No word of the question is in the text that answers it.
    let hit = eventually("the hit in the search", || {
        let (_, text) = command(&program, &["search", "sports arena that players adore", "--json"]);
        let answer: Value = serde_json::from_str(&text).map_err(|_| text.clone())?;
        let all_remembered = answer["hits"].as_array().is_some_and(|hits| hits.len() == 3);
        if answer["mode"] == "hybrid" && all_remembered { Ok(answer["hits"][0].clone()) } else { Err(text) }
    });
    assert_eq!(hit["title"], "A wonderful day for football", "{hit}");
    assert_eq!(hit["url"], "https://news.example/3", "{hit}");

    let (good, sources) = command(&program, &["sources", "list"]);
    assert!(good && sources.contains("example"), "{sources}");
}

/// Eight hours of people who talk about the weather, then twenty about a launch.
fn talk() -> Vec<Value> {
    let now = jiff::Timestamp::now().as_millisecond();
    let event = |n: i64, ago_ms: i64, text: &str| {
        serde_json::json!({
            "platform": "made-up", "native_id": n.to_string(), "kind": "post", "change": "created", "revision": 1,
            "author": {"id": format!("author-{n}")}, "title": format!("Post {n}"), "text": text,
            "published_at": now - ago_ms, "engagement": {"likes": n % 50},
        })
    };
    let usual = (0..480).map(|n| event(n, (480 - n) * 60_000, "it is raining in Lisbon"));
    usual.chain((1000..1020).map(|n| event(n, 1_000, "the #MoonLaunch was seen from here"))).collect()
}

#[test]
fn a_burst_is_told_with_examples_and_stays_after_a_kill() {
    let mut program = Program::start(|command, config| {
        std::fs::write(config.join("sources.toml"), "source = []\n").expect("can be written");
        // The process itself is to be killed, not one that watches it.
        command.args(["--no-supervise", "--set", "embed.enabled=false"]);
    });
    eventually("readiness", || program.get("/readyz"));
    let window = || jiff::Timestamp::now().as_second() / 600;
    let began = window();
    program.post(&talk());
    let told = |program: &Program| {
        let answer = program.get("/v1/trends?state=rising&kind=term")?;
        let trends = answer["trends"].as_array().cloned().unwrap_or_default();
        let launch = trends.iter().find(|trend| trend["subject"]["name"] == "#moonlaunch");
        let complete = launch.filter(|t| t["examples"].as_array().is_some_and(|e| e.len() == 3));
        complete.cloned().ok_or(answer.to_string())
    };
    let trend = eventually("the trend", || told(&program));
    assert_eq!((trend["items"].as_i64(), trend["authors"].as_i64()), (Some(20), Some(20)), "{trend}");
    assert!(trend["why"].as_str().is_some_and(|why| why.starts_with("20 items by 20 authors")), "{trend}");
    let likes: Vec<_> =
        trend["examples"].as_array().into_iter().flatten().map(|e| &e["engagement"]["likes"]).collect();
    assert_eq!(likes, [19, 18, 17], "the most noticed first: {trend}");
    let (_, before) = command(&program, &["topics", "tail", "results.trends", "--json"]);

    program.kill_and_restart();
    eventually("readiness", || program.get("/readyz"));
    let again = eventually("the trend after a kill", || told(&program));
    let (_, after) = command(&program, &["topics", "tail", "results.trends", "--json"]);
    for field in ["subject", "since", "items", "authors", "examples"] {
        assert_eq!(again[field], trend[field], "{field}");
    }
    if window() == began {
        assert_eq!(after, before, "nothing is published again");
    } else {
        assert!(after.starts_with(&before), "a further window is another value: {before}\n{after}");
    }
    assert!(program.get("/v1/trends?state=up").is_err_and(|e| e.contains("400")), "a wrong state is refused");
}
