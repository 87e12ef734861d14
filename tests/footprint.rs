//! Memory: on one core, with the real embedding model, `tidings run` stays under 350 MB over
//! hours of what the default sources bring. The short form replays one at their full budget,
//! the long form eight; `cargo bench --bench footprint` the whole day.

#[path = "support/day.rs"]
mod day;

use tidings::run::now_ms;

const PEAK_MB_MAX: f64 = 350.0;

#[expect(clippy::disallowed_methods, reason = "the form of the tests is chosen by the environment")]
fn items() -> usize {
    if std::env::var_os("TIDINGS_TEST_LONG").is_some() { 12_000 } else { 1_500 }
}

#[test]
fn hours_of_the_default_sources_fit_in_350_mb_on_one_core() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = day::Program::start(folder.path());
    assert_eq!(program.feed(day::events(1, items(), now_ms())), items());
    program.wait_until_quiet();
    let resident = program.resident();
    println!("{} items: {resident:?}", items());
    assert!(resident.now > 100.0, "the model is loaded: {resident:?}");
    assert!(resident.peak < PEAK_MB_MAX, "{resident:?}");
}
