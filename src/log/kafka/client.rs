//! How every client of the brokers is configured, and what their errors mean.
//!
//! What the exactness of the log rests on is set here and nowhere else; the
//! settings' own properties may add to it and not change it.

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::log::{LogError, Settings};

/// Properties that would break a promise of the log, or that a knob sets.
const REFUSED: [&str; 33] = [
    "acks",
    "allow.auto.create.topics",
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "bootstrap.servers",
    "compression.codec",
    "compression.type",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.partition.eof",
    "fetch.queue.backoff.ms",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "isolation.level",
    "linger.ms",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.max.bytes",
    "message.send.max.retries",
    "metadata.broker.list",
    "partitioner",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.ms",
    "queued.max.messages.kbytes",
    "queuing.strategy",
    "request.required.acks",
    "retries",
    "transaction.timeout.ms",
    "transactional.id",
];

/// What a request may hold besides one record of the largest size.
const REQUEST_MARGIN_BYTES: usize = 64 * 1024;

/// Bytes fetched of one partition at a time; a larger record still comes whole.
const PARTITION_FETCH_BYTES: usize = 1024 * 1024;

pub(super) fn message_bytes_max(settings: &Settings) -> usize {
    settings.record_bytes_max + REQUEST_MARGIN_BYTES
}

/// Refuses settings that the brokers or the promises of the log do not allow.
pub(super) fn check(settings: &Settings) -> Result<(), LogError> {
    let refused = |name: &&String| {
        let name = name.to_lowercase();
        REFUSED.contains(&name.as_str()) || name.starts_with("test.mock.")
    };
    let names: Vec<_> = settings.kafka.properties.keys().filter(refused).map(String::as_str).collect();
    if !names.is_empty() {
        return Err(LogError::Misconfigured(format!(
            "log.kafka.properties may not set {}: it is set by Tidings, and the exactness of the log or a knob of \
             its own depends on it",
            names.join(", ")
        )));
    }
    if settings.compaction_lag_min_s > settings.compaction_lag_max_s {
        return Err(LogError::Misconfigured(
            "log.compaction_lag_min_s must not exceed log.compaction_lag_max_s".into(),
        ));
    }
    Ok(())
}

/// What clients of every kind have in common.
pub(super) fn base(settings: &Settings) -> ClientConfig {
    let knobs = &settings.kafka;
    let mut config = ClientConfig::new();
    for (name, value) in &knobs.properties {
        config.set(name, value.reveal());
    }
    config
        .set("bootstrap.servers", &knobs.bootstrap_servers)
        .set("allow.auto.create.topics", "false")
        .set("message.max.bytes", message_bytes_max(settings).to_string());
    let optional = [
        ("security.protocol", knobs.security_protocol.as_str()),
        ("sasl.mechanism", &knobs.sasl_mechanism),
        ("sasl.username", &knobs.sasl_username),
        ("sasl.password", knobs.sasl_password.reveal()),
        ("ssl.ca.location", &knobs.ssl_ca_location),
    ];
    for (name, value) in optional.into_iter().filter(|(_, value)| !value.is_empty()) {
        config.set(name, value);
    }
    config
}

pub(super) fn consumer(settings: &Settings, group: &str) -> ClientConfig {
    let knobs = &settings.kafka;
    let mut config = base(settings);
    config
        .set("group.id", format!("{}{group}", settings.topic_prefix))
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        // A position that retention has passed starts at the first record kept.
        .set("auto.offset.reset", "earliest")
        .set("queued.max.messages.kbytes", knobs.receive_buffer_kbytes.to_string())
        .set("fetch.message.max.bytes", PARTITION_FETCH_BYTES.to_string())
        .set("fetch.max.bytes", message_bytes_max(settings).max(8 * PARTITION_FETCH_BYTES).to_string())
        .set("fetch.queue.backoff.ms", knobs.fetch_backoff_ms.to_string())
        .set("fetch.wait.max.ms", "100");
    config
}

pub(super) fn producer(settings: &Settings) -> ClientConfig {
    let knobs = &settings.kafka;
    let mut config = base(settings);
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // We choose the partition; outside producers that copy this get the same.
        .set("partitioner", "murmur2_random")
        .set("compression.type", &knobs.compression)
        .set("linger.ms", knobs.linger_ms.to_string())
        .set("message.timeout.ms", knobs.request_timeout_ms.to_string())
        .set("queue.buffering.max.messages", "1000000")
        .set("queue.buffering.max.kbytes", knobs.send_buffer_kbytes.to_string());
    config
}

/// A producer of transactions: what it holds is one transaction, sent at once.
pub(super) fn transactional(settings: &Settings, id: &str) -> ClientConfig {
    let mut config = producer(settings);
    config
        .set("transactional.id", format!("{}{id}", settings.topic_prefix))
        .set("transaction.timeout.ms", settings.kafka.transaction_timeout_ms.to_string())
        .set("message.timeout.ms", settings.kafka.transaction_timeout_ms.to_string())
        .set("linger.ms", "0")
        // A transaction may be larger than the buffer for appends; it is bounded by
        // the one who commits.
        .set("queue.buffering.max.kbytes", (1u64 << 20).to_string());
    config
}

/// What the caller should do about an error, `attempt` being what was tried.
pub(super) fn classify(attempt: &str, error: &KafkaError) -> LogError {
    let text = format!("{attempt}: {error}");
    if let KafkaError::ClientConfig(_, description, name, value) = error {
        return LogError::Misconfigured(format!(
            "{name} = {value:?} is not a setting of Kafka's client: {description}"
        ));
    }
    let (fatal, requires_abort) = match error {
        KafkaError::Transaction(e) => (e.is_fatal(), e.txn_requires_abort()),
        KafkaError::MessageConsumptionFatal(_) => (true, false),
        _ => (false, false),
    };
    match error.rdkafka_error_code() {
        Some(code) if is_fenced(code) => LogError::Fenced(attempt.to_string()),
        Some(
            Code::MessageSizeTooLarge
            | Code::InvalidMessageSize
            | Code::InvalidRecord
            | Code::InvalidTimestamp,
        ) => LogError::Rejected(text),
        Some(
            Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::UnsupportedVersion
            | Code::UnsupportedFeature
            | Code::InvalidTransactionTimeout
            | Code::InvalidArgument
            | Code::InvalidConfig
            | Code::InvalidReplicationFactor
            | Code::PolicyViolation,
        ) => LogError::Misconfigured(text),
        _ if fatal || requires_abort => LogError::Fatal(text),
        Some(Code::Fatal | Code::State | Code::Inconsistent | Code::GaplessGuarantee) => {
            LogError::Fatal(text)
        }
        _ => LogError::Retry(text),
    }
}

pub(super) fn is_fenced(code: Code) -> bool {
    matches!(
        code,
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::TransactionCoordinatorFenced
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_exactness_is_refused_by_name() {
        let mut settings = crate::log::settings::shipped();
        assert!(check(&settings).is_ok());
        for name in ["isolation.level", "Acks", "group.id", "transactional.id", "test.mock.num.brokers"] {
            settings.kafka.properties = [(name.to_string(), crate::log::Password::new("x"))].into();
            let Err(LogError::Misconfigured(text)) = check(&settings) else { panic!("{name} was allowed") };
            assert!(text.contains(name), "{text}");
        }
        settings.kafka.properties =
            [("socket.keepalive.enable".to_string(), crate::log::Password::new("true"))].into();
        assert!(check(&settings).is_ok());
    }
}
