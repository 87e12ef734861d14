//! Cells as bytes: the key and the value of a record of results.volume, written without
//! building a [`VolumeCell`](super::VolumeCell) first, because a wide stream changes
//! several cells an event.
//!
//! Invariant: the bytes are those of serde_json for a cell and of its
//! [`record_key`](super::VolumeCell::record_key); a test compares them.

use super::cell::{By, CellKey, Dimension, Sums, Symbol, Window, mean};
use crate::time::Millis;

/// What the cells of one window and start have in common: `"1m"` and their start, as JSON.
#[derive(Clone, Debug)]
pub struct BucketText {
    window: &'static str,
    start: Box<str>,
}

impl BucketText {
    pub fn new(window: Window, start: i64) -> Self {
        Self { window: window.name(), start: json(&Millis(start)).into() }
    }
}

/// A value as JSON.
pub fn json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data")
}

/// The key: a JSON array of window, start, grouping and the names of its dimensions.
/// `name` gives names as JSON.
pub fn record_key<'a>(key: &CellKey, bucket: &BucketText, name: impl Fn(Symbol) -> &'a str) -> Vec<u8> {
    let by = key.by();
    let mut out = Vec::with_capacity(96);
    push(&mut out, &["[\"", bucket.window, "\",", &bucket.start, ",\"", by.static_name(), "\""]);
    for (dimension, symbol) in symbols(key) {
        if by.has(dimension) {
            push(&mut out, &[",", name(symbol)]);
        }
    }
    out.push(b']');
    out
}

/// The value: a [`VolumeCell`](super::VolumeCell) as JSON. `name` gives names as JSON.
pub fn value<'a>(
    key: &CellKey,
    bucket: &BucketText,
    sums: &Sums,
    authors: i64,
    name: impl Fn(Symbol) -> &'a str,
) -> Vec<u8> {
    let by = key.by();
    let mut out = Vec::with_capacity(320);
    push(
        &mut out,
        &["{\"window\":\"", bucket.window, "\",\"start\":", &bucket.start, ",\"by\":", by_list(by)],
    );
    for (dimension, symbol) in symbols(key) {
        if by.has(dimension) {
            push(&mut out, &[",\"", dimension.name(), "\":", name(symbol)]);
        }
    }
    let mut integer = itoa::Buffer::new();
    let mut number = |out: &mut Vec<u8>, field: &str, n: i64| push(out, &[field, integer.format(n)]);
    number(&mut out, ",\"count\":", sums.count);
    number(&mut out, ",\"scored\":", sums.scored);
    number(&mut out, ",\"compound_sum\":", sums.compound);
    push(&mut out, &[",\"compound_mean\":"]);
    serde_json::to_writer(&mut out, &mean(sums.compound, sums.scored)).expect("a number");
    number(&mut out, ",\"authors\":", authors);
    number(&mut out, ",\"views\":", sums.views);
    number(&mut out, ",\"likes\":", sums.likes);
    number(&mut out, ",\"comments\":", sums.comments);
    number(&mut out, ",\"shares\":", sums.shares);
    out.push(b'}');
    out
}

fn symbols(key: &CellKey) -> [(Dimension, Symbol); 3] {
    [(Dimension::Platform, key.platform), (Dimension::Topic, key.topic), (Dimension::Channel, key.channel)]
}

fn push(out: &mut Vec<u8>, parts: &[&str]) {
    parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
}

fn by_list(by: By) -> &'static str {
    match by.static_name() {
        "platform" => "[\"platform\"]",
        "topic" => "[\"topic\"]",
        "platform+topic" => "[\"platform\",\"topic\"]",
        "platform+channel" => "[\"platform\",\"channel\"]",
        "platform+topic+channel" => "[\"platform\",\"topic\",\"channel\"]",
        _ => "[]",
    }
}

#[cfg(test)]
mod tests {
    use super::super::cell::{Place, VolumeCell};
    use super::*;

    #[test]
    fn the_bytes_are_those_of_serde() {
        let names = [(0, None), (1, Some("x \"quoted\" \u{1F600}\n\\")), (2, Some(""))];
        let text = |symbol| names.iter().find(|(s, _)| *s == symbol).expect("named").1.map(str::to_string);
        let written: Vec<(Symbol, String)> = names.iter().map(|(s, n)| (*s, json(n))).collect();
        let name = |symbol| written.iter().find(|(s, _)| *s == symbol).expect("named").1.as_str();
        let all = [Dimension::Platform, Dimension::Topic, Dimension::Channel];
        let sums = [
            Sums::default(),
            Sums {
                count: 3,
                scored: 3,
                compound: -12_345,
                views: i64::MAX,
                likes: -1,
                comments: 7,
                shares: 2,
            },
            Sums { count: 1, scored: 7, compound: 1, ..Sums::default() },
        ];
        for bits in 0..8 {
            let by = By::new(all.into_iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, d)| d));
            for (window, start) in
                [(Window::Minute, -60_000), (Window::Hour, 0), (Window::Day, 1_764_028_800_000)]
            {
                for (i, sums) in sums.iter().enumerate() {
                    let symbol = |dimension, n: u64| if by.has(dimension) { n } else { 0 };
                    let key = CellKey {
                        place: Place::new(window, start, by),
                        platform: symbol(Dimension::Platform, 1),
                        topic: symbol(Dimension::Topic, i as u64),
                        channel: symbol(Dimension::Channel, 2),
                    };
                    let cell = VolumeCell::new(&key, sums, 5, text);
                    let bucket = BucketText::new(window, start);
                    let bytes = value(&key, &bucket, sums, 5, name);
                    assert_eq!(String::from_utf8_lossy(&bytes), json(&cell));
                    assert_eq!(record_key(&key, &bucket, name), cell.record_key());
                }
            }
        }
    }
}
