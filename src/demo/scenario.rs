//! Consumes the written texts of `scenario.tsv`, produces the scenario's deliveries: the
//! texts as items, then edits, counts that grow, deletions, repeats, late arrivals,
//! hostile text and broken input on top, each with what must become of it.
//!
//! The outcomes follow from a table of the highest revision sent per item, and are
//! written out by hand where a producer sends none. No code of the pipeline is asked.

use std::collections::BTreeMap;

use dataflows::event::{Change, ContentEvent, Engagement, Kind, Party};
use dataflows::time::{DAY_MS, HOUR_MS, MINUTE_MS, Millis};

use super::{Delivery, Outcome, draw};

pub mod trouble;

const WRITTEN: &str = include_str!("scenario.tsv");
/// The first story starts this long before the end; each next one a little later.
const FIRST_STORY_MS: i64 = 22 * HOUR_MS;
const STORY_STEP_MS: i64 = 100 * MINUTE_MS;
const ITEM_STEP_MS: i64 = 9 * MINUTE_MS;
/// What everybody talks about at once: it begins about this long before the end, so that it
/// still rises, an item every quarter of a minute, all within ten minutes as trends count them.
const BURST: &str = "tunnel";
const BURST_MS: i64 = 12 * MINUTE_MS;
const BURST_STEP_MS: i64 = MINUTE_MS / 4;

/// All deliveries in the order they are sent; `end` is the newest time in them, but for
/// those that lie about the future.
pub fn deliveries(end: Millis) -> Vec<Delivery> {
    let items = written(end);
    let mut told = Told::default();
    let mut all: Vec<Delivery> = items.iter().cloned().map(|item| told.tell(item)).collect();
    all.extend(later_versions(&items).into_iter().map(|item| told.tell(item)));
    all.extend(repeats(&items).into_iter().map(|item| told.tell(item)));
    all.extend(comebacks(&items).into_iter().map(|item| told.tell(item)));
    all.extend(without_revisions(end));
    all.extend(late(end).into_iter().map(|item| told.tell(item)));
    all.extend(trouble::hostile(end).into_iter().map(|item| told.tell(item)));
    all.extend(trouble::broken(end));
    all
}

/// The highest revision sent of each item, and whether it was a deletion.
#[derive(Default)]
struct Told {
    highest: BTreeMap<String, (u64, Change)>,
}

impl Told {
    fn tell(&mut self, event: ContentEvent) -> Delivery {
        let revision = event.revision.expect("every item of this part carries a revision");
        let outcome = match self.highest.get(&event.content_id()) {
            Some((highest, _)) if revision < *highest => Outcome::Stale,
            Some((highest, _)) if revision == *highest => Outcome::Duplicate,
            _ if event.change == Change::Deleted => Outcome::Deleted,
            None | Some((_, Change::Deleted)) => Outcome::Created,
            Some(_) => Outcome::Updated,
        };
        if !matches!(outcome, Outcome::Stale | Outcome::Duplicate) {
            self.highest.insert(event.content_id(), (revision, event.change));
        }
        Delivery::of(event, outcome)
    }
}

/// The texts of the file as items of revision 1.
fn written(end: Millis) -> Vec<ContentEvent> {
    let mut stories: Vec<&str> = Vec::new();
    let mut items = Vec::new();
    for line in WRITTEN.lines().filter(|line| !line.starts_with('#')) {
        let (story, rest) = line.split_once('\t').expect("a line of scenario.tsv begins with its story");
        let (platform, text) = rest.split_once('\t').expect("and goes on with platform and text");
        if stories.last() != Some(&story) {
            stories.push(story);
        }
        let nth = items.iter().filter(|i: &&ContentEvent| i.native_id.starts_with(story)).count();
        let (start, step) = match story {
            BURST => (Millis(end.0 - BURST_MS).floor(10 * MINUTE_MS).0, BURST_STEP_MS),
            _ => (end.0 - FIRST_STORY_MS + STORY_STEP_MS * (stories.len() as i64 - 1), ITEM_STEP_MS),
        };
        let at = Millis((start + step * nth as i64).min(end.0 - MINUTE_MS));
        items.push(item(platform, &format!("{story}-{nth}"), story, text, at));
    }
    items
}

fn item(platform: &str, native_id: &str, story: &str, text: &str, at: Millis) -> ContentEvent {
    let label = format!("{platform}:{native_id}");
    let (kind, titled, channel) = match platform {
        "news" => (Kind::Article, true, Some(("herald".to_string(), "Harbour Herald".to_string()))),
        "youtube" => (Kind::Video, true, Some(("UC-lens".to_string(), "Harbour Lens".to_string()))),
        "podcast" => (Kind::Audio, true, Some(("town-talk".to_string(), "Town Talk".to_string()))),
        "hackernews" => (Kind::Post, true, None),
        "reddit" => (Kind::Post, false, Some(("ourtown".to_string(), "r/ourtown".to_string()))),
        _ => (Kind::Post, false, Some((format!("tag-{story}"), format!("#{story}")))),
    };
    let author = draw(&format!("author {label}"), 60);
    let likes = u32::try_from(20 + draw(&format!("likes {label}"), 400)).expect("below 420");
    ContentEvent {
        platform: platform.to_string(),
        native_id: native_id.to_string(),
        change: Change::Created,
        kind: Some(kind),
        revision: Some(1),
        published_at: Some(at),
        author: Some(Party { id: format!("{platform}-{author:02}"), name: None }),
        channel: channel.map(|(id, name)| Party { id, name: Some(name) }),
        thread_id: None,
        title: titled.then(|| text.to_string()),
        text: (!titled).then(|| text.to_string()),
        lang: Some("en".to_string()),
        url: Some(format!("https://{platform}.example/{native_id}")),
        engagement: Some(Engagement {
            views: Some(likes * 30),
            likes: Some(likes),
            comments: Some(likes / 6),
            shares: Some(likes / 9),
        }),
        media: Vec::new(),
        reply_to: None,
        other: BTreeMap::new(),
    }
}

/// Counts that grew, corrected texts, and deletions.
fn later_versions(items: &[ContentEvent]) -> Vec<ContentEvent> {
    let grown = items.iter().skip(1).step_by(4).map(|item| {
        let likes = item.engagement.and_then(|e| e.likes).unwrap_or(0) * 3;
        let engagement = Engagement { likes: Some(likes), ..item.engagement.unwrap_or_default() };
        ContentEvent {
            change: Change::Updated,
            revision: Some(2),
            engagement: Some(engagement),
            ..item.clone()
        }
    });
    let corrected = items.iter().skip(2).step_by(5).map(|item| {
        let corrected = |text: &Option<String>| {
            text.as_ref().map(|text| format!("{text} (corrected: good news, all is well)"))
        };
        ContentEvent {
            change: Change::Updated,
            revision: Some(3),
            title: corrected(&item.title),
            text: corrected(&item.text),
            ..item.clone()
        }
    });
    grown.chain(corrected).chain(items.iter().skip(4).step_by(9).map(|item| deletion(item, 9))).collect()
}

fn deletion(item: &ContentEvent, revision: u64) -> ContentEvent {
    ContentEvent::deletion(&*item.platform, &*item.native_id, Some(revision))
}

/// What a producer that retries or lags sends again: duplicates, and stale where the item
/// moved on.
fn repeats(items: &[ContentEvent]) -> Vec<ContentEvent> {
    items.iter().step_by(3).cloned().collect()
}

/// Deleted items that come back with a higher revision, and deletions that arrive before
/// what they delete.
fn comebacks(items: &[ContentEvent]) -> Vec<ContentEvent> {
    let back = items.iter().skip(4).step_by(27).map(|item| ContentEvent {
        change: Change::Created,
        revision: Some(10),
        ..item.clone()
    });
    let ahead = items.iter().take(3).flat_map(|item| {
        let item = ContentEvent { native_id: format!("ahead-{}", item.native_id), ..item.clone() };
        [deletion(&item, 5), item]
    });
    back.chain(ahead).collect()
}

/// A platform without revisions: the log's order and the content decide.
fn without_revisions(end: Millis) -> Vec<Delivery> {
    let plain = |text: &str, n: i64, outcome| {
        let at = Millis(end.0 - n * HOUR_MS);
        let item = item("forum", &format!("thread-{n}"), "forum", text, at);
        Delivery::of(ContentEvent { revision: None, ..item }, outcome)
    };
    let delete = |n: i64| {
        let item = item("forum", &format!("thread-{n}"), "forum", "", end);
        Delivery::of(ContentEvent { revision: None, ..deletion(&item, 0) }, Outcome::Deleted)
    };
    let mut all = Vec::new();
    for n in 1..=6 {
        all.push(plain("Which bakery opens on Sunday?", n, Outcome::Created));
        all.push(plain("Which bakery opens on Sunday?", n, Outcome::Duplicate));
        all.push(plain(
            "Which bakery opens on Sunday? Solved: the lovely one by the ferry.",
            n,
            Outcome::Updated,
        ));
    }
    all.push(delete(1));
    all.push(plain("Which bakery opens on Sunday?", 1, Outcome::Created));
    all.push(delete(2));
    all
}

/// Items published long ago: past the minute's horizon, and past every horizon.
fn late(end: Millis) -> Vec<ContentEvent> {
    let days = [10, 10, 10, 12, 15, 20, 500, 500];
    days.iter()
        .enumerate()
        .map(|(n, days)| {
            let text = format!("Found in an old notebook, part {n}: a great day at the harbour.");
            item("mastodon", &format!("notebook-{n}"), "notebook", &text, Millis(end.0 - days * DAY_MS))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const END: Millis = Millis(1_800_000_000_000);

    #[test]
    fn is_a_few_hundred_deliveries_with_every_outcome() {
        let all = deliveries(END);
        assert!((250..=500).contains(&all.len()), "{} deliveries", all.len());
        for outcome in Outcome::ALL {
            let n = all.iter().filter(|d| d.outcome == outcome).count();
            assert!(n >= 5, "only {n} {}", outcome.name());
        }
        assert_eq!(all, deliveries(END), "the same every time");
    }

    #[test]
    fn written_items_are_of_the_last_day_and_unique() {
        let items = written(END);
        assert!(items.len() > 100);
        let mut ids: Vec<String> = items.iter().map(ContentEvent::content_id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), items.len());
        assert!(items.iter().all(|i| {
            let at = i.published_at.expect("timed");
            at > Millis(END.0 - DAY_MS) && at < END
        }));
    }

    #[test]
    fn accepted_lines_are_events_and_say_what_they_should() {
        for delivery in deliveries(END).iter().filter(|d| d.outcome != Outcome::Refused) {
            let event: ContentEvent = serde_json::from_slice(&delivery.line).expect("an event");
            assert_eq!(Some(&event), delivery.event.as_ref());
        }
    }

    #[test]
    fn revisions_decide() {
        let first = item("news", "a", "s", "text", END);
        let mut told = Told::default();
        let mut send = |revision, change| {
            let event = match change {
                Change::Deleted => deletion(&first, revision),
                _ => ContentEvent { revision: Some(revision), change, ..first.clone() },
            };
            told.tell(event).outcome
        };
        assert_eq!(send(2, Change::Created), Outcome::Created);
        assert_eq!(send(2, Change::Created), Outcome::Duplicate);
        assert_eq!(send(1, Change::Created), Outcome::Stale);
        assert_eq!(send(3, Change::Updated), Outcome::Updated);
        assert_eq!(send(5, Change::Deleted), Outcome::Deleted);
        assert_eq!(send(4, Change::Created), Outcome::Stale);
        assert_eq!(send(6, Change::Created), Outcome::Created);
    }

    #[test]
    fn an_unknown_field_survives() {
        let kept = deliveries(END).into_iter().filter_map(|d| d.event).find(|e| !e.other.is_empty());
        assert_eq!(kept.expect("one carries an unknown field").other["mood_ring"], json!("violet"));
    }
}
