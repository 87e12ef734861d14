//! What only the embedded memory has: a quantised copy, and a file.

use dataflows::vector::{Vector, dot};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tidings::memory::{Change, DIMENSIONS, Filters, Memory, MemoryError, QueryVector};

use crate::fixtures::*;

fn noise(random: &mut StdRng, scale: f32) -> Vec<f32> {
    (0..DIMENSIONS).map(|_| (random.random::<f32>() - 0.5) * scale).collect()
}

/// Half of them anywhere, half in tight clusters, where neighbours differ little.
fn vectors(random: &mut StdRng, count: usize) -> Vec<Vector> {
    let centres: Vec<Vec<f32>> = (0..50).map(|_| noise(random, 1.0)).collect();
    let mut vectors = Vec::with_capacity(count);
    for n in 0..count {
        let values = if n % 2 == 0 {
            noise(random, 1.0)
        } else {
            let centre = &centres[random.random_range(0..centres.len())];
            centre.iter().zip(noise(random, 0.2)).map(|(a, b)| a + b).collect()
        };
        vectors.push(Vector(values).normalized());
    }
    vectors
}

#[test]
fn the_scan_finds_what_an_exact_search_finds() {
    const COUNT: usize = 20_000;
    const NEAREST: usize = 10;
    let seed = 384;
    let mut random = StdRng::seed_from_u64(seed);
    let vectors = vectors(&mut random, COUNT);
    let deployment = Deployment::sqlite();
    let memory = deployment.open();
    let changes: Vec<Change> = vectors
        .iter()
        .enumerate()
        .flat_map(|(n, vector)| {
            let item = item(&format!("x:{n}"), "", "");
            let embedded = Box::new(chunk_of(&item, 0, "", vector.clone()));
            [Change::Chunk { embedded, seen_at: item.seen_at }, put(item)]
        })
        .collect();
    for part in changes.chunks(4_000) {
        memory.apply(&batch(part.to_vec())).expect("applied");
    }
    let (mut found, mut wanted) = (0, 0);
    for round in 0..100 {
        let near = &vectors[random.random_range(0..COUNT)].0;
        let question: Vec<f32> = near.iter().zip(noise(&mut random, 0.1)).map(|(a, b)| a + b).collect();
        let question = Vector(question).normalized();
        let mut exact: Vec<(f32, usize)> =
            vectors.iter().enumerate().map(|(n, vector)| (dot(&question.0, &vector.0), n)).collect();
        exact.sort_by(|a, b| b.0.total_cmp(&a.0));
        let exact: Vec<String> = exact[..NEAREST].iter().map(|(_, n)| format!("x:{n}")).collect();
        let vector = QueryVector { model: MODEL, values: &question.0 };
        let candidates =
            memory.candidates(Some(vector), &[], &Filters::default(), NEAREST).expect("candidates");
        let got: Vec<&String> = candidates.dense.iter().map(|(id, _)| id).collect();
        assert_eq!(got.len(), NEAREST, "seed {seed} round {round}");
        found += exact.iter().filter(|id| got.contains(id)).count();
        wanted += NEAREST;
    }
    let recall = found as f64 / wanted as f64;
    println!("recall@{NEAREST} of the scan over {COUNT} vectors: {recall:.4}");
    assert!(recall >= 0.99, "seed {seed}: recall {recall}");
}

/// The copy in memory follows every change: the same answers as a memory opened anew.
#[test]
fn the_copy_in_memory_equals_the_file() {
    let seed = 77;
    let mut random = StdRng::seed_from_u64(seed);
    let deployment = Deployment::sqlite();
    let memory = deployment.open();
    let words = ["cat", "car", "doctor", "rain", "sun"];
    for round in 0..60u64 {
        let mut changes = Vec::new();
        for _ in 0..random.random_range(1..8) {
            let id = format!("x:{}", random.random_range(0..12));
            let mut item = item(&id, "", words[random.random_range(0..words.len())]);
            item.version = version(round + 1);
            let gone = Change::ChunkGone { id: id.clone(), chunk: 0, version: Some(item.version) };
            match random.random_range(0..5) {
                0 => changes.push(Change::Deleted { id, version: item.version, seen_at: item.seen_at }),
                1 => changes.push(Change::Forgotten { id }),
                2 => changes.push(gone),
                _ => changes.extend(whole(item)),
            }
        }
        memory.apply(&batch(changes)).expect("applied");
        let anew = deployment.open();
        for question in words {
            let vector = Words::vector(question);
            let vector = QueryVector { model: MODEL, values: &vector.0 };
            let ask = |memory: &dyn Memory| {
                memory.candidates(Some(vector), &[], &Filters::default(), 50).expect("found")
            };
            assert_eq!(ask(&*memory), ask(&*anew), "seed {seed} round {round} {question}");
        }
    }
}

#[test]
fn a_damaged_file_says_what_to_do() {
    let deployment = Deployment::sqlite();
    std::fs::write(deployment.path(), b"this is no database, and long enough to be read as one")
        .expect("written");
    match tidings::memory::sqlite::Sqlite::open(&deployment.settings.sqlite, &deployment.path()) {
        Err(MemoryError::Fatal(reason)) => assert!(reason.contains("delete it"), "{reason}"),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it opened"),
    }
}
