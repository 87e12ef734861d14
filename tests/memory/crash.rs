//! A process that is killed while it embeds and remembers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use dataflows::embed::{Embedded, VERSION_HEADER, parse_chunk_key};
use dataflows::record::topic;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tidings::memory::health::Health;
use tidings::memory::models::Model;
use tidings::memory::sqlite::Sqlite;
use tidings::memory::{Filters, Memory, QueryVector, embed, remember, terms};

use crate::fixtures::*;

/// Names the folder that the child works in.
const CHILD: &str = "TIDINGS_MEMORY_CHILD";
const ITEMS: usize = 400;

#[test]
fn a_killed_process_leaves_each_vector_once_and_a_memory_that_equals_the_log() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let last = write_history(folder.path(), &mut random);
    for _ in 0..6 {
        let mut child = start_child(folder.path());
        wait_for_progress(&mut child);
        std::thread::sleep(Duration::from_micros(random.random_range(0..250_000)));
        child.kill().expect("killed");
        child.wait().expect("gone");
    }
    // The last one comes to the end by itself.
    let log = open_log(folder.path());
    work(folder.path(), &log, &last);

    let mut seen = BTreeMap::new();
    for stored in read_all(&*log, topic::VECTORS) {
        let version = stored.headers.get(VERSION_HEADER).map(<[u8]>::to_vec);
        *seen.entry((stored.key, version)).or_insert(0) += 1;
    }
    let twice: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "seed {seed}: a version's vector was published twice: {twice:?}");

    let kept = compacted(&*log, topic::VECTORS);
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in &kept {
        let (id, chunk) = parse_chunk_key(key.as_bytes()).expect("a chunk's key");
        assert_eq!(chunk, 0, "seed {seed}");
        let embedded: Embedded = serde_json::from_slice(value).expect("an Embedded");
        texts.insert(id.to_string(), embedded.payload.text);
    }
    let expected: BTreeMap<String, String> =
        last.iter().filter_map(|(id, text)| Some((id.clone(), text.clone()?))).collect();
    assert_eq!(texts, expected, "seed {seed}: vectors of the last versions");
    let memory = Sqlite::open(&shipped().memory.sqlite, &memory_path(folder.path())).expect("opens");
    let state = memory.state().expect("state");
    assert_eq!(
        (state.items, state.chunks[MODEL]),
        (expected.len() as u64, expected.len() as u64),
        "seed {seed}"
    );
    for (id, text) in expected.iter().step_by(7) {
        let vector = Words::vector(text);
        let vector = QueryVector { model: MODEL, values: &vector.0 };
        let terms = terms::query_terms(text, 8);
        let found = memory.candidates(Some(vector), &terms, &Filters::default(), 5).expect("candidates");
        assert_eq!(&found.dense[0].0, id, "seed {seed} {text}");
        assert!(found.lexical.contains(id), "seed {seed} {text}");
    }
}

fn memory_path(folder: &Path) -> PathBuf {
    folder.join("memory.sqlite")
}

/// Creations, edits and deletions; the last text of each item.
fn write_history(folder: &Path, random: &mut StdRng) -> BTreeMap<String, Option<String>> {
    let log = open_log(folder);
    let mut last = BTreeMap::new();
    let mut records = Vec::new();
    for revision in 1..=3 {
        for n in 0..ITEMS {
            if revision > 1 && random.random_bool(0.6) {
                continue;
            }
            let id = format!("rss:{n}");
            let text =
                (revision == 1 || random.random_bool(0.8)).then(|| format!("item{n} revision{revision}"));
            records.push(record(&enriched(&id, revision, text.as_deref())));
            last.insert(id, text);
        }
    }
    for part in records.chunks(100) {
        log.append(part.to_vec()).expect("appended");
    }
    last
}

/// Both lines, until everything is embedded and remembered.
fn work(folder: &Path, log: &Arc<dyn tidings::log::Log>, last: &BTreeMap<String, Option<String>>) {
    let memory = Arc::new(Sqlite::open(&shipped().memory.sqlite, &memory_path(folder)).expect("opens"));
    let stop = Arc::new(AtomicBool::new(false));
    let mut settings = shipped();
    // Small steps, so that a kill falls between any two of them.
    settings.embed.batch_bytes_max = 8 << 10;
    settings.memory.batch_records_max = 7;
    let embedding = {
        let (log, stop, cache) = (log.clone(), stop.clone(), folder.join("embed.sqlite"));
        let embed = settings.embed.clone();
        let model = Model::of(Arc::new(Words::default()));
        std::thread::spawn(move || embed::run(log, &model, &cache, &embed, stop, Health::new()))
    };
    let remembering = {
        let (log, stop, memory) = (log.clone(), stop.clone(), memory.clone());
        std::thread::spawn(move || remember::run(&*log, &*memory, &settings.memory, &stop, &Health::new()))
    };
    let alive = last.values().filter(|text| text.is_some()).count() as u64;
    let mut shown = false;
    until("embedding and remembering everything", || {
        let state = memory.state().expect("state");
        if !shown && state.items > 0 {
            println!("working");
            shown = true;
        }
        let ends = |name: &str| {
            let topics = log.topics().expect("topics");
            let info = topics.into_iter().find(|t| t.name == name).expect("the topic");
            info.ranges.iter().map(|(_, end)| end).sum::<u64>()
        };
        let at = |positions: &dataflows::record::Positions, name: &str| {
            positions.iter().filter(|(at, _)| &*at.topic == name).map(|(_, next)| next).sum::<u64>()
        };
        let committed = log.committed(embed::GROUP).expect("positions");
        state.items == alive
            && at(&committed, topic::ENRICHED) == ends(topic::ENRICHED)
            && at(&state.positions, topic::ENRICHED) == ends(topic::ENRICHED)
            && at(&state.positions, topic::VECTORS) == ends(topic::VECTORS)
    });
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    embedding.join().expect("no panic").expect("ends well");
    remembering.join().expect("no panic").expect("ends well");
}

fn start_child(folder: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this test"))
        .args([
            "--exact",
            "crash::the_child_that_works_until_it_is_killed",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD, folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("this test starts")
}

fn wait_for_progress(child: &mut Child) {
    use std::io::BufRead;
    let output = child.stdout.take().expect("piped");
    let progress =
        std::io::BufReader::new(output).lines().any(|line| line.is_ok_and(|l| l.contains("working")));
    assert!(progress, "the child ended before it did anything");
}

/// The other process of the test above; without its orders there is nothing to do.
#[test]
#[expect(clippy::disallowed_methods, reason = "the folder comes from the test that started this process")]
fn the_child_that_works_until_it_is_killed() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let folder = PathBuf::from(folder);
    // More than there is: the child never finds that it is done.
    let last = (0..=ITEMS * 2).map(|n| (n.to_string(), Some(String::new()))).collect();
    let log = open_log(&folder);
    work(&folder, &log, &last);
}
