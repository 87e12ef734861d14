//! Any digest, of any text, makes a message that Discord takes.

use dataflows::event::Version;
use dataflows::time::Millis;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tidings::alerts::record::Severity;
use tidings::discord::digest::{Also, Digest, Item, OfStory, QuietAlert, Standing, Why};
use tidings::discord::message::{EMBED_TEXT_MAX, Message, alerts_unshown, check, footer, of_digest};
use tidings::discord::schedule::Window;

use crate::server::rules;

const HOSTILE: &[&str] = &[
    "@everyone",
    "<@1>",
    "<#2>",
    "<t:1:R>",
    "discord.gg/x",
    "[a](http://b)",
    "```",
    "||",
    "\u{202e}",
    "👩‍👩‍👧‍👦",
    "日本語のテキスト",
    "e\u{301}\u{301}\u{301}\u{301}\u{301}",
    "*_~`>#-",
    "\n# x",
    " ",
    "word",
    "\\",
    "𝕏𝕐𝕫",
];

pub fn text(random: &mut StdRng, pieces: usize) -> String {
    (0..random.random_range(0..=pieces)).map(|_| HOSTILE[random.random_range(0..HOSTILE.len())]).collect()
}

fn standing(random: &mut StdRng) -> Standing {
    Standing {
        name: text(random, 200),
        label: random.random_bool(0.5).then(|| text(random, 200)),
        count: random.random_range(0..u64::MAX / 4),
        previous_count: if random.random_bool(0.5) { 0 } else { random.random_range(0..1_000_000) },
        mood: random.random_bool(0.7).then(|| random.random_range(-1.0..1.0)),
        previous_mood: random.random_bool(0.7).then(|| random.random_range(-1.0..1.0)),
    }
}

fn also(random: &mut StdRng) -> Also {
    let urls =
        ["https://a.example/same", "javascript:x", "https://b.example/?q=(1)", "https://b.example/|x|"];
    Also {
        id: text(random, 50) + "id",
        version: Version::default(),
        shown: String::new(),
        platform: text(random, 20),
        url: random.random_bool(0.7).then(|| urls[random.random_range(0..4)].to_string()),
    }
}

fn item(random: &mut StdRng) -> Item {
    let urls = ["https://a.example/same", "javascript:x", "", "https://b.example/?q=1"];
    let url = match random.random_range(0..6) {
        n @ 0..4 => Some(urls[n].to_string()),
        4 => Some(format!("https://c.example/{}", "x".repeat(random.random_range(0..2_100)))),
        _ => None,
    };
    Item {
        id: text(random, 50) + "id",
        version: Version::default(),
        shown: String::new(),
        platform: text(random, 20),
        channel: random.random_bool(0.5).then(|| text(random, 100)),
        author: random.random_bool(0.5).then(|| text(random, 100)),
        title: random.random_bool(0.8).then(|| text(random, 300)),
        text: random.random_bool(0.8).then(|| text(random, 600)),
        url,
        published_at: Millis(random.random_range(0..2_000_000_000_000)),
        mood: random.random_bool(0.5).then(|| random.random_range(-1.0..1.0)),
        topics: Vec::new(),
        why: Why {
            score: random.random(),
            engagement_percentile: random.random(),
            burst_topic: Some(text(random, 100)),
            ..Why::default()
        },
        edited: random.random_bool(0.3),
        story: random.random_bool(0.5).then(|| OfStory {
            id: "a story".into(),
            items: 3,
            also: (0..random.random_range(0..6)).map(|_| also(random)).collect(),
        }),
    }
}

fn digest(random: &mut StdRng) -> Digest {
    let window = Window { start: Millis(1_777_000_000_000), end: Millis(1_777_086_400_000) };
    let mut digest = Digest::skipped("route", window, window.end, "empty");
    digest.skipped = None;
    digest.total = standing(random);
    digest.topics = (0..random.random_range(0..=20)).map(|_| standing(random)).collect();
    digest.channels = (0..random.random_range(0..=5)).map(|_| standing(random)).collect();
    digest.topics_more = random.random_range(0..3);
    digest.items = (0..random.random_range(0..=8)).map(|_| item(random)).collect();
    digest.items_more = random.random_range(0..100_000);
    digest.removed = random.random_range(0..3);
    digest.missed = random.random_range(0..3);
    let alerts = if random.random_bool(0.5) { random.random_range(0..=100) } else { 0 };
    digest.alerts = (0..alerts).map(|_| quiet_alert(random)).collect();
    digest
}

fn quiet_alert(random: &mut StdRng) -> QuietAlert {
    QuietAlert {
        key: text(random, 20),
        rule: text(random, 40),
        severity: Severity::Info,
        label: text(random, 200),
        why: text(random, 400),
        since: Millis(random.random_range(0..2_000_000_000_000)),
        resolved: None,
        content_ids: Vec::new(),
    }
}

#[test]
fn alerts_of_quiet_hours_fill_several_fields_and_the_rest_is_counted() {
    let mut random = StdRng::seed_from_u64(1);
    let mut digest = digest(&mut random);
    let alert = |n: usize| QuietAlert {
        rule: "rule".into(),
        label: format!("subject {n:03}"),
        why: "why ".repeat(40),
        ..quiet_alert(&mut StdRng::seed_from_u64(n as u64))
    };
    let mut last = 0;
    for count in [1, 10, 20, 40, 100] {
        digest.alerts = (0..count).map(alert).collect();
        let message = of_digest(&digest, &jiff::tz::TimeZone::UTC);
        check(&message).expect("valid");
        let fields = message.embeds[0].fields.iter().filter(|f| f.name.starts_with("While it was quiet"));
        let values: Vec<&str> = fields.map(|field| field.value.as_str()).collect();
        let lines = values.iter().flat_map(|value| value.lines());
        let shown = lines.filter(|line| line.contains("subject ")).count();
        assert_eq!(shown + alerts_unshown(&digest), count);
        let more = format!("and {} more", count - shown);
        assert_eq!(values.last().expect("one").ends_with(&more), shown < count, "{values:?}");
        assert_eq!(values[0].contains("why why"), count <= 20, "shorter lines, so that more are shown");
        last = last.max(shown);
    }
    assert!(last > 60, "{last} of 100");
}

/// As it goes over the wire, near enough for the rules.
pub fn body(message: &Message) -> Value {
    let embeds: Vec<Value> = message
        .embeds
        .iter()
        .map(|e| {
            let mut embed = serde_json::to_value(e).expect("serializes");
            let object = embed.as_object_mut().expect("an object");
            if let Some(colour) = object.remove("colour") {
                object.insert("color".into(), colour);
            }
            if let Some(footer) = object.remove("footer") {
                object.insert("footer".into(), json!({"text": footer}));
            }
            embed
        })
        .collect();
    json!({"embeds": embeds, "allowed_mentions": {"parse": []}, "flags": 4096})
}

#[test]
fn any_digest_is_a_valid_message() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for round in 0..600 {
        let digest = digest(&mut random);
        let message = of_digest(&digest, &jiff::tz::TimeZone::UTC);
        check(&message).unwrap_or_else(|why| panic!("seed {seed} round {round}: {why}"));
        assert!(message.embed_units() <= EMBED_TEXT_MAX);
        let body = body(&message);
        rules::validate(&body, "post").unwrap_or_else(|why| panic!("seed {seed} round {round}: {why}"));
        assert_eq!(rules::misdeeds(&body, "post"), Vec::<String>::new(), "seed {seed} round {round}");
        let last = message.embeds.last().expect("one");
        assert_eq!(last.footer.as_deref(), Some(footer(&digest.key).as_str()));
        assert_eq!(message, of_digest(&digest, &jiff::tz::TimeZone::UTC), "the same digest, another message");
    }
}

type Breakage = Box<dyn Fn(&mut Message)>;

#[test]
fn the_check_finds_each_limit() {
    let window = Window { start: Millis(0), end: Millis(86_400_000) };
    let good = of_digest(&Digest::skipped("route", window, window.end, "empty"), &jiff::tz::TimeZone::UTC);
    assert_eq!(check(&good), Ok(()));
    let broken: Vec<(&str, Breakage)> = vec![
        ("content", Box::new(|m| m.content = Some("x".repeat(2_001)))),
        ("embeds", Box::new(|m| m.embeds = vec![m.embeds[0].clone(); 11])),
        ("title", Box::new(|m| m.embeds[0].title = Some("𝕏".repeat(129)))),
        ("description", Box::new(|m| m.embeds[0].description = Some("x".repeat(4_097)))),
        (
            "text of all embeds",
            Box::new(|m| {
                let full = tidings::discord::message::Embed {
                    description: Some("x".repeat(3_001)),
                    ..Default::default()
                };
                m.embeds = vec![full.clone(), full];
            }),
        ),
        (
            "field is empty",
            Box::new(|m| m.embeds[0].fields.push(tidings::discord::message::Field::default())),
        ),
        ("url", Box::new(|m| m.embeds[0].url = Some("javascript:alert(1)".into()))),
        ("empty", Box::new(|m| m.embeds.clear())),
    ];
    for (expected, break_it) in broken {
        let mut message = good.clone();
        break_it(&mut message);
        let why = check(&message).expect_err(expected);
        assert!(why.contains(expected), "{why} does not say {expected}");
    }
}
