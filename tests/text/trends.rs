//! Trends through their graph: hidden bursts are found, soon, and hardly anything else is.

use tidings::eval::trends::{evaluate, settings};

#[test]
fn the_figures_on_made_up_days_do_not_fall() {
    let settings = settings(&[]).expect("the knobs as they are shipped");
    // Less than the command does: three days of two seeds, so that it takes seconds.
    let figures = evaluate(201..203, &settings, 3, 20, 10);
    assert_eq!((figures.bursts, figures.traps, figures.days), (40, 20, 6));
    assert!(figures.is_good(), "{figures:#?}");
    assert_eq!(figures.refused, 0, "there is room for everything");
}

#[test]
fn a_stricter_knob_finds_less() {
    let strict = settings(&["trends.graph.score_min=40".into()]).expect("valid");
    let figures = evaluate(201..202, &strict, 1, 10, 0);
    assert!(!figures.is_good() && figures.false_alarms == 0, "{figures:#?}");
}
