//! Limits of rate: those of the headers, the hidden one, the global one, the guard.

use std::time::{Duration, Instant};

use serde_json::json;
use tidings::discord::outbox::State;
use tidings::discord::wall_clock_ms;

use crate::rig::*;
use crate::server::{Conduct, Fault};

#[test]
fn the_limits_of_the_headers_are_kept_without_running_into_them() {
    let rig = Rig::new(Conduct { per_two_seconds: 5, ..Conduct::default() }, false);
    for n in 0..11 {
        put(rig.log.as_ref(), outgoing(&format!("k{n}"), "hook", 1));
    }
    let mut deliverer = rig.deliverer();
    for n in 0..11 {
        rig.until(&mut deliverer, &format!("k{n}"), State::Sent);
    }
    assert_eq!(rig.server.inner.lock().limited, 0, "a 429 that the headers had announced");
    assert_eq!(rig.server.messages().len(), 11);
}

#[test]
fn the_hidden_limit_of_a_channel_is_never_met() {
    let rig = Rig::new(Conduct { hidden_per_minute: 30, ..Conduct::default() }, false);
    for n in 0..40 {
        put(rig.log.as_ref(), outgoing(&format!("k{n:02}"), "hook", 1));
    }
    let mut deliverer = rig.deliverer();
    rig.until_true(&mut deliverer, "25 posted", |d| d.outbox().depth().0[&State::Sent] >= 25);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        deliverer.step(Duration::from_millis(100)).expect("delivers");
    }
    assert_eq!(rig.server.messages().len(), 25);
    assert_eq!(rig.server.inner.lock().limited, 0);
    let report = rig.health.report(wall_clock_ms());
    assert!(report.ratelimit_wait_s > 0.0, "{report:?}");
}

#[test]
fn a_429_is_waited_out_and_posted_once() {
    let rig = Rig::new(Conduct::default(), true);
    rig.server.fail("post", Fault::Limited { ms: 700, global: false });
    rig.server.fail("create", Fault::Limited { ms: 700, global: true });
    put(rig.log.as_ref(), outgoing("a", "hook", 1));
    put(rig.log.as_ref(), outgoing("b", "bot", 1));
    let mut deliverer = rig.deliverer();
    rig.until(&mut deliverer, "a", State::Sent);
    rig.until(&mut deliverer, "b", State::Sent);
    assert_eq!(rig.server.inner.lock().limited, 2, "asked again before the time was over");
    assert!(rig.server.posts_by_footer().values().all(|n| *n == 1));
}

#[test]
fn the_guard_stops_asking_long_before_discord_bans() {
    let mut rig = Rig::new(Conduct::default(), true);
    rig.settings.invalid_requests_max = 3;
    rig.settings.attempts_max = 50;
    for _ in 0..20 {
        rig.server
            .fail("create", Fault::Status(403, json!({"message": "Missing Permissions", "code": 50013})));
    }
    put(rig.log.as_ref(), outgoing("a", "bot", 1));
    put(rig.log.as_ref(), outgoing("b", "hook", 1));
    let mut deliverer = rig.deliverer();
    rig.until_true(&mut deliverer, "guarded", |_| {
        rig.health.report(wall_clock_ms()).reasons.iter().any(|r| r.reason == "guard")
    });
    for _ in 0..20 {
        deliverer.step(Duration::from_millis(10)).expect("delivers");
    }
    assert_eq!(rig.server.requests("create"), 3);
    assert_eq!(rig.state(&deliverer, "a"), State::Pending);
}

#[test]
fn a_limited_route_does_not_hold_up_another() {
    let rig = Rig::new(Conduct::default(), true);
    rig.server.fail("post", Fault::Limited { ms: 30_000, global: false });
    put(rig.log.as_ref(), outgoing("a", "hook", 1));
    put(rig.log.as_ref(), outgoing("b", "bot", 1));
    let mut deliverer = rig.deliverer();
    let start = Instant::now();
    rig.until(&mut deliverer, "b", State::Sent);
    assert!(start.elapsed() < Duration::from_secs(15));
    assert_eq!(rig.state(&deliverer, "a"), State::Pending);
}

#[test]
fn no_connection_is_no_reason_to_be_uncertain() {
    let mut rig = Rig::new(Conduct::default(), true);
    // A port that nobody listens on.
    let unused =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let reachable = rig.settings.api_base.clone();
    rig.settings.api_base = format!("http://{unused}/api/v10");
    put(rig.log.as_ref(), outgoing("a", "bot", 1));
    let mut deliverer = rig.deliverer();
    for _ in 0..10 {
        deliverer.step(Duration::from_millis(10)).expect("delivers");
    }
    assert_eq!(rig.state(&deliverer, "a"), State::Pending);
    drop(deliverer);
    rig.settings.api_base = reachable;
    let mut deliverer = rig.deliverer();
    rig.until(&mut deliverer, "a", State::Sent);
    assert_eq!(rig.server.messages().len(), 1);
}
