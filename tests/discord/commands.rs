//! The commands, on a log of their own and over HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tidings::discord::api::{Api, Follower, router};
use tidings::discord::command::{Context, DigestCommand, DiscordCommand, OutboxCommand, Place, Remote};
use tidings::discord::outbox::State;

use crate::rig::*;
use crate::server::{Conduct, Fault};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

fn context(rig: &Rig, place: Place) -> Context {
    Context { settings: rig.settings.clone(), access: rig.access.clone(), routes: rig.routes.clone(), place }
}

fn here(rig: &Rig) -> Context {
    context(rig, Place::Log(rig.log.clone()))
}

#[test]
fn a_test_message_is_posted_or_says_why_not() {
    let mut rig = Rig::new(Conduct::default(), false);
    let runtime = runtime();
    let run = |rig: &Rig, route: Option<&str>| {
        let command = DiscordCommand::Test { route: route.map(str::to_string) };
        runtime.block_on(command.run(&here(rig)))
    };
    let outcome = run(&rig, Some("hook")).expect("runs");
    assert!(!outcome.negative && outcome.text.contains("posted message"), "{outcome:?}");
    let outcome = run(&rig, Some("bot")).expect("runs");
    assert!(outcome.negative && outcome.text.contains("no_bot_token"), "{outcome:?}");
    assert!(run(&rig, Some("nope")).is_err());
    rig.server.fail("post", Fault::Status(404, json!({"message": "Unknown Webhook", "code": 10015})));
    let outcome = run(&rig, Some("hook")).expect("runs");
    assert!(outcome.negative && outcome.text.contains("Unknown Webhook"), "{outcome:?}");
    rig.access.publishing = false;
    let outcome = run(&rig, Some("hook")).expect("runs");
    assert!(outcome.negative && outcome.text.contains("publishing_off"), "{outcome:?}");
    assert_eq!(rig.server.messages().len(), 1);
    rig.server.assert_no_violations();
}

#[test]
fn the_outbox_is_listed_and_settled_both_ways() {
    let rig = Rig::new(Conduct::default(), false);
    for key in ["digest~a~1:0~2", "digest~b~1:0~2"] {
        rig.server.fail("post", Fault::LostReply);
        put(rig.log.as_ref(), outgoing(key, "hook", 1));
        rig.until(&mut rig.deliverer(), key, State::Uncertain);
    }
    let runtime = runtime();
    let list = |context: &Context| {
        let command = OutboxCommand::List { state: Some(State::Uncertain), json: true };
        runtime.block_on(command.run(context)).expect("lists").text
    };
    let drop_it = |context: &Context, key: &str| {
        let command = OutboxCommand::Resolve { key: key.into(), message_id: None, resend: false, drop: true };
        runtime.block_on(command.run(context))
    };
    let local = here(&rig);
    assert_eq!(list(&local).lines().count(), 2);
    let outcome = drop_it(&local, "digest~a~1:0~2").expect("resolves");
    assert!(!outcome.negative && outcome.text.contains("recorded"), "{outcome:?}");
    assert!(drop_it(&local, "nope").expect("answers").negative);

    // A running process: the deliverer, the follower and the server.
    let stop = Arc::new(AtomicBool::new(false));
    let mut follower = Follower::open(rig.log.as_ref(), 1_000).expect("follows");
    follower.catch_up().expect("reads");
    let api = Api { view: follower.view(), log: rig.log.clone(), asks: None };
    let mut deliverer = rig.deliverer();
    let threads = [
        std::thread::spawn({
            let stop = stop.clone();
            move || deliverer.run(&stop).expect("delivers")
        }),
        std::thread::spawn({
            let stop = stop.clone();
            move || follower.run(&stop).expect("follows")
        }),
    ];
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    runtime.spawn(async move { axum::serve(listener, router(api)).await });
    let remote = context(&rig, Place::Process(Remote { base, token: None }));
    let outcome = drop_it(&remote, "digest~b~1:0~2").expect("resolves");
    assert_eq!(outcome.text, "digest~b~1:0~2: dropped\n");
    assert!(drop_it(&remote, "digest~b~1:0~2").is_err(), "settled twice");
    assert_eq!(list(&remote), "");
    let all = OutboxCommand::List { state: None, json: false };
    let table = runtime.block_on(all.run(&remote)).expect("lists").text;
    assert!(table.contains("dropped") && table.contains("digest~a~1:0~2"), "{table}");
    let preview = DigestCommand::Preview { route: None, json: false };
    let why = runtime.block_on(preview.run(&remote)).expect_err("no digester here").to_string();
    assert!(why.contains("503") && why.contains("not decided in this process"), "{why}");
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|t| t.join().expect("ends"));
}
