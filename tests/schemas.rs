//! The JSON Schemas that consumers outside read are those of our types.
//!
//! After a type has changed: `UPDATE_SCHEMAS=1 cargo test --test schemas` writes them
//! anew; a change that is not an addition needs a new version of the record.

use std::collections::BTreeMap;
use std::path::PathBuf;

use dataflows::event::{ContentEvent, Enriched};
use schemars::schema_for;
use tidings::discord::digest::Digest;
use tidings::discord::outbox::{OutboxRecord, SentRecord};
use tidings::log::cluster::{Heartbeat, Highest};
use tidings::log::command::{RecordLine, TopicLine};

/// File name (the topic, where it is one) and schema.
fn schemas() -> BTreeMap<&'static str, schemars::Schema> {
    [
        ("content.events", schema_for!(ContentEvent)),
        ("content.enriched", schema_for!(Enriched)),
        ("content.vectors", schema_for!(dataflows::embed::Embedded)),
        ("dead-letters", schema_for!(tidings::dead_letters::Answer)),
        ("search", schema_for!(tidings::memory::search::Answer)),
        ("results.stories", schema_for!(dataflows::stories::Story)),
        ("stories", schema_for!(tidings::stories::api::Answer)),
        ("results.volume", schema_for!(dataflows::volume::VolumeCell)),
        ("results.trends", schema_for!(dataflows::trends::Trend)),
        ("trends", schema_for!(tidings::trends::api::Answer)),
        ("dead.letters", schema_for!(dataflows::faults::DeadLetter)),
        ("control.cluster.heartbeat", schema_for!(Heartbeat)),
        ("control.cluster.committers", schema_for!(Highest)),
        ("alerts", schema_for!(tidings::alerts::record::Alert)),
        ("alerts.list", schema_for!(tidings::alerts::api::AlertsPage)),
        ("alerts.test", schema_for!(tidings::alerts::trial::Trial)),
        ("digests", schema_for!(Digest)),
        ("discord.outbox", schema_for!(OutboxRecord)),
        ("discord.sent", schema_for!(SentRecord)),
        ("sources.list", schema_for!(tidings::poll::SourceStatus)),
        ("topics.list", schema_for!(TopicLine)),
        ("topics.tail", schema_for!(RecordLine)),
    ]
    .into()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

fn files() -> BTreeMap<String, String> {
    let file = |(name, schema): (&str, schemars::Schema)| {
        let text = serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n";
        (format!("{name}.json"), text)
    };
    schemas().into_iter().map(file).collect()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "who changed a type asks for new files this way")]
fn schemas_in_the_repository_are_those_of_the_types() {
    let update = std::env::var("UPDATE_SCHEMAS").is_ok_and(|value| value == "1");
    if update {
        std::fs::create_dir_all(folder()).expect("the folder");
        for (name, text) in files() {
            std::fs::write(folder().join(name), text).expect("written");
        }
    }
    let kept: BTreeMap<String, String> = std::fs::read_dir(folder())
        .expect("schemas/ exists")
        .map(|entry| entry.expect("readable").path())
        .map(|path| {
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).expect("readable"))
        })
        .collect();
    let made = files();
    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&kept), names(&made), "run UPDATE_SCHEMAS=1 cargo test --test schemas");
    for (name, text) in made {
        assert!(
            kept[&name] == text,
            "schemas/{name} is out of date: UPDATE_SCHEMAS=1 cargo test --test schemas"
        );
    }
}
