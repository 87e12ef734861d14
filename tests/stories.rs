//! Stories with the real program: by words and by meaning, over edits, deletions and
//! `kill -9`, as `GET /v1/stories` tells them.

#[expect(dead_code, reason = "shared with tests/end_to_end.rs, which uses all of it")]
#[path = "support/program.rs"]
mod program;

use program::{Program, eventually};
use serde_json::{Value, json};
use std::sync::LazyLock;
use tidings::config::Environment;

const BRIDGE: [&str; 4] = [
    "Bridge over the Sarne collapses during morning rush hour, at least four cars in the water",
    "RT: Bridge over the Sarne collapses during morning rush hour, at least four cars in the water",
    "Bridge over the Sarne collapses during morning rush hour, at least six cars in the water (updated)",
    "A road bridge across the river Sarne has come down in the middle of the morning commute. Several cars fell \
     into the river, rescue divers are on site.",
];
const EDITOR: [&str; 2] = [
    "Kestrel 1.0 is here, the open source editor written in Zig that some of us have waited for",
    "Kestrel 1.0 is here, the open source editor written in Zig that some of us have waited for!",
];

/// Published in the order of the ids, whenever it is sent.
fn event(platform: &str, id: u64, text: &str) -> Value {
    static BEGUN: LazyLock<i64> = LazyLock::new(|| jiff::Timestamp::now().as_millisecond());
    let now = *BEGUN;
    json!({
        "platform": platform, "native_id": id.to_string(), "kind": "post", "change": "created",
        "published_at": now - 600_000 + id as i64 * 1000, "author": {"id": format!("author {id}")},
        "text": text, "url": format!("https://example.org/{platform}/{id}"),
    })
}

fn start() -> Program {
    let models = Environment::of_process(None).cache_dir().expect("a home folder");
    Program::start(|command, config| {
        std::fs::write(config.join("sources.toml"), "source = []\n").expect("can be written");
        // The process itself is to be killed, not one that watches it.
        command.arg("--no-supervise").env("TIDINGS_CACHE", models);
    })
}

fn stories(program: &Program, query: &str) -> Result<Vec<Value>, String> {
    let answer = program.get(&format!("/v1/stories{query}"))?;
    Ok(answer["stories"].as_array().ok_or("no list")?.clone())
}

/// The story of the bridge, once it has so many items and, if named, this one.
fn bridge(program: &Program, items: u64, member: Option<&str>) -> Value {
    eventually("the story", || {
        let all = stories(program, "")?;
        let found = all.iter().find(|story| {
            let members = story["members"].as_array().into_iter().flatten();
            let has = |wanted: &str| members.clone().any(|id| id == wanted);
            story["items"] == items
                && story["title"].as_str().is_some_and(|t| t.contains("ridge"))
                && member.is_none_or(has)
        });
        found.cloned().ok_or_else(|| Value::from(all.clone()).to_string())
    })
}

/// Linked pairs of whatever signal.
fn pairs(story: &Value) -> u64 {
    let why = story["why"].as_str().expect("words");
    why.split_whitespace().filter_map(|word| word.parse::<u64>().ok()).sum()
}

#[test]
fn a_story_goes_on_over_edits_deletions_and_a_kill() {
    let mut program = start();
    eventually("readiness", || program.get("/readyz"));
    program.post(&[event("rss", 1, BRIDGE[0]), event("x", 2, BRIDGE[1])]);
    let begun = bridge(&program, 2, None);
    assert_eq!(begun["first_seen"]["content_id"], "rss:1", "{begun}");
    assert_eq!(begun["why"], "1 pair shares most words");
    program.post(&[
        event("mastodon", 4, BRIDGE[3]),
        event("x", 5, EDITOR[0]),
        event("mastodon", 6, EDITOR[1]),
        event("x", 7, "the coffee machine at work is broken and nobody knows how to live any more"),
    ]);
    // Other words of the same: linked when the text is embedded.
    let whole = bridge(&program, 3, Some("mastodon:4"));
    assert_eq!(whole["id"], begun["id"]);
    assert_eq!(whole["platforms"].as_array().map(Vec::len), Some(3), "{whole}");
    assert_eq!(whole["platforms"][1]["url"], "https://example.org/x/2");

    program.kill_and_restart();
    eventually("readiness", || program.get("/readyz"));
    program.post(&[event("rss", 3, BRIDGE[2])]);
    let later = bridge(&program, 4, Some("rss:3"));
    assert_eq!((&later["id"], &later["opened_at"]), (&begun["id"], &begun["opened_at"]));

    // The item that stands for it is edited into something else, then another deleted.
    let mut edited =
        event("rss", 1, "We are sorry: this article was published by mistake and has been withdrawn");
    edited["change"] = "updated".into();
    program.post(&[edited]);
    let without = bridge(&program, 3, None);
    assert_eq!((&without["id"], &without["representative"]), (&begun["id"], &json!("x:2")));
    // Those that stay are linked by their meaning, once the later one is embedded.
    eventually("a link between all three", || match pairs(&bridge(&program, 3, None)) {
        3 => Ok(()),
        n => Err(format!("{n} pairs")),
    });
    program.post(&[json!({"platform": "x", "native_id": "2", "change": "deleted"})]);
    let rest = bridge(&program, 2, None);
    assert_eq!((&rest["id"], &rest["representative"]), (&begun["id"], &json!("rss:3")));

    lists(&program);
}

/// Pages, filters and refusals, of two stories.
fn lists(program: &Program) {
    let all = stories(program, "").expect("answers");
    assert_eq!(all.len(), 2, "{all:?}");
    let first = program.get("/v1/stories?limit=1").expect("answers");
    let cursor = first["cursor"].as_str().expect("there is more");
    let second = program.get(&format!("/v1/stories?limit=1&cursor={cursor}")).expect("answers");
    assert_eq!([&first["stories"][0], &second["stories"][0]], [&all[0], &all[1]]);
    assert!(second["cursor"].is_null());
    assert_eq!(stories(program, "?platform=nowhere").expect("answers").len(), 0);
    assert_eq!(stories(program, "?min_items=3").expect("answers").len(), 0);
    assert_eq!(stories(program, "?since=2999-01-01T00:00:00Z").expect("answers").len(), 0);
    let id = all[0]["id"].as_str().expect("an id");
    assert_eq!(program.get(&format!("/v1/stories/{id}")).expect("answers"), all[0]);
    for refused in ["/v1/stories?cursor=x", "/v1/stories?since=y", "/v1/stories?order=z", "/v1/stories/none"]
    {
        let error = program.get(refused).expect_err(refused);
        assert!(error.contains("400") || error.contains("404"), "{error}");
    }
}
