//! The Kafka broker that tests need.

/// Its address, from KAFKA_BOOTSTRAP_SERVERS. Without one the test fails.
#[expect(clippy::disallowed_methods, reason = "the broker under test is named by the environment")]
pub fn bootstrap_servers() -> String {
    match std::env::var("KAFKA_BOOTSTRAP_SERVERS") {
        Ok(servers) if !servers.is_empty() => servers,
        _ => panic!(
            "this test needs a Kafka broker: run `scripts/kafka.sh up` and set KAFKA_BOOTSTRAP_SERVERS to the address \
             it prints"
        ),
    }
}
