//! What only a broker can show: transactions of others that abort or stay open.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tidings::log::{LogError, Password};

use crate::harness::*;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A transaction of another client with records that have reached the broker.
fn begun(deployment: &Deployment, id: &str, value: &str) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &deployment.settings.kafka.bootstrap_servers)
        .set("transactional.id", format!("{}{id}", deployment.settings.topic_prefix))
        .create()
        .expect("a producer");
    producer.init_transactions(TIMEOUT).expect("initialised");
    producer.begin_transaction().expect("begun");
    let topic = format!("{}{PLAIN}", deployment.settings.topic_prefix);
    for n in 0..10 {
        let value = format!("{value}-{n}");
        producer.send(BaseRecord::to(&topic).partition(0).key("a").payload(&value)).expect("sent");
    }
    // Without this an abort would throw them away before any broker sees them.
    producer.flush(TIMEOUT).expect("acknowledged");
    producer
}

#[test]
fn aborted_and_open_records_are_unseen() {
    let deployment = Deployment::kafka();
    let log = deployment.start();
    log.append(vec![on(0, record(PLAIN, "a", "before"))]).expect("appended");
    let aborted = begun(&deployment, "aborted", "aborted");
    aborted.abort_transaction(TIMEOUT).expect("aborted");
    let mut committer = log.committer("c-0").expect("opened");
    committer.commit(&transaction("g", vec![on(0, record(PLAIN, "a", "between"))], &[])).expect("committed");
    assert_eq!(sorted_values(&read_settled(&*log, PLAIN, 2)), ["before", "between"]);

    let open = begun(&deployment, "open", "open");
    let end = ends(&*log, PLAIN)[&at(PLAIN, 0)];
    log.append(vec![on(0, record(PLAIN, "a", "after"))]).expect("appended");
    // Nothing past an open transaction is committed, for a reader nor for the end.
    assert_eq!(ends(&*log, PLAIN)[&at(PLAIN, 0)], end);
    assert_eq!(sorted_values(&read_all(&*log, PLAIN)), ["before", "between"]);
    let mut reader = log.reader(&beginning(PLAIN)).expect("opened");
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.extend(reader.poll(Duration::from_millis(100), 1 << 20).expect("read"));
    }
    assert_eq!(sorted_values(&seen), ["before", "between"]);

    open.commit_transaction(TIMEOUT).expect("committed");
    read_settled(&*log, PLAIN, 13);
    seen.extend(read_until(&mut *reader, &ends(&*log, PLAIN)));
    assert_eq!(seen.len(), 13);
    assert_eq!(seen.last().and_then(|r| r.value.clone()).as_deref(), Some(&b"after"[..]));
}

#[test]
fn a_new_committer_ends_the_transaction_its_predecessor_left_open() {
    let deployment = Deployment::kafka();
    let log = deployment.start();
    let left_open = begun(&deployment, "c-0", "left");
    drop(log.committer("c-0").expect("opened"));
    assert_eq!(read_all(&*log, PLAIN), []);
    log.append(vec![on(0, record(PLAIN, "a", "after"))]).expect("appended");
    assert_eq!(sorted_values(&read_all(&*log, PLAIN)), ["after"]);
    assert!(left_open.commit_transaction(TIMEOUT).is_err());
    assert_eq!(sorted_values(&read_all(&*log, PLAIN)), ["after"]);
}

#[test]
fn properties_pass_through_unless_they_break_exactness() {
    let allowed = Deployment::kafka().with(|s| {
        s.kafka.properties = [("socket.keepalive.enable".to_string(), Password::new("true"))].into();
    });
    allowed.start().append(vec![record(PLAIN, "a", "1")]).expect("appended");
    for (name, value) in [("isolation.level", "read_uncommitted"), ("no.such.property", "1")] {
        let refused =
            allowed.with(|s| s.kafka.properties = [(name.to_string(), Password::new(value))].into());
        let error = tidings::log::open(&refused.settings, &refused.folder()).map(drop);
        assert!(matches!(&error, Err(LogError::Misconfigured(text)) if text.contains(name)), "{error:?}");
    }
}

#[test]
fn brokers_that_do_not_answer_are_worth_a_retry() {
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let deployment = Deployment::kafka().with(|s| {
        s.kafka.bootstrap_servers = free.to_string();
        s.kafka.request_timeout_ms = 500;
    });
    let log = deployment.open();
    assert!(matches!(log.topics(), Err(LogError::Retry(_))));
    assert!(matches!(log.append(vec![record(PLAIN, "a", "1")]), Err(LogError::Retry(_))));
    assert!(matches!(log.committer("c-0").map(drop), Err(LogError::Retry(_))));
}

#[test]
fn a_record_that_only_the_broker_refuses_changes_nothing() {
    let deployment = Deployment::kafka();
    // The topic was created for smaller records than the settings allow now.
    drop(deployment.with(|s| s.record_bytes_max = 10_000).start());
    let log = deployment.open();
    let noise = noise(200_000);
    let records = || vec![on(0, record(PLAIN, "a", "beside")), on(1, record(PLAIN, "a", &noise))];
    let started = Instant::now();
    let mut committer = log.committer("c-0").expect("opened");
    let error = committer.commit(&transaction("g", records(), &[(at(PLAIN, 0), 1)]));
    assert!(matches!(error, Err(LogError::Rejected(_))), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(5), "the failed transaction was not ended at once");
    assert!(matches!(log.append(vec![on(1, record(PLAIN, "a", &noise))]), Err(LogError::Rejected(_))));

    // It holds back nobody.
    let mut committer = log.committer("c-0").expect("opened");
    committer.commit(&transaction("g", vec![on(0, record(PLAIN, "a", "next"))], &[])).expect("committed");
    assert_eq!(sorted_values(&read_settled(&*log, PLAIN, 1)), ["next"]);
    assert!(log.committed("g").expect("positions").is_empty());
}
