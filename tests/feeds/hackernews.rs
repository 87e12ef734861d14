//! Hacker News as its Firebase API answers.

use serde_json::{Value, json};

use super::*;

fn story(id: u64, more: &Value) -> Value {
    let mut story = json!({
        "by": "ann", "descendants": 3, "id": id, "kids": [1, 2], "score": 57,
        "time": 1_795_500_000 + id, "title": format!("Story {id}"), "type": "story",
        "url": format!("https://example.org/{id}"),
    });
    story.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    story
}

async fn bench(more: &str) -> Bench {
    let bench =
        Bench::following(&format!("[[source]]\ntype = \"hackernews\"\nurl = \"SERVER/v0\"\n{more}")).await;
    bench.server.json("/v0/updates.json", &json!({"items": [], "profiles": []}));
    bench
}

fn top(bench: &Bench, stories: &[Value]) {
    let ids: Vec<&Value> = stories.iter().map(|s| &s["id"]).collect();
    bench.server.json("/v0/topstories.json", &json!(ids));
    for story in stories {
        bench.server.json(&format!("/v0/item/{}.json", story["id"]), story);
    }
}

#[tokio::test]
async fn stories_come_with_points_and_comments() {
    let bench = bench("backfill = \"last:9\"").await;
    let ask = json!({"title": "Ask HN: why?", "text": "I <i>wonder</i> &amp; wait<p>More", "url": null});
    top(&bench, &[story(7, &json!({})), story(5, &ask)]);
    let events = bench.poll().await;
    let [ask, story] = &events[..] else { panic!("{events:?}") };
    assert_eq!(story.content_id(), "hackernews:7");
    assert_eq!((story.change, story.kind, story.revision), (Change::Created, Some(Kind::Post), None));
    assert_eq!(story.published_at, Some(Millis(1_795_500_007_000)));
    assert_eq!(story.author.as_ref().map(|a| a.id.as_str()), Some("ann"));
    let engagement = story.engagement.expect("counted");
    assert_eq!((engagement.likes, engagement.comments, engagement.views), (Some(57), Some(3), None));
    assert_eq!(story.url.as_deref(), Some("https://example.org/7"));
    assert_eq!(story.other["discussion_url"], "https://news.ycombinator.com/item?id=7");
    assert_eq!(ask.url.as_deref(), Some("https://news.ycombinator.com/item?id=5"));
    assert_eq!(ask.text.as_deref(), Some("I <i>wonder</i> &amp; wait<p>More"));
    assert_eq!((last().kind, last().identity, last().items_created), ("hackernews", "id", 2));
    assert!(bench.poll().await.is_empty());
}

#[tokio::test]
async fn edits_and_large_changes_of_figures_are_updates() {
    let bench = bench("backfill = \"last:9\"").await;
    top(&bench, &[story(7, &json!({}))]);
    bench.poll().await;
    // A comment more of 57 points is no news; twice the points are.
    top(&bench, &[story(7, &json!({"score": 58}))]);
    assert!(bench.poll().await.is_empty());
    top(&bench, &[story(7, &json!({"score": 114}))]);
    let events = bench.poll().await;
    assert_eq!((events[0].change, events[0].engagement.unwrap().likes), (Change::Updated, Some(114)));
    top(&bench, &[story(7, &json!({"score": 114, "title": "Story 7 (2019)"}))]);
    assert_eq!(titles(&bench.poll().await), ["Story 7 (2019)"]);
    // It fell off the list and is edited: `updates` names it.
    top(&bench, &[story(8, &json!({}))]);
    bench.poll().await;
    top(&bench, &[story(8, &json!({})), story(7, &json!({"title": "Renamed"}))]);
    bench.server.json("/v0/topstories.json", &json!([8]));
    bench.server.json("/v0/updates.json", &json!({"items": [7, 99], "profiles": ["ann"]}));
    assert_eq!(titles(&bench.poll().await), ["Renamed"]);
    assert!(!bench.server.asked().contains(&"/v0/item/99.json".to_string()), "99 is nobody we know");
}

#[tokio::test]
async fn deleted_and_dead_stories_are_deletions_and_may_come_back() {
    let bench = bench("backfill = \"last:9\"").await;
    top(&bench, &[story(7, &json!({})), story(8, &json!({})), story(9, &json!({}))]);
    assert_eq!(bench.poll().await.len(), 3);
    // As the API has it: one without anything, one with everything.
    bench.server.json("/v0/item/7.json", &json!({"deleted": true, "id": 7, "time": 1, "type": "story"}));
    bench.server.json("/v0/item/8.json", &story(8, &json!({"dead": true})));
    bench.server.json("/v0/item/9.json", &Value::Null);
    let mut events = bench.poll().await;
    events.sort_by(|a, b| a.native_id.cmp(&b.native_id));
    let told: Vec<(&str, Change)> = events.iter().map(|e| (e.native_id.as_str(), e.change)).collect();
    assert_eq!(told, [("7", Change::Deleted), ("8", Change::Deleted)], "null says nothing");
    assert!(events.iter().all(|e| e.title.is_none() && e.text.is_none()));
    assert_eq!(last().items_deleted, 2);
    assert!(bench.poll().await.is_empty(), "told once");
    bench.server.json("/v0/item/8.json", &story(8, &json!({})));
    let revived = bench.poll().await;
    assert_eq!((revived[0].native_id.as_str(), revived[0].change), ("8", Change::Created));
}

#[tokio::test]
async fn what_fails_is_tried_again_and_costs_nothing_else() {
    let bench = bench("backfill = \"last:9\"\nstories_max = 3").await;
    top(&bench, &[story(1, &json!({})), story(2, &json!({})), story(3, &json!({})), story(4, &json!({}))]);
    bench.server.status("/v0/item/2.json", 500, &[]);
    bench.server.json("/v0/item/3.json", &json!({"id": 3, "type": "story", "title": "No time"}));
    assert_eq!(titles(&bench.poll().await), ["Story 1"], "the fourth is past the limit");
    assert_eq!((last().condition, last().entries_broken), (Condition::Failing, 1));
    top(&bench, &[story(1, &json!({})), story(2, &json!({})), story(3, &json!({}))]);
    assert_eq!(titles(&bench.poll().await), ["Story 2", "Story 3"]);
    assert_eq!(last().condition, Condition::Ok);

    bench.server.feed("/v0/topstories.json", "<html>busy</html>");
    assert!(bench.poll().await.is_empty());
    assert!(last().last_error.unwrap().contains("not the platform's JSON"));
    bench.server.status("/v0/topstories.json", 429, &[("retry-after", "900")]);
    bench.poll().await;
    assert_eq!(bench.due_in_s(), 900);
}

#[tokio::test]
async fn comments_are_none_of_ours_and_lists_overlap() {
    let bench = bench("lists = [\"top\", \"new\"]\nbackfill = \"last:9\"").await;
    top(
        &bench,
        &[story(1, &json!({})), story(2, &json!({"type": "comment"})), story(3, &json!({"type": "job"}))],
    );
    bench.server.json("/v0/newstories.json", &json!([3, 1, 4]));
    bench.server.json("/v0/item/4.json", &story(4, &json!({"title": "  "})));
    let mut events = bench.poll().await;
    events.sort_by(|a, b| a.native_id.cmp(&b.native_id));
    assert_eq!(titles(&events), ["Story 1", "Story 3"]);
    let asked = bench.server.asked();
    assert_eq!(asked.iter().filter(|path| *path == "/v0/item/3.json").count(), 1, "{asked:?}");
    assert_eq!(last().entries_broken, 1);
    assert!(bench.server.at_once_max() <= bench.settings.item_requests_at_once);
}

#[tokio::test]
async fn a_crash_after_the_append_repeats_and_loses_nothing() {
    let bench = bench("backfill = \"last:9\"").await;
    top(&bench, &[story(1, &json!({})), story(2, &json!({}))]);
    bench.log.script([Some(Fault::DieAfter)]);
    bench.try_poll().await.expect_err("dies");
    assert_eq!(bench.log.take().len(), 2);
    assert_eq!(bench.poll().await.len(), 2, "again, the same");
    assert!(bench.poll().await.is_empty());
    // A deletion too.
    bench.server.json("/v0/item/2.json", &story(2, &json!({"dead": true})));
    bench.log.script([Some(Fault::DieAfter)]);
    bench.try_poll().await.expect_err("dies");
    bench.log.take();
    assert_eq!(bench.poll().await[0].change, Change::Deleted);
    assert!(bench.poll().await.is_empty());
}
