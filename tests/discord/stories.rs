//! A story in a digest: one item of it, and where else it is told, for as long as it is.

use dataflows::event::Enriched;
use dataflows::record::topic;
use dataflows::time::{DAY_MS, MINUTE_MS};
use serde_json::json;
use tidings::discord::digest::Digest;
use tidings::log::Log;

use crate::digests::*;
use crate::rig::*;

/// An item of another platform, otherwise as `item`.
fn elsewhere(platform: &str, n: u64, likes: u32) -> Enriched {
    let mut one = item(n, "2026-05-04T07:00:00Z", likes, 0.3);
    one.id = format!("{platform}:{n}");
    let content = one.content.as_mut().expect("content");
    content.platform = platform.into();
    content.url = Some(format!("https://{platform}.example/{n}"));
    one
}

fn story(log: &dyn Log, id: &str, members: &[&str]) {
    let seen = "2026-05-04T07:00:00Z";
    let value = json!({
        "id": id, "opened_at": seen, "title": "t", "representative": members[0], "url": null,
        "items": members.len(), "authors": 2, "platforms": [], "last_seen": seen, "velocity_per_hour": 2,
        "first_seen": {"at": seen, "platform": "hn", "content_id": members[0]}, "timeline": [],
        "members": members, "compound_mean": null, "why": "2 pairs share most words",
    });
    let value = value.to_string().into_bytes();
    log.append(vec![record(topic::STORIES, id, value, at(seen))]).expect("appended");
}

fn shown(digest: &Digest) -> Vec<&str> {
    digest.items.iter().map(|item| item.id.as_str()).collect()
}

fn also(digest: &Digest) -> Vec<&str> {
    let stories = digest.items.iter().filter_map(|item| item.story.as_ref());
    stories.flat_map(|story| &story.also).map(|also| also.id.as_str()).collect()
}

#[test]
fn a_story_is_shown_once_and_links_follow_corrections() {
    let desk = Desk::new(DAILY);
    let log = desk.log.as_ref();
    tick(log, at("2026-05-03T09:00:00Z"));
    let (mut first, mut second) = (elsewhere("x", 11, 10), elsewhere("mastodon", 12, 10));
    let all = [
        item(1, "2026-05-04T07:00:00Z", 90, 0.9),
        elsewhere("x", 13, 1),
        item(2, "2026-05-04T07:00:00Z", 5, 0.2),
    ];
    all.iter().chain([&first, &second]).for_each(|one| write(log, one));
    story(log, "a story", &["x:11", "hn:1", "mastodon:12", "x:13"]);
    let mut digester = desk.digester();

    let preview = digester.preview(None).expect("a preview").remove(0);
    let verdict = |id: &str| preview.candidates.iter().find(|c| c.id == id).map(|c| c.verdict.clone());
    assert_eq!(verdict("mastodon:12").as_deref(), Some("same story as hn:1"));
    let decided = at("2026-05-04T08:01:00Z");
    desk.tick(&mut digester, decided);
    let digest = desk.digests().remove(0);
    assert_eq!(shown(&digest), ["hn:1", "hn:2"]);
    assert_eq!(also(&digest), ["x:11", "mastodon:12"], "one of each platform, the earliest");
    assert_eq!(digest.items[0].story.as_ref().map(|s| s.items), Some(4));
    assert_eq!(digest.content_ids(), ["hn:1", "hn:2", "x:11", "mastodon:12"]);
    let text = serde_json::to_string(&desk.outbox()[0].message).expect("serializes");
    let line = "Also on x <https://x.example/11>, mastodon <https://mastodon.example/12>";
    assert!(text.contains(line), "{text}");

    // What is deleted is not linked to any more, at once; what is edited is not either.
    delete(log, &mut first, decided + MINUTE_MS);
    desk.tick(&mut digester, decided + MINUTE_MS);
    revise(log, &mut second, decided + 2 * MINUTE_MS, |c| c.title = Some("Something else".into()));
    desk.tick(&mut digester, decided + 20 * MINUTE_MS);
    let outbox = desk.outbox();
    assert_eq!(outbox.iter().map(|o| o.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    let texts: Vec<String> =
        outbox.iter().map(|o| serde_json::to_string(&o.message).expect("serializes")).collect();
    assert!(texts[1].contains("Also on mastodon") && !texts[1].contains("x.example"), "{}", texts[1]);
    assert!(!texts[2].contains("Also on") && !texts[2].contains("removed by"), "{}", texts[2]);

    // Another item of a story that was shown is not news, also after a restart.
    drop(digester);
    for n in [21, 22] {
        let mut later = elsewhere("bluesky", n, 50);
        let content = later.content.as_mut().expect("content");
        content.title = Some(format!("News of the afternoon {n}"));
        content.published_at.0 += DAY_MS / 2;
        later.ingested_at.0 += DAY_MS / 2;
        write(log, &later);
    }
    story(log, "a story", &["hn:1", "mastodon:12", "x:13", "bluesky:21"]);
    let mut digester = desk.digester();
    desk.tick(&mut digester, decided + DAY_MS);
    let next = desk.digests().into_iter().find(|d| d.window.end.0 == at("2026-05-05T08:00:00Z"));
    let next = next.expect("the next day's");
    assert_eq!((shown(&next), next.items_more), (vec!["bluesky:22"], 1));
}
