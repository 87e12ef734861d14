use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;

fn redactor() -> Redactor {
    Redactor::new(b"a key for tests", Kinds::ALL, vec!["mastodon".to_string()])
}

fn masked(text: &str) -> String {
    redactor().mask(text, &mut Counts::default()).into_owned()
}

fn kinds(text: &str) -> Vec<(Kind, &str)> {
    find(text, Kinds::ALL).into_iter().map(|f| (f.kind, &text[f.start..f.end])).collect()
}

/// Digits of a number.
fn digits(number: u64, width: usize) -> Vec<u8> {
    format!("{number:0width$}").bytes().map(|b| b - b'0').collect()
}

mod check_digits;

#[test]
fn a_text_becomes_masks_and_counts() {
    let mut counts = Counts::default();
    let text = redactor().mask("Call +1 202-555-0123, or jane@example.org!", &mut counts).into_owned();
    assert!(text.starts_with("Call [phone:"), "{text}");
    assert!(text.ends_with("]!") && text.contains("], or [email:"), "{text}");
    assert_eq!((counts.of(Kind::Phone), counts.of(Kind::Email), counts.total()), (1, 1, 2));
    assert_eq!(counts.iter().count(), 2);
}

#[test]
fn a_text_without_anything_is_not_copied() {
    for text in ["", "nothing here", "größer ありがとう", "room 12 at 10:30", "1.5 million @home"] {
        assert!(matches!(redactor().mask(text, &mut Counts::default()), Cow::Borrowed(_)), "{text}");
    }
}

#[test]
fn equal_values_join_in_whatever_format() {
    let equal: [&[&str]; 11] = [
        &["jane@example.org", "JANE@Example.ORG", "ｊａｎｅ＠example.org", "ja\u{200b}ne@example.org"],
        &[
            "+1 202-555-0123",
            "(202) 555-0123",
            "1-202-555-0123",
            "202.555.0123",
            "+12025550123",
            "tel ２０２-555-0123",
        ],
        &["+44 20 7946 0958", "+44 (0)20 7946 0958", "0044 20 7946 0958", "011 44 20 7946 0958"],
        &[
            "4111 1111 1111 1111",
            "4111-1111-1111-1111",
            "4111111111111111",
            "4111\u{a0}1111\u{a0}1111\u{a0}1111",
        ],
        &["DE89 3704 0044 0532 0130 00", "DE89370400440532013000", "de89370400440532013000"],
        &["2001:db8::1", "2001:DB8:0:0:0:0:0:1", "2001:0db8:0000:0000:0000:0000:0000:0001"],
        &["00:1a:2b:3c:4d:5e", "00-1A-2B-3C-4D-5E", "001a.2b3c.4d5e"],
        &["SSN 123-45-6789", "SSN 123456789", "SSN 123 45 6789"],
        &["NHS 943 476 5919", "NHS 9434765919", "NHS 943-476-5919"],
        &["DNI 12345678Z", "DNI 12345678-Z", "DNI 12.345.678-Z", "DNI 12345678z"],
        &["Aadhaar 2341 2341 2346", "Aadhaar 234123412346", "आधार २३४१ २३४१ २३४६"],
    ];
    for formats in equal {
        let masks: BTreeSet<String> = formats
            .iter()
            .map(|text| {
                let text = masked(text);
                text[text.find('[').unwrap_or_else(|| panic!("{text}"))..].to_string()
            })
            .collect();
        assert_eq!(masks.len(), 1, "{formats:?}: {masks:?}");
    }
    assert_ne!(masked("a@example.org"), masked("b@example.org"));
    let other = Redactor::new(b"another key", Kinds::ALL, Vec::new());
    assert_ne!(masked("a@example.org"), other.mask("a@example.org", &mut Counts::default()));
}

#[test]
fn precedence_decides_overlaps() {
    // An address that begins like a number, a card in the form of an account, mapped addresses.
    assert_eq!(kinds("4111111111111111@example.org"), [(Kind::Email, "4111111111111111@example.org")]);
    assert_eq!(kinds("::ffff:192.0.2.1"), [(Kind::Ipv6, "::ffff:192.0.2.1")]);
    assert_eq!(kinds("202-555-0123@example.org")[0].0, Kind::Email);
    let without_email: Kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Email).collect();
    let found = find("202-555-0123 x@example.org", without_email);
    assert_eq!((found.len(), found[0].kind), (1, Kind::Phone), "what is not asked for hides nothing");
}

#[test]
fn public_handles_and_ids_stay() {
    let redactor = redactor();
    let mut counts = Counts::default();
    assert_eq!(redactor.mask_name("mastodon", "jane@social.example", &mut counts), "jane@social.example");
    assert_eq!(redactor.mask_id("mastodon", "jane@social.example", &mut counts), "jane@social.example");
    assert_eq!(redactor.mask_id("x", "4111111111111111", &mut counts), "4111111111111111");
    assert_eq!(counts.total(), 0);
    assert!(redactor.mask_name("rss", "jane@mail.example (Jane)", &mut counts).starts_with("[email:"));
    assert!(redactor.mask_id("rss", "jane@mail.example", &mut counts).starts_with("[email:"));
    assert_eq!(masked("as @jane@social.example said"), "as @jane@social.example said");
}

#[test]
fn addresses_lose_people_and_keep_their_paths() {
    let redactor = redactor();
    let mut counts = Counts::default();
    let url = |url: &str| redactor.mask_url(url, &mut Counts::default()).into_owned();
    for stays in [
        "https://example.org/12-345678?id=4111111111111111",
        "https://x.example/status/1729384756473829102#p2",
        "http://192.0.2.1:8080/a%20b?q=%E2%82%AC",
        "https://example.org/%",
        "https://example.org/@jane/1?x=%4",
    ] {
        assert_eq!(url(stays), stays);
    }
    let gone =
        redactor.mask_url("https://example.org/u?e=jane%40example.org&p=%2B12025550123#x", &mut counts);
    assert!(
        gone.starts_with("https://example.org/u?e=%5Bemail:")
            && gone.contains("%5D&p=%5Bphone:")
            && gone.ends_with("%5D#x"),
        "{gone}"
    );
    assert_eq!(counts.total(), 2);
    let suffix = |text: &str| text.split("email:").nth(1).map(|rest| rest[..10].to_string());
    assert_eq!(suffix(&gone), suffix(&masked("jane@example.org")), "it joins with the text");
    assert_eq!(url(&gone), gone, "and stays");
}

#[test]
fn records_hide_nothing_behind_json() {
    let redactor = redactor();
    let record = |bytes: &[u8]| redactor.mask_record(bytes, &mut Counts::default());
    let hidden = [
        r#"{"text":"jane\u0040example.org"}"#,
        r#"{"text":"call\n202-555-0123 now"}"#,
        r#"{"jane@example.org":[1,{"x":"a"}]}"#,
        r#"{"ssn":"123456789","n":1}"#,
        r#"{"phone_number":2025550123}"#,
        r#"{"text":"jane\u0040example.org" broken"#,
        r#"{"text":"call\n202-555-0123 now", broken"#,
        "plain jane@example.org",
    ];
    for text in hidden {
        let shown = record(text.as_bytes());
        assert!(
            shown.contains("[email:") || shown.contains("[phone:") || shown.contains("[us_ssn:"),
            "{text}: {shown}"
        );
        assert!(
            !shown.contains("example.org") && !shown.contains("555") && !shown.contains("123456789"),
            "{shown}"
        );
    }
    // What has nothing in it is kept to the byte.
    for text in [r#"{ "b":1, "a":"\u00e9\n", "t":1732443330123 }"#, "{ broken \\n", "1", ""] {
        assert_eq!(record(text.as_bytes()), text);
    }
    assert_eq!(record(b"\xff jane@example.org").chars().next(), Some('\u{fffd}'));
}

#[test]
fn words_are_read_without_the_names_of_masks() {
    let text = masked("phone me at +12025550123 or [card] [phone:12]");
    assert_eq!(without_masks(&text), "phone me at   or [card] [phone:12]");
    assert!(matches!(without_masks("[a] b"), Cow::Borrowed("[a] b")));
}

#[test]
fn what_documents_are_full_of_is_nothing() {
    for text in [
        "rdkafka-sys-v4.10.0+2.12.1 (2026-01-25)",
        "51 Franklin Street, Boston, MA 02110-1301 USA",
        "a+4420 7946 0958",
        "nothing@1.2.3-beta.rc.1 and icon@2x.png",
        "Chrome/120.0.0.0 on 10.15.7, build 1.2.3.4",
        "const IORING_OFF_CALL_PH: u32 = 2147483648;",
        "a ring of size 2147483648",
        "year +262142-12-31 at +255959.999",
        "call 2024-10-12, call 12.10.2024 18:00, phone 20241012, tel 1.234.567,89",
        "the text of call 17, order 202-555-0123",
        "9400 1000 0000 0000 0000 00 and 1732443330123",
    ] {
        assert_eq!(kinds(text), [], "{text}");
    }
}

/// Pieces that values are made of, to be put together in ways that nobody writes.
const PIECES: &[&str] = &[
    "jane",
    "@",
    "example",
    ".",
    "org",
    "+",
    "1",
    "44",
    "202",
    "555",
    "0123",
    "-",
    " ",
    "(",
    ")",
    "/",
    ":",
    "::",
    "0",
    "00",
    "4111",
    "1111",
    "DE89",
    "3704 0044 0532 0130 00",
    "X",
    "1234567",
    "L",
    "12345678Z",
    "2001:db8",
    "fe80",
    "ff",
    "192.0.2.1",
    "1.2.3.4",
    "123-45-6789",
    "943 476 5919",
    "44051401359",
    "2341 2341 2346",
    "[",
    "]",
    "[email:",
    "[phone:",
    "3f9a1c2b7d",
    "[email:3f9a1c2b7d]",
    "[ipv4:1234567890]",
    "\n",
    "\t",
    "\u{200b}",
    "\u{a0}",
    "é",
    "日本",
    "٣",
    "२",
    "＠",
    "😀",
    "tel",
    "ssn",
    "NHS",
    "%40",
    "\\",
    "\"",
    "$",
    "#",
    "x",
    "_",
    "v",
    "\u{301}",
    "\u{ad}",
    "00:1a:2b:3c:4d:5e",
    "a@b.co",
];

fn random_text(rng: &mut StdRng) -> String {
    let mut text = String::new();
    for _ in 0..rng.random_range(0..14) {
        match rng.random_range(0..8) {
            0 => text.push(rng.random_range('\u{20}'..'\u{7f}')),
            1 => text.push(rng.random::<char>()),
            2 => text.push_str(&rng.random_range(0..u64::MAX).to_string()[..rng.random_range(1..18)]),
            _ => text.push_str(PIECES.choose(rng).expect("not empty")),
        }
    }
    text
}

#[test]
fn random_texts_neither_panic_nor_change_twice() {
    let seed = 20_261_124;
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let redactor = redactor();
    let mut found_some = 0;
    for round in 0..60_000 {
        let text = random_text(&mut rng);
        let found = find(&text, Kinds::ALL);
        found_some += usize::from(!found.is_empty());
        let mut end = 0;
        for value in &found {
            assert!(value.start >= end && value.start < value.end, "round {round}: {text:?}: {found:?}");
            assert!(text.is_char_boundary(value.start) && text.is_char_boundary(value.end), "{text:?}");
            assert!(!value.value.is_empty());
            end = value.end;
        }
        let once = redactor.mask(&text, &mut Counts::default()).into_owned();
        let twice = redactor.mask(&once, &mut Counts::default()).into_owned();
        assert_eq!(once, twice, "round {round}: {text:?}");
        let _ = redactor.mask_url(&text, &mut Counts::default());
        let _ = redactor.mask_record(text.as_bytes(), &mut Counts::default());
        let _ = without_masks(&text);
        // One kind alone finds what it is asked for, wherever that is.
        let kind = *Kind::ALL.choose(&mut rng).expect("not empty");
        assert!(find(&text, [kind].into_iter().collect()).iter().all(|f| f.kind == kind), "{text:?}");
    }
    assert!(found_some > 5_000, "only {found_some} texts had something");
}

#[test]
fn hostile_texts_take_linear_time() {
    // Work is bounded per digit and per @; a quadratic rule would take hours on these.
    for piece in [
        "1", "1 ", "1.", "1-", "1:", "a1", "@", "a@", "0 1", "ab:", "+1", "(1)", "[1", "1a:", "00-", "é1",
        "[email:", "1.1.1.", "x@y.",
    ] {
        let text = piece.repeat(400_000 / piece.len());
        let once = redactor().mask(&text, &mut Counts::default()).into_owned();
        assert!(once.len() < 20 * text.len());
    }
}
