use dataflows::event::Engagement;
use dataflows::record::Headers;
use dataflows::time::MINUTE_MS;
use dataflows::trends::{SubjectKind, TrendState};
use serde_json::json;

use super::api::{Asked, page};
use super::*;

fn settings(trends: usize, items: usize) -> Settings {
    let defaults = crate::config::load(
        &crate::config::Environment::of([] as [(&str, &str); 0]),
        &crate::config::Overrides::default(),
    );
    let shipped = defaults.expect("the defaults are valid").config.trends;
    Settings { view_trends_max: trends, examples_items_max: items, ..shipped }
}

fn term(name: &str) -> Subject {
    Subject { kind: SubjectKind::Term, name: name.into() }
}

fn trend(subject: Subject, minute: i64, state: TrendState) -> Trend {
    let since = Millis(minute * MINUTE_MS);
    Trend {
        subject,
        state,
        since,
        until: (state == TrendState::Ended).then_some(Millis((minute + 30) * MINUTE_MS)),
        peak_start: since,
        items: 20,
        peak_items: 12,
        authors: 9,
        expected: 1.2,
        ratio: 10.0,
        score: 7.3,
        buckets: Vec::new(),
        why: String::new(),
    }
}

fn stored(topic: &str, key: &[u8], value: Option<Vec<u8>>) -> Stored {
    Stored {
        topic: topic.into(),
        partition: 0,
        offset: 0,
        timestamp_ms: 7,
        key: key.to_vec(),
        value,
        headers: Headers::new(),
    }
}

fn publish(view: &mut View, trend: &Trend) {
    let value = serde_json::to_vec(trend).expect("plain");
    view.apply(&stored(topic::TRENDS, &trend.record_key(), Some(value)));
}

fn item(view: &mut View, n: u64, minute: i64, title: Option<&str>, terms: &[&str], likes: u32) {
    let value = json!({
        "id": format!("x:{n}"), "change": "created", "version": {"revision": 1, "enrichment": 0},
        "ingested_at": "2026-11-24T10:00:00Z", "previous": null, "content_hash": "",
        "content": {
            "platform": "x", "native_id": n.to_string(), "kind": "post", "published_at": minute * MINUTE_MS,
            "author": null, "channel": null, "thread_id": null, "title": title, "text": "Words\n  of it ".repeat(40),
            "lang": "en", "url": format!("https://x.example/{n}"), "engagement": {"likes": likes}, "reply_to": null,
            "sentiment": null, "topics": ["rust"], "terms": terms, "analyzers": {},
        },
    });
    let key = format!("x:{n}");
    view.apply(&stored(topic::ENRICHED, key.as_bytes(), Some(value.to_string().into_bytes())));
}

fn asked(state: &str, kind: &str, limit: usize, cursor: Option<String>) -> Asked {
    Asked { state: Some(state.into()), kind: Some(kind.into()), limit: Some(limit), cursor, since: None }
}

#[test]
fn pages_are_one_list_of_the_newest_and_filters_apply() {
    let mut view = View::new(&settings(100, 10));
    for n in 0..25 {
        let state = if n % 2 == 0 { TrendState::Rising } else { TrendState::Ended };
        publish(&mut view, &trend(term(&format!("t~{n}")), 10 * (n / 2), state));
    }
    let gone = trend(term("t~24"), 120, TrendState::Rising);
    view.apply(&stored(topic::TRENDS, &gone.record_key(), None));
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let answer = page(&view, &asked("", "", 7, cursor)).expect("valid");
        seen.extend(answer.trends.iter().map(|told| told.trend.since));
        cursor = answer.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 24);
    assert!(seen.is_sorted_by(|a, b| a >= b), "{seen:?}");
    assert_eq!(page(&view, &asked("rising", "term", 50, None)).expect("valid").trends.len(), 12);
    assert_eq!(page(&view, &asked("rising", "topic", 50, None)).expect("valid").trends.len(), 0);
    let since = Asked { since: Some("1970-01-01T01:00:00Z".into()), ..Asked::default() };
    assert_eq!(page(&view, &since).expect("valid").trends.len(), 12);
    for wrong in [asked("up", "", 1, None), asked("", "word", 1, None), asked("", "", 1, Some("x".into()))] {
        assert!(page(&view, &wrong).is_err(), "{wrong:?}");
    }
    let late = Asked { since: Some("today".into()), ..Asked::default() };
    assert!(page(&view, &late).expect_err("no time").starts_with("since"));
}

#[test]
fn the_view_is_bounded() {
    let mut view = View::new(&settings(5, 3));
    for n in 0..9 {
        publish(&mut view, &trend(term(&format!("t{n}")), n, TrendState::Rising));
        item(&mut view, n as u64, n, Some(&format!("Title {n}")), &["a"], 0);
    }
    let names: Vec<_> = view.trends().map(|t| t.subject.name.as_str()).collect();
    assert_eq!(names, ["t8", "t7", "t6", "t5", "t4"]);
    let ids: Vec<_> = view.examples(&term("a"), 10).into_iter().map(|e| e.id).collect();
    assert_eq!(ids, ["x:8", "x:7", "x:6"]);
}

#[test]
fn examples_are_the_most_noticed_of_the_time_and_follow_edits_and_deletions() {
    let mut view = View::new(&settings(10, 100));
    let burst = trend(term("#new"), 60, TrendState::Ended);
    publish(&mut view, &burst);
    item(&mut view, 1, 50, Some("Before"), &["#new"], 100);
    item(&mut view, 2, 60, Some("First"), &["#new"], 2);
    item(&mut view, 3, 70, Some("Second"), &["#new", "other"], 5);
    item(&mut view, 4, 80, None, &["#new"], 0);
    item(&mut view, 5, 90, Some("After"), &["#new"], 100);
    item(&mut view, 6, 75, Some("SECOND"), &["#new"], 4);
    let titles = |view: &View| view.examples_of(&burst, 3).into_iter().map(|e| e.title).collect::<Vec<_>>();
    let words = titles(&view).pop().expect("three");
    assert!(
        words.starts_with("Words of it Words") && words.ends_with('…') && words.chars().count() <= 161,
        "{words}"
    );
    assert_eq!(titles(&view)[..2], ["Second", "First"]);
    // Edited: it is noticed now, and no longer about the term.
    item(&mut view, 2, 60, Some("First"), &["#new"], 50);
    item(&mut view, 3, 70, Some("Second"), &["other"], 5);
    view.apply(&stored(topic::ENRICHED, b"x:4", None));
    assert_eq!(titles(&view), ["First", "SECOND"]);
    let answer = page(&view, &Asked::default()).expect("valid");
    assert_eq!(
        answer.trends[0].examples[0].engagement,
        Engagement { likes: Some(50), ..Engagement::default() }
    );
    assert_eq!(
        view.examples(&Subject { kind: SubjectKind::Topic, name: "rust".into() }, 10).len(),
        4,
        "one was deleted, two have one title"
    );
    assert!(view.examples(&term("rust"), 10).is_empty());
}
