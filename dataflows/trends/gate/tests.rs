use super::*;
use crate::time::{DAY_MS, HOUR_MS};
use crate::trends::burst::{BUCKET_MS, Knobs};

fn settings(cells_max: usize, singles_max: usize) -> Settings {
    Settings::new(&Knobs {
        retention_h: 10,
        history_windows: 6,
        alpha: 0.1,
        items_min: 5,
        authors_min: 3,
        ratio_min: 2.5,
        score_min: 4.0,
        continue_ratio_min: 1.5,
        burst_max_h: 24,
        prior_items: 0.1,
        cells_max,
        singles_max,
    })
    .expect("valid")
}

fn touch(bucket: i32, subject: Symbol, author: AuthorSymbol, change: i8) -> Touch {
    Touch { bucket, subject, author, change, name: format!("s{subject}").into() }
}

/// The net of what came out, by author, for a subject.
fn step(gate: &mut Gate, touches: &[Touch]) -> BTreeMap<Key, isize> {
    let mut out = Passed::default();
    touches.iter().for_each(|t| gate.step(t.clone(), &mut out));
    let mut net = BTreeMap::new();
    for (key, change) in out.changes {
        *net.entry(key).or_default() += change;
    }
    net.retain(|_, n| *n != 0);
    net
}

#[test]
fn the_first_item_follows_with_the_second_and_goes_as_it_came() {
    let mut gate = Gate::new(settings(10, 10));
    assert!(step(&mut gate, &[touch(1, 2, 7, 1)]).is_empty());
    assert!(step(&mut gate, &[touch(1, 2, 7, -1), touch(1, 2, 8, 1)]).is_empty(), "one went, one came");
    assert_eq!((gate.open(), gate.singles()), (0, 1));
    assert_eq!(step(&mut gate, &[touch(1, 2, 8, 1)]), [((1, 2, 8), 2)].into(), "two of one author");
    assert_eq!((gate.open(), gate.singles()), (1, 0));
    assert_eq!(
        step(&mut gate, &[touch(1, 2, 8, -1)]),
        [((1, 2, 8), -1)].into(),
        "an open cell hides nothing"
    );
}

#[test]
fn what_was_refused_is_not_retracted() {
    let mut gate = Gate::new(settings(1, 3));
    let pair = |s| [touch(1, s, 1, 1), touch(1, s, 2, 1)];
    assert_eq!(step(&mut gate, &pair(2)).len(), 2);
    assert!(step(&mut gate, &pair(4)).is_empty(), "a second cell");
    assert!(step(&mut gate, &[touch(1, 4, 1, -1), touch(1, 4, 2, -1), touch(1, 4, 3, 1)]).is_empty());
    assert_eq!(gate.refused(), [3, 0]);
    // Topics are never refused: their symbols are odd.
    assert_eq!(step(&mut gate, &pair(5)).len(), 2);
    // Two single items beside what was refused, and no room for more, now or later.
    assert!(step(&mut gate, &[touch(1, 10, 1, 1), touch(1, 12, 1, 1), touch(1, 14, 1, 1)]).is_empty());
    assert!(step(&mut gate, &[touch(1, 10, 1, -1), touch(1, 14, 1, -1), touch(1, 14, 1, 1)]).is_empty());
    assert_eq!((gate.refused(), gate.singles()), ([3, 2], 2));
    assert!(step(&mut gate, &[touch(2, 14, 1, 1)]).is_empty());
    assert_eq!(gate.singles(), 3, "another window has room");
}

#[test]
fn what_was_refused_still_takes_its_room() {
    let mut gate = Gate::new(settings(1, 3));
    for subject in (2..200).step_by(2) {
        step(&mut gate, &[touch(1, subject, 1, 1), touch(1, subject, 2, 1)]);
    }
    let held: usize = gate.windows.values().map(|window| window.cells.len()).sum();
    assert_eq!((held, gate.open(), gate.singles()), (4, 1, 3), "no more than the two limits");
    gate.advance(Millis(1_000 * BUCKET_MS));
    assert_eq!((gate.open(), gate.singles(), gate.windows.len()), (0, 0, 0));
}

#[test]
fn windows_leave_as_a_whole() {
    let mut gate = Gate::new(settings(10, 10));
    let now = (100 * DAY_MS / BUCKET_MS) as i32;
    for s in [2, 4, 6] {
        step(&mut gate, &[touch(now, s, 1, 1)]);
    }
    step(&mut gate, &[touch(now, 2, 2, 1), touch(now + 6, 8, 2, 1)]);
    assert_eq!((gate.open(), gate.singles()), (1, 3));
    gate.advance(Millis(100 * DAY_MS + 11 * HOUR_MS - 1));
    assert_eq!((gate.open(), gate.singles()), (1, 3), "the largest disorder is waited for");
    gate.advance(Millis(100 * DAY_MS + 11 * HOUR_MS));
    assert_eq!((gate.open(), gate.singles()), (0, 1));
    assert!(step(&mut gate, &[touch(now, 2, 3, 1), touch(now, 2, 1, -1)]).is_empty(), "it is over");
}
