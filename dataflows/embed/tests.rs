use std::collections::BTreeMap;

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::event::{Change, Content, Engagement, Kind};

const LIMITS: Limits = Limits { chunk_chars_max: 10, chunks_per_item_max: 4 };

fn version(revision: u64, text: Option<&str>) -> Enriched {
    Enriched {
        id: "rss:a#1".into(),
        change: if text.is_some() { Change::Updated } else { Change::Deleted },
        version: Version { revision, enrichment: 0 },
        ingested_at: Millis(5),
        content_hash: String::new(),
        previous: None,
        content: text.map(|text| Content {
            platform: "rss".into(),
            native_id: "a#1".into(),
            kind: Kind::Post,
            published_at: Millis(1),
            author: None,
            channel: None,
            thread_id: None,
            title: None,
            text: Some(text.into()),
            lang: Some("en".into()),
            url: None,
            engagement: Engagement::default(),
            media: Vec::new(),
            reply_to: None,
            sentiment: None,
            topics: vec!["t".into()],
            terms: Vec::new(),
            analyzers: BTreeMap::new(),
        }),
    }
}

fn vectors(plan: &Plan) -> Vec<Vector> {
    plan.chunks.iter().map(|chunk| Vector(vec![f32::from(chunk.hash.0[0])])).collect()
}

#[test]
fn a_shorter_version_leaves_tombstones_and_a_deletion_leaves_only_those() {
    let long = plan(&version(1, Some("aaaaaaaa bbbbbbbb cccccccc")), 3, 0, LIMITS);
    let records = long.records("m", &vectors(&long));
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|r| r.partition == Some(3) && r.value.is_some()));
    let first: Embedded =
        serde_json::from_slice(records[0].value.as_deref().expect("a value")).expect("valid");
    assert_eq!((first.chunk, first.payload.text.as_str()), (0, "aaaaaaaa"));

    let short = plan(&version(2, Some("aaaaaaaa")), 3, 3, LIMITS);
    let keys: Vec<_> = short
        .records("m", &vectors(&short))
        .into_iter()
        .map(|r| (String::from_utf8(r.key).expect("text"), r.value.is_some()))
        .collect();
    assert_eq!(
        keys,
        [("rss:a#1#0".to_string(), true), ("rss:a#1#1".to_string(), false), ("rss:a#1#2".to_string(), false)]
    );
    assert_eq!(parse_chunk_key(b"rss:a#1#2"), Some(("rss:a#1", 2)));

    let deleted = plan(&version(3, None), 3, 1, LIMITS).records("m", &[]);
    assert_eq!(deleted.len(), 1);
    assert_eq!(
        (
            deleted[0].value.as_ref(),
            parse_version(deleted[0].headers.get(VERSION_HEADER).expect("a version"))
        ),
        (None, Some(Version { revision: 3, enrichment: 0 }))
    );
}

#[test]
fn the_limit_of_chunks_is_counted() {
    let plan = plan(&version(1, Some(&"word ".repeat(20))), 0, 0, LIMITS);
    assert_eq!((plan.chunks.len(), plan.chunks_cut), (4, 6));
}

#[test]
fn hashes_read_back() {
    let hash = TextHash::of("text");
    assert_eq!(TextHash::from_hex(&hash.to_string()), Some(hash));
    assert_eq!(TextHash::from_hex("12"), None);
    assert_eq!(TextHash::from_hex(&"é".repeat(16)), None);
}

/// Over random versions of one item, what stays in a compacted topic is exactly
/// the chunks of the last version.
#[test]
fn the_compacted_topic_equals_the_last_version() {
    let seed = 99;
    let mut random = StdRng::seed_from_u64(seed);
    for round in 0..200 {
        let mut topic: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut before = 0;
        let mut last = None;
        for revision in 1..=random.random_range(1..8) {
            let words = random.random_range(0..6);
            let text = (random.random_range(0..5) > 0).then(|| "abcdefgh ".repeat(words));
            let plan = plan(&version(revision, text.as_deref()), 0, before, LIMITS);
            for record in plan.records("m", &vectors(&plan)) {
                match record.value {
                    Some(value) => topic.insert(record.key, value),
                    None => topic.remove(&record.key),
                };
            }
            before = plan.chunks.len() as u32;
            last = Some(plan);
        }
        let last = last.expect("at least one version");
        let kept: Vec<String> = topic
            .values()
            .map(|value| serde_json::from_slice::<Embedded>(value).expect("valid").payload.text)
            .collect();
        let expected: Vec<String> = last.chunks.iter().map(|chunk| chunk.text.to_string()).collect();
        assert_eq!(kept, expected, "seed {seed} round {round}");
    }
}

/// Answers at once: with the right number of vectors, too few, or a failure.
struct Model;
impl Stage<Arc<Plan>, Vec<Vector>> for Model {
    fn submit(&mut self, plan: Arc<Plan>, reply: crate::offload::Reply<Vec<Vector>>) {
        match plan.seq % 3 {
            0 => reply.send(Ok(vectors(&plan))),
            1 => reply.send(Ok(Vec::new())),
            _ => reply.send(Err(Failure::Timeout)),
        }
    }
}

#[test]
fn the_graph_gives_each_plan_back_as_embedded_or_as_fault() {
    use timely::dataflow::operators::capture::{Capture, Extract};
    use timely::dataflow::operators::vec::{Map, ToStream};
    let (done, faults) = timely::execute_directly(|worker| {
        worker.dataflow::<Epoch, _, _>(|scope| {
            let plans: Vec<_> = (0..3)
                .map(|seq| Arc::new(Plan { seq, ..plan(&version(1, Some("text")), 0, 0, LIMITS) }))
                .collect();
            let budget = Budget { in_flight_max: 1, in_flight_bytes_max: 1 };
            let (done, faults) = graph(plans.to_stream(scope), budget, Model);
            let done = done.map(|(plan, vectors)| (plan.seq, vectors.len()));
            let faults = faults.map(|fault| (fault.plan.seq, fault.failure));
            (done.capture(), faults.capture())
        })
    });
    let done: Vec<_> = done.extract().into_iter().flat_map(|(_, done)| done).collect();
    let faults: Vec<_> = faults.extract().into_iter().flat_map(|(_, faults)| faults).collect();
    assert_eq!(done, [(0, 1)]);
    assert_eq!(faults, [(1, Failure::Error("0 vectors for 1 chunks".into())), (2, Failure::Timeout)]);
}
