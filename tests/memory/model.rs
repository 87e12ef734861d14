//! The real model.

use std::sync::Arc;
use std::time::Duration;

use dataflows::vector::dot;
use tidings::config::Environment;
use tidings::memory::models::{Embedder, Model};

use crate::fixtures::*;

/// The model of this machine; where there is none the test fails and says what to do.
fn model() -> Arc<dyn Embedder> {
    let cache = Environment::of_process(None).cache_dir().expect("a home folder");
    let model = Model::new(&shipped().models.in_cache(&cache));
    match model.wait(Duration::from_secs(60)) {
        Ok(embedder) => embedder,
        Err(reason) => panic!("this test needs the embedding model: run `tidings models fetch` ({reason})"),
    }
}

#[test]
fn related_sentences_are_nearer_than_unrelated_ones() {
    let model = model();
    let cosine = |a: &str, b: &str| {
        let vectors = model.embed(&[a, b]).expect("embedded");
        dot(&vectors[0].0, &vectors[1].0)
    };
    for (question, related, unrelated) in [
        (
            "How do I repair a bicycle tyre?",
            "Fixing a flat on your bike",
            "The central bank raised interest rates",
        ),
        ("The king died yesterday", "The monarch has passed away", "A recipe for tomato soup"),
        ("Rust compiler gets faster", "rustc build times improve", "The striker scored twice in the final"),
    ] {
        let (near, far) = (cosine(question, related), cosine(question, unrelated));
        assert!(near > far + 0.15, "{question}: {near} against {far}");
    }
    for vector in model.embed(&["one", "a somewhat longer text", ""]).expect("embedded") {
        let length = dot(&vector.0, &vector.0);
        assert!((length - 1.0).abs() < 1e-5, "length {length}");
    }
}

/// What ONNX Runtime's Python package gives for the same files: the first values of
/// the vector of each text.
#[test]
fn vectors_equal_those_of_the_python_runtime() {
    let model = model();
    let reference = match model.model() {
        "all-MiniLM-L6-v2-int8@afdb6f1a" => &REFERENCE_HUB,
        "all-MiniLM-L6-v2-int8@8199be6f" => &REFERENCE_PACKAGE,
        other => panic!("no reference for {other}"),
    };
    for (text, expected) in texts().iter().zip(reference.iter()) {
        let vector = model.embed(&[text.as_str()]).expect("embedded").remove(0);
        for (got, expected) in vector.0.iter().zip(expected) {
            assert!(
                (got - expected).abs() < TOLERANCE,
                "{text:?}: {:?} against {expected:?}",
                &vector.0[..8]
            );
        }
    }
}

/// A text's vector does not depend on what is embedded with it.
#[test]
fn neighbours_in_a_batch_change_nothing() {
    let model = model();
    let all = texts();
    let texts: Vec<&str> = all.iter().map(String::as_str).cycle().take(model.batch_max()).collect();
    let together = model.embed(&texts).expect("embedded");
    for (text, together) in texts.iter().zip(together) {
        let alone = model.embed(&[text]).expect("embedded").remove(0);
        assert!(dot(&alone.0, &together.0) > 0.999, "{text}");
    }
}

/// Integer kernels differ a little between processors; a wrong token, mask or mean
/// differs by ten times as much.
const TOLERANCE: f32 = 5e-3;

fn texts() -> [String; 3] {
    [
        "Tidings watches many platforms at once.".to_string(),
        "東京で雨が降る".to_string(),
        format!("A much longer text, {}and an end.", "with words that repeat, ".repeat(60)),
    ]
}

const REFERENCE_HUB: [[f32; 8]; 3] = [
    [0.05545, -0.07821, -0.01617, -0.06918, 0.04000, -0.00745, 0.03450, -0.01722],
    [0.10796, 0.08922, 0.06896, -0.01121, -0.02650, 0.06282, 0.13626, 0.00008],
    [0.03972, -0.02845, 0.02489, -0.05339, -0.05067, 0.05100, 0.04062, -0.01266],
];
const REFERENCE_PACKAGE: [[f32; 8]; 3] = [
    [0.06062, -0.07988, -0.01793, -0.06585, 0.02942, -0.00864, 0.04026, -0.01455],
    [0.10060, 0.08798, 0.06777, -0.00652, -0.03036, 0.06158, 0.13322, 0.00059],
    [0.04467, -0.03009, 0.02660, -0.04336, -0.04003, 0.06343, 0.05746, -0.02428],
];
