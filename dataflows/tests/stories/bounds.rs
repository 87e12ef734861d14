//! What would grow with the square of the items, or not end: chains and floods.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dataflows::stories::item::Settings;
use dataflows::stories::items::Change;
use dataflows::stories::signature::{BYTES, Signature, mix};
use dataflows::time::Millis;

use super::harness::{NOW, Stories, apply, live, run, settings, version};

const ITEMS: usize = 10_000;
const COPIES: usize = 5_000;
/// Several times what it takes.
const TIME_MAX: Duration = Duration::from_secs(120);

/// Item `n` of a chain: alike to the next by three quarters, to the one after by half.
fn link_of_chain(n: usize) -> Signature {
    let mut bytes = [0; BYTES];
    for (i, byte) in bytes.iter_mut().enumerate() {
        let generation = (n + (i / 4) % 4) / 4;
        *byte = mix((generation * BYTES + i) as u64) as u8;
    }
    Signature(bytes)
}

fn chain() -> Vec<Change> {
    let item = |n: usize| {
        let mut item = version(&format!("x:{n}"), 1, NOW + n as i64, "x", &format!("a{n}"), "text");
        item.signature = Some(link_of_chain(n));
        Change::Version(Box::new(item))
    };
    [Change::Clock(Millis(NOW))].into_iter().chain((0..ITEMS).map(item)).collect()
}

fn grow(settings: &Settings, epochs: &[Vec<Change>]) -> Stories {
    let start = Instant::now();
    let ran = run(settings, &[], epochs, 0, 1);
    let mut stories = Stories::new();
    ran.epochs.iter().for_each(|records| apply(&mut stories, records));
    let took = start.elapsed();
    println!("{took:?}");
    assert!(took < TIME_MAX, "{took:?}");
    stories
}

#[test]
fn a_chain_of_ten_thousand_is_not_one_story() {
    let alike = link_of_chain(5).jaccard(&link_of_chain(6));
    let apart = link_of_chain(5).jaccard(&link_of_chain(7));
    assert!(alike > 0.7 && apart < 0.55, "{alike} {apart}");
    let loose = Settings { words_alone_min: 0.7, words_close_min: 0.9, ..settings() };
    // All at once, and piece by piece.
    for size in [ITEMS + 1, 500] {
        let epochs: Vec<Vec<Change>> = chain().chunks(size).map(<[_]>::to_vec).collect();
        let stories = grow(&loose, &epochs);
        let largest = live(&stories).iter().map(|s| s.items).max();
        assert_eq!(largest, None, "no link is close");
        // Where even the closer links make a chain, only an item with those next to it is one.
        let close = Settings { words_close_min: 0.7, ..loose.clone() };
        let stories = grow(&close, &epochs);
        let largest = live(&stories).iter().map(|s| s.items).max().expect("stories");
        assert!(largest <= 3, "{largest}");
        assert!(live(&stories).len() > ITEMS / 4);
        assert!(live(&stories).iter().all(|s| s.split));
    }
}

#[test]
fn a_flood_of_copies_is_one_story() {
    let text = "subscribe to our newsletter and never miss an update about what matters to you";
    let copy = |n: usize| {
        Change::Version(Box::new(version(&format!("x:{n}"), 1, NOW + n as i64, "x", &format!("a{n}"), text)))
    };
    let mut epochs: Vec<Vec<Change>> =
        (0..COPIES).collect::<Vec<_>>().chunks(250).map(|c| c.iter().map(|n| copy(*n)).collect()).collect();
    epochs[0].insert(0, Change::Clock(Millis(NOW)));
    let stories = grow(&settings(), &epochs);
    let story = live(&stories)[0];
    assert_eq!((live(&stories).len(), story.items, story.authors), (1, COPIES as u32, COPIES as u32));
    assert!(story.split && story.members.len() == 50);
    // Without the one that all are compared with.
    epochs.push(vec![Change::Gone(Arc::from("x:0"))]);
    let stories = grow(&settings(), &epochs);
    let left = live(&stories)[0];
    assert_eq!((live(&stories).len(), left.items, &left.id), (1, COPIES as u32 - 1, &story.id));
}

#[test]
fn of_more_items_than_the_limit_the_newest_are_held() {
    let few = Settings { items_max: 100, ..settings() };
    let ran = run(&few, &[], &[chain()], 0, 2);
    assert_eq!(ran.counts.over_items_max, (ITEMS - 100) as u64);
}
