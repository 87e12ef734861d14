use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;

fn topic(name: &str, any: &[&str]) -> Topic {
    Topic { name: name.to_string(), any: any.iter().map(|term| term.to_string()).collect() }
}

fn is_in(term: &str, text: &str) -> bool {
    !Topics::new(vec![topic("t", &[term])]).unwrap().matches(text).is_empty()
}

#[test]
fn whole_words_as_a_user_means_them() {
    #[rustfmt::skip]
    let cases = [
        ("AI", "ai", true), ("ai", "AI!", true), ("ai", "(AI)", true), ("ai", "AI's future", true),
        ("ai", "said", false), ("ai", "ai_model", false), ("ai", "ai2", false), ("ai", "OpenAI", false),
        ("ai", "gen-AI", true), ("ai", "#AI", true), ("ai", "“AI”", true), ("ai", "AIの未来", true),
        ("c++", "C++", true), ("c++", "I like C++.", true), ("c++", "C++17", true), ("c++", "c+++", false),
        ("c+", "C++", false), ("c++", "abc++", false), ("c", "C++", true),
        ("#rust", "#Rust", true), ("#rust", "(#rust)", true), ("#rust", "a#rust", false), ("#rust", "##rust", false),
        ("#rust", "#rustlang", false), ("#rust", "rust", false), ("rust", "#rust", true), ("rust", "trust", false),
        (".net", "we use .NET 9", true), (".net", "example.net", false), ("asp.net", "ASP.NET core", true),
        ("new york", "New\n \tYork", true), ("new york", "New\u{a0}York", true), ("new york", "newyork", false),
        ("new  york ", "NEW YORK", true), ("new york", "new yorker", false), ("new york", "a new york", true),
        ("us$", "US$100", true), ("a.i.", "A.I. is", true), ("e-mail", "an E-Mail", true),
        ("東京", "東京都の天気", true), ("東京", "京東", false), ("ไทย", "ประเทศไทยวันนี้", true),
        ("москва", "МОСКВА.", true), ("москв", "москва", false), ("café", "CAFÉ", true), ("cafe", "cafe\u{301}", false),
        ("cafe", "café", false), ("οδός", "ΟΔΌΣ", true), ("straße", "STRASSE", false), ("हिन्द", "हिन्दी", false),
        ("😀", "so 😀!", true), ("😀", "😀😀", false), ("i", "İ", false), ("k", "\u{212a}", true),
        ("ai", "", false), ("ai", " ", false),
    ];
    for (term, text, expected) in cases {
        assert_eq!(is_in(term, text), expected, "{term:?} in {text:?}");
    }
}

#[test]
fn a_second_place_counts_when_the_first_touches_a_word() {
    assert!(is_in("ai", "said the AI"));
    assert!(is_in("a a", "aa a a"));
    // Terms that overlap and contain each other are all found.
    let topics = Topics::new(vec![
        topic("york", &["york"]),
        topic("new york", &["new york"]),
        topic("times", &["york times", "new york times"]),
        topic("other", &["times square"]),
    ])
    .unwrap();
    assert_eq!(topics.matches("The New York Times"), ["new york", "times", "york"]);
}

#[test]
fn everything_wrong_is_said_at_once() {
    let errors = Topics::new(vec![
        topic(" ", &["a"]),
        topic("x", &[]),
        topic("X", &["a", "", "b  c", "B C", &"y".repeat(300)]),
        topic(&"n".repeat(300), &["a"]),
    ])
    .unwrap_err();
    assert_eq!(errors.len(), 7, "{errors:?}");
    let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert!(said.contains(&"topic 1 has no name".to_string()), "{said:?}");
    assert!(said.contains(&"term 2 of topic \"X\" is empty".to_string()), "{said:?}");
    let many = (0..=TERMS_MAX).map(|i| format!("t{i}")).collect();
    assert_eq!(
        Topics::new(vec![Topic { name: "x".into(), any: many }]).unwrap_err(),
        [TopicError::TooManyTerms { terms: TERMS_MAX + 1 }]
    );
}

#[test]
fn the_version_is_that_of_the_meaning() {
    let version = |topics: Vec<Topic>| Topics::new(topics).unwrap().version().to_string();
    let one = version(vec![topic("a", &["x", "Y z"]), topic("b", &["q"])]);
    assert_eq!(one, version(vec![topic("b", &["Q"]), topic("a", &["y  Z", "x"])]));
    assert_ne!(one, version(vec![topic("a", &["x", "y z", "q"]), topic("b", &["q"])]));
    assert_ne!(one, version(vec![topic("a", &["x"]), topic("b", &["y z", "q"])]));
    assert_ne!(Topics::none().version(), one);
    assert!(Topics::none().matches("anything").is_empty());
}

/// The definition, read literally: every place where the folded term stands, checked alone.
fn naive(topics: &[Topic], text: &str) -> Vec<String> {
    let fold = |text: &str| -> Vec<char> {
        let mut out = Vec::new();
        for c in text.chars() {
            if c.is_whitespace() {
                if out.last() != Some(&' ') {
                    out.push(' ');
                }
            } else if c == 'ς' {
                out.push('σ');
            } else {
                out.extend(c.to_lowercase());
            }
        }
        out
    };
    let text = fold(text);
    let word = |c: char| c.is_alphanumeric() || c == '_' || ('\u{300}'..='\u{36f}').contains(&c);
    let unspaced = |c: char| ('\u{4e00}'..='\u{9fff}').contains(&c) || ('\u{3040}'..='\u{30ff}').contains(&c);
    let mark = |c: char| ('\u{300}'..='\u{36f}').contains(&c);
    let mut found: Vec<String> = topics
        .iter()
        .filter(|topic| {
            topic.any.iter().any(|term| {
                let term = fold(term.trim());
                text.windows(term.len()).enumerate().any(|(at, window)| {
                    let before = at.checked_sub(1).map(|at| text[at]);
                    let after = text.get(at + term.len()).copied();
                    let (first, last) = (term[0], term[term.len() - 1]);
                    let free_before = before.is_none_or(|before| {
                        if word(first) {
                            !(word(before) && (mark(first) || !(unspaced(before) || unspaced(first))))
                        } else {
                            before != first && (!word(before) || unspaced(before))
                        }
                    });
                    let free_after = after.is_none_or(|after| {
                        if word(last) {
                            !(word(after) && (mark(after) || !(unspaced(last) || unspaced(after))))
                        } else {
                            after != last
                        }
                    });
                    window == term && free_before && free_after
                })
            })
        })
        .map(|topic| topic.name.clone())
        .collect();
    found.sort();
    found
}

#[test]
fn the_automaton_finds_what_the_definition_says() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let letters: Vec<char> = "aabbAB+#. \t\u{a0}_1éÉΣς東京の\u{301}😀İ'-".chars().collect();
    let string = |rng: &mut StdRng, max: usize| -> String {
        (0..rng.random_range(1..=max)).map(|_| *letters.choose(rng).unwrap()).collect()
    };
    let (mut hits, mut misses) = (0, 0);
    for _ in 0..3_000 {
        let mut topics: Vec<Topic> = Vec::new();
        for name in 0..rng.random_range(1..6) {
            let terms: Vec<String> = (0..rng.random_range(1..6)).map(|_| string(&mut rng, 4)).collect();
            topics.push(Topic { name: format!("t{name}"), any: terms });
        }
        // Terms drawn twice or blank are refused, which is tested elsewhere.
        let Ok(compiled) = Topics::new(topics.clone()) else { continue };
        for _ in 0..10 {
            let text = string(&mut rng, 30);
            let expected = naive(&topics, &text);
            assert_eq!(compiled.matches(&text), expected, "seed {seed}: {text:?} with {topics:?}");
            hits += expected.len();
            misses += topics.len() - expected.len();
        }
    }
    assert!(hits > 1_000 && misses > 1_000, "{hits} hits, {misses} misses: the test shows little");
}

#[test]
fn a_hostile_text_takes_linear_time() {
    let terms: Vec<String> = (1..100).map(|length| "a".repeat(length)).collect();
    let topics = Topics::new(vec![Topic { name: "a".into(), any: terms }]).unwrap();
    let start = std::time::Instant::now();
    assert!(topics.matches(&"a".repeat(200_000)).is_empty());
    assert!(start.elapsed().as_secs() < 20);
}
