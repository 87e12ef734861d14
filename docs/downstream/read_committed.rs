//! Reads a topic of Tidings: committed records only, one `key value` line each.
//!
//!     cargo run --example read_committed -- tidings.results.volume
//!
//! A value of `None` is a tombstone: the key has left the topic.

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;

#[expect(clippy::disallowed_methods, reason = "an example stands alone")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let topic = std::env::args().nth(1).ok_or("which topic?")?;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", std::env::var("KAFKA_BOOTSTRAP_SERVERS")?)
        .set("group.id", format!("example.{}", std::process::id()))
        // Without it aborted results are read too.
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest")
        .create()?;
    consumer.subscribe(&[&topic])?;
    for message in consumer.iter() {
        let message = message?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let value = message.payload().map_or("(tombstone)".into(), text);
        println!("{} {value}", text(message.key().unwrap_or_default()));
    }
    Ok(())
}
