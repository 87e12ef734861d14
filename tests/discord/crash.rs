//! A deliverer that is killed at any moment, against a Discord that loses replies:
//! never two posts of one key, and every key accounted for.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tidings::discord::message::footer;
use tidings::discord::outbox::{State, Work};

use crate::rig::*;
use crate::server::Conduct;

/// Names what the child delivers.
const CHILD: &str = "TIDINGS_DISCORD_TEST_CHILD";
const ROUNDS: usize = 14;
const KEYS_PER_ROUND: usize = 4;

#[derive(Serialize, Deserialize)]
struct Orders {
    folder: PathBuf,
    base: String,
    webhook: String,
    bot: bool,
}

/// Does nothing unless a test below started it.
#[test]
fn the_child_that_delivers_until_it_is_killed() {
    #[allow(clippy::disallowed_methods)]
    let Ok(orders) = std::env::var(CHILD) else { return };
    let orders: Orders = serde_json::from_str(&orders).expect("orders");
    let access = tidings::discord::Access {
        webhook: Some(tidings::config::Secret::new(orders.webhook)),
        bot_token: orders.bot.then(|| tidings::config::Secret::new(crate::server::BOT_TOKEN)),
        publishing: true,
        ..Default::default()
    };
    let log = open_log(&orders.folder);
    let settings = child_settings(&orders.base);
    let mut deliverer = tidings::discord::deliver::Deliverer::open(
        log.as_ref(),
        settings,
        &access,
        routes(ROUTES),
        Default::default(),
    )
    .expect("opens");
    deliverer.run(&AtomicBool::new(false)).expect("delivers");
}

fn child_settings(base: &str) -> tidings::discord::Settings {
    // The hidden limit and bounded attempts have tests of their own.
    tidings::discord::Settings {
        channel_requests_per_minute_max: 10_000,
        invalid_requests_max: 100_000,
        attempts_max: 1_000,
        // Longer than a request of a killed child may still be on its way.
        settle_after_s: 1,
        ..settings(base)
    }
}

fn start_child(rig: &Rig, bot: bool) -> Child {
    let orders = Orders {
        folder: rig.folder.path().to_path_buf(),
        base: rig.server.base(),
        webhook: rig.server.webhook_url(),
        bot,
    };
    Command::new(std::env::current_exe().expect("this test"))
        .args([
            "--exact",
            "crash::the_child_that_delivers_until_it_is_killed",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD, serde_json::to_string(&orders).expect("plain data"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the child starts")
}

fn kill_while_delivering(bot: bool) {
    let seed: u64 = rand::random();
    println!("seed of the kills {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut rig = Rig::new(Conduct { one_in_fails: 3, ..Conduct::default() }, bot);
    rig.settings = child_settings(&rig.server.base());
    // The child needs the folder to itself.
    let idle = tempfile::tempdir().expect("a folder");
    let idle = (open_log(idle.path()), idle);
    rig.log = idle.0.clone();
    let mut keys = Vec::new();
    for round in 0..ROUNDS {
        let log = open_log(rig.folder.path());
        for n in 0..KEYS_PER_ROUND {
            let key = format!("key~{round}~{n}");
            put(log.as_ref(), outgoing(&key, if n % 2 == 0 || !bot { "hook" } else { "bot" }, 1));
            keys.push(key);
        }
        drop(log);
        let requests = rig.server.requests("post") + rig.server.requests("create");
        let mut child = start_child(&rig, bot);
        // It delivers at least one more before it is killed, at any time after that.
        let start = Instant::now();
        while rig.server.requests("post") + rig.server.requests("create") == requests {
            assert!(start.elapsed() < PATIENCE, "the child delivers nothing");
            assert!(child.try_wait().expect("a state").is_none(), "the child died by itself");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(random.random_range(0..60_000)));
        child.kill().expect("killed");
        child.wait().expect("gone");
    }
    rig.server.inner.lock().conduct.one_in_fails = 0;
    rig.log = open_log(rig.folder.path());
    let mut deliverer = rig.deliverer();
    rig.until_true(&mut deliverer, "settled", |d| {
        d.outbox().entries().all(|e| e.work() == Work::Nothing || (!bot && e.sent.state == State::Uncertain))
    });
    let posted = rig.server.posts_by_footer();
    let mut uncertain = 0;
    for key in &keys {
        let count = posted.get(&footer(key)).copied().unwrap_or(0);
        let sent = &deliverer.outbox().get(key).expect("no key is lost").sent;
        assert!(count <= 1, "{key} was posted {count} times; {sent:?}");
        match sent.state {
            State::Sent => {
                let messages = rig.server.messages();
                let message =
                    messages.iter().find(|m| m.footer() == Some(footer(key))).expect("sent, so there");
                assert_eq!(sent.message_id, Some(message.id.to_string()), "{key}");
            }
            State::Uncertain if !bot => uncertain += 1,
            other => panic!("{key} ended {other}: {sent:?}"),
        }
    }
    println!("{} keys, {} posted, {uncertain} uncertain", keys.len(), posted.len());
    rig.server.assert_no_violations();
}

#[test]
fn killed_with_webhooks_only() {
    kill_while_delivering(false);
}

#[test]
fn killed_with_a_bot_token_everything_is_settled() {
    kill_while_delivering(true);
}
