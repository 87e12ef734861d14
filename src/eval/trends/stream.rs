//! The made-up stream: its rhythm, its subjects and authors, and what is hidden in it. The
//! same seed gives the same stream on every machine.

use std::collections::BTreeMap;

use dataflows::event::Contribution;
use dataflows::time::{MINUTE_MS, Millis};
use dataflows::trends::{Subject, SubjectKind};
use dataflows::volume::Update;

/// A Monday at midnight, UTC.
pub const BEGIN: Millis = Millis(1_767_571_200_000);
const DAY: usize = 24 * 60;
const HOUR: usize = 60;

/// Items of an average minute.
const ITEMS: f64 = 20.0;
const TOPICS: usize = 40;
const TERMS: usize = 400;
const AUTHORS: usize = 5_000;
/// Mean topics and terms of an item.
const TOPICS_PER_ITEM: f64 = 0.5;
const TERMS_PER_ITEM: f64 = 1.5;
/// Popularity falls with this power of the rank.
const ZIPF: f64 = 0.9;
/// Weekends have this share of a weekday's items.
const WEEKEND: f64 = 0.7;
/// Items of a window that a burst comes to at least: less is below any support.
const BURST_ITEMS_MIN: f64 = 15.0;
/// Bursts begin after the stream has a history, and end before it does.
const BURST_FROM: usize = 9 * HOUR;
/// Items a minute of somebody who posts the same again and again.
const TRAP_ITEMS: f64 = 3.0;
const TRAP_MINUTES: usize = 60;

/// A burst that is to be found, or something that only looks like one.
#[derive(Debug, Clone, PartialEq)]
pub struct Hidden {
    pub subject: Subject,
    /// Minutes of the stream.
    pub start: usize,
    pub end: usize,
    /// Times as many items as usual; 0 for a trap.
    pub factor: f64,
    /// Authors of a trap; 0: anybody.
    pub authors: usize,
}

/// xorshift64*, seeded by splitmix64: enough for a simulation and the same everywhere.
struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Self {
        let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Self((z ^ (z >> 31)) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// At least 0 and below 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, n: usize) -> usize {
        ((self.unit() * n as f64) as usize).min(n.saturating_sub(1))
    }

    /// Knuth's method, in steps, so that large means do not underflow.
    fn poisson(&mut self, mean: f64) -> usize {
        const STEP: f64 = 30.0;
        let (mut left, mut n) = (mean, 0);
        while left > 0.0 {
            let limit = (-left.min(STEP)).exp();
            let mut product = self.unit();
            while product > limit {
                n += 1;
                product *= self.unit();
            }
            left -= STEP;
        }
        n
    }
}

/// Ranks by popularity.
struct Zipf {
    sums: Vec<f64>,
}

impl Zipf {
    fn new(n: usize) -> Self {
        let sums = (1..=n).scan(0.0, |sum, rank| {
            *sum += (rank as f64).powf(-ZIPF);
            Some(*sum)
        });
        Self { sums: sums.collect() }
    }

    fn draw(&self, rng: &mut Rng) -> usize {
        let at = rng.unit() * self.sums[self.sums.len() - 1];
        self.sums.partition_point(|sum| *sum <= at)
    }

    fn share(&self, rank: usize) -> f64 {
        (rank as f64 + 1.0).powf(-ZIPF) / self.sums[self.sums.len() - 1]
    }
}

/// How much is published at a minute, around 1: six times as much in the evening as at night.
pub fn rhythm(minute: usize) -> f64 {
    let hour = (minute % DAY) as f64 / HOUR as f64;
    // Lowest at 4, highest at 16, and steeper in the morning than a sine.
    let wave = ((hour - 10.0) / 24.0 * std::f64::consts::TAU).sin();
    let day = (1.0 + 0.715 * (wave + 0.15 * (wave * std::f64::consts::PI).sin())).max(0.2);
    if minute / DAY % 7 >= 5 { day * WEEKEND } else { day }
}

pub struct Stream {
    rng: Rng,
    topics: Zipf,
    terms: Zipf,
    authors: Zipf,
    pub hidden: Vec<Hidden>,
    minutes: usize,
    /// Updates by the minute in which they are taken in.
    waiting: BTreeMap<usize, Vec<Update>>,
    pub items: usize,
}

impl Stream {
    pub fn new(seed: u64, days: usize, bursts: usize, traps: usize) -> Self {
        let mut stream = Self {
            rng: Rng::new(seed),
            topics: Zipf::new(TOPICS),
            terms: Zipf::new(TERMS),
            authors: Zipf::new(AUTHORS),
            hidden: Vec::new(),
            minutes: days * DAY,
            waiting: BTreeMap::new(),
            items: 0,
        };
        for _ in 0..bursts {
            stream.hide_burst();
        }
        for trap in 0..traps {
            stream.hide_trap(1 + trap % 2);
        }
        stream
    }

    fn subject(&mut self) -> (Subject, f64) {
        let place = self.rng.below(TOPICS + TERMS);
        let (kind, share) = match place.checked_sub(TOPICS) {
            None => (SubjectKind::Topic, TOPICS_PER_ITEM * self.topics.share(place)),
            Some(rank) => (SubjectKind::Term, TERMS_PER_ITEM * self.terms.share(rank)),
        };
        (Subject { kind, name: name(kind, place.checked_sub(TOPICS).unwrap_or(place)) }, share)
    }

    /// Draws how strong it is first, and then where and when it has enough items.
    fn hide_burst(&mut self) {
        let factor = 3.0 + 17.0 * self.rng.unit();
        let length = 30 + self.rng.below(91);
        loop {
            let (subject, share) = self.subject();
            let start = BURST_FROM + self.rng.below(self.minutes - BURST_FROM - length - HOUR);
            let usual = 10.0 * ITEMS * rhythm(start) * share;
            let apart = |h: &Hidden| {
                h.subject != subject || h.end + 8 * HOUR < start || start + length + 8 * HOUR < h.start
            };
            if usual * factor >= BURST_ITEMS_MIN && self.hidden.iter().all(apart) {
                self.hidden.push(Hidden { subject, start, end: start + length, factor, authors: 0 });
                return;
            }
        }
    }

    fn hide_trap(&mut self, authors: usize) {
        loop {
            let (subject, _) = self.subject();
            let start = BURST_FROM + self.rng.below(self.minutes - BURST_FROM - TRAP_MINUTES - HOUR);
            // Where nothing else is hidden, so that what is found is the trap's.
            if self.hidden.iter().all(|h| h.subject != subject) {
                self.hidden.push(Hidden { subject, start, end: start + TRAP_MINUTES, factor: 0.0, authors });
                return;
            }
        }
    }

    /// What is taken in during a minute, in that order.
    pub fn minute(&mut self, minute: usize) -> Vec<Update> {
        for _ in 0..self.rng.poisson(ITEMS * rhythm(minute)) {
            let item = self.item(minute);
            self.schedule(minute, item);
        }
        for at in 0..self.hidden.len() {
            let hidden = self.hidden[at].clone();
            if !(hidden.start..hidden.end).contains(&minute) {
                continue;
            }
            let share = match hidden.subject.kind {
                SubjectKind::Topic => TOPICS_PER_ITEM * self.topics.share(rank(&hidden.subject)),
                SubjectKind::Term => TERMS_PER_ITEM * self.terms.share(rank(&hidden.subject)),
            };
            let mean = match hidden.authors {
                0 => ITEMS * rhythm(minute) * share * (hidden.factor - 1.0),
                _ => TRAP_ITEMS,
            };
            for _ in 0..self.rng.poisson(mean) {
                let mut item = self.item(minute);
                let names = match hidden.subject.kind {
                    SubjectKind::Topic => &mut item.topics,
                    SubjectKind::Term => &mut item.terms,
                };
                names.push(hidden.subject.name.clone());
                names.sort();
                names.dedup();
                if hidden.authors > 0 {
                    item.author = Some(format!("again-{at}-{}", self.rng.below(hidden.authors)));
                }
                self.schedule(minute, item);
            }
        }
        self.waiting.remove(&minute).unwrap_or_default()
    }

    fn item(&mut self, minute: usize) -> Contribution {
        self.items += 1;
        let within = self.rng.below(MINUTE_MS as usize) as i64;
        let mut names = |kind, mean| {
            let (zipf, rng) =
                (if kind == SubjectKind::Topic { &self.topics } else { &self.terms }, &mut self.rng);
            let n = rng.poisson(mean);
            let mut names: Vec<String> = (0..n).map(|_| name(kind, zipf.draw(rng))).collect();
            names.sort();
            names.dedup();
            names
        };
        let (topics, terms) =
            (names(SubjectKind::Topic, TOPICS_PER_ITEM), names(SubjectKind::Term, TERMS_PER_ITEM));
        Contribution {
            published_at: Millis(BEGIN.0 + minute as i64 * MINUTE_MS + within),
            platform: "made-up".into(),
            channel: None,
            author: Some(format!("a{}", self.authors.draw(&mut self.rng))),
            topics,
            terms,
            compound: None,
            engagement: Default::default(),
        }
    }

    /// Most items are taken in within the minute, some late; some are edited, some deleted.
    fn schedule(&mut self, minute: usize, item: Contribution) {
        let delay = match self.rng.below(100) {
            0..90 => 0,
            90..98 => self.rng.below(6),
            _ => self.rng.below(3 * HOUR),
        };
        let at = minute + delay;
        let fate = self.rng.below(100);
        let later = at + 1 + self.rng.below(2 * HOUR);
        self.take_in(at, Some(item.clone()), None);
        match fate {
            0 => self.take_in(later, None, Some(item)),
            1..4 => self.take_in(later, Some(Contribution { compound: Some(1), ..item.clone() }), Some(item)),
            _ => {}
        }
    }

    fn take_in(&mut self, minute: usize, plus: Option<Contribution>, minus: Option<Contribution>) {
        let ingested_at = Millis(BEGIN.0 + (minute as i64 + 1) * MINUTE_MS - 1);
        self.waiting.entry(minute).or_default().push(Update { ingested_at, plus, minus });
    }
}

fn name(kind: SubjectKind, rank: usize) -> String {
    match kind {
        SubjectKind::Topic => format!("topic {rank}"),
        SubjectKind::Term => format!("#term{rank}"),
    }
}

fn rank(subject: &Subject) -> usize {
    let digits = subject.name.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.parse().expect("names are made here and end in their rank")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rhythm_has_nights_and_weekends() {
        let week: Vec<f64> = (0..7 * DAY).map(rhythm).collect();
        let (low, high) = week[..DAY].iter().fold((f64::MAX, 0f64), |(l, h), r| (l.min(*r), h.max(*r)));
        assert!(high / low >= 4.0, "{low} {high}");
        let day = |d: usize| week[d * DAY..(d + 1) * DAY].iter().sum::<f64>() / DAY as f64;
        assert!((day(0) - 1.0).abs() < 0.1 && day(5) < 0.75 * day(0));
    }

    #[test]
    fn the_same_seed_is_the_same_stream() {
        let hour = |seed| {
            let mut stream = Stream::new(seed, 1, 3, 2);
            (0..60).flat_map(|minute| stream.minute(minute)).collect::<Vec<_>>()
        };
        assert_eq!(hour(1), hour(1));
        assert_ne!(hour(1), hour(2));
        let items = hour(1).len() as f64;
        assert!((200.0..600.0).contains(&items), "{items} in the first hour of the night");
    }

    #[test]
    fn draws_are_what_they_should_be() {
        let mut rng = Rng::new(5);
        for mean in [0.3, 4.0, 70.0] {
            let draws: Vec<f64> = (0..20_000).map(|_| rng.poisson(mean) as f64).collect();
            let average = draws.iter().sum::<f64>() / draws.len() as f64;
            let spread = draws.iter().map(|d| (d - average).powi(2)).sum::<f64>() / draws.len() as f64;
            assert!(
                (average / mean - 1.0).abs() < 0.03 && (spread / mean - 1.0).abs() < 0.08,
                "{average} {spread}"
            );
        }
        let zipf = Zipf::new(10);
        let firsts = (0..20_000).filter(|_| zipf.draw(&mut rng) == 0).count() as f64;
        assert!((firsts / 20_000.0 / zipf.share(0) - 1.0).abs() < 0.05);
    }
}
