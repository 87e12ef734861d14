//! Changes of contributions become touches: an author of a subject in a window, come or gone.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use super::burst::{Settings, bucket};
use super::record::SubjectKind;
use crate::event::Contribution;
use crate::volume::Update;

/// A subject by its keyed hash; the lowest bit tells topics (1) from terms (0).
pub type Symbol = u64;
/// An author of a platform by the hash of both under the same key. The chance that two of a
/// million authors of one window share it is 3e-8.
pub type AuthorSymbol = u64;

/// The symbol of items without an author.
pub const NOBODY: AuthorSymbol = 0;
/// The largest symbol of an author: those above have a meaning of their own.
pub const AUTHOR_MAX: AuthorSymbol = u64::MAX - 2;

/// One item of an author came to a subject's window, or went.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Touch {
    pub bucket: i32,
    pub subject: Symbol,
    pub author: AuthorSymbol,
    pub change: i8,
    pub name: Box<str>,
}

/// What a batch of updates came to.
#[derive(Default)]
pub struct Touched {
    pub touches: Vec<Touch>,
    /// Changes of all items of a window.
    pub totals: BTreeMap<i64, i64>,
    /// Items that came too late.
    pub late: u64,
}

pub fn symbol(hash: &RandomState, kind: SubjectKind, name: &str) -> Symbol {
    let bit = u64::from(kind == SubjectKind::Topic);
    hash.hash_one((kind, name)) & !1 | bit
}

pub fn is_topic(symbol: Symbol) -> bool {
    symbol & 1 == 1
}

/// Takes an update apart. What plus and minus have in common cancels here.
pub fn step(settings: &Settings, hash: &RandomState, update: &Update, out: &mut Touched) {
    let edge = settings.edge(update.ingested_at);
    let minus = update.minus.as_ref().filter(|c| bucket(c.published_at) >= edge);
    let plus = update.plus.as_ref().filter(|c| bucket(c.published_at) >= edge);
    out.late += u64::from(update.plus.is_some() && plus.is_none());
    match (minus, plus) {
        (Some(minus), Some(plus)) if place(minus) == place(plus) => {
            touch(hash, minus, -1, Some(plus), out);
            touch(hash, plus, 1, Some(minus), out);
        }
        _ => {
            for (contribution, change) in [(minus, -1), (plus, 1)] {
                if let Some(contribution) = contribution {
                    *out.totals.entry(bucket(contribution.published_at)).or_default() += i64::from(change);
                    touch(hash, contribution, change, None, out);
                }
            }
        }
    }
}

fn place(c: &Contribution) -> (i64, &str, Option<&str>) {
    (bucket(c.published_at), &c.platform, c.author.as_deref())
}

/// Touches every subject of a contribution that `other` does not have too.
fn touch(hash: &RandomState, c: &Contribution, change: i8, other: Option<&Contribution>, out: &mut Touched) {
    // A window of ten minutes has a small number until the year 40 000.
    let Ok(bucket) = i32::try_from(bucket(c.published_at)) else { return };
    let author = c.author.as_ref().map(|author| hash.hash_one((&c.platform, author)).clamp(1, AUTHOR_MAX));
    let mut subjects = |kind, names: &[String], others: &[String]| {
        for name in names.iter().filter(|name| !others.contains(name)) {
            out.touches.push(Touch {
                bucket,
                subject: symbol(hash, kind, name),
                author: author.unwrap_or(NOBODY),
                change,
                name: name.as_str().into(),
            });
        }
    };
    subjects(SubjectKind::Topic, &c.topics, other.map_or(&[], |c| &c.topics));
    subjects(SubjectKind::Term, &c.terms, other.map_or(&[], |c| &c.terms));
}
