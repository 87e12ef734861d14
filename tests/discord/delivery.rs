//! One post per key, whatever Discord answers or does not.

use dataflows::record::topic;
use dataflows::time::Millis;
use serde_json::json;
use tidings::discord::api::append_resolve;
use tidings::discord::outbox::{Resolution, Resolve, State};
use tidings::discord::{Access, wall_clock_ms};

use crate::rig::*;
use crate::server::{Conduct, Fault, WEBHOOK_ID};

fn resolve(rig: &Rig, key: &str, action: Resolution) {
    let resolve = Resolve { key: key.into(), action, asked_at: Millis(wall_clock_ms()) };
    append_resolve(rig.log.as_ref(), &resolve).expect("appended");
}

#[test]
fn a_post_is_made_once_and_never_again() {
    let rig = Rig::new(Conduct::default(), true);
    put(rig.log.as_ref(), outgoing("a", "hook", 1));
    put(rig.log.as_ref(), outgoing("b", "bot", 1));
    let mut deliverer = rig.deliverer();
    rig.until(&mut deliverer, "a", State::Sent);
    rig.until(&mut deliverer, "b", State::Sent);
    for _ in 0..3 {
        drop(deliverer);
        deliverer = rig.deliverer();
        put(rig.log.as_ref(), outgoing("a", "hook", 1));
        deliverer.step(std::time::Duration::from_millis(50)).expect("delivers");
    }
    let messages = rig.server.messages();
    assert_eq!(messages.len(), 2);
    let sent = &deliverer.outbox().get("a").expect("known").sent;
    assert_eq!(sent.message_id, Some(messages[0].id.to_string()));
    assert_eq!(messages[1].channel, "888");
    rig.server.assert_no_violations();
}

#[test]
fn without_an_answer_a_webhook_post_is_uncertain_and_not_repeated() {
    for fault in
        [Fault::LostReply, Fault::TornReply, Fault::Silence, Fault::TakenThenStatus(504), Fault::LostRequest]
    {
        println!("{fault:?}");
        let rig = Rig::new(Conduct::default(), false);
        rig.server.fail("post", fault.clone());
        put(rig.log.as_ref(), outgoing("a", "hook", 1));
        put(rig.log.as_ref(), outgoing("next", "hook", 1));
        let mut deliverer = rig.deliverer();
        rig.until(&mut deliverer, "a", State::Uncertain);
        rig.until(&mut deliverer, "next", State::Sent);
        drop(deliverer);
        let mut deliverer = rig.deliverer();
        deliverer.step(std::time::Duration::from_millis(50)).expect("delivers");
        assert_eq!(rig.state(&deliverer, "a"), State::Uncertain);
        let expected = if matches!(fault, Fault::LostRequest) { 1 } else { 2 };
        assert_eq!(rig.server.messages().len(), expected, "{fault:?}");
        assert!(rig.health.report(wall_clock_ms()).reasons.iter().any(|r| r.reason == "uncertain"));
    }
}

#[test]
fn a_person_settles_an_uncertain_post() {
    let rig = Rig::new(Conduct::default(), false);
    for (key, fault) in
        [("posted", Fault::LostReply), ("resend", Fault::LostRequest), ("drop", Fault::LostReply)]
    {
        rig.server.fail("post", fault);
        put(rig.log.as_ref(), outgoing(key, "hook", 1));
        rig.until(&mut rig.deliverer(), key, State::Uncertain);
    }
    let id = rig.server.messages()[0].id.to_string();
    resolve(&rig, "posted", Resolution::Posted { message_id: id });
    resolve(&rig, "resend", Resolution::Resend);
    resolve(&rig, "drop", Resolution::Drop);
    let mut deliverer = rig.deliverer();
    rig.until(&mut deliverer, "resend", State::Sent);
    rig.until(&mut deliverer, "posted", State::Sent);
    rig.until(&mut deliverer, "drop", State::Dropped);
    // A settled post is edited where it is; asking twice changes nothing.
    resolve(&rig, "resend", Resolution::Resend);
    put(rig.log.as_ref(), outgoing("posted", "hook", 2));
    rig.until_true(&mut deliverer, "edited", |d| {
        d.outbox().get("posted").is_some_and(|e| e.sent.sequence == 2)
    });
    drop(deliverer);
    rig.deliverer().step(std::time::Duration::from_millis(20)).expect("delivers");
    assert!(rig.server.posts_by_footer().values().all(|n| *n == 1), "{:?}", rig.server.posts_by_footer());
    assert_eq!(rig.server.messages()[0].edits, 1);
    rig.server.assert_no_violations();
}

#[test]
fn a_bot_token_settles_from_the_history() {
    for (route, kind) in [("hook", "post"), ("bot", "create")] {
        for fault in [
            Fault::LostReply,
            Fault::TornReply,
            Fault::LostRequest,
            Fault::TakenThenStatus(500),
            Fault::Silence,
        ] {
            println!("{route} {fault:?}");
            let rig = Rig::new(Conduct::default(), true);
            rig.server.fail(kind, fault);
            put(rig.log.as_ref(), outgoing("a", route, 1));
            let mut deliverer = rig.deliverer();
            rig.until(&mut deliverer, "a", State::Sent);
            let messages = rig.server.messages();
            assert_eq!(messages.len(), 1);
            let sent = &deliverer.outbox().get("a").expect("known").sent;
            assert_eq!(sent.message_id, Some(messages[0].id.to_string()));
            assert!(rig.server.requests("history") >= 1);
            rig.server.assert_no_violations();
        }
    }
}

#[test]
fn a_webhook_that_is_gone_is_retired_for_good() {
    let rig = Rig::new(Conduct::default(), false);
    put(rig.log.as_ref(), outgoing("first", "hook", 1));
    let mut deliverer = rig.deliverer();
    rig.until(&mut deliverer, "first", State::Sent);
    rig.server.inner.lock().webhooks.remove(WEBHOOK_ID);
    // The look-up is fresh, so the post itself meets the 404.
    put(rig.log.as_ref(), outgoing("a", "hook", 1));
    rig.until(&mut deliverer, "a", State::Retired);
    let requests = rig.server.requests("post") + rig.server.requests("look");
    drop(deliverer);
    put(rig.log.as_ref(), outgoing("b", "hook", 1));
    put(rig.log.as_ref(), outgoing("first", "hook", 2));
    let mut deliverer = rig.deliverer();
    rig.until(&mut deliverer, "b", State::Retired);
    rig.until_true(&mut deliverer, "edit given up", |d| {
        d.outbox().get("first").is_some_and(|e| e.sent.sequence == 2)
    });
    assert_eq!(
        rig.server.requests("post") + rig.server.requests("look"),
        requests,
        "asked again after a 404"
    );
    let report = rig.health.report(wall_clock_ms());
    assert!(report.reasons.iter().any(|r| r.reason == "webhook_retired"), "{report:?}");
}

#[test]
fn an_outage_before_the_post_is_waited_out() {
    let rig = Rig::new(Conduct::default(), false);
    rig.server.fail("look", Fault::Status(503, json!({})));
    rig.server.fail("look", Fault::LostReply);
    rig.server.fail("look", Fault::Status(500, json!({})));
    put(rig.log.as_ref(), outgoing("a", "hook", 1));
    let mut deliverer = rig.deliverer();
    rig.until(&mut deliverer, "a", State::Sent);
    assert_eq!(rig.server.requests("look"), 4);
    assert_eq!(rig.server.requests("post"), 1);
}

#[test]
fn what_discord_refuses_is_a_dead_letter_with_its_words() {
    let rig = Rig::new(Conduct::default(), true);
    let words = json!({"message": "Invalid Form Body", "code": 50035, "errors": {"embeds": {"0": {"_errors": [{"code": "X", "message": "too odd"}]}}}});
    rig.server.fail("post", Fault::Status(400, words.clone()));
    rig.server.fail("create", Fault::Status(400, words));
    put(rig.log.as_ref(), outgoing("a", "hook", 1));
    put(rig.log.as_ref(), outgoing("b", "bot", 1));
    let mut large = outgoing("c", "hook", 1);
    large.message.embeds[0].description = Some("x".repeat(4_097));
    put(rig.log.as_ref(), large);
    let mut old = outgoing("d", "hook", 1);
    old.created_at = Millis(wall_clock_ms() - 25 * 3_600_000);
    put(rig.log.as_ref(), old);
    let mut deliverer = rig.deliverer();
    for (key, reason) in [("a", "rejected"), ("b", "rejected"), ("c", "over_limit"), ("d", "too_old")] {
        rig.until(&mut deliverer, key, State::Dropped);
        assert_eq!(deliverer.outbox().get(key).expect("known").sent.reason.as_deref(), Some(reason));
    }
    let letters: Vec<serde_json::Value> = values(rig.log.as_ref(), topic::DEAD_LETTERS);
    assert_eq!(letters.len(), 3);
    assert_eq!(
        letters.iter().filter(|l| l["detail"].as_str().is_some_and(|r| r.contains("too odd"))).count(),
        2,
        "{letters:#?}"
    );
    assert_eq!(rig.server.requests("post") + rig.server.requests("create"), 2);
}

#[test]
fn a_bot_that_may_not_post_gives_up_after_bounded_attempts() {
    let rig = Rig::new(Conduct::default(), true);
    rig.server.inner.lock().forbidden = true;
    put(rig.log.as_ref(), outgoing("a", "bot", 1));
    let mut deliverer = rig.deliverer();
    rig.until(&mut deliverer, "a", State::Dropped);
    let sent = &deliverer.outbox().get("a").expect("known").sent;
    assert_eq!(sent.reason.as_deref(), Some("forbidden"));
    assert_eq!(values::<serde_json::Value>(rig.log.as_ref(), topic::DEAD_LETTERS).len(), 1);
}

#[test]
fn what_is_suppressed_says_why_and_is_not_posted_later() {
    let rig = Rig::new(Conduct::default(), true);
    let cases = [
        ("off", "hook", Access { publishing: false, ..rig.access.clone() }, "publishing_off"),
        ("dry", "hook", Access { dry_run: true, ..rig.access.clone() }, "dry_run"),
        ("none", "hook", Access { publishing: true, ..Access::default() }, "not_configured"),
        ("nobot", "bot", Access { bot_token: None, ..rig.access.clone() }, "no_bot_token"),
        ("gone", "another", rig.access.clone(), "route_gone"),
    ];
    for (key, route, access, reason) in cases {
        let counted = posts("suppressed", reason);
        put(rig.log.as_ref(), outgoing(key, route, 1));
        let mut deliverer = tidings::discord::deliver::Deliverer::open(
            rig.log.as_ref(),
            rig.settings.clone(),
            &access,
            rig.routes.clone(),
            rig.health.clone(),
        )
        .expect("opens");
        rig.until(&mut deliverer, key, State::Suppressed);
        assert_eq!(deliverer.outbox().get(key).expect("known").sent.reason.as_deref(), Some(reason));
        assert!(posts("suppressed", reason) > counted);
        if reason == "publishing_off" {
            let report = rig.health.report(wall_clock_ms());
            assert_eq!(report.status, tidings::ops::health::Status::Disabled, "{report:?}");
            assert!(report.reasons.iter().any(|r| r.reason == reason));
        }
    }
    rig.deliverer().step(std::time::Duration::from_millis(50)).expect("delivers");
    assert_eq!(rig.server.messages().len(), 0);
}

#[test]
fn edits_are_repeated_until_answered_and_change_the_message_in_place() {
    let rig = Rig::new(Conduct::default(), true);
    put(rig.log.as_ref(), outgoing("a", "hook", 1));
    put(rig.log.as_ref(), outgoing("b", "bot", 1));
    let mut deliverer = rig.deliverer();
    rig.until(&mut deliverer, "a", State::Sent);
    rig.until(&mut deliverer, "b", State::Sent);
    rig.server.fail("edit", Fault::Status(500, json!({})));
    rig.server.fail("edit", Fault::LostReply);
    put(rig.log.as_ref(), outgoing("a", "hook", 2));
    put(rig.log.as_ref(), outgoing("b", "bot", 3));
    for (key, sequence) in [("a", 2), ("b", 3)] {
        rig.until_true(&mut deliverer, "edited", |d| {
            d.outbox().get(key).is_some_and(|e| e.sent.sequence == sequence)
        });
    }
    let shown: Vec<String> = rig
        .server
        .messages()
        .iter()
        .map(|m| m.body["embeds"][0]["description"].as_str().expect("text").into())
        .collect();
    assert_eq!(shown, ["version 2", "version 3"]);
    // A moderator deleted the message: the edit is over, and nothing is posted anew.
    rig.server.inner.lock().messages.clear();
    put(rig.log.as_ref(), outgoing("a", "hook", 3));
    rig.until_true(&mut deliverer, "given up", |d| d.outbox().get("a").is_some_and(|e| e.sent.sequence == 3));
    assert!(rig.server.messages().is_empty());
    rig.server.assert_no_violations();
}

#[test]
fn an_edit_that_comes_before_the_post_is_what_is_posted() {
    let rig = Rig::new(Conduct::default(), false);
    put(rig.log.as_ref(), outgoing("a", "hook", 1));
    put(rig.log.as_ref(), outgoing("a", "hook", 2));
    let mut deliverer = rig.deliverer();
    rig.until(&mut deliverer, "a", State::Sent);
    deliverer.step(std::time::Duration::from_millis(20)).expect("delivers");
    let messages = rig.server.messages();
    assert_eq!(messages.len(), 1);
    assert_eq!((messages[0].edits, &messages[0].body["embeds"][0]["description"]), (0, &json!("version 2")));
}

#[test]
fn a_second_deliverer_fences_the_first() {
    let rig = Rig::new(Conduct::default(), false);
    let mut old = rig.deliverer();
    let mut new = rig.deliverer();
    put(rig.log.as_ref(), outgoing("a", "hook", 1));
    let failed = (0..50).find_map(|_| old.step(std::time::Duration::from_millis(20)).err());
    assert!(failed.is_some(), "the old one may still record");
    assert_eq!(rig.server.requests("post"), 0, "an intent that is not recorded was acted on");
    rig.until(&mut new, "a", State::Sent);
}

#[test]
fn an_unreadable_record_is_a_dead_letter_and_loses_no_decision() {
    let rig = Rig::new(Conduct::default(), false);
    rig.server.fail("post", Fault::LostReply);
    put(rig.log.as_ref(), outgoing("a", "hook", 1));
    let mut deliverer = rig.deliverer();
    rig.until(&mut deliverer, "a", State::Uncertain);
    let broken = |key: &str| record(topic::OUTBOX, key, b"{\"type\":\"message\"}".to_vec(), 0);
    rig.log.append((0..8).map(|n| broken(&format!("x{n}"))).collect()).expect("appended");
    resolve(&rig, "a", Resolution::Drop);
    rig.until(&mut deliverer, "a", State::Dropped);
    rig.until_true(&mut deliverer, "dead letters", |_| {
        read_all(rig.log.as_ref(), topic::DEAD_LETTERS).len() == 8
    });
}
