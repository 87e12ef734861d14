//! Each kind of alert: what makes it open and end, and what is not enough.

use dataflows::faults::{DeadLetter, Reason};
use dataflows::record::topic;
use dataflows::time::{HOUR_MS, MINUTE_MS, Millis};
use dataflows::trends::record::{Subject, SubjectKind, Trend, TrendState};
use tidings::alerts::record::{Ended, Fact, Kind, Severity, State};
use tidings::alerts::sample::{DeliverySample, DiskSample, SourceSample};
use tidings::log::Log;

use crate::alert_desk::*;
use crate::rig::record;

const OUTAGE: &str =
    "[[alert]]\nname='outage'\nkind='keyword'\nany=['outage','is down']\nitems_min=3\nwindow_min=30";

#[test]
fn words_in_enough_new_items_fire_develop_and_end() {
    let desk = Desk::new(OUTAGE);
    tick(desk.log.as_ref(), START);
    let mut engine = desk.engine();
    let log = desk.log.as_ref();
    for n in 1..=2 {
        write(log, &item("hn", n, "A big outage", START + n as i64 * MINUTE_MS));
    }
    // Words within others, and content that is not new, do not count.
    write(log, &item("hn", 8, "outages are not outage-free? no: outaged", START + MINUTE_MS));
    let mut old = item("hn", 9, "outage", START + MINUTE_MS);
    old.content.as_mut().expect("content").published_at = Millis(START - 30 * HOUR_MS);
    write(log, &old);
    desk.tick(&mut engine, START + 5 * MINUTE_MS);
    assert_eq!(desk.alerts().len(), 1, "outage-free has the word");
    let alert = desk.only();
    assert_eq!((alert.value, alert.threshold, alert.kind), (3.0, 3.0, Kind::Keyword));
    assert_eq!(
        (alert.state, alert.severity, alert.route.as_str()),
        (State::Firing, Severity::Warning, "daily")
    );
    assert_eq!(alert.since.0, START + 2 * MINUTE_MS, "when the third was in");
    assert_eq!(alert.examples.len(), 3);
    assert_eq!(alert.content_ids[0], "hn:2", "the newest first");
    assert!(alert.why.starts_with("3 new items within 30 minutes have one of “outage”"), "{}", alert.why);
    assert!(alert.links.contains(&"https://hn.example/2".to_string()));

    write(log, &item("hn", 3, "the site IS  DOWN", START + 6 * MINUTE_MS));
    desk.tick(&mut engine, START + 8 * MINUTE_MS);
    let alert = desk.only();
    assert_eq!((alert.value, alert.edits), (4.0, 1));
    // Out of the window, and absent for ten minutes more.
    desk.pass(&mut engine, START + 8 * MINUTE_MS, START + 40 * MINUTE_MS);
    assert_eq!(desk.only().state, State::Firing);
    desk.pass(&mut engine, START + 40 * MINUTE_MS, START + 42 * MINUTE_MS);
    let alert = desk.only();
    assert_eq!((alert.state, alert.ended), (State::Resolved, Some(Ended::Over)));
    assert_eq!(
        alert.resolved,
        Some(Millis(START + 41 * MINUTE_MS)),
        "two of four left after 31 minutes, and the hold of 10"
    );
    let outbox = desk.outbox();
    assert!(outbox.iter().all(|o| o.key == alert.key && o.route == "daily"));
    let sequences: Vec<u64> = outbox.iter().map(|o| o.sequence).collect();
    assert_eq!(sequences, (1..=outbox.len() as u64).collect::<Vec<_>>());
    assert!(
        outbox.last().expect("some").message.embeds[0]
            .title
            .as_ref()
            .expect("a title")
            .starts_with("Resolved")
    );
}

#[test]
fn keyword_filters_and_platforms_by_themselves() {
    let rules = "[[alert]]\nname='a'\nkind='keyword'\nany=['fire']\nplatforms=['hn']\n\
                 [[alert]]\nname='b'\nkind='keyword'\nany=['fire']\nitems_min=2\nby='platform'\n\
                 [[alert]]\nname='c'\nkind='keyword'\nany=['fire']\ntopics=['safety']";
    let desk = Desk::new(rules);
    let log = desk.log.as_ref();
    tick(log, START);
    let mut engine = desk.engine();
    for (platform, n) in [("rss", 1), ("rss", 2), ("hn", 3)] {
        write(log, &item(platform, n, "fire!", START + MINUTE_MS));
    }
    desk.tick(&mut engine, START + 2 * MINUTE_MS);
    let of = |rule: &str| -> Vec<String> {
        desk.alerts().into_iter().filter(|a| a.rule == rule).map(|a| a.subject).collect()
    };
    assert_eq!((of("a"), of("b"), of("c")), (vec!["a".into()], vec!["rss".into()], Vec::<String>::new()));
    assert_eq!(desk.alerts().iter().find(|a| a.rule == "a").expect("it").content_ids, ["hn:3"]);
}

#[test]
fn a_mood_that_falls_needs_enough_scored_items_in_both_windows() {
    let rules = "[[alert]]\nname='mood'\nkind='mood_drop'\nwindow_h=2\nbefore_h=4\ndrop=0.3\nscored_min=10\neach_topic=true\n\
                 [[alert]]\nname='all'\nkind='mood_drop'\nwindow_h=2\nbefore_h=4\ndrop=0.3\nscored_min=10";
    let desk = Desk::new(rules);
    let log = desk.log.as_ref();
    for hour in 2..=5 {
        cell(log, START - hour * HOUR_MS, &["topic"], Some("rust"), 5, 2_000);
        cell(log, START - hour * HOUR_MS, &["topic"], Some("go"), 2, 2_000);
        cell(log, START - hour * HOUR_MS, &[], None, 100, 1_000);
    }
    tick(log, START + MINUTE_MS);
    let mut engine = desk.engine();
    // A drop of exactly 0.3 in the current hour and the one before; too few of the other.
    cell(log, START - HOUR_MS, &["topic"], Some("rust"), 6, -500);
    cell(log, START, &["topic"], Some("rust"), 4, -1_750);
    cell(log, START, &["topic"], Some("go"), 9, -9_000);
    cell(log, START, &[], None, 100, -1_999);
    desk.tick(&mut engine, START + 5 * MINUTE_MS);
    let alert = desk.only();
    assert_eq!((alert.rule.as_str(), alert.subject.as_str()), ("mood", "rust"));
    assert_eq!((alert.value, alert.threshold), (0.3, 0.3));
    assert!(
        alert.why.contains("is −0.10 over the last 2 hours (10 scored items), 0.30 below the +0.20"),
        "{}",
        alert.why
    );
    // One ten-thousandth less is no drop of 0.3, one more on everything is.
    cell(log, START, &["topic"], Some("rust"), 4, -1_749);
    cell(log, START, &[], None, 100, -2_000);
    desk.pass(&mut engine, START + 5 * MINUTE_MS, START + 17 * MINUTE_MS);
    let states: Vec<(String, State)> = desk.alerts().into_iter().map(|a| (a.rule, a.state)).collect();
    assert_eq!(states, [("mood".into(), State::Resolved), ("all".into(), State::Firing)]);
}

fn source(name: &str) -> SourceSample {
    SourceSample {
        key: format!("feed:{name}"),
        name: name.into(),
        url: format!("https://{name}.example/feed"),
        condition: "ok".into(),
        last_success_at: Some(Millis(START)),
        last_item_at: Some(Millis(START)),
        ..SourceSample::default()
    }
}

#[test]
fn a_source_is_silent_against_its_rhythm_or_fails_for_hours() {
    let desk = Desk::new("[[alert]]\nname='sources'\nkind='source_silent'\nfailing_h=2");
    let rhythmic = SourceSample { silent_after_ms: Some(3 * HOUR_MS), ..source("calm") };
    let failing = SourceSample { errors_in_row: 3, last_error: Some("404".into()), ..source("gone") };
    desk.now.lock().sources = vec![rhythmic, failing, source("new")];
    tick(desk.log.as_ref(), START - MINUTE_MS);
    let mut engine = desk.engine();
    // The first sample is before its last answer, so it fails since that.
    desk.pass(&mut engine, START - MINUTE_MS, START + 2 * HOUR_MS - MINUTE_MS);
    assert_eq!(desk.alerts(), []);
    desk.pass(&mut engine, START + 2 * HOUR_MS - MINUTE_MS, START + 2 * HOUR_MS);
    let alert = desk.only();
    assert_eq!((alert.label.as_str(), alert.route.as_str()), ("gone", "private"));
    assert_eq!(alert.why, "gone has failed for 2 hours (3 times in a row): 404; 2 hours are enough");
    assert_eq!(alert.links, ["https://gone.example/feed"]);
    assert!(matches!(&alert.fact, Some(Fact::Source { errors_in_row: 3, .. })), "{:?}", alert.fact);
    // Nobody asked the calm one since: that is no silence of its.
    desk.pass(&mut engine, START + 2 * HOUR_MS, START + 5 * HOUR_MS);
    assert_eq!(desk.alerts().len(), 1);
    desk.now.lock().sources[0].last_success_at = Some(Millis(START + 3 * HOUR_MS));
    desk.pass(&mut engine, START + 5 * HOUR_MS, START + 5 * HOUR_MS + 2 * MINUTE_MS);
    let silent = desk.alerts().pop().expect("two");
    assert_eq!(silent.label, "calm");
    assert!(silent.why.contains("answers, but has brought nothing new for 3 hours"), "{}", silent.why);
    // It brings something: over after the hold. The source that left the list ends too.
    let later = Millis(START + 5 * HOUR_MS);
    let back = SourceSample { last_item_at: Some(later), last_success_at: Some(later), ..source("calm") };
    desk.now.lock().sources = vec![back];
    desk.pass(&mut engine, START + 5 * HOUR_MS + 2 * MINUTE_MS, START + 5 * HOUR_MS + 16 * MINUTE_MS);
    assert_eq!(desk.firing(), []);
}

/// While nothing ran nobody asked: sources are given the time that is asked for anew.
#[test]
fn a_long_downtime_is_no_failure_of_all_sources_and_ends_no_alert() {
    let desk = Desk::new("[[alert]]\nname='sources'\nkind='source_silent'\nfailing_h=2");
    let failing = |name: &str| SourceSample { errors_in_row: 1, ..source(name) };
    desk.now.lock().sources = vec![failing("a"), source("b")];
    tick(desk.log.as_ref(), START);
    let mut engine = desk.engine();
    desk.pass(&mut engine, START, START + 3 * HOUR_MS);
    assert_eq!(desk.only().label, "a");
    drop(engine);
    *desk.samples.lock() = Default::default();
    desk.now.lock().sources = vec![failing("a"), failing("b")];
    let back = START + 30 * HOUR_MS;
    tick(desk.log.as_ref(), back);
    let mut engine = desk.engine();
    desk.pass(&mut engine, back, back + HOUR_MS);
    let alert = desk.only();
    assert_eq!((alert.label.as_str(), alert.state), ("a", State::Firing), "whether it is well is not known");
    desk.pass(&mut engine, back + HOUR_MS, back + 2 * HOUR_MS + MINUTE_MS);
    assert_eq!(desk.firing().len(), 2);
}

fn dead_letter(log: &dyn Log, n: u64, stage: &str, at: i64) {
    let letter = DeadLetter {
        stage: stage.into(),
        reason: Reason::Malformed,
        detail: "no".into(),
        topic: topic::EVENTS.into(),
        partition: 0,
        offset: n,
        ingested_at: Millis(at),
        key: String::new(),
        value: None,
        truncated: false,
    };
    let value = serde_json::to_vec(&letter).expect("plain data");
    log.append(vec![record(topic::DEAD_LETTERS, &format!("{n}"), value, at)]).expect("appended");
}

#[test]
fn the_four_troubles_of_the_pipeline() {
    let desk = Desk::new("[[alert]]\nname='pipeline'\nkind='pipeline_trouble'\nseverity='critical'");
    let log = desk.log.as_ref();
    tick(log, START);
    {
        let mut now = desk.now.lock();
        now.disk = Some(DiskSample { free_bytes: 20, size_bytes: 100 });
        now.delivery = Some(DeliverySample { oldest_waiting_s: Some(299), ..DeliverySample::default() });
    }
    let mut engine = desk.engine();
    // Five of a hundred is not more than 5 %.
    for n in 0..95 {
        let mut one = item("hn", n, &"palabras sin idioma ".repeat(10), START + MINUTE_MS);
        one.content.as_mut().expect("content").lang = (n % 10 >= 3).then(|| "es".into());
        write(log, &one);
    }
    for n in 0..5 {
        dead_letter(log, n, "enrich", START + MINUTE_MS);
        dead_letter(log, 100 + n, "deliver", START + MINUTE_MS);
    }
    desk.tick(&mut engine, START + 2 * MINUTE_MS);
    let of = |subject: &str| desk.alerts().into_iter().find(|a| a.subject == subject);
    let subjects: Vec<String> = desk.alerts().into_iter().map(|a| a.subject).collect();
    assert_eq!(subjects, ["language"], "31.6 % without a language");
    {
        let mut now = desk.now.lock();
        now.disk = Some(DiskSample { free_bytes: 19, size_bytes: 100 });
        now.delivery = Some(DeliverySample {
            oldest_waiting_s: Some(300),
            retired_webhooks: 1,
            uncertain: 2,
            last_error: Some("it is gone".into()),
        });
    }
    dead_letter(log, 6, "enrich", START + 2 * MINUTE_MS);
    desk.tick(&mut engine, START + 3 * MINUTE_MS);
    let failures = of("stage.enrich").expect("fires");
    assert_eq!(failures.fact, Some(Fact::Stage { stage: "enrich".into(), failed: 6, taken: 101 }));
    assert_eq!(of("storage").expect("fires").value, 81.0);
    let delivery = of("delivery").expect("fires");
    assert_eq!(
        delivery.why,
        "Delivery fails: the oldest post has waited for 5 minutes, 1 webhook no longer exists at Discord, \
         2 posts may or may not have been made: it is gone"
    );
    assert!(desk.alerts().iter().all(|a| a.route == "private" && a.severity == Severity::Critical));
    // Everything recovers; what the log tells and what the process tells.
    {
        let mut now = desk.now.lock();
        now.disk = Some(DiskSample { free_bytes: 50, size_bytes: 100 });
        now.delivery = Some(DeliverySample::default());
    }
    desk.pass(&mut engine, START + 3 * MINUTE_MS, START + 30 * MINUTE_MS);
    assert_eq!(desk.firing(), []);
}

#[test]
fn a_story_that_spreads_needs_all_that_is_asked() {
    let rules = "[[alert]]\nname='spread'\nkind='story_spread'\nplatforms_min=3\nauthors_min=5\n\
                 [[alert]]\nname='fast'\nkind='story_spread'\nitems_per_hour_min=8.0\n\
                 [[alert]]\nname='elsewhere'\nkind='story_spread'\nplatforms_min=2\ntopics=['sport']";
    let desk = Desk::new(rules);
    let log = desk.log.as_ref();
    tick(log, START);
    let mut engine = desk.engine();
    put_story(log, Some(&story("s1", &["hn", "rss"], 9)), "s1", START + MINUTE_MS);
    put_story(log, Some(&story("s2", &["hn", "rss", "bluesky"], 4)), "s2", START + MINUTE_MS);
    desk.tick(&mut engine, START + 2 * MINUTE_MS);
    assert_eq!(desk.alerts(), []);
    put_story(log, Some(&story("s1", &["hn", "rss", "mastodon"], 9)), "s1", START + 3 * MINUTE_MS);
    desk.tick(&mut engine, START + 4 * MINUTE_MS);
    let alert = desk.only();
    assert_eq!((alert.subject.as_str(), alert.label.as_str()), ("s1", "A bridge @everyone fell"));
    assert_eq!(alert.content_ids, ["hn:1"]);
    assert!(alert.why.contains("on 3 platforms (hn, rss, mastodon)"), "{}", alert.why);
    // Merged into another, and gone: both end it.
    let mut merged = story("s1", &["hn", "rss", "mastodon"], 9);
    merged.merged_into = Some("s0".into());
    put_story(log, Some(&merged), "s1", START + 5 * MINUTE_MS);
    put_story(log, None, "s2", START + 5 * MINUTE_MS);
    desk.pass(&mut engine, START + 4 * MINUTE_MS, START + 16 * MINUTE_MS);
    assert_eq!(desk.only().state, State::Resolved);
}

/// What a story says of its last hour is true as long as that hour is not over.
#[test]
fn a_story_without_anything_new_is_slow_and_then_over() {
    let rules = "[[alert]]\nname='fast'\nkind='story_spread'\nitems_per_hour_min=5.0\n\
                 [[alert]]\nname='wide'\nkind='story_spread'\nplatforms_min=2\nquiet_h=2\n\
                 [[alert]]\nname='longer'\nkind='story_spread'\nplatforms_min=2";
    let desk = Desk::new(rules);
    let log = desk.log.as_ref();
    tick(log, START);
    let mut engine = desk.engine();
    put_story(log, Some(&story("s1", &["hn", "rss"], 9)), "s1", START + MINUTE_MS);
    desk.tick(&mut engine, START + 2 * MINUTE_MS);
    assert_eq!(desk.firing().len(), 3, "seven items in the hour before its last");
    desk.pass(&mut engine, START + 2 * MINUTE_MS, START + 3 * HOUR_MS);
    desk.tick(&mut engine, START + 25 * HOUR_MS);
    let resolved = |rule: &str| desk.alerts().into_iter().find(|a| a.rule == rule).expect("it").resolved;
    let hold = 10 * MINUTE_MS;
    assert_eq!(resolved("fast"), Some(Millis(START + HOUR_MS + 15_000 + hold)));
    assert_eq!(resolved("wide"), Some(Millis(START + 2 * HOUR_MS + hold)));
    assert_eq!(resolved("longer"), Some(Millis(START + 24 * HOUR_MS + hold)), "a day unless it is said");
}

fn trend(kind: SubjectKind, name: &str, score: f64, items: i64) -> Trend {
    Trend {
        subject: Subject { kind, name: name.into() },
        state: TrendState::Rising,
        since: Millis(START),
        until: None,
        peak_start: Millis(START),
        items,
        peak_items: items,
        authors: 4,
        expected: 1.5,
        ratio: items as f64,
        score,
        buckets: Vec::new(),
        why: String::new(),
    }
}

fn put_trend(log: &dyn Log, trend: &Trend, at: i64) {
    let mut record = record(topic::TRENDS, "", serde_json::to_vec(trend).expect("plain data"), at);
    record.key = trend.record_key();
    log.append(vec![record]).expect("appended");
}

#[test]
fn a_burst_needs_score_and_items_and_ends_with_its_trend() {
    let rules = "[[alert]]\nname='burst'\nkind='burst'\nscore_min=6.0\nitems_min=10\n\
                 [[alert]]\nname='terms'\nkind='burst'\nscore_min=6.0\nitems_min=10\nsubjects=['term']";
    let desk = Desk::new(rules);
    let log = desk.log.as_ref();
    tick(log, START);
    let mut engine = desk.engine();
    put_trend(log, &trend(SubjectKind::Topic, "ai", 5.9, 50), START + MINUTE_MS);
    put_trend(log, &trend(SubjectKind::Term, "#rust", 9.0, 9), START + MINUTE_MS);
    desk.tick(&mut engine, START + 2 * MINUTE_MS);
    assert_eq!(desk.alerts(), []);
    let mut rising = trend(SubjectKind::Topic, "ai", 6.0, 51);
    put_trend(log, &rising, START + 3 * MINUTE_MS);
    desk.tick(&mut engine, START + 4 * MINUTE_MS);
    let alert = desk.only();
    assert_eq!((alert.subject.as_str(), alert.value, alert.kind), ("topic:ai", 6.0, Kind::Burst));
    rising.state = TrendState::Ended;
    put_trend(log, &rising, START + 5 * MINUTE_MS);
    desk.pass(&mut engine, START + 4 * MINUTE_MS, START + 16 * MINUTE_MS);
    assert_eq!(desk.only().state, State::Resolved);
}

/// What rose and ended while nothing ran is decided as it would have been.
#[test]
fn downtime_is_decided_instant_by_instant() {
    let desk = Desk::new("[[alert]]\nname='burst'\nkind='burst'\nscore_min=6.0\nitems_min=10");
    let log = desk.log.as_ref();
    tick(log, START);
    drop(desk.engine());
    let mut rising = trend(SubjectKind::Topic, "ai", 7.0, 51);
    put_trend(log, &rising, START + 30 * MINUTE_MS);
    rising.state = TrendState::Ended;
    put_trend(log, &rising, START + 40 * MINUTE_MS);
    let mut engine = desk.engine();
    desk.tick(&mut engine, START + 3 * HOUR_MS);
    let alert = desk.only();
    assert_eq!(
        (alert.since.0, alert.resolved),
        (START + 30 * MINUTE_MS, Some(Millis(START + 50 * MINUTE_MS)))
    );
}
