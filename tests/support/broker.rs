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

/// Removes the records of a partition before the offset, as an administrator would.
pub fn delete_records(servers: &str, topic: &str, partition: i32, before: i64) {
    use rdkafka::admin::{AdminClient, AdminOptions};
    use rdkafka::client::DefaultClientContext;
    use rdkafka::{ClientConfig, Offset, TopicPartitionList};

    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", servers).create().expect("a client");
    let mut until = TopicPartitionList::new();
    until.add_partition_offset(topic, partition, Offset::Offset(before)).expect("an offset");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let deleted = runtime.block_on(admin.delete_records(&until, &AdminOptions::new())).expect("an answer");
    for element in deleted.elements() {
        element.error().expect("deleted");
    }
}
