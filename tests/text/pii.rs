//! What the masks find: on the corpus, and on values and near-misses made here.

#[path = "held_out.rs"]
mod held_out;

use dataflows::pii::Kind;
use held_out::{EACH, Generator};
use tidings::eval::pii::{Labelled, corpus, evaluate};

const VALUES_MIN: usize = 40;
const LOOK_ALIKES_MIN: usize = 400;

#[test]
fn the_corpus_is_as_large_as_it_says() {
    let texts = corpus().expect("readable");
    for kind in Kind::ALL {
        let values = texts.iter().flat_map(|t| &t.values).filter(|(k, ..)| *k == kind).count();
        assert!(values >= VALUES_MIN, "{}: only {values} values", kind.name());
    }
    let look_alikes = texts.iter().filter(|t| t.values.is_empty()).count();
    assert!(look_alikes >= LOOK_ALIKES_MIN, "only {look_alikes}");
}

#[test]
fn the_figures_on_the_corpus_do_not_fall() {
    let report = evaluate(&corpus().expect("readable"));
    assert!(report.is_good(), "{:#?}\n{}", report.kinds, report.errors.join("\n"));
}

#[test]
fn made_up_values_are_found_and_near_misses_are_not() {
    let seed = 77;
    println!("seed {seed}");
    let mut generator = Generator::new(seed);
    let mut texts: Vec<Labelled> = Vec::new();
    for kind in Kind::ALL {
        texts.extend(generator.values(kind));
        texts.extend(generator.near_misses(kind));
    }
    assert!(texts.len() > 20 * EACH);
    let report = evaluate(&texts);
    for (name, tally) in &report.kinds {
        println!(
            "{name:<11} precision {:.3} recall {:.3} F2 {:.3} ({tally:?})",
            tally.precision(),
            tally.recall(),
            tally.f2()
        );
    }
    let figures =
        || format!("{:#?}\n{}", report.kinds, report.errors[..report.errors.len().min(60)].join("\n"));
    println!("all: precision {:.3} recall {:.3}", report.overall.precision(), report.overall.recall());
    assert!(report.overall.precision() >= 0.97 && report.overall.recall() >= 0.97, "{}", figures());
    assert!(report.kinds.iter().all(|(_, tally)| tally.f2() >= 0.9), "{}", figures());
}
