//! What each step of text analysis costs a document, one thread.
//!
//! `cargo bench --profile dev --bench text`: the profile that tests and the demo are built with.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataflows::pii::{Counts, Kinds, Redactor};
use dataflows::stories::signature::Signature;
use dataflows::stories::sketch::Sketch;
use dataflows::text::topics::{Topics, TopicsFile};
use dataflows::text::{analyse, html, language, sentiment, terms};

/// Documents like those of the four VADER sets (106 bytes in the mean) and of feeds.
const SHORT: &[&str] = &[
    "Somehow I was blessed with some really amazing friends in my life who love me. So lucky.",
    "RT @anonymous: I HATE when that happens!!! Not good, but it could be worse :( http://url_removed",
    "The plot was good, but the characters are uncompelling and the dialog is not great.",
    "does your apex dvd player only play dvd audio without video? it was a waste of money, sadly.",
    "Catch utf-8 emoji such as 💘 and 💋 and 😁, it’s so much fun “they” said",
    "Events include sprinting, broad jumping, yule log rolling, wreath tossing and a toy sack relay in the park.",
];

/// A post as Mastodon or a feed of WordPress gives it.
const HTML: &str = "<p>Today we&#8217;re releasing <a href=\"https://example.org/x?a=1&amp;b=2\" \
    rel=\"nofollow noopener\"><span class=\"invisible\">https://</span>example.org</a>, a <strong>small</strong> \
    editor for people who write &amp; think.</p>\n<ul>\n<li>Fast</li>\n<li>Free</li>\n</ul>\n<p>It took three \
    years, two rewrites and a lot of coffee. <img src=\"x.png\" alt=\"😀\" class=\"emoji\" /> Thanks to everybody \
    who helped: testers, translators and friends!<br />See you on Tuesday.</p>";

/// Numbers of all sorts and nothing personal: what makes the search for it look twice.
const NUMBERS: &[&str] = &[
    "Lakers 102-98 Celtics on 2024-11-24 at 10:15:30, order 123-4567890-1234567, v1.2.3.4, $1,299.99",
    "commit 3f786850e387550fdab836ed7e6dc881de23001b of 1732443330123, 48.8566, 2.3522, ISBN 978-3-16-148410-0",
];

/// One text with a value of each of six types.
const PERSONAL: &str = "Write to jane@example.org or call +1 202-555-0123, pay 4111 1111 1111 1111 or \
    DE89 3704 0044 0532 0130 00, from 198.51.100.23, SSN 123-45-6789.";

/// As in config/default.toml.
const TERMS_MAX: usize = 6;

fn watched() -> Topics {
    let file: TopicsFile =
        toml::from_str(include_str!("../config/topics.toml")).expect("the default topics parse");
    Topics::new(file.topics).expect("the default topics are valid")
}

fn text(c: &mut Criterion) {
    let topics = watched();
    let mut group = c.benchmark_group("text");
    group.measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1)).sample_size(30);
    group.throughput(Throughput::Elements(SHORT.len() as u64));
    group.bench_function("sentiment", |b| {
        b.iter(|| SHORT.iter().for_each(|t| _ = black_box(sentiment::score(t))));
    });
    group
        .bench_function("topics", |b| b.iter(|| SHORT.iter().for_each(|t| _ = black_box(topics.matches(t)))));
    group.bench_function("terms", |b| {
        b.iter(|| SHORT.iter().for_each(|t| _ = black_box(terms::terms(t, Some("en"), TERMS_MAX))));
    });
    group.bench_function("signature", |b| {
        b.iter(|| SHORT.iter().for_each(|t| _ = black_box(Signature::of(t))));
    });
    group.bench_function("language", |b| {
        b.iter(|| SHORT.iter().for_each(|t| _ = black_box(language::language(t, None))));
    });
    let redactor = Redactor::new(b"a key", Kinds::ALL, Vec::new());
    let mask = |text: &str| _ = black_box(redactor.mask(text, &mut Counts::default()));
    group.bench_function("redact_short", |b| b.iter(|| SHORT.iter().for_each(|t| mask(t))));
    group.bench_function("html_plain", |b| {
        b.iter(|| SHORT.iter().for_each(|t| _ = black_box(html::to_text(t))));
    });
    group.bench_function("analyse", |b| {
        b.iter(|| {
            SHORT
                .iter()
                .for_each(|t| _ = black_box(analyse(None, Some(t), Some("en"), &topics, TERMS_MAX, true)));
        });
    });
    group.throughput(Throughput::Elements(NUMBERS.len() as u64));
    group.bench_function("redact_numbers", |b| b.iter(|| NUMBERS.iter().for_each(|t| mask(t))));
    group.throughput(Throughput::Elements(1));
    // No digit and no @.
    group.bench_function("redact_nothing", |b| b.iter(|| mask(SHORT[0])));
    let vector: Vec<f32> = (0..384).map(|i| (i as f32).sin()).collect();
    group.bench_function("sketch_of_384", |b| b.iter(|| black_box(Sketch::of("m", &vector))));
    group.bench_function("redact_personal", |b| b.iter(|| mask(PERSONAL)));
    group.throughput(Throughput::Bytes(HTML.len() as u64));
    group.bench_function("terms_post", |b| {
        let text = html::to_text(HTML);
        b.iter(|| black_box(terms::terms(&text, Some("en"), TERMS_MAX)));
    });
    group.bench_function("signature_post", |b| {
        let text = html::to_text(HTML);
        b.iter(|| black_box(Signature::of(&text)));
    });
    group.bench_function("html_post", |b| b.iter(|| black_box(html::to_text(HTML))));
    group.bench_function("analyse_post", |b| {
        b.iter(|| {
            black_box(analyse(Some("A small editor"), Some(HTML), Some("en"), &topics, TERMS_MAX, true))
        });
    });
    group.finish();
}

criterion_group!(benches, text);
criterion_main!(benches);
