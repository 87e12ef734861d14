//! What the embedded memory and the model do on this machine.
//!
//! `cargo bench --bench memory [-- COUNT]`: COUNT items (100 000 without) of one
//! chunk each, vectors anywhere and in clusters, texts of 30 words over a vocabulary
//! with a long tail. Searches run one after the other on one thread, after the
//! vectors are loaded; each is timed alone. The model is measured if it is here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dataflows::embed::{Embedded, Payload, TextHash};
use dataflows::event::Version;
use dataflows::time::Millis;
use dataflows::vector::Vector;
use hdrhistogram::Histogram;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::Deserialize;
use tidings::memory::models::{Embedder, Model};
use tidings::memory::search::{Query, Search};
use tidings::memory::sqlite::Sqlite;
use tidings::memory::{Batch, Change, DIMENSIONS, Filters, Item, Memory, QueryVector, terms};

const MODEL: &str = "bench@1";
const SEARCHES: usize = 200;
const SEED: u64 = 2026;

#[derive(Deserialize)]
struct Shipped {
    memory: tidings::memory::Settings,
    models: tidings::memory::models::Settings,
}

fn main() {
    let count = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(100_000);
    let shipped: Shipped =
        toml::from_str(include_str!("../config/default.toml")).expect("the shipped settings");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("memory.sqlite");
    let memory: Arc<dyn Memory> = Arc::new(Sqlite::open(&shipped.memory.sqlite, &path).expect("opens"));
    let mut random = StdRng::seed_from_u64(SEED);
    insert(&*memory, &mut random, count, shipped.memory.batch_records_max);
    let bytes = std::fs::metadata(&path).map_or(0, |meta| meta.len());
    println!("file: {} MB", bytes / 1_000_000);
    searches(&memory, &mut random, &shipped.memory);
    embeddings(&shipped.models);
}

fn insert(memory: &dyn Memory, random: &mut StdRng, count: usize, batch: usize) {
    let centres: Vec<Vec<f32>> = (0..200).map(|_| noise(random, 1.0)).collect();
    let mut spent = Duration::ZERO;
    let mut done = 0;
    while done < count {
        let mut changes = Vec::new();
        for n in done..(done + batch / 2).min(count) {
            let text = text(random, 30);
            let item = item(n, &text);
            let values = if n % 2 == 0 {
                noise(random, 1.0)
            } else {
                let centre = &centres[random.random_range(0..centres.len())];
                centre.iter().zip(noise(random, 0.5)).map(|(a, b)| a + b).collect()
            };
            let embedded = Box::new(chunk(&item, &text, Vector(values).normalized()));
            changes.push(Change::Chunk { embedded, seen_at: item.seen_at });
            changes.push(Change::Item(Box::new(item)));
        }
        done += changes.len() / 2;
        let started = Instant::now();
        memory.apply(&Batch { changes, ..Batch::default() }).expect("applied");
        spent += started.elapsed();
    }
    println!(
        "insert: {:.0} items/s with one vector each, in batches of {batch} records",
        count as f64 / spent.as_secs_f64()
    );
}

fn searches(memory: &Arc<dyn Memory>, random: &mut StdRng, settings: &tidings::memory::Settings) {
    let limit = settings.search.candidates_max;
    let question = Vector(noise(random, 1.0)).normalized();
    let vector = QueryVector { model: MODEL, values: &question.0 };
    let started = Instant::now();
    memory.candidates(Some(vector), &[], &Filters::default(), limit).expect("candidates");
    println!("first search, which loads the vectors: {:.0} ms", started.elapsed().as_secs_f64() * 1e3);

    timed("by meaning", || {
        let question = Vector(noise(random, 1.0)).normalized();
        let vector = QueryVector { model: MODEL, values: &question.0 };
        memory.candidates(Some(vector), &[], &Filters::default(), limit).expect("candidates");
    });
    timed("by meaning, one platform of ten", || {
        let question = Vector(noise(random, 1.0)).normalized();
        let vector = QueryVector { model: MODEL, values: &question.0 };
        let filters = Filters { platform: Some("p3".into()), ..Filters::default() };
        memory.candidates(Some(vector), &[], &filters, limit).expect("candidates");
    });
    timed("by three words", || {
        let terms = terms::query_terms(&text(random, 3), 32);
        memory.candidates(None, &terms, &Filters::default(), limit).expect("candidates");
    });
    let search = Search::new(memory.clone(), Model::of(Arc::new(Noise)), settings.search.clone());
    timed("hybrid, 20 hits, without the model's time", || {
        let query = Query { text: text(random, 3), limit: 20, ..Query::default() };
        search.answer(&query).expect("answers");
    });
}

fn timed(what: &str, mut search: impl FnMut()) {
    let mut histogram = Histogram::<u64>::new(3).expect("a histogram");
    for _ in 0..SEARCHES {
        let started = Instant::now();
        search();
        histogram.record(started.elapsed().as_micros() as u64).expect("in range");
    }
    let ms = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
    println!("{what}: p50 {:.1} ms, p99 {:.1} ms over {SEARCHES}", ms(0.5), ms(0.99));
}

fn embeddings(settings: &tidings::memory::models::Settings) {
    let cache = tidings::config::Environment::of_process(None).cache_dir().unwrap_or_default();
    let model = Model::new(&settings.clone().in_cache(&cache));
    let embedder = match model.wait(Duration::from_secs(60)) {
        Ok(embedder) => embedder,
        Err(reason) => return println!("the model was not measured: {reason}"),
    };
    let mut random = StdRng::seed_from_u64(SEED);
    for (what, words, count) in
        [("sentences of 5 to 30 words", 5..=30, 400), ("chunks of 150 words", 150..=150, 60)]
    {
        let mut texts: Vec<String> = (0..count)
            .map(|_| {
                let length = random.random_range(words.clone());
                text(&mut random, length)
            })
            .collect();
        texts.sort_by_key(String::len);
        let started = Instant::now();
        for batch in texts.chunks(embedder.batch_max()) {
            let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
            embedder.embed(&batch).expect("embedded");
        }
        let rate = count as f64 / started.elapsed().as_secs_f64();
        println!(
            "{}: {rate:.0} {what} a second, 1 thread, {} at once",
            embedder.model(),
            embedder.batch_max()
        );
    }
}

/// Any vector for a question, at no cost.
struct Noise;

impl Embedder for Noise {
    fn model(&self) -> &str {
        MODEL
    }
    fn batch_max(&self) -> usize {
        1
    }
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vector>, String> {
        let seed = texts[0].bytes().map(u64::from).sum();
        Ok(vec![Vector(noise(&mut StdRng::seed_from_u64(seed), 1.0)).normalized()])
    }
}

fn noise(random: &mut StdRng, scale: f32) -> Vec<f32> {
    (0..DIMENSIONS).map(|_| (random.random::<f32>() - 0.5) * scale).collect()
}

/// Words of a long tail: the first few are in most texts, the last in hardly any.
fn text(random: &mut StdRng, words: usize) -> String {
    let word = |random: &mut StdRng| format!("w{}", (20_000.0 * random.random::<f64>().powi(4)) as u32);
    (0..words).map(|_| word(random)).collect::<Vec<_>>().join(" ")
}

fn item(n: usize, text: &str) -> Item {
    Item {
        id: format!("bench:{n}"),
        version: Version { revision: 1, enrichment: 0 },
        seen_at: Millis(n as i64),
        platform: format!("p{}", n % 10),
        channel: None,
        author: None,
        title: None,
        text: Some(text.into()),
        url: None,
        published_at: Millis(n as i64),
        lang: Some("en".into()),
        topics: Vec::new(),
        compound: None,
    }
}

fn chunk(item: &Item, text: &str, vector: Vector) -> Embedded {
    Embedded {
        id: item.id.clone(),
        chunk: 0,
        version: item.version,
        model: MODEL.into(),
        text_hash: TextHash::of(text).to_string(),
        vector,
        payload: Payload {
            platform: item.platform.clone(),
            channel: None,
            author: None,
            title: None,
            text: text.into(),
            url: None,
            published_at: item.published_at,
            lang: item.lang.clone(),
            topics: Vec::new(),
            compound: None,
        },
    }
}
