//! Mastodon timelines as an instance answers: pages by id, limits in headers, edits.

use std::sync::Mutex;

use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::*;

/// An instance that keeps statuses, and answers as Mastodon does.
#[derive(Clone, Default)]
struct Instance {
    statuses: Arc<Mutex<BTreeMap<u64, Value>>>,
    /// `X-RateLimit-Remaining`.
    remaining: Arc<Mutex<u64>>,
}

fn status(id: u64, text: &str) -> Value {
    json!({
        "id": id.to_string(),
        "uri": format!("https://home.example/users/ann/statuses/{id}"),
        "url": format!("https://home.example/@ann/{id}"),
        "created_at": "2026-11-24T09:00:00.123Z", "edited_at": null,
        "content": format!("<p>{text} <a href=\"https://home.example/tags/rust\" class=\"mention hashtag\">#<span>rust</span></a></p>"),
        "spoiler_text": "", "language": "en", "in_reply_to_id": null, "reblog": null, "sensitive": false,
        "visibility": "public", "favourites_count": 0, "reblogs_count": 0, "replies_count": 0,
        "account": {"id": "9", "acct": "ann@home.example", "username": "ann", "url": "https://home.example/@ann", "display_name": "Ann"},
        "media_attachments": [], "tags": [{"name": "rust", "url": "https://home.example/tags/rust"}],
    })
}

impl Instance {
    /// Serves #rust, and each status by itself, below `server`.
    fn on(bench: &Bench) -> Self {
        let instance = Self::default();
        *instance.remaining.lock().unwrap() = 299;
        let own = instance.clone();
        bench.server.on("/api/v1/timelines/tag/rust", move |asked| own.timeline(asked));
        instance
    }

    fn put(&self, bench: &Bench, id: u64, status: Value) {
        self.statuses.lock().unwrap().insert(id, status);
        let own = self.clone();
        bench.server.on(&format!("/api/v1/statuses/{id}"), move |_| {
            match own.statuses.lock().unwrap().get(&id) {
                Some(status) => reply(200, &[], status.to_string()),
                None => reply(404, &[], "{\"error\":\"Record not found\"}"),
            }
        });
    }

    fn timeline(&self, asked: &HeaderMap) -> axum::response::Response {
        let query = asked[server::QUERY].to_str().unwrap();
        let of = |name: &str| {
            let pair = query.split('&').find_map(|pair| pair.split_once('=').filter(|(n, _)| *n == name));
            pair.map(|(_, value)| value.parse::<u64>().expect("a number"))
        };
        let limit = of("limit").unwrap_or(20).min(40) as usize;
        let all = self.statuses.lock().unwrap();
        let page: Vec<&Value> = match of("min_id") {
            // The oldest that are newer, shown the newest first.
            Some(min) => {
                let mut page: Vec<&Value> = all.range(min + 1..).take(limit).map(|(_, s)| s).collect();
                page.reverse();
                page
            }
            None => all.values().rev().take(limit).collect(),
        };
        let mut remaining = self.remaining.lock().unwrap();
        *remaining = remaining.saturating_sub(1);
        let headers = [
            ("x-ratelimit-limit", "300"),
            ("x-ratelimit-remaining", &remaining.to_string()),
            ("x-ratelimit-reset", "2026-11-24T10:20:00.000000Z"),
        ];
        reply(200, &headers, json!(page).to_string())
    }
}

async fn bench(more: &str) -> Bench {
    Bench::following(&format!(
        "[[source]]\ntype = \"mastodon\"\ninstance = \"SERVER\"\ntag = \"rust\"\n{more}"
    ))
    .await
}

#[tokio::test]
async fn a_status_becomes_an_event() {
    let bench = bench("backfill = \"last:9\"").await;
    let instance = Instance::on(&bench);
    let mut rich = status(10, "See");
    rich["spoiler_text"] = "CW: a < b".into();
    rich["in_reply_to_id"] = "4".into();
    rich["favourites_count"] = 5.into();
    rich["media_attachments"] = json!([
        {"id": "1", "type": "image", "url": "https://files.example/a.png"},
        {"id": "2", "type": "video", "url": "https://files.example/v", "meta": {"original": {"duration": 12.5}}},
    ]);
    rich["account"] = json!({"acct": "bob", "url": "https://here.example/@bob", "display_name": ""});
    instance.put(&bench, 10, rich);
    let events = bench.poll().await;
    let event = &events[0];
    assert_eq!(event.content_id(), "mastodon:https://home.example/users/ann/statuses/10");
    assert_eq!((event.change, event.kind), (Change::Created, Some(Kind::Comment)));
    assert_eq!(event.title.as_deref(), Some("CW: a &lt; b"));
    assert_eq!(event.author.as_ref().map(|a| a.id.as_str()), Some("bob@here.example"));
    assert_eq!(event.published_at, Some(Millis::parse("2026-11-24T09:00:00.123Z").unwrap()));
    assert_eq!(event.engagement.unwrap().likes, Some(5));
    assert_eq!(event.media.len(), 1);
    assert_eq!(
        (event.media[0].mime.as_deref(), event.media[0].duration_ms),
        (Some("video/mp4"), Some(12_500))
    );
    assert_eq!(bench.server.asked_with_queries(), ["/api/v1/timelines/tag/rust?limit=40"]);
}

#[tokio::test]
async fn a_gap_is_paged_forward_and_nothing_is_missed() {
    let mut bench = bench("").await;
    bench.settings.pages_max = 4;
    let instance = Instance::on(&bench);
    for id in 1..=30 {
        instance.put(&bench, id, status(id, "old"));
    }
    assert!(bench.poll().await.is_empty(), "seeded");
    // 300 more, beyond a page, with ids that get longer: more than one poll may read.
    for id in 31..=330 {
        instance.put(&bench, id, status(id, "new"));
    }
    bench.server.asked();
    let first = bench.poll().await;
    let asked = bench.server.asked_with_queries();
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert_eq!(asked[1], "/api/v1/timelines/tag/rust?limit=40&min_id=30");
    assert_eq!(asked[2], "/api/v1/timelines/tag/rust?limit=40&min_id=70");
    assert_eq!(first.len(), 160, "the newest page and three after the last");
    let mut told: Vec<String> = first.into_iter().map(|e| e.native_id).collect();
    for _ in 0..3 {
        told.extend(bench.poll().await.into_iter().map(|e| e.native_id));
    }
    assert_eq!(told.len(), 300);
    assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), 300, "each once");
}

#[tokio::test]
async fn edits_are_updates_and_what_is_gone_is_deleted() {
    let bench = bench("backfill = \"last:9\"").await;
    let instance = Instance::on(&bench);
    for id in 1..=4 {
        instance.put(&bench, id, status(id, "text"));
    }
    assert_eq!(bench.poll().await.len(), 4);
    let mut edited = status(2, "other text");
    edited["edited_at"] = "2026-11-24T09:30:00Z".into();
    instance.put(&bench, 2, edited);
    // One is gone, one has only lost the tag, and one is the oldest: it may have moved on.
    let untagged = status(3, "untagged");
    instance.statuses.lock().unwrap().remove(&3);
    bench.server.json("/api/v1/statuses/3", &untagged);
    instance.statuses.lock().unwrap().remove(&4);
    instance.put(&bench, 5, status(5, "newer"));
    let mut events = bench.poll().await;
    events.sort_by(|a, b| a.native_id.cmp(&b.native_id));
    let told: Vec<(char, Change)> =
        events.iter().map(|e| (e.native_id.chars().last().unwrap(), e.change)).collect();
    let (c, u, d) = (Change::Created, Change::Updated, Change::Deleted);
    assert_eq!(told, [('2', u), ('3', u), ('4', d), ('5', c)]);
    assert!(bench.poll().await.is_empty());
}

#[tokio::test]
async fn the_instances_limits_are_kept() {
    let bench = bench("").await;
    let instance = Instance::on(&bench);
    instance.put(&bench, 1, status(1, "x"));
    *instance.remaining.lock().unwrap() = 3;
    bench.poll().await;
    // Two left until 10:20, twenty minutes from now; the interval is fifteen.
    assert_eq!(bench.due_in_s(), 1_200);
    assert_eq!(last().condition, Condition::Ok);
    bench.server.on("/api/v1/timelines/tag/rust", |_| {
        let headers = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "2026-11-24T11:00:00Z")];
        reply(429, &headers, "{\"error\":\"Too many requests\"}")
    });
    bench.poll().await;
    assert_eq!(last().next_due_at, Some(Millis::parse("2026-11-24T11:00:00Z").unwrap()));
}

#[tokio::test]
async fn an_instance_that_hides_its_timeline_is_an_error_and_not_silence() {
    let bench = bench("").await;
    let instance = Instance::on(&bench);
    bench.poll().await;
    assert_eq!(last().condition, Condition::Ok, "a tag nobody used yet");
    instance.put(&bench, 1, status(1, "x"));
    assert_eq!(bench.poll().await.len(), 1);
    instance.statuses.lock().unwrap().clear();
    assert!(bench.poll().await.is_empty(), "an empty page deletes nothing");
    assert!(last().last_error.unwrap().contains("stopped showing it"));
    for code in [401, 422] {
        bench.server.status("/api/v1/timelines/tag/rust", code, &[]);
        bench.poll().await;
        assert_eq!(last().last_error.unwrap(), format!("the server answered {code}"));
    }
    Instance::on(&bench).put(&bench, 2, status(2, "again"));
    assert_eq!(bench.poll().await.len(), 1);
    assert_eq!(last().condition, Condition::Ok);
}

#[tokio::test]
async fn boosts_and_broken_statuses_are_left_out() {
    let bench = bench("backfill = \"last:9\"").await;
    let instance = Instance::on(&bench);
    let mut boost = status(3, "x");
    boost["reblog"] = status(1, "x");
    instance.put(&bench, 3, boost);
    let mut undated = status(2, "x");
    undated["created_at"] = "yesterday".into();
    instance.put(&bench, 2, undated);
    instance.put(&bench, 1, json!({"id": "1"}));
    instance.put(&bench, 4, status(4, "x"));
    assert_eq!(bench.poll().await.len(), 1);
    assert_eq!((last().condition, last().entries_broken), (Condition::Ok, 2));
}

#[tokio::test]
async fn one_status_in_two_timelines_is_one_item() {
    let mut bench = bench("backfill = \"last:9\"").await;
    let instance = Instance::on(&bench);
    instance.put(&bench, 1, status(1, "x"));
    let of_rust = bench.poll().await;
    let text = format!(
        "[[source]]\ntype = \"mastodon\"\ninstance = {:?}\nbackfill = \"last:9\"\nlocal = true\n",
        bench.server.url("")
    );
    bench.sources = poll::source::parse(&text).expect("valid");
    bench.server.json("/api/v1/timelines/public", &json!([status(1, "x")]));
    let of_all = bench.poll().await;
    assert_eq!(of_rust, of_all, "equal in all that counts");
    let asked = bench.server.asked_with_queries();
    assert_eq!(asked.last().unwrap(), "/api/v1/timelines/public?local=true&limit=40");
}
