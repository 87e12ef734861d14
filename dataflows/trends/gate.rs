//! Touches become changes of counts; a subject's window with a single item waits here.
//!
//! Most terms are seen once and never again. Such a cell costs sixteen bytes here, and ten
//! times as much behind the gate, so a window is let through with its second item. It counts
//! as empty until then, and again when only one is left: behind the gate nobody can tell.
//!
//! Invariants:
//! - What is let through is exact: the first item follows when the second comes, and what
//!   goes is retracted exactly if it was let through.
//! - A cell that is refused stays refused, so that nothing is retracted that was not added.
//!   Topics are never refused: the configuration bounds them.
//!
//! Retention: a window leaves as a whole, [`DISORDER_MS_MAX`] after it left the range.

use std::collections::BTreeMap;
use std::collections::hash_map::Entry;

use super::burst::Settings;
use super::record::{Subject, SubjectKind};
use super::touch::{AUTHOR_MAX, AuthorSymbol, Symbol, Touch, is_topic};
use crate::time::Millis;
use crate::volume::cell::DISORDER_MS_MAX;

/// Window, subject, author: in this order windows leave as ranges.
pub type Key = (i32, Symbol, AuthorSymbol);

/// In place of the author of a cell's only item.
const OPEN: AuthorSymbol = AUTHOR_MAX + 1;
const REFUSED: AuthorSymbol = AUTHOR_MAX + 2;

#[derive(Default)]
struct Window {
    cells: std::collections::HashMap<Symbol, AuthorSymbol, foldhash::fast::RandomState>,
    /// It was refused a cell for want of room, and takes no further ones.
    full: bool,
    /// Cells let through.
    open: usize,
}

/// What comes out of the gate.
#[derive(Default)]
pub struct Passed {
    pub changes: Vec<(Key, isize)>,
    /// Windows of subjects that were let through, with the subject's name.
    pub names: Vec<(i32, Symbol, Subject)>,
}

/// The gate of one worker.
pub struct Gate {
    settings: Settings,
    windows: BTreeMap<i32, Window>,
    edge: i64,
    /// Cells let through, and cells with a single item or without room for more.
    open: usize,
    singles: usize,
    /// Items not counted, for want of room for cells and for single items.
    refused: [u64; 2],
}

impl Gate {
    pub fn new(settings: Settings) -> Self {
        Self { settings, windows: BTreeMap::new(), edge: i64::MIN, open: 0, singles: 0, refused: [0; 2] }
    }

    pub fn open(&self) -> usize {
        self.open
    }

    pub fn singles(&self) -> usize {
        self.singles
    }

    pub fn refused(&self) -> [u64; 2] {
        self.refused
    }

    /// Lets windows go that nothing is accepted for any more.
    pub fn advance(&mut self, clock: Millis) {
        let edge = self.settings.edge(Millis(clock.0.saturating_sub(DISORDER_MS_MAX)));
        if edge <= self.edge {
            return;
        }
        self.edge = edge;
        while let Some(window) = self.windows.first_entry().filter(|w| i64::from(*w.key()) < edge) {
            let window = window.remove();
            self.open -= window.open;
            self.singles -= window.cells.len() - window.open;
        }
    }

    pub fn step(&mut self, touch: Touch, out: &mut Passed) {
        if i64::from(touch.bucket) < self.edge {
            return;
        }
        let window = self.windows.entry(touch.bucket).or_default();
        let key = |author| (touch.bucket, touch.subject, author);
        let topic = is_topic(touch.subject);
        match (window.cells.entry(touch.subject), touch.change > 0) {
            (Entry::Vacant(cell), true) => {
                window.full |= self.singles >= self.settings.singles_max;
                if window.full && !topic {
                    self.refused[1] += 1;
                    return;
                }
                cell.insert(touch.author);
                self.singles += 1;
            }
            // Its item was refused.
            (Entry::Vacant(_), false) => {}
            (Entry::Occupied(cell), comes) => match (*cell.get(), comes) {
                (OPEN, _) => out.changes.push((key(touch.author), isize::from(touch.change))),
                (REFUSED, comes) => self.refused[0] += u64::from(comes),
                (_, false) => {
                    cell.remove();
                    self.singles -= 1;
                }
                (first, true) => {
                    // A refused cell stays, in the place of a single item.
                    if self.open >= self.settings.cells_max && !topic {
                        *cell.into_mut() = REFUSED;
                        self.refused[0] += 2;
                        return;
                    }
                    *cell.into_mut() = OPEN;
                    self.singles -= 1;
                    window.open += 1;
                    self.open += 1;
                    out.changes.extend([(key(first), 1), (key(touch.author), 1)]);
                    let kind = if topic { SubjectKind::Topic } else { SubjectKind::Term };
                    out.names.push((touch.bucket, touch.subject, Subject { kind, name: touch.name.into() }));
                }
            },
        }
    }
}

#[cfg(test)]
mod tests;
