use std::collections::BTreeSet;

use super::*;

fn en(text: &str) -> Vec<String> {
    terms(text, Some("en"), 6)
}

#[test]
fn hashtags_names_and_phrases_are_found() {
    assert_eq!(
        en("We watch #RustLang and #Tokio_rs, not #1 or C&#39;s or x.org/#frag."),
        ["#rustlang", "#tokio_rs"]
    );
    assert_eq!(
        en("Yesterday the White House spoke with OpenAI about chips."),
        ["openai", "white house", "white house spoke"]
    );
    assert_eq!(en("the trade war of tariffs"), ["trade war"]);
    assert_eq!(
        terms("Gestern hat der Bundestag über die Schuldenbremse gestritten.", Some("de"), 6),
        ["bundestag", "schuldenbremse", "schuldenbremse gestritten"]
    );
    assert_eq!(
        terms("Le gouvernement d’Emmanuel Macron a parlé de l’inflation", Some("fr"), 6),
        ["emmanuel macron"]
    );
    assert_eq!(terms("Hoy el Banco Central habló", Some("es"), 6), ["banco central", "banco central habló"]);
}

#[test]
fn what_is_no_term() {
    for text in [
        "",
        "   ",
        "it was on monday the 24 of november 2026",
        "see https://example.org/Some/Path?q=Berlin and www.example.org/Berlin",
        "@Some_Body @other@example.social",
        "Hello",
        "It is. It was? Berlin",
        "12 345 6-7",
        "東京都は今日雨が降っています",
        "a b c d",
    ] {
        assert!(en(text).is_empty(), "{text:?}: {:?}", en(text));
    }
    assert_eq!(en("in Tokyo’s bay"), ["tokyo", "tokyo bay"], "an ending is no word");
}

#[test]
fn case_and_place_do_not_make_another_term() {
    let a = en("Something about the nobel prize");
    assert_eq!(a, en("SOMETHING about the Nobel Prize!"));
    assert_eq!(a, ["nobel prize"]);
    // Past three, capitals are a headline's.
    let headline = en("Apple Launches Cheaper Laptops Across Europe");
    assert!(headline.contains(&"cheaper laptops".to_string()), "{headline:?}");
    assert!(headline.iter().all(|term| term.split(' ').count() <= 2), "{headline:?}");
}

#[test]
fn the_more_telling_come_first_when_there_are_too_many() {
    let text = "the cold rain of Lyon and Paris in New York with #a1 or #b2";
    assert_eq!(terms(text, Some("en"), 2), ["#a1", "#b2"]);
    assert_eq!(terms(text, Some("en"), 3), ["#a1", "#b2", "new york"]);
    assert_eq!(terms(text, Some("en"), 4), ["#a1", "#b2", "lyon", "new york"]);
    assert_eq!(terms(text, Some("en"), 6), ["#a1", "#b2", "cold rain", "lyon", "new york", "paris"]);
    assert!(terms(text, Some("en"), 0).is_empty());
}

/// Pieces that have broken tokenisers before, in random order.
#[test]
fn arbitrary_text_gives_a_bounded_and_stable_answer() {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    const PIECES: [&str; 36] = [
        "#",
        "@",
        "-",
        "--",
        "'",
        "’",
        "’s",
        "http://",
        "HTTPS://x",
        "www.",
        ".",
        ",",
        "\n",
        " ",
        "  ",
        "\u{a0}",
        "é",
        "e\u{301}",
        "İ",
        "ß",
        "ǅ",
        "Σς",
        "ก",
        "東京",
        "👩‍👩‍👧",
        "\u{200d}",
        "\u{feff}",
        "\0",
        "A",
        "Big",
        "word",
        "Zwei",
        "it",
        "42",
        "_",
        "x-",
    ];
    for seed in 0..3_000 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut text: String =
            (0..rng.random_range(0..60)).map(|_| PIECES[rng.random_range(0..PIECES.len())]).collect();
        if seed % 100 == 0 {
            text = text.repeat(500);
        }
        if seed % 3 == 0 {
            text.extend((0..20).map(|_| rng.random::<char>()));
        }
        let max = rng.random_range(0..8);
        let lang = [None, Some("en"), Some("de"), Some("xx")][rng.random_range(0..4)];
        let found = terms(&text, lang, max);
        assert_eq!(found, terms(&text, lang, max), "seed {seed}");
        assert!(found.len() <= max, "seed {seed}");
        let unique: BTreeSet<&String> = found.iter().collect();
        assert!(unique.iter().copied().eq(found.iter()), "seed {seed}: sorted, each once: {found:?}");
        for term in &found {
            assert!(!term.is_empty() && term.len() <= TERM_BYTES_MAX, "seed {seed}: {term:?}");
            assert!(term.chars().any(char::is_alphabetic), "seed {seed}: {term:?}");
            assert!(!term.contains(['@', '/', '\n']) && !term.contains("http:"), "seed {seed}: {term:?}");
            assert!(term.chars().nth(1).is_some(), "seed {seed}: {term:?}");
        }
    }
}
