//! Deaths of the worker, of the supervisor, of both; signals; exit codes.

use rustix::process::Signal;
use tidings::ops::data_dir::{DataDir, Opened};

use super::process::{Running, get, is_alive, output, send, text, tidings, until};

#[test]
fn a_killed_worker_is_started_again_and_counted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let running = Running::start(folder.path(), &["--set", "supervise.restart_delay_min_ms=20"]);
    let mut worker = running.worker();
    for restarts in 1..=2 {
        send(worker, Signal::KILL);
        worker = running.worker_after(worker);
        let metrics = get(&running.address().expect("serves"), "/metrics", "");
        let expected = format!("tidings_supervisor_restarts {restarts}\n");
        assert!(metrics.contains(&expected), "missing {expected} in {metrics}");
    }
    running.signal(Signal::TERM);
    let (code, log) = running.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(!is_alive(worker), "the worker outlived its supervisor");
}

#[test]
fn a_killed_supervisor_takes_the_worker_with_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let running = Running::start(folder.path(), &[]);
    let worker = running.worker();
    running.signal(Signal::KILL);
    let (code, _) = running.end();
    assert_eq!(code, None, "killed");
    until("the worker's end", || (!is_alive(worker)).then_some(()));
    let opened = DataDir::open(&folder.path().join("data")).expect("opens");
    assert!(matches!(opened, Opened::Held(_)), "the folder is free again");
}

#[test]
fn both_signals_end_it_cleanly_with_and_without_a_supervisor() {
    for arguments in [&["--no-supervise"][..], &[]] {
        for signal in [Signal::TERM, Signal::INT] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let running = Running::start(folder.path(), arguments);
            let worker = running.worker();
            running.signal(signal);
            let (code, log) = running.end();
            assert_eq!(code, Some(0), "{signal:?}: {log}");
            assert!(log.contains("stopped"), "{signal:?}: {log}");
            assert!(!is_alive(worker));
            assert!(!folder.path().join("data/address").exists(), "nothing says that it serves");
        }
    }
}

#[test]
fn a_worker_that_does_not_stop_is_killed_after_the_grace_period() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let running = Running::start(folder.path(), &["--set", "supervise.grace_s=1"]);
    let worker = running.worker();
    send(worker, Signal::STOP);
    running.signal(Signal::TERM);
    let (code, log) = running.end();
    assert_eq!(code, Some(9), "{log}");
    assert!(!is_alive(worker));
}

#[test]
fn a_second_signal_does_not_wait_for_the_grace_period() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let running = Running::start(folder.path(), &["--set", "supervise.grace_s=3600"]);
    let worker = running.worker();
    send(worker, Signal::STOP);
    running.signal(Signal::INT);
    // Pending signals of one kind merge: the second must be of the other.
    running.signal(Signal::TERM);
    let (code, log) = running.end();
    assert_eq!(code, Some(9), "{log}");
}

#[test]
fn a_signal_ends_the_wait_for_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut running = Running::start(
        folder.path(),
        &[
            "--set",
            "supervise.restart_delay_min_ms=3600000",
            "--set",
            "supervise.restart_delay_max_ms=3600000",
        ],
    );
    send(running.worker(), Signal::KILL);
    until("it says so", || running.logged().contains("starting it again").then_some(()));
    running.signal(Signal::TERM);
    let status = until("the end", || running.process.try_wait().expect("waits"));
    assert_eq!(status.code(), Some(0));
}

#[test]
fn what_a_restart_cannot_mend_ends_with_its_code() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let running = Running::start(folder.path(), &[]);
    running.worker();
    let address = running.address().expect("serves");

    let same_folder = output(tidings(folder.path()).args(["run", "--listen", "127.0.0.1:0"]));
    assert_eq!(same_folder.status.code(), Some(5), "{}", text(&same_folder));
    assert!(text(&same_folder).contains(&address), "it says who has it: {}", text(&same_folder));

    let other = tempfile::tempdir().expect("a temporary folder");
    let same_address = output(tidings(other.path()).args(["run", "--listen", &address]));
    assert_eq!(same_address.status.code(), Some(7), "{}", text(&same_address));

    let wrong = output(tidings(other.path()).args(["run", "--set", "http.drain_s=soon"]));
    assert_eq!(wrong.status.code(), Some(2), "{}", text(&wrong));
    assert!(is_alive(running.worker()), "the first one runs on");
}
