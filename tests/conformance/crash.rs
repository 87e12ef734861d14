//! A process that is killed while it commits.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rand::Rng;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use crate::harness::*;

/// Names the deployment that the child commits to.
const CHILD: &str = "TIDINGS_CONFORMANCE_CHILD";
const GROUP: &str = "g";
const COMMITTER: &str = "c-0";

#[derive(Serialize, Deserialize)]
struct Orders {
    folder: std::path::PathBuf,
    bootstrap_servers: String,
    topic_prefix: String,
}

/// Transaction n has this many records on each of the two topics.
fn size(n: u64) -> u64 {
    n * 7919 % 40 + 1
}

pub fn a_killed_process_leaves_whole_transactions_only(deployment: &Deployment) {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    drop(deployment.start());
    let mut committed_before = 0;
    let rounds = 6;
    for round in 0..rounds {
        let mut child = start_child(deployment);
        // At least one more transaction is in before the kill, at any time after it.
        wait_for_progress(&mut child);
        std::thread::sleep(Duration::from_micros(random.random_range(0..200_000)));
        child.kill().expect("killed");
        child.wait().expect("gone");

        let log = deployment.open();
        // As at every start: whatever was open is fenced before anything is read.
        drop(log.committer(COMMITTER).expect("opened"));
        let committed = log.committed(GROUP).expect("positions").get(&at(OTHER, 0)).copied().unwrap_or(0);
        assert!(committed > committed_before, "round {round}: {committed} after {committed_before}");
        for topic in [PLAIN, COMPACT] {
            let mut seen = vec![0; committed as usize + 1];
            for record in read_all(&*log, topic) {
                let value = String::from_utf8(record.value.expect("a value")).expect("text");
                let n: u64 = value.parse().expect("a number");
                assert!(n < committed, "transaction {n} is visible and only {committed} are committed");
                seen[n as usize] += 1;
            }
            for n in 0..committed {
                assert_eq!(seen[n as usize], size(n), "records of transaction {n} on {topic}");
            }
        }
        committed_before = committed;
    }
}

fn start_child(deployment: &Deployment) -> Child {
    let orders = Orders {
        folder: deployment.folder(),
        bootstrap_servers: deployment.settings.kafka.bootstrap_servers.clone(),
        topic_prefix: deployment.settings.topic_prefix.clone(),
    };
    Command::new(std::env::current_exe().expect("this test"))
        .args([
            "--exact",
            "crash::the_child_that_commits_until_it_is_killed",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD, serde_json::to_string(&orders).expect("plain data"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("this test starts")
}

fn wait_for_progress(child: &mut Child) {
    use std::io::BufRead;
    let output = child.stdout.take().expect("piped");
    let progress =
        std::io::BufReader::new(output).lines().any(|line| line.is_ok_and(|l| l.contains("committing")));
    assert!(progress, "the child ended before its first commit");
}

/// The other process of the test above; without its orders there is nothing to do.
#[test]
#[expect(clippy::disallowed_methods, reason = "the orders come from the test that started this process")]
fn the_child_that_commits_until_it_is_killed() {
    let Ok(orders) = std::env::var(CHILD) else { return };
    let orders: Orders = serde_json::from_str(&orders).expect("orders");
    let mut settings = shipped();
    settings.kafka.bootstrap_servers = orders.bootstrap_servers;
    settings.topic_prefix = orders.topic_prefix;
    let log = tidings::log::open(&settings, &orders.folder).expect("the log opens");
    let mut committer = log.committer(COMMITTER).expect("opened");
    let mut next = log.committed(GROUP).expect("positions").get(&at(OTHER, 0)).copied().unwrap_or(0);
    let first = next;
    loop {
        let records = (0..size(next)).flat_map(|index| {
            let value = next.to_string();
            let key = format!("{next}-{index}");
            [record(PLAIN, &key, &value), record(COMPACT, &key, &value)]
        });
        let records = records.collect();
        next += 1;
        committer.commit(&transaction(GROUP, records, &[(at(OTHER, 0), next)])).expect("committed");
        if next == first + 1 {
            println!("committing");
        }
    }
}
