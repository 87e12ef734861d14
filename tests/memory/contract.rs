//! What every memory promises. This file is long because it is one contract, run against
//! each memory.

use std::sync::Arc;

use dataflows::record::{Positions, TopicPartition};
use dataflows::time::Millis;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tidings::memory::models::Model;
use tidings::memory::search::{Mode, Query, Search, fuse};
use tidings::memory::{Batch, Change, Filters, Memory, QueryVector, earliest_within, terms};

use crate::fixtures::*;

fn filled(deployment: &Deployment, changes: Vec<Change>) -> Arc<dyn Memory> {
    let memory = deployment.open();
    memory.apply(&batch(changes)).expect("applied");
    memory
}

pub fn applying_again_changes_nothing(deployment: &Deployment) {
    let items = [item("rss:1", "Rain", "it rains"), item("rss:2", "Sun", "the sun shines")];
    let changes: Vec<Change> = items.into_iter().flat_map(whole).collect();
    let memory = filled(deployment, changes.clone());
    let search = deployment.search(&memory);
    let before = (search.answer(&query("rain")).expect("answers"), memory.state().expect("state"));
    memory.apply(&batch(changes.clone())).expect("applied");
    memory.apply(&batch(changes)).expect("applied");
    let after = (search.answer(&query("rain")).expect("answers"), memory.state().expect("state"));
    assert_eq!(before, after);
    assert_eq!(after.1.items, 2);
    assert_eq!(after.1.chunks.get(MODEL), Some(&2));
}

pub fn an_older_version_never_returns(deployment: &Deployment) {
    let at = |revision, text: &str| {
        let mut item = item("rss:1", "", text);
        item.version = version(revision);
        item
    };
    let memory = filled(deployment, whole(at(2, "new words")));
    let search = deployment.search(&memory);
    memory.apply(&batch(whole(at(1, "old words")))).expect("applied");
    let answer = search.answer(&query("words")).expect("answers");
    assert_eq!(answer.hits[0].snippet, "new words");
    assert!(
        search.answer(&query("old")).expect("answers").hits.iter().all(|hit| hit.why.lexical_rank.is_none())
    );

    let deleted = Change::Deleted { id: "rss:1".into(), version: version(3), seen_at: Millis(3) };
    memory.apply(&batch(vec![deleted])).expect("applied");
    assert_eq!(ids(&search.answer(&query("new words")).expect("answers")), Vec::<&str>::new());
    memory.apply(&batch(whole(at(2, "new words")))).expect("applied");
    assert_eq!(ids(&search.answer(&query("new words")).expect("answers")), Vec::<&str>::new());
    assert_eq!(memory.state().expect("state").items, 0);

    // Only a higher revision revives, and within one batch too.
    let deleted = Change::Deleted { id: "rss:1".into(), version: version(5), seen_at: Millis(5) };
    memory
        .apply(&batch([vec![deleted], whole(at(4, "four")), whole(at(6, "six words"))].concat()))
        .expect("applied");
    assert_eq!(ids(&search.answer(&query("six")).expect("answers")), ["rss:1"]);

    memory.apply(&batch(vec![Change::Forgotten { id: "rss:1".into() }])).expect("applied");
    assert_eq!(ids(&search.answer(&query("six")).expect("answers")), Vec::<&str>::new());
    assert_eq!(memory.state().expect("state").chunks.values().sum::<u64>(), 0);
}

pub fn chunks_follow_their_versions(deployment: &Deployment) {
    let mut item = item("rss:1", "", "alpha beta");
    let memory =
        filled(deployment, vec![put(item.clone()), chunk(&item, 0, "alpha"), chunk(&item, 1, "beta")]);
    let chunks = || memory.state().expect("state").chunks.get(MODEL).copied().unwrap_or(0);
    assert_eq!(chunks(), 2);
    let gone = |index, revision| Change::ChunkGone {
        id: "rss:1".into(),
        chunk: index,
        version: Some(version(revision)),
    };
    item.version = version(2);
    memory.apply(&batch(vec![chunk(&item, 0, "gamma"), gone(1, 2)])).expect("applied");
    assert_eq!(chunks(), 1);
    // A tombstone of an older version does not remove what a newer one wrote.
    memory.apply(&batch(vec![gone(0, 1)])).expect("applied");
    assert_eq!(chunks(), 1);
    memory
        .apply(&batch(vec![Change::ChunkGone { id: "rss:1".into(), chunk: 0, version: None }]))
        .expect("applied");
    assert_eq!(chunks(), 0);
}

pub fn a_chunk_without_its_item_is_no_hit(deployment: &Deployment) {
    let lonely = item("rss:1", "", "cat");
    let memory = filled(deployment, vec![chunk(&lonely, 0, "cat")]);
    let search = deployment.search(&memory);
    assert_eq!(ids(&search.answer(&query("feline")).expect("answers")), Vec::<&str>::new());
    memory.apply(&batch(vec![put(lonely)])).expect("applied");
    assert_eq!(ids(&search.answer(&query("feline")).expect("answers")), ["rss:1"]);
}

pub fn filters_hold_in_both_rankings(deployment: &Deployment) {
    let seed = 4711;
    let mut random = StdRng::seed_from_u64(seed);
    let platforms = ["rss", "hackernews", "mastodon"];
    let langs = [Some("en"), Some("de"), None];
    let topics = ["ai", "sport", "o'neill \"x\""];
    let mut items = Vec::new();
    for n in 0..90 {
        let mut item = item(&format!("x:{n}"), "", "the cat sat");
        item.platform = platforms[random.random_range(0..3)].into();
        item.lang = langs[random.random_range(0..3)].map(Into::into);
        item.published_at = Millis(random.random_range(0..100) * 1_000);
        item.topics = topics.iter().filter(|_| random.random_bool(0.4)).map(ToString::to_string).collect();
        items.push(item);
    }
    let memory = filled(deployment, items.iter().cloned().flat_map(whole).collect());
    let search = deployment.search(&memory);
    for round in 0..60 {
        let mut draw = |values: &[&str]| {
            let at = random.random_range(0..values.len() * 2);
            values.get(at).map(ToString::to_string)
        };
        let filters = Filters {
            platform: draw(&platforms),
            lang: draw(&["en", "de", "fr"]),
            topic: draw(&topics),
            since: draw(&["20000", "50000", "99000"]).map(|at| Millis(at.parse().expect("a number"))),
        };
        let mut expected: Vec<&str> = items
            .iter()
            .filter(|item| {
                filters.platform.as_ref().is_none_or(|platform| item.platform == *platform)
                    && filters.lang.as_ref().is_none_or(|lang| item.lang.as_ref() == Some(lang))
                    && filters.topic.as_ref().is_none_or(|topic| item.topics.contains(topic))
                    && filters.since.is_none_or(|since| item.published_at >= since)
            })
            .map(|item| item.id.as_str())
            .collect();
        expected.sort_unstable();
        // By words, by meaning alone, and by both.
        for text in ["sat", "feline", "cat"] {
            let query = Query { limit: 100, filters: filters.clone(), ..query(text) };
            let answer = search.answer(&query).expect("answers");
            let mut found = ids(&answer);
            found.sort_unstable();
            assert_eq!(found, expected, "seed {seed} round {round} {text} {filters:?}");
        }
    }
}

pub fn words_of_any_script_are_found(deployment: &Deployment) {
    let texts = [
        ("x:1", "Der Fußgänger grüßt den Bürgermeister"),
        ("x:2", "Привет, мир"),
        ("x:3", "東京都で雨が降る"),
        ("x:4", "مرحبا بالعالم"),
        ("x:5", "an astronaut 👩‍🚀 waves"),
        ("x:6", "Ελλάδα"),
    ];
    let memory = filled(deployment, texts.iter().map(|(id, text)| put(item(id, "", text))).collect());
    let search = deployment.search(&memory);
    for (question, id) in [
        ("fussganger", "x:1"),
        ("GRÜSST", "x:1"),
        ("МИР", "x:2"),
        ("東京", "x:3"),
        ("雨が", "x:3"),
        ("مرحبا", "x:4"),
        ("astronaut 👩‍🚀", "x:5"),
        ("ελλάδα", "x:6"),
    ] {
        let answer = search.answer(&query(question)).expect("answers");
        assert_eq!(ids(&answer), [id], "{question}");
    }
}

pub fn a_question_is_never_syntax(deployment: &Deployment) {
    let memory = filled(deployment, whole(item("x:1", "Title", "or near and not body cat")));
    let search = deployment.search(&memory);
    for question in [
        "\"",
        "'",
        "\"cat",
        "cat\"*",
        "cat*",
        "title:cat",
        "{title body}: cat",
        "cat AND",
        "NOT cat",
        "NEAR(cat, 2)",
        "^cat",
        "cat) OR (1=1",
        "'; DROP TABLE item; --",
        "\0cat",
        "a OR",
        "-cat",
        "+",
        "%",
        "\u{202e}cat",
        "((((",
        "cat\n\"",
    ] {
        let answer = search.answer(&query(question)).unwrap_or_else(|e| panic!("{question:?}: {e}"));
        let mentions_cat = question.contains("cat");
        assert!(!mentions_cat || ids(&answer) == ["x:1"], "{question:?} found {:?}", ids(&answer));
    }
    let long = "cat ".repeat(20_000);
    assert_eq!(ids(&search.answer(&query(&long)).expect("answers")), ["x:1"]);
    assert_eq!(memory.state().expect("state").items, 1);
    // A filter's value is a value.
    let filters = Filters { platform: Some("' OR 1=1 --".into()), ..Filters::default() };
    let answer = search.answer(&Query { filters, ..query("cat") }).expect("answers");
    assert_eq!(ids(&answer), Vec::<&str>::new());
}

pub fn rare_words_and_titles_weigh_more(deployment: &Deployment) {
    let mut changes: Vec<Change> = (0..40)
        .map(|n| put(item(&format!("x:common{n}"), "", "common filler text of a usual length")))
        .collect();
    changes.push(put(item("x:rare", "", "rare filler text of a usual length")));
    changes.push(put(item("x:both", "", "rare common filler text of usual length")));
    changes.push(put(item("x:long", "", &format!("rare {}", "filler text of a usual length ".repeat(20)))));
    changes.push(put(item("x:title", "rare", "filler text of a usual length")));
    let memory = filled(deployment, changes);
    let lexical = |text: &str| {
        let terms = terms::query_terms(text, 32);
        memory.candidates(None, &terms, &Filters::default(), 100).expect("candidates").lexical
    };
    let found = lexical("rare common");
    let rank = |id: &str| found.iter().position(|found| found == id).expect("it is found");
    assert!(rank("x:both") < rank("x:rare"), "two words before one: {found:?}");
    assert!(rank("x:rare") < rank("x:common0"), "a rare word before a common one: {found:?}");
    assert!(rank("x:rare") < rank("x:long"), "a short text before a long one: {found:?}");
    assert!(rank("x:title") < rank("x:rare"), "the title before the text: {found:?}");
    assert_eq!(lexical("absent"), Vec::<String>::new());
}

/// Items over a few words, some with a synonym: both rankings are partly right.
fn random_items(random: &mut StdRng, count: usize) -> Vec<Change> {
    let words = [
        "cat",
        "kitten",
        "feline",
        "car",
        "automobile",
        "doctor",
        "physician",
        "rain",
        "sun",
        "the",
        "a",
        "of",
    ];
    let mut changes = Vec::new();
    for n in 0..count {
        let length = random.random_range(3..12);
        let text: Vec<&str> = (0..length).map(|_| words[random.random_range(0..words.len())]).collect();
        changes.extend(whole(item(&format!("x:{n}"), "", &text.join(" "))));
    }
    changes
}

pub fn fusion_equals_its_recomputation(deployment: &Deployment) {
    let seed = 60;
    let mut random = StdRng::seed_from_u64(seed);
    let memory = filled(deployment, random_items(&mut random, 120));
    let search = deployment.search(&memory);
    let settings = &deployment.settings.search;
    for question in ["cat", "physician in the rain", "automobile of a doctor", "sun"] {
        let vector = Words::vector(question);
        let vector = QueryVector { model: MODEL, values: &vector.0 };
        let terms = terms::query_terms(question, settings.query_terms_max);
        let filters = Filters::default();
        let found =
            memory.candidates(Some(vector), &terms, &filters, settings.candidates_max).expect("candidates");
        let dense: Vec<String> = found.dense.iter().map(|(id, _)| id.clone()).collect();
        let answer = search.answer(&Query { limit: 50, ..query(question) }).expect("answers");
        assert_eq!(answer.mode, Mode::Hybrid);
        for (hit, fused) in answer.hits.iter().zip(fuse(&dense, &found.lexical, settings.rrf_k)) {
            let rank = |ids: &[String]| ids.iter().position(|id| *id == hit.id).map(|at| at as u32 + 1);
            assert_eq!((&hit.id, hit.score), (&fused.id, fused.score), "seed {seed} {question}");
            assert_eq!(hit.why.dense_rank, rank(&dense), "seed {seed} {question} {}", hit.id);
            assert_eq!(hit.why.lexical_rank, rank(&found.lexical), "seed {seed} {question} {}", hit.id);
            let recomputed: f64 = [hit.why.dense_rank, hit.why.lexical_rank]
                .iter()
                .flatten()
                .map(|r| 1.0 / (60.0 + f64::from(*r)))
                .sum();
            assert_eq!(hit.score, recomputed, "seed {seed} {question} {}", hit.id);
        }
        // The dense half is exact.
        let mut exact: Vec<f32> = dense
            .iter()
            .map(|id| {
                let at = memory.items(std::slice::from_ref(id)).expect("items");
                dataflows::vector::dot(
                    vector.values,
                    &Words::vector(at[0].text.as_deref().expect("a text")).0,
                )
            })
            .collect();
        let ranked = exact.clone();
        exact.sort_by(|a, b| b.total_cmp(a));
        ranked.iter().zip(&exact).for_each(|(a, b)| assert!((a - b).abs() < 1e-6, "seed {seed} {question}"));
    }
}

/// To each question belong an item with its very name, whose meaning is drowned by
/// the rest of its text, and one that says the same in another word. Other items are
/// nearer in meaning than the first and have no word of the question.
pub fn hybrid_beats_either_half(deployment: &Deployment) {
    const PAIRS: [(&str, &str); 3] = [("car", "automobile"), ("doctor", "physician"), ("cat", "feline")];
    let mut changes = Vec::new();
    for (n, (_, synonym)) in PAIRS.iter().enumerate() {
        let padding: Vec<String> = (0..9).map(|pad| format!("pad{n}x{pad}")).collect();
        changes.extend(whole(item(&format!("x:name{n}"), "", &format!("zx{n}81 {}", padding.join(" ")))));
        changes.extend(whole(item(&format!("x:meaning{n}"), "", synonym)));
        for other in 0..2 {
            changes.extend(whole(item(
                &format!("x:near{n}-{other}"),
                "",
                &format!("{synonym} other{n}x{other}"),
            )));
        }
    }
    let memory = filled(deployment, changes);
    let search = deployment.search(&memory);
    let (mut hybrid, mut dense, mut lexical) = (0, 0, 0);
    for (n, (word, _)) in PAIRS.iter().enumerate() {
        let question = format!("{word} zx{n}81");
        let relevant = [format!("x:name{n}"), format!("x:meaning{n}")];
        let top = |ids: &[String]| ids.iter().take(2).filter(|id| relevant.contains(id)).count();
        let vector = Words::vector(&question);
        let terms = terms::query_terms(&question, 32);
        let vector = QueryVector { model: MODEL, values: &vector.0 };
        let found = memory.candidates(Some(vector), &terms, &Filters::default(), 50).expect("candidates");
        dense += top(&found.dense.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>());
        lexical += top(&found.lexical);
        let answer = search.answer(&query(&question)).expect("answers");
        hybrid += top(&answer.hits.iter().map(|hit| hit.id.clone()).collect::<Vec<_>>());
    }
    println!("relevant among the first two, of 6: hybrid {hybrid}, dense {dense}, lexical {lexical}");
    assert_eq!(hybrid, 6);
    assert!(dense < hybrid && lexical < hybrid, "dense {dense} lexical {lexical}");
}

pub fn pages_are_one_list(deployment: &Deployment) {
    let mut random = StdRng::seed_from_u64(5);
    let memory = filled(deployment, random_items(&mut random, 60));
    let search = deployment.search(&memory);
    let all = search.answer(&Query { limit: 100, ..query("cat in the rain") }).expect("answers");
    assert!(all.hits.len() > 20 && all.cursor.is_none());
    let mut paged = Vec::new();
    let mut offset = 0;
    loop {
        let page = search.answer(&Query { limit: 7, offset, ..query("cat in the rain") }).expect("answers");
        assert!(page.hits.len() <= 7);
        paged.extend(page.hits);
        match page.cursor {
            Some(cursor) => {
                let question = query("cat in the rain");
                offset = search.offset(&question, Some(&cursor)).expect("our cursor");
                let other = search.offset(&query("dog in the rain"), Some(&cursor));
                assert!(other.is_err_and(|why| why.contains("another question")));
            }
            None => break,
        }
    }
    assert_eq!(paged, all.hits);
}

pub fn an_item_is_one_hit_with_its_best_chunk(deployment: &Deployment) {
    let long = item("x:long", "", "the sun shines and later the doctor came");
    let other = item("x:other", "", "something else");
    let memory = filled(
        deployment,
        vec![
            chunk(&long, 0, "the sun shines"),
            chunk(&long, 1, "later the doctor came"),
            chunk(&other, 0, "something else"),
            put(long),
            put(other),
        ],
    );
    let answer = deployment.search(&memory).answer(&query("physician")).expect("answers");
    assert_eq!(answer.hits.iter().filter(|hit| hit.id == "x:long").count(), 1);
    let hit = &answer.hits[0];
    assert_eq!((hit.id.as_str(), hit.snippet.as_str()), ("x:long", "later the doctor came"));
    assert_eq!((hit.why.dense_rank, hit.why.lexical_rank), (Some(1), None));
    assert_eq!(hit.url.as_deref(), Some("https://example.org/x:long"));
    assert_eq!(hit.compound, Some(0.25));
}

pub fn words_answer_while_there_is_no_model(deployment: &Deployment) {
    let memory = filled(deployment, whole(item("x:1", "", "the kitten sleeps")));
    let model = Model::none("no model here");
    let search = Search::new(memory.clone(), model, deployment.settings.search.clone());
    let answer = search.answer(&query("kitten")).expect("answers");
    assert_eq!((answer.mode, answer.mode_reason.as_deref()), (Mode::Lexical, Some("no model here")));
    assert_eq!(ids(&answer), ["x:1"]);
    assert_eq!(ids(&search.answer(&query("feline")).expect("answers")), Vec::<&str>::new());
    // Vectors of another model take no part.
    let vector = Words::vector("cat");
    let foreign = QueryVector { model: "another@2", values: &vector.0 };
    let found = memory.candidates(Some(foreign), &[], &Filters::default(), 10).expect("candidates");
    assert_eq!(found.dense, Vec::new());
}

pub fn what_is_old_expires(deployment: &Deployment) {
    let mut changes = Vec::new();
    for n in 0..10 {
        let mut item = item(&format!("x:{n}"), "", "cat");
        item.seen_at = Millis(n * 1_000);
        changes.extend(whole(item));
    }
    let memory = filled(deployment, changes);
    let search = deployment.search(&memory);
    assert_eq!(search.answer(&query("feline")).expect("answers").hits.len(), 10);
    memory.expire(Millis(6_000)).expect("expired");
    let answer = search.answer(&query("feline")).expect("answers");
    let mut left = ids(&answer);
    left.sort_unstable();
    assert_eq!(left, ["x:6", "x:7", "x:8", "x:9"]);
    let state = memory.state().expect("state");
    assert_eq!((state.items, state.chunks[MODEL]), (4, 4));
}

pub fn the_earliest_leave_when_there_are_too_many(deployment: &Deployment) {
    let mut changes = Vec::new();
    for n in 0..10 {
        let mut item = item(&format!("x:{n}"), "", "cat");
        // Two at each instant.
        item.seen_at = Millis(1_700_000_000_000 + n / 2 * 1_000);
        changes.extend(whole(item));
    }
    let memory = filled(deployment, changes);
    let now = Millis(1_700_000_100_000);
    let earliest = |items_max| earliest_within(&*memory, items_max, now).expect("counts");
    assert_eq!((earliest(10), earliest(11)), (None, None), "there is room");
    assert_eq!(earliest(9), Some(Millis(1_700_000_000_001)), "an instant leaves whole");
    assert_eq!(earliest(4), Some(Millis(1_700_000_002_001)));
    assert_eq!(earliest(0), Some(Millis(1_700_000_004_001)));
    memory.expire(earliest(4).expect("too many")).expect("expired");
    assert_eq!(memory.state().expect("state").items, 4);
    assert_eq!((memory.items_since(Millis(0)).expect("counts"), earliest(4)), (4, None));
}

pub fn positions_and_content_survive_reopening(deployment: &Deployment) {
    let at = |partition| TopicPartition::new("content.enriched", partition);
    let first = Positions::from([(at(0), 5), (at(1), 7)]);
    let second = Positions::from([(at(1), 9)]);
    {
        let memory = deployment.open();
        assert_eq!(memory.state().expect("state").positions, Positions::new());
        let changes = whole(item("x:1", "", "cat"));
        memory
            .apply(&Batch { changes, positions: first, as_of: Some(Millis(70)), ..Batch::default() })
            .expect("applied");
        memory
            .apply(&Batch { positions: second, as_of: Some(Millis(60)), ..Batch::default() })
            .expect("applied");
    }
    let memory = deployment.open();
    assert_eq!(memory.state().expect("state").positions, Positions::from([(at(0), 5), (at(1), 9)]));
    assert_eq!(memory.as_of().expect("a time"), Some(Millis(70)));
    let answer = deployment.search(&memory).answer(&query("feline")).expect("answers");
    assert_eq!((ids(&answer), answer.as_of), (vec!["x:1"], Some(Millis(70))));
}
