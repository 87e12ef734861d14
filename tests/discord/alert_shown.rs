//! What alerts show of items that are known to be gone or edited, and of what they do not
//! ask; and what a stop interrupts.

use std::sync::atomic::Ordering;
use std::time::Duration;

use dataflows::record::{Stored, topic};
use dataflows::time::{HOUR_MS, MINUTE_MS, Millis};
use tidings::alerts::engine::GROUP;
use tidings::alerts::record::{Alert, State};
use tidings::alerts::rule;
use tidings::alerts::sample::Samples;
use tidings::alerts::trial;
use tidings::alerts::watch::{Detail, World};

use crate::alert_desk::*;

const FIRE: &str = "[[alert]]\nname='fire'\nkind='keyword'\nany=['fire']\nhold_min=1";

fn minutes(n: i64) -> i64 {
    START + n * MINUTE_MS
}

/// Instants are decided two minutes late, so that what comes after one is read before it.
fn late_desk(rules: &str) -> Desk {
    let mut desk = Desk::new(rules);
    desk.settings.settle_s = 120;
    desk
}

/// Neither a record nor a message says it.
fn assert_unsaid(desk: &Desk, text: &str) {
    let records = serde_json::to_string(&desk.records()).expect("serializes");
    let messages = serde_json::to_string(&desk.outbox()).expect("serializes");
    assert!(!records.contains(text), "{text} is in {records}");
    assert!(!messages.contains(text), "{text} is in {messages}");
}

#[test]
fn what_is_known_to_be_gone_or_edited_is_never_shown_as_it_was() {
    let desk = late_desk(FIRE);
    let log = desk.log.as_ref();
    tick(log, START);
    let mut engine = desk.engine();
    let [gone, edited, kept] = [1, 2, 3].map(|n| item("hn", n, &format!("fire first{n}"), minutes(1)));
    [&gone, &edited, &kept].into_iter().for_each(|item| write(log, item));
    write(log, &next(&gone, minutes(2), None));
    write(log, &next(&edited, minutes(2), Some("no such word")));
    desk.tick(&mut engine, minutes(3));
    let alert = desk.only();
    assert_eq!((alert.since.0, alert.value), (minutes(1), 3.0), "numbers are those of the instant");
    assert_eq!(alert.content_ids, ["hn:3", "hn:2"]);
    assert_eq!(alert.links, ["https://hn.example/3", "https://hn.example/2"]);
    assert_eq!(alert.examples[1].title, "no such word");
    desk.pass(&mut engine, minutes(3), minutes(80));
    assert_eq!(desk.only().state, State::Resolved);
    for text in ["first1", "first2", "hn:1"] {
        assert_unsaid(&desk, text);
    }
}

#[test]
fn what_was_removed_does_not_come_back_while_older_instants_are_decided() {
    let desk = late_desk(FIRE);
    let log = desk.log.as_ref();
    tick(log, START);
    let mut engine = desk.engine();
    let [one, two] = [1, 2].map(|n| item("hn", n, "fire", minutes(1)));
    [&one, &two].into_iter().for_each(|item| write(log, item));
    desk.tick(&mut engine, minutes(3));
    assert_eq!(desk.only().content_ids, ["hn:2", "hn:1"]);
    write(log, &item("hn", 3, "fire", minutes(2)));
    write(log, &next(&one, minutes(6), None));
    desk.tick(&mut engine, minutes(6));
    let records = desk.records();
    assert!(records.len() > 2, "corrected, and developed with the third: {records:#?}");
    assert!(records[1..].iter().all(|alert| !alert.content_ids.contains(&"hn:1".into())), "{records:#?}");
    let alert = desk.only();
    assert_eq!((alert.content_ids.clone(), alert.removed), (vec!["hn:3".into(), "hn:2".into()], 1));
    assert_eq!(alert.value, 3.0, "the removal is after the instant");
}

#[test]
fn what_went_while_nothing_ran_is_not_shown_when_that_time_is_decided() {
    let desk = Desk::new(FIRE);
    let log = desk.log.as_ref();
    tick(log, START);
    drop(desk.engine());
    let one = item("hn", 1, "fire secret", minutes(1));
    write(log, &one);
    write(log, &next(&one, minutes(10), None));
    let mut engine = desk.engine();
    desk.tick(&mut engine, minutes(30));
    let alert = desk.only();
    assert_eq!((alert.since.0, alert.state), (minutes(1), State::Resolved));
    assert_unsaid(&desk, "secret");
    let trial = desk.trial("fire");
    assert_eq!(trial.fired.len(), 1);
    assert!(!serde_json::to_string(&trial).expect("serializes").contains("secret"));
}

/// Stories are published anew a while after what stands for them went.
#[test]
fn a_story_does_not_show_the_item_that_it_lost() {
    let desk = Desk::new("[[alert]]\nname='spread'\nkind='story_spread'\nplatforms_min=2");
    let log = desk.log.as_ref();
    tick(log, START);
    let mut engine = desk.engine();
    let one = item("hn", 1, "A bridge @everyone fell", minutes(0));
    write(log, &next(&one, minutes(1), None));
    put_story(log, Some(&story("s1", &["hn", "rss"], 9)), "s1", minutes(1));
    let mut other = story("s2", &["hn", "rss"], 9);
    other.representative = "hn:2".into();
    write(log, &next(&item("hn", 2, "", minutes(0)), minutes(1), Some("A bridge was opened")));
    put_story(log, Some(&other), "s2", minutes(1));
    desk.tick(&mut engine, minutes(2));
    let alerts = desk.alerts();
    let of = |subject: &str| -> Alert { alerts.iter().find(|a| a.subject == subject).expect("it").clone() };
    let (lost, edited) = (of("s1"), of("s2"));
    assert_eq!((lost.label.as_str(), lost.content_ids.len()), ("s1", 0));
    assert_eq!(lost.links, ["https://rss.example/1"]);
    assert_eq!(edited.label, "A bridge was opened");
    assert_eq!(edited.examples[0].title, "A bridge was opened");
    assert_eq!(edited.content_ids, ["hn:2"]);
    assert_unsaid(&desk, "fell");
}

#[test]
fn texts_are_written_for_what_is_met_or_asked_for() {
    let desk = Desk::new("[[alert]]\nname='spread'\nkind='story_spread'\nplatforms_min=2");
    let mut world = World::new(&desk.rules, &desk.settings);
    for (id, platforms) in [("s1", &["hn"][..]), ("s2", &["hn", "rss"])] {
        let value = serde_json::to_vec(&story(id, platforms, 3)).expect("serializes");
        let stored = Stored {
            topic: topic::STORIES.into(),
            partition: 0,
            offset: 0,
            timestamp_ms: START,
            key: id.into(),
            value: Some(value),
            headers: Default::default(),
        };
        world.apply(&stored, Millis(START));
    }
    world.advance(Millis(START));
    let of = |detail| world.readings(&desk.rules[0], Millis(START), None, detail);
    let met = of(Detail::Met);
    assert!(met.complete && met.all.len() == 1 && met.all[0].subject == "s2", "{met:?}");
    assert!(!met.all[0].why.is_empty() && met.all[0].short.is_empty(), "{met:?}");
    let all = of(Detail::All).all;
    let missing = all.iter().find(|reading| !reading.met).expect("the other");
    assert_eq!((missing.short.as_str(), missing.why.as_str()), ("1 of 2 platforms", ""));
}

#[test]
fn a_stop_interrupts_what_is_caught_up_and_it_goes_on_from_there() {
    let desk = Desk::new(FIRE);
    let log = desk.log.as_ref();
    tick(log, START);
    let mut engine = desk.engine();
    write(log, &item("hn", 1, "fire", minutes(60)));
    tick(log, START + 3 * HOUR_MS);
    desk.stop.store(true, Ordering::Relaxed);
    engine.step(Duration::from_millis(20)).expect("reads");
    assert_eq!(engine.decided(), Some(Millis(START)), "nothing is decided after the stop");
    engine.run().expect("ends at once");
    let tried =
        trial::run(log, &desk.settings, &desk.rules[0], &desk.routes, &Samples::default(), &desk.stop);
    assert_eq!(tried.expect("reads"), None);
    drop(engine);
    desk.stop.store(false, Ordering::Relaxed);
    let mut engine = desk.engine();
    desk.tick(&mut engine, START + 3 * HOUR_MS);
    assert_eq!(desk.only().since.0, minutes(60));
}

#[test]
fn cells_are_read_only_for_rules_about_moods() {
    let mut desk = Desk::new(FIRE);
    let reads_volume = |desk: &Desk| {
        let at = desk.log.committed(GROUP).expect("reads");
        at.keys().any(|place| &*place.topic == topic::VOLUME)
    };
    tick(desk.log.as_ref(), START);
    cell(desk.log.as_ref(), START, &[], None, 5, 0);
    let mut engine = desk.engine();
    write(desk.log.as_ref(), &item("hn", 1, "fire", minutes(1)));
    desk.tick(&mut engine, minutes(1));
    assert_eq!(desk.only().rule, "fire");
    assert!(!reads_volume(&desk));
    drop(engine);
    let moods = format!("{FIRE}\n[[alert]]\nname='mood'\nkind='mood_drop'");
    desk.rules = rule::parse(&moods, &desk.settings.rule, &[]).expect("valid");
    let mut engine = desk.engine();
    write(desk.log.as_ref(), &item("hn", 2, "fire", minutes(2)));
    desk.tick(&mut engine, minutes(2));
    assert!(reads_volume(&desk));
}
