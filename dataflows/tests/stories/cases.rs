//! One case each: what merges, splits, ends, and what is left after an edit or a deletion.

use dataflows::stories::Story;
use dataflows::stories::items::Change;
use dataflows::time::{HOUR_MS, Millis};

use super::harness::{NOW, Stories, apply, live, run, settings, vector, version};

const A: &str = "a bridge over the river collapsed early this morning and several people were hurt";
const B: &str = "researchers publish the first complete map of the brain of an adult fruit fly";

fn post(id: &str, revision: u64, at: i64, text: &str) -> Change {
    let platform = id.split(':').next().expect("a platform");
    Change::Version(Box::new(version(id, revision, at, platform, &format!("author of {id}"), text)))
}

fn clock(at: i64) -> Change {
    Change::Clock(Millis(at))
}

/// The stories after each epoch.
fn stories(epochs: &[Vec<Change>]) -> Vec<Stories> {
    let ran = run(&settings(), &[], epochs, 0, 2);
    let mut stories = Stories::new();
    ran.epochs
        .iter()
        .map(|records| {
            apply(&mut stories, records);
            stories.clone()
        })
        .collect()
}

fn only(stories: &Stories) -> &Story {
    let live = live(stories);
    assert_eq!(live.len(), 1, "{stories:?}");
    live[0]
}

#[test]
fn two_authors_make_a_story_and_one_does_not() {
    let alone = version("x:1", 1, NOW, "x", "one", A);
    let again = version("x:2", 1, NOW + 1, "x", "one", A);
    let other = version("x:3", 1, NOW + 2, "x", "two", A);
    let nobody = version("x:4", 1, NOW + 3, "x", "", B);
    let nobody_too = version("x:5", 1, NOW + 4, "x", "", B);
    let mut epochs = [vec![alone, again], vec![nobody, nobody_too], vec![other]]
        .map(|epoch| epoch.into_iter().map(|v| Change::Version(Box::new(v))).collect::<Vec<_>>());
    epochs[0].push(clock(NOW));
    let after = stories(&epochs);
    assert!(after[0].is_empty() && after[1].is_empty());
    let story = only(&after[2]);
    assert_eq!((story.items, story.authors, story.platforms.len()), (3, 2, 1));
    assert_eq!(story.members, ["x:1", "x:2", "x:3"]);
    assert_eq!(story.first_seen.content_id, "x:1");
    assert_eq!(story.why, "3 pairs share most words");
}

#[test]
fn the_older_story_goes_on_when_two_become_one() {
    let bridge = format!("{A} officials said");
    let (v, values) = (|id, at, values: &[f32]| vector(id, 1, at, values), [1.0, 0.1, 0.3]);
    // Two stories of other words; a post between them, in words with one and meaning with the other.
    let epochs = vec![
        vec![clock(NOW), post("x:1", 1, NOW, A), post("y:1", 1, NOW + 1, A)],
        vec![clock(NOW + 1), post("x:2", 1, NOW + 2, B), post("y:2", 1, NOW + 3, B), v("x:2", NOW, &values)],
        vec![clock(NOW + 2), post("z:3", 1, NOW + 4, &bridge), v("z:3", NOW, &values)],
        vec![clock(NOW + 3), Change::Gone("z:3".into())],
    ];
    let after = stories(&epochs);
    let older = only(&after[0]).clone();
    assert_eq!(live(&after[1]).len(), 2);
    let one = only(&after[2]);
    assert_eq!((&one.id, one.opened_at, one.items), (&older.id, older.opened_at, 5));
    let merged = after[2].values().find(|s| s.merged_into.is_some()).expect("a merged one");
    assert_eq!(merged.merged_into.as_ref(), Some(&one.id));
    assert_eq!(merged.items, 2, "otherwise as it last was");
    // What joined them is gone: the part with the representative keeps the id.
    let parts = live(&after[3]);
    assert_eq!(parts.len(), 2);
    let kept = parts.iter().find(|s| s.id == older.id).expect("kept");
    assert_eq!(kept.members, ["x:1", "y:1"].map(String::from), "{kept:?}");
    assert!(parts.iter().all(|s| s.id == older.id || s.opened_at == Millis(NOW + 3)));
}

#[test]
fn the_id_stays_when_the_representative_is_deleted() {
    let epochs = vec![
        (1..=3).map(|n| post(&format!("x:{n}"), 1, NOW + n, A)).chain([clock(NOW)]).collect(),
        vec![Change::Gone("x:1".into())],
        vec![Change::Gone("x:3".into())],
    ];
    let after = stories(&epochs);
    let before = only(&after[0]);
    let story = only(&after[1]);
    assert_eq!((story.id == before.id, &*story.representative, story.items), (true, "x:2", 2));
    assert!(after[2].is_empty(), "one item is no story");
}

#[test]
fn a_story_whose_items_all_move_in_time_keeps_its_why() {
    let epochs = vec![
        vec![clock(NOW), post("x:1", 1, NOW, A), post("y:2", 1, NOW, A)],
        vec![post("x:1", 2, NOW + 60_000, A), post("y:2", 2, NOW + 60_000, A)],
    ];
    let after = stories(&epochs);
    let (before, story) = (only(&after[0]), only(&after[1]));
    assert_eq!(story.first_seen.at, Millis(NOW + 60_000), "they moved");
    assert_eq!((&story.id, &*story.why), (&before.id, "1 pair shares most words"));
}

#[test]
fn an_edit_takes_an_item_out_and_puts_it_into_another() {
    let epochs = vec![
        vec![clock(NOW), post("x:1", 1, NOW, A), post("x:2", 1, NOW, A), post("x:3", 1, NOW, A)],
        vec![post("y:1", 1, NOW, B), post("y:2", 1, NOW, B)],
        vec![post("x:3", 2, NOW, B)],
        vec![post("x:3", 3, NOW, "something else altogether that nobody wrote before today")],
    ];
    let after = stories(&epochs);
    let sizes = |s: &Stories| live(s).iter().map(|s| s.items).collect::<Vec<_>>();
    assert_eq!(sizes(&after[0]), [3]);
    let mut both = sizes(&after[2]);
    both.sort_unstable();
    assert_eq!(both, [2, 3]);
    assert!(live(&after[2]).iter().any(|s| s.items == 3 && s.members.contains(&"x:3".to_string())));
    assert_eq!(sizes(&after[3]), [2, 2]);
}

#[test]
fn stories_expire_by_the_hour_and_merged_ones_too() {
    let hour = Millis(NOW).floor(HOUR_MS).0;
    let end = settings().expires_at(Millis(hour)).0;
    let epochs = vec![
        vec![
            clock(NOW),
            post("x:1", 1, hour, A),
            post("x:2", 1, hour + 1, A),
            post("x:3", 1, hour + HOUR_MS, A),
        ],
        vec![post("x:4", 1, hour + HOUR_MS, A)],
        vec![clock(end - 1)],
        vec![clock(end)],
        vec![clock(end + HOUR_MS)],
    ];
    let after = stories(&epochs);
    assert_eq!(after[2], after[1]);
    let rest = only(&after[3]);
    assert_eq!((rest.items, rest.id == only(&after[1]).id), (2, true));
    assert_eq!(rest.first_seen.content_id, if rest.members[0] == "x:3" { "x:3" } else { "x:4" });
    assert!(after[4].is_empty());
}

#[test]
fn the_same_meaning_long_ago_is_another_story() {
    let values = [0.9, 0.1, 0.4];
    let far = NOW - 30 * HOUR_MS;
    let epochs = vec![vec![
        clock(NOW),
        post("x:1", 1, far, A),
        vector("x:1", 1, far, &values),
        post("y:2", 1, NOW, B),
        vector("y:2", 1, NOW, &values),
        post("y:3", 1, NOW - HOUR_MS, "ein anderer Text in einer anderen Sprache über dasselbe"),
        vector("y:3", 1, NOW - HOUR_MS, &values),
    ]];
    let story = stories(&epochs).remove(0);
    let story = only(&story);
    assert_eq!(story.members, ["y:3", "y:2"]);
    assert_eq!(story.why, "1 pair means nearly the same");
}
