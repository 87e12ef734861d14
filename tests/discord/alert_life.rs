//! What becomes of an alert: cooldown, quiet hours, corrections, caps, rules that go,
//! hostile texts, and the one message at Discord. Long because its cases share a desk.

use std::time::Duration;

use dataflows::record::topic;
use dataflows::time::{HOUR_MS, MINUTE_MS, Millis};
use dataflows::trends::record::{Subject, SubjectKind, Trend, TrendState};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidings::alerts::record::{Alert, Ended, Example, Kind, Severity, State, Suppressed};
use tidings::alerts::rule;
use tidings::discord::digest::{Digest, QuietAlert};
use tidings::discord::digester::Digester;
use tidings::discord::message::{check, of_alert, of_digest};
use tidings::discord::outbox;
use tidings::discord::schedule::Window;
use tidings::log::LogError;

use crate::alert_desk::*;
use crate::messages::{body, text};
use crate::rig::{Rig, record, routes, settings, values};
use crate::server::{Conduct, rules};

const FIRE: &str = "[[alert]]\nname='fire'\nkind='keyword'\nany=['fire']\nwindow_min=5\nhold_min=1";

fn minutes(n: i64) -> i64 {
    START + n * MINUTE_MS
}

#[test]
fn one_message_is_posted_edited_and_resolved() {
    let desk = Desk::new(FIRE);
    let log = desk.log.as_ref();
    let mut rig = Rig::new(Conduct::default(), false);
    rig.log = desk.log.clone();
    rig.routes = desk.routes.clone();
    // The test's clock is in the past of the wall clock.
    rig.settings.post_age_max_h = 1_000_000;
    let mut deliverer = rig.deliverer();
    tick(log, START);
    let mut engine = desk.engine();
    write(log, &item("hn", 1, "fire in the @everyone hall", minutes(1)));
    desk.tick(&mut engine, minutes(1));
    let key = desk.only().key;
    rig.until(&mut deliverer, &key, outbox::State::Sent);
    write(log, &item("hn", 2, "another fire", minutes(2)));
    desk.pass(&mut engine, minutes(1), minutes(10));
    assert_eq!(desk.only().state, State::Resolved);
    let last = u64::from(desk.only().edits) + 1;
    rig.until_true(&mut deliverer, "edited", |d| {
        d.outbox().get(&key).is_some_and(|e| e.sent.sequence == last)
    });
    let messages = rig.server.messages();
    assert_eq!(messages.len(), 1, "one post");
    assert!(messages[0].edits >= 1, "{messages:#?}");
    let text = messages[0].body.to_string();
    for part in ["Resolved · fire", "2 new items within 5 minutes", "another fire", "hn.example"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    rig.server.assert_no_violations();
}

#[test]
fn a_cooldown_is_kept_over_restarts_and_says_so() {
    let desk = Desk::new(&format!("{FIRE}\ncooldown_min=30"));
    let log = desk.log.as_ref();
    tick(log, START);
    let mut engine = desk.engine();
    write(log, &item("hn", 1, "fire", minutes(1)));
    desk.pass(&mut engine, START, minutes(8));
    assert_eq!(desk.only().state, State::Resolved);
    drop(engine);
    let mut engine = desk.engine();
    write(log, &item("hn", 2, "fire", minutes(10)));
    desk.pass(&mut engine, minutes(8), minutes(11));
    let alerts = desk.alerts();
    assert_eq!((alerts.len(), alerts[1].suppressed), (2, Some(Suppressed::Cooldown)));
    assert!(desk.outbox().iter().all(|o| o.key == alerts[0].key), "what is suppressed has no message");
    let trial = desk.trial("fire");
    let verdicts: Vec<_> = trial.fired.iter().map(|a| (a.since, a.suppressed)).collect();
    let expected: Vec<_> = alerts.iter().map(|a| (a.since, a.suppressed)).collect();
    assert_eq!(verdicts, expected, "the trial sees what happened");
    // Its condition lasts until the cooldown is over: then it is posted.
    for minute in (12..40).step_by(4) {
        write(log, &item("hn", minute, "fire", minutes(minute as i64)));
    }
    desk.pass(&mut engine, minutes(11), minutes(40));
    let alert = desk.alerts().pop().expect("two");
    assert_eq!((alert.suppressed, alert.state), (None, State::Firing));
    assert_eq!(desk.outbox().iter().filter(|o| o.key == alert.key).count(), alert.edits as usize);
}

const NIGHT: &str = "[[route]]\nname='night'\nto='webhook'\nevery='6h'\nquiet_hours='22:00-07:00'";

#[test]
fn quiet_hours_queue_into_one_digest_and_critical_ones_do_not_wait() {
    let rules =
        format!("{FIRE}\n[[alert]]\nname='siren'\nkind='keyword'\nany=['siren']\nseverity='critical'");
    let desk = Desk::with_routes(&rules, NIGHT);
    let log = desk.log.as_ref();
    let night = Millis::parse("2026-05-04T23:00:00Z").expect("a time").0;
    tick(log, night);
    let mut engine = desk.engine();
    write(log, &item("hn", 1, "fire and siren", night + MINUTE_MS));
    desk.pass(&mut engine, night, night + 10 * MINUTE_MS);
    let alerts = desk.alerts();
    let of = |name: &str| alerts.iter().find(|a| a.rule == name).expect("it").clone();
    assert!(of("fire").queued && !of("siren").queued);
    assert_eq!(of("fire").state, State::Resolved);
    assert!(desk.outbox().iter().all(|o| o.key == of("siren").key));
    assert!(desk.outbox().iter().all(|o| !o.message.silent), "a critical one makes a sound");

    let digester = || {
        let (settings, own) = (settings("http://127.0.0.1:1"), routes(NIGHT));
        Digester::open(log, settings, own, Default::default(), false).expect("opens")
    };
    let mut open = digester();
    // The firings of midnight and six are quiet; twelve shows what was queued, once.
    for hour in [2, 8, 14, 20] {
        tick(log, night + hour * HOUR_MS);
        for _ in 0..4 {
            open.step(Duration::from_millis(20)).expect("decides");
        }
        if hour == 14 {
            drop(open);
            open = digester();
        }
    }
    let digests: Vec<Digest> = values(log, topic::DIGESTS);
    let shown: Vec<&Digest> = digests.iter().filter(|d| !d.alerts.is_empty()).collect();
    assert_eq!(shown.len(), 1, "{digests:#?}");
    assert_eq!(shown[0].alerts[0].key, of("fire").key);
    assert_eq!(shown[0].window.end, Millis::parse("2026-05-05T12:00:00Z").expect("a time"));
    let message = desk.outbox().into_iter().find(|o| o.key == shown[0].key).expect("it is posted").message;
    let text = serde_json::to_string(&message).expect("serializes");
    assert!(text.contains("While it was quiet") && text.contains("1 new item within 5 minutes"), "{text}");
}

#[test]
fn what_an_alert_shows_is_corrected_and_waits_survive_restarts() {
    let desk = Desk::new(&format!("{FIRE}\nwindow_min=60").replace("window_min=5\n", ""));
    let log = desk.log.as_ref();
    tick(log, START);
    let mut engine = desk.engine();
    let one = item("hn", 1, "fire one", minutes(1));
    let two = item("hn", 2, "fire two", minutes(1));
    [&one, &two].into_iter().for_each(|item| write(log, item));
    desk.tick(&mut engine, minutes(1));
    let key = desk.only().key;
    // Over, with both in it.
    desk.pass(&mut engine, minutes(1), minutes(70));
    assert_eq!((desk.only().state, desk.only().content_ids.len()), (State::Resolved, 2));
    let before = desk.outbox().len();
    // More likes are no edit; another title is, a minute after the last record at the earliest.
    let mut liked = next(&one, minutes(70) + 1, Some("fire one"));
    liked.content.as_mut().expect("content").engagement.likes = Some(9);
    write(log, &liked);
    let edited = next(&liked, minutes(70) + 2, Some("no such thing"));
    write(log, &edited);
    let edited_soon = next(&edited, minutes(70) + 3, Some("no such thing at all"));
    write(log, &edited_soon);
    tick(log, minutes(70) + 4);
    engine.step(Duration::from_millis(20)).expect("reads");
    drop(engine);
    let mut engine = desk.engine();
    desk.pass(&mut engine, minutes(70), minutes(73));
    assert_eq!(desk.outbox().len(), before + 1, "one edit for two");
    let alert = desk.only();
    assert_eq!((alert.state, alert.key.as_str()), (State::Resolved, key.as_str()));
    let example = alert.examples.iter().find(|e| e.id == "hn:1").expect("still there");
    assert!(example.edited && example.title == "no such thing at all", "{example:?}");
    // A deletion is shown at once; the second of the same is nothing.
    write(log, &next(&two, minutes(73) + 1, None));
    desk.tick(&mut engine, minutes(73) + 15_000);
    let alert = desk.only();
    assert_eq!((alert.content_ids.clone(), alert.removed), (vec!["hn:1".to_string()], 1));
    assert!(!serde_json::to_string(&alert).expect("serializes").contains("fire two"));
    drop(engine);
    let mut engine = desk.engine();
    desk.pass(&mut engine, minutes(74), minutes(80));
    let outbox = desk.outbox();
    assert_eq!(outbox.len(), before + 2, "nothing is repeated");
    let last = serde_json::to_string(&outbox.last().expect("some").message).expect("serializes");
    assert!(last.contains("1 removed by its source") && last.contains("edited since"), "{last}");
}

#[test]
fn rules_that_go_resolve_their_alerts_with_that_reason() {
    let two = format!("{FIRE}\n[[alert]]\nname='other'\nkind='keyword'\nany=['fire']");
    let mut desk = Desk::new(&two);
    tick(desk.log.as_ref(), START);
    let mut engine = desk.engine();
    write(desk.log.as_ref(), &item("hn", 1, "fire", minutes(1)));
    desk.tick(&mut engine, minutes(1));
    drop(engine);
    let off = format!("{FIRE}\nenabled=false");
    desk.rules = rule::parse(&off, &desk.settings.rule, &[]).expect("valid");
    let mut engine = desk.engine();
    desk.tick(&mut engine, minutes(2));
    let ended: Vec<_> = desk.alerts().into_iter().map(|a| (a.rule, a.ended)).collect();
    let expected =
        [("fire".to_string(), Some(Ended::RuleOff)), ("other".to_string(), Some(Ended::RuleRemoved))];
    assert!(expected.iter().all(|e| ended.contains(e)), "{ended:?}");
    let text = serde_json::to_string(&desk.outbox()).expect("serializes");
    assert!(text.contains("the rule was removed") && text.contains("the rule was switched off"), "{text}");
}

#[test]
fn a_second_engine_fences_the_first() {
    let desk = Desk::new(FIRE);
    tick(desk.log.as_ref(), START);
    let mut old = desk.engine();
    let mut new = desk.engine();
    write(desk.log.as_ref(), &item("hn", 1, "fire", minutes(1)));
    tick(desk.log.as_ref(), minutes(1));
    let failed = (0..20).find_map(|_| old.step(Duration::from_millis(20)).err());
    assert!(matches!(failed, Some(LogError::Fenced(_))), "{failed:?}");
    desk.tick(&mut new, minutes(1));
    assert_eq!(desk.outbox().len(), 1);
}

#[test]
fn a_flood_of_bursts_is_held_by_the_caps() {
    let desk = Desk::new("[[alert]]\nname='flood'\nkind='burst'\nscore_min=1.0\nitems_min=1");
    let log = desk.log.as_ref();
    tick(log, START);
    let mut engine = desk.engine();
    let trend = |n: i64| Trend {
        subject: Subject { kind: SubjectKind::Term, name: format!("#t{n}") },
        state: TrendState::Rising,
        since: Millis(START),
        until: None,
        peak_start: Millis(START),
        items: 20,
        peak_items: 20,
        authors: 9,
        expected: 1.0,
        ratio: 20.0,
        score: 2.0 + n as f64,
        buckets: Vec::new(),
        why: String::new(),
    };
    let records = (0..2_000).map(|n| {
        let mut stored = record(topic::TRENDS, "", serde_json::to_vec(&trend(n)).expect("plain"), minutes(1));
        stored.key = trend(n).record_key();
        stored
    });
    log.append(records.collect()).expect("appended");
    desk.pass(&mut engine, START, minutes(6));
    let alerts = desk.alerts();
    let posted: Vec<&Alert> = alerts.iter().filter(|a| a.suppressed.is_none()).collect();
    assert_eq!(posted.len(), desk.settings.live_per_rule_max);
    assert!(posted.iter().all(|a| a.value >= 1_900.0), "the strongest are posted");
    assert_eq!(alerts.len(), desk.settings.subjects_per_rule_max);
    let mut per_minute = std::collections::BTreeMap::<Millis, usize>::new();
    desk.records().iter().for_each(|a| *per_minute.entry(a.updated.floor(MINUTE_MS)).or_default() += 1);
    assert!(per_minute.values().all(|n| *n <= desk.settings.records_per_minute_max), "{per_minute:?}");
    assert!(tidings::alerts::metrics::SUPPRESSED.with_label_values(&["flood", "subjects_cap"]).get() > 0);
}

fn alert(random: &mut StdRng) -> Alert {
    let urls = ["https://a.example/same", "javascript:x", "", "https://b.example/?q=1"];
    let example = |random: &mut StdRng| Example {
        id: text(random, 20),
        platform: text(random, 20),
        title: text(random, 300),
        url: random.random_bool(0.8).then(|| urls[random.random_range(0..urls.len())].to_string()),
        published_at: random.random_bool(0.8).then(|| Millis(random.random_range(0..2_000_000_000_000))),
        version: Default::default(),
        edited: random.random_bool(0.3),
    };
    let since = Millis(random.random_range(0..2_000_000_000_000));
    let subject = text(random, 50);
    Alert {
        key: Alert::key_of("rule", &subject, since),
        rule: "rule".into(),
        kind: Kind::Burst,
        severity: Severity::ALL[random.random_range(0..3)],
        label: text(random, 200),
        subject,
        state: if random.random_bool(0.5) { State::Firing } else { State::Resolved },
        since,
        updated: since,
        told: None,
        resolved: random.random_bool(0.5).then_some(since),
        ended: random.random_bool(0.3).then_some(Ended::RuleRemoved),
        why: text(random, 900),
        value: 1.0,
        threshold: 1.0,
        examples: (0..random.random_range(0..9)).map(|_| example(random)).collect(),
        removed: random.random_range(0..3),
        links: vec![urls[random.random_range(0..urls.len())].to_string()],
        content_ids: Vec::new(),
        route: "daily".into(),
        queued: false,
        suppressed: None,
        edits: random.random_range(0..3),
        fact: None,
    }
}

#[test]
fn any_alert_is_a_valid_message_and_so_is_its_digest() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let window = Window { start: Millis(0), end: Millis(86_400_000) };
    for round in 0..400 {
        let alert = alert(&mut random);
        let mut digest = Digest::skipped("route", window, window.end, "empty");
        digest.alerts = (0..random.random_range(1..30)).map(|_| QuietAlert::of(&alert)).collect();
        for message in [of_alert(&alert), of_digest(&digest, &jiff::tz::TimeZone::UTC)] {
            check(&message).unwrap_or_else(|why| panic!("seed {seed} round {round}: {why}"));
            let body = body(&message);
            rules::validate(&body, "post").unwrap_or_else(|why| panic!("seed {seed} round {round}: {why}"));
            assert_eq!(rules::misdeeds(&body, "post"), Vec::<String>::new(), "seed {seed} round {round}");
        }
        assert_eq!(of_alert(&alert).silent, alert.severity != Severity::Critical);
    }
}
