//! Changes of items that were read → what may be shown of an item now.
//!
//! The feed reads ahead of the instant that is decided, and results follow content with a
//! delay: a reading may hold an item that is known to be edited or gone. Numbers stay those
//! of the instant; what is shown never is what is known to be gone.
//!
//! Retention: the latest [`GONE_MAX`] deletions (ids) and [`EDITED_MAX`] edits (about 600
//! bytes each); past that the oldest leave and are counted.

use std::collections::{BTreeMap, HashMap};

use dataflows::event::Version;

use super::Changed;
use crate::alerts::metrics;
use crate::alerts::record::Example;

const GONE_MAX: usize = 50_000;
const EDITED_MAX: usize = 20_000;

pub(super) struct Newest {
    items: HashMap<String, (u64, Version, Option<Example>)>,
    /// Ids in the order of their reading.
    gone: BTreeMap<u64, String>,
    edited: BTreeMap<u64, String>,
    sequence: u64,
    caps: (usize, usize),
}

impl Default for Newest {
    fn default() -> Self {
        Self::with_caps(GONE_MAX, EDITED_MAX)
    }
}

impl Newest {
    fn with_caps(gone_max: usize, edited_max: usize) -> Self {
        Self {
            items: HashMap::new(),
            gone: BTreeMap::new(),
            edited: BTreeMap::new(),
            sequence: 0,
            caps: (gone_max, edited_max),
        }
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Takes a version; `is_first` is one of an item that had none before.
    pub fn apply(&mut self, changed: &Changed, is_first: bool) {
        match self.items.get(&changed.id) {
            Some((_, known, _)) if *known >= changed.version => return,
            None if is_first && changed.example.is_some() => return,
            Some(_) | None => {}
        }
        self.forget(&changed.id);
        self.sequence += 1;
        let order = if changed.example.is_some() { &mut self.edited } else { &mut self.gone };
        order.insert(self.sequence, changed.id.clone());
        self.items.insert(changed.id.clone(), (self.sequence, changed.version, changed.example.clone()));
        let (gone_max, edited_max) = self.caps;
        for (order, max, kind) in
            [(&mut self.gone, gone_max, "deletion"), (&mut self.edited, edited_max, "edit")]
        {
            while order.len() > max {
                let Some((_, id)) = order.pop_first() else { break };
                self.items.remove(&id);
                metrics::FORGOTTEN.with_label_values(&[kind]).inc();
            }
        }
    }

    /// The item as it may be shown; `None` is gone.
    pub fn shown(&self, example: &Example) -> Option<Example> {
        match self.items.get(&example.id) {
            Some((_, version, newest)) if *version > example.version => newest.clone(),
            _ => Some(example.clone()),
        }
    }

    fn forget(&mut self, id: &str) {
        if let Some((sequence, _, _)) = self.items.remove(id) {
            self.gone.remove(&sequence);
            self.edited.remove(&sequence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(revision: u64) -> Version {
        Version { revision, enrichment: 0 }
    }

    fn example(id: &str, revision: u64) -> Example {
        Example {
            id: id.into(),
            platform: "hn".into(),
            title: format!("{id} {revision}"),
            url: None,
            published_at: None,
            version: version(revision),
            edited: false,
        }
    }

    fn changed(id: &str, revision: u64, is_there: bool) -> Changed {
        let example = is_there.then(|| example(id, revision));
        Changed { id: id.into(), version: version(revision), example }
    }

    #[test]
    fn the_newest_version_is_shown_whatever_the_reading_holds() {
        let mut newest = Newest::default();
        let title = |newest: &Newest, of: &Example| newest.shown(of).map(|example| example.title);
        newest.apply(&changed("a", 1, true), true);
        assert_eq!(newest.len(), 0, "what is new is in its reading");
        newest.apply(&changed("a", 2, true), false);
        assert_eq!(title(&newest, &example("a", 1)), Some("a 2".into()));
        newest.apply(&changed("a", 3, false), false);
        newest.apply(&changed("a", 2, true), false);
        assert_eq!(
            title(&newest, &example("a", 2)),
            None,
            "gone, and an older version does not bring it back"
        );
        newest.apply(&changed("a", 4, true), true);
        assert_eq!(title(&newest, &example("a", 1)), Some("a 4".into()), "revived");
    }

    #[test]
    fn the_oldest_leave_past_each_cap() {
        let mut newest = Newest::with_caps(2, 3);
        for n in 0..10 {
            newest.apply(&changed(&format!("edited{n}"), 2, true), false);
            newest.apply(&changed(&format!("gone{n}"), 2, false), false);
        }
        assert_eq!(newest.len(), 5);
        assert_eq!((newest.gone.len(), newest.edited.len()), (2, 3));
        assert_eq!(newest.shown(&example("gone9", 1)), None);
        assert!(newest.shown(&example("gone7", 1)).is_some(), "not known any more");
    }
}
