//! What only a server can do wrong.

use std::time::Duration;

use dataflows::record::{Positions, TopicPartition, topic};
use tidings::config::Secret;
use tidings::memory::qdrant::Qdrant;
use tidings::memory::{Batch, Memory, MemoryError};

use crate::fixtures::*;
use crate::qdrant_server::{Faults, Server};

fn open(server: &Server, key: Option<&str>) -> Qdrant {
    let url = server.url.parse().expect("an address");
    Qdrant::open(&shipped().memory.qdrant, &url, key.map(Secret::new).as_ref()).expect("the client opens")
}

#[test]
fn the_collection_is_indexed_for_what_filters_ask() {
    let server = Server::start();
    open(&server, None).state().expect("state");
    let indexes: Vec<String> = server.indexes("tidings").into_iter().collect();
    assert_eq!(indexes, ["id", "kind", "lang", "platform", "published_at", "seen_at", "topics"]);
}

#[test]
fn an_unavailable_server_is_asked_again_and_no_more_than_the_limit() {
    let server = Server::start();
    let memory = open(&server, None);
    let attempts = shipped().memory.qdrant.attempts_max;
    server.fail(Faults { unavailable: attempts - 1, ..Faults::default() });
    memory.apply(&batch(whole(item("x:1", "", "cat")))).expect("applied after repetitions");
    // The client itself asks an unavailable server twice.
    server.fail(Faults { unavailable: 1_000, ..Faults::default() });
    assert!(matches!(memory.state(), Err(MemoryError::Retry(_))));
    assert!(server.refused() <= u64::from(attempts - 1 + attempts * 2), "{} calls", server.refused());
    server.fail(Faults::default());
    assert_eq!(memory.state().expect("back again").items, 1);
}

#[test]
fn a_lost_reply_repeats_the_write_without_harm() {
    let server = Server::start();
    let memory = open(&server, None);
    memory.state().expect("state");
    server.fail(Faults { lost_replies: 2, ..Faults::default() });
    memory.apply(&batch(whole(item("x:1", "", "cat")))).expect("applied");
    let state = memory.state().expect("state");
    assert_eq!((state.items, state.chunks[MODEL]), (1, 1));
    // One item, one chunk, and the two points that say what the collection is.
    assert_eq!(server.points("tidings"), 4);
    assert!(server.writes() >= 4, "two writes and two repetitions: {}", server.writes());
}

#[test]
fn a_slow_server_is_a_timeout_that_can_be_retried() {
    let server = Server::start();
    let mut settings = shipped().memory.qdrant;
    settings.request_timeout_ms = 150;
    let memory = Qdrant::open(&settings, &server.url.parse().expect("an address"), None).expect("opens");
    memory.state().expect("state");
    server.fail(Faults { slow_ms: 2_000, ..Faults::default() });
    let started = std::time::Instant::now();
    assert!(matches!(memory.state(), Err(MemoryError::Retry(_))));
    assert!(started.elapsed() < Duration::from_secs(10));
    server.fail(Faults::default());
    memory.state().expect("back again");
}

#[test]
fn nothing_at_the_address_is_unavailable() {
    let url = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        format!("http://{}", listener.local_addr().expect("bound"))
    };
    let memory = Qdrant::open(&shipped().memory.qdrant, &url.parse().expect("an address"), None)
        .expect("the client opens");
    assert!(matches!(memory.state(), Err(MemoryError::Retry(_))));
}

#[test]
fn a_wrong_key_is_said_clearly_and_a_right_one_works() {
    let server = Server::with_key(Some("right"));
    for key in [None, Some("wrong")] {
        match open(&server, key).state() {
            Err(MemoryError::Misconfigured(reason)) => {
                assert!(reason.contains("QDRANT_API_KEY") && !reason.contains("wrong"), "{reason}");
            }
            other => panic!("{key:?}: {other:?}"),
        }
    }
    assert_eq!(open(&server, Some("right")).state().expect("state").items, 0);
}

#[test]
fn vectors_of_another_model_are_refused() {
    let server = Server::start();
    let memory = open(&server, None);
    memory.apply(&batch(whole(item("x:1", "", "cat")))).expect("applied");
    let other = item("x:2", "", "dog");
    let mut embedded = chunk_of(&other, 0, "dog", Words::vector("dog"));
    embedded.model = "another@2".into();
    let change = tidings::memory::Change::Chunk { embedded: Box::new(embedded), seen_at: other.seen_at };
    // Also by a process that opens the collection later.
    for memory in [memory, open(&server, None)] {
        match memory.apply(&batch(vec![change.clone()])) {
            Err(MemoryError::Misconfigured(reason)) => {
                assert!(reason.contains(MODEL) && reason.contains("another@2"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(memory.state().expect("state").chunks[MODEL], 1);
    }
}

#[test]
fn a_collection_of_someone_else_is_refused() {
    use qdrant_client::qdrant::{CreateCollectionBuilder, Distance, VectorParamsBuilder};
    let server = Server::start();
    let client =
        qdrant_client::Qdrant::from_url(&server.url).skip_compatibility_check().build().expect("a client");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let foreign =
        CreateCollectionBuilder::new("tidings").vectors_config(VectorParamsBuilder::new(4, Distance::Dot));
    runtime.block_on(client.create_collection(foreign)).expect("created");
    match open(&server, None).state() {
        Err(MemoryError::Misconfigured(reason)) => assert!(reason.contains("tidings"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

/// The collection is dropped, and made again by somebody who searches, while a writer
/// still believes in the one that it knew.
#[test]
fn a_collection_that_was_replaced_is_not_taken_for_the_one_that_was_filled() {
    let server = Server::start();
    let (writer, searcher) = (open(&server, None), open(&server, None));
    let at = |next| Positions::from([(TopicPartition::new(topic::ENRICHED, 0), next)]);
    let write = |id: &str, after: Positions, positions: Positions| {
        writer.apply(&Batch { changes: whole(item(id, "", "cat")), after, positions, ..Batch::default() })
    };
    write("x:1", Positions::new(), at(10)).expect("applied");
    for _ in 0..2 {
        server.drop_collection("tidings");
        assert_eq!(searcher.state().map(|state| state.items).unwrap_or(0), 0);
        assert_eq!(searcher.state().expect("made again").items, 0);
        let refused = write("x:2", at(10), at(20));
        assert!(matches!(refused, Err(MemoryError::Retry(_))), "{refused:?}");
        assert!(!writer.reflects(&at(10)).expect("asked"), "it must be filled from the beginning");
        assert!(
            matches!(write("x:2", at(10), at(20)), Err(MemoryError::Retry(_))),
            "and not from where it was"
        );
        write("x:1", Positions::new(), at(10)).expect("filled again");
        assert!(writer.reflects(&at(10)).expect("asked"));
    }
    assert_eq!(open(&server, None).state().expect("state").positions, at(10));
}
