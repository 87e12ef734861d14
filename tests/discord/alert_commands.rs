//! `alerts list` and `alerts test`, on a log and over HTTP.

use std::sync::Arc;

use dataflows::time::{HOUR_MS, MINUTE_MS};
use serde_json::Value;
use tidings::alerts::api::{Api, View, read, router};
use tidings::alerts::command::{AlertsCommand, Context};
use tidings::alerts::record::{Alert, State};
use tidings::alerts::trial::Trial;
use tidings::discord::command::{Place, Remote};

use crate::alert_desk::*;

const RULES: &str = "[[alert]]\nname='fire'\nkind='keyword'\nany=['fire']\nitems_min=3\nwindow_min=5\nhold_min=1\ncooldown_min=30\n\
                     [[alert]]\nname='rare'\nkind='keyword'\nany=['comet']\nitems_min=5\n\
                     [[alert]]\nname='mood'\nkind='mood_drop'\n\
                     [[alert]]\nname='spread'\nkind='story_spread'\nplatforms_min=3\n\
                     [[alert]]\nname='sources'\nkind='source_silent'";

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

fn context(desk: &Desk, place: Place) -> Context {
    Context { settings: desk.settings.clone(), rules: desk.rules.clone(), routes: desk.routes.clone(), place }
}

/// Two fires, of which the second is in the cooldown; three comets of five.
fn lively() -> Desk {
    let desk = Desk::new(RULES);
    let log = desk.log.as_ref();
    tick(log, START);
    let mut engine = desk.engine();
    for n in 0..3 {
        write(log, &item("hn", n, "fire", START + MINUTE_MS));
        write(log, &item("hn", 10 + n, "a comet", START + 2 * MINUTE_MS));
        write(log, &item("rss", 20 + n, "fire", START + 20 * MINUTE_MS));
    }
    desk.pass(&mut engine, START, START + HOUR_MS);
    desk
}

fn serve(desk: &Desk, runtime: &tokio::runtime::Runtime) -> String {
    let view: View = read(desk.log.as_ref()).expect("reads");
    let api = Api {
        view: Arc::new(parking_lot::RwLock::new(view)),
        log: desk.log.clone(),
        settings: desk.settings.clone(),
        rules: Arc::new(desk.rules.clone()),
        routes: Arc::new(desk.routes.clone()),
        samples: Arc::clone(&desk.samples),
        stop: Arc::clone(&desk.stop),
    };
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    runtime.spawn(async move { axum::serve(listener, router(api)).await });
    base
}

#[test]
fn alerts_are_listed_the_same_both_ways() {
    let desk = lively();
    let runtime = runtime();
    let base = serve(&desk, &runtime);
    let places = [Place::Log(desk.log.clone()), Place::Process(Remote { base: base.clone(), token: None })];
    let texts = places.map(|place| {
        let run = |state, rule: Option<&str>, json| {
            let command = AlertsCommand::List { state, rule: rule.map(str::to_string), json };
            runtime.block_on(command.run(context(&desk, place.clone()))).expect("lists").text
        };
        let lines = run(None, None, true);
        let alerts: Vec<Alert> =
            lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(alerts.len(), 2);
        assert!(alerts[0].since > alerts[1].since, "the newest first");
        assert_eq!(run(Some(State::Firing), None, true), "");
        assert_eq!(run(None, Some("rare"), false), "there were no alerts\n");
        run(Some(State::Resolved), Some("fire"), false)
    });
    assert_eq!(texts[0], texts[1]);
    assert!(
        texts[0].contains("3 new items within 5 minutes") && texts[0].contains("not posted: cooldown"),
        "{}",
        texts[0]
    );
}

#[test]
fn a_trial_tells_what_fired_and_why_the_rest_did_not() {
    let desk = lively();
    let runtime = runtime();
    let base = serve(&desk, &runtime);
    let trial = |rule: &str| desk.trial(rule);
    let fire = trial("fire");
    let states: Vec<(String, Option<&str>)> = fire
        .fired
        .iter()
        .map(|alert| (alert.subject.clone(), alert.suppressed.map(|why| why.name())))
        .collect();
    assert_eq!(states, [("fire".to_string(), None), ("fire".to_string(), Some("cooldown"))]);
    let recorded: Vec<(String, Value)> =
        desk.alerts().iter().map(|a| (a.key.clone(), a.since.to_string().into())).collect();
    let tried: Vec<(String, Value)> =
        fire.fired.iter().map(|a| (a.key.clone(), a.since.to_string().into())).collect();
    assert_eq!(tried, recorded, "a trial finds what the engine found");
    let why_not = |trial: &Trial| trial.misses.iter().map(|miss| miss.why_not.clone()).collect::<Vec<_>>();
    assert_eq!(why_not(&trial("rare")), ["3 of 5 items within 1 hour"]);
    assert!(why_not(&trial("mood"))[0].contains("20 are needed in both"), "{:?}", trial("mood"));
    assert_eq!(trial("spread").misses, []);
    // Samples that the process took are part of it.
    assert!(trial("sources").notes[0].contains("is known since"), "{:?}", trial("sources"));
    // The command, both ways, and a name that is nearly one.
    let place = |remote: bool| match remote {
        false => Place::Log(desk.log.clone()),
        true => Place::Process(Remote { base: base.clone(), token: None }),
    };
    let run = |rule: &str, remote: bool| {
        let command = AlertsCommand::Test { rule: rule.to_string(), json: false };
        runtime.block_on(command.run(context(&desk, place(remote))))
    };
    for remote in [false, true] {
        let text = run("fire", remote).expect("tries").text;
        assert!(text.contains("not posted: cooldown") && text.contains("over at"), "{text}");
        let text = run("rare", remote).expect("tries").text;
        assert!(text.contains("it would not have fired") && text.contains("3 of 5 items"), "{text}");
        let why = run("fier", remote).expect_err("no such rule").to_string();
        assert_eq!(
            why,
            "there is no alert \"fier\"; did you mean \"fire\"?; there are: fire, rare, mood, spread, sources"
        );
    }
}

#[test]
fn pages_are_one_list_and_mistakes_are_problems() {
    let desk = Desk::new(
        "[[alert]]\nname='each'\nkind='keyword'\nany=['fire']\nwindow_min=1\nhold_min=0\ncooldown_min=0",
    );
    let log = desk.log.as_ref();
    tick(log, START);
    let mut engine = desk.engine();
    for n in 0..7 {
        write(log, &item("hn", n, "fire", START + n as i64 * 5 * MINUTE_MS + 1));
    }
    desk.pass(&mut engine, START, START + HOUR_MS);
    let runtime = runtime();
    let base = serve(&desk, &runtime);
    let ask = |query: &str| -> (u16, Value) {
        runtime.block_on(async {
            let answer = reqwest::get(format!("{base}{query}")).await.expect("answers");
            (answer.status().as_u16(), answer.json().await.expect("JSON"))
        })
    };
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, page) = ask(&format!("/v1/alerts?limit=3{cursor}"));
        assert_eq!(status, 200);
        seen.extend(page["items"].as_array().expect("items").iter().map(|a| a["key"].clone()));
        let Some(next) = page["cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let mut keys: Vec<Value> = desk.alerts().iter().map(|alert| alert.key.clone().into()).collect();
    keys.reverse();
    assert_eq!((seen.len(), seen), (7, keys));
    let (_, page) = ask(&format!("/v1/alerts?state=resolved&rule=each&since={}", START + 20 * MINUTE_MS));
    assert_eq!(page["items"].as_array().map(Vec::len), Some(3));
    for wrong in ["limit=0", "limit=501", "since=soon", "cursor=x", "state=over", "stat=firing"] {
        let (status, problem) = ask(&format!("/v1/alerts?{wrong}"));
        assert_eq!((status, problem["status"].as_u64()), (400, Some(400)), "{wrong}: {problem}");
    }
    assert_eq!(ask("/v1/alerts/test?rule=nope").0, 404);
    assert_eq!(ask("/v1/alerts/test").0, 400);
    let (status, trial) = ask("/v1/alerts/test?rule=each");
    assert_eq!((status, trial["fired"].as_array().map(Vec::len)), (200, Some(7)));
}
