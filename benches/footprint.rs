//! The memory of `tidings run` on one core, with the embedding model, over a day of what
//! the default sources bring: at rest, and after each tenth of it.
//!
//! ```sh
//! cargo bench --bench footprint [-- ITEMS]     # a whole day without
//! ```
//!
//! The events come as fast as they are taken; each tenth is embedded before the next one.

#[path = "../tests/support/day.rs"]
mod day;

use std::time::Instant;

use tidings::run::now_ms;

fn main() {
    let items = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(day::ITEMS);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = day::Program::start(folder.path());
    program.wait_until_quiet();
    println!("at rest: {:.0} MB", program.resident().now);
    let mut events = day::events(1, items, now_ms());
    let started = Instant::now();
    let mut fed = 0;
    while fed < items {
        let more = program.feed(events.by_ref().take(items.div_ceil(10)));
        fed += more;
        program.wait_until_quiet();
        let resident = program.resident();
        println!(
            "{fed} items after {:.0} s: {:.0} MB now, {:.0} MB at most",
            started.elapsed().as_secs_f64(),
            resident.now,
            resident.peak
        );
    }
}
