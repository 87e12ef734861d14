//! The committed topics that rules look at → the [`World`], and the pipeline clock.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dataflows::record::{Positions, Stored, topic};
use dataflows::time::Millis;

use crate::alerts::watch::{Changed, World};
use crate::discord::deliver::{ranges, reached};
use crate::discord::digester::rebuild::last_timestamp;
use crate::log::{Log, LogError, Reader};

/// Topics of the recent past, read from where the lookback begins.
const RECENT: [&str; 4] = [topic::CLOCK, topic::ENRICHED, topic::VOLUME, topic::DEAD_LETTERS];
/// Topics whose current values are all of them, read from their beginning.
const CURRENT: [&str; 2] = [topic::STORIES, topic::TRENDS];

const IDLE_WAIT: Duration = Duration::from_millis(500);

pub struct Feed {
    reader: Box<dyn Reader>,
    pub world: World,
    /// The latest instant that was read; `None` before any.
    pub clock: Option<Millis>,
    batch_bytes_max: usize,
    /// Ends when it was opened.
    ends: Positions,
    /// The time of the latest record when it was opened.
    latest: Option<Millis>,
}

impl Feed {
    /// From before `from`, which is the instant of the first reading wanted; `None` is
    /// the latest there is. Not after `committed`, so that nothing is
    /// left out.
    pub fn open(
        log: &dyn Log,
        world: World,
        from: Option<Millis>,
        committed: &Positions,
        batch_bytes_max: usize,
    ) -> Result<Self, LogError> {
        let (mut starts, mut ends) = (Positions::new(), Positions::new());
        let mut latest: Option<Millis> = None;
        for name in RECENT.into_iter().filter(|name| world.reads(name)) {
            let (first, end) = ranges(log, name)?;
            for (place, end) in &end {
                if first.get(place) != Some(end) {
                    latest = latest.max(Some(Millis(last_timestamp(log, place, *end)?)));
                }
            }
            starts.extend(first);
            ends.extend(end);
        }
        let from_ms = from.or(latest).map_or(i64::MIN, |from| from.0);
        for (place, start) in &mut starts {
            let recent = log.position_at(place, from_ms.saturating_sub(world.kept_ms()))?;
            // Cells are of their own hour, whenever they are read.
            let committed = committed.get(place).filter(|_| &*place.topic != topic::VOLUME);
            *start = (*start).max(committed.map_or(recent, |committed| recent.min(*committed)));
        }
        for name in CURRENT {
            let (first, end) = ranges(log, name)?;
            starts.extend(first);
            ends.extend(end);
        }
        Ok(Self { reader: log.reader(&starts)?, world, clock: None, batch_bytes_max, ends, latest })
    }

    /// The time of the latest record when it was opened.
    pub fn latest(&self) -> Option<Millis> {
        self.latest
    }

    pub fn positions(&self) -> Positions {
        self.reader.positions()
    }

    /// Reads everything that was there at the opening, unless it is asked to stop.
    pub fn catch_up(
        &mut self,
        came: impl Fn(&Stored, Millis) -> Millis,
        mut changed: impl FnMut(&Changed),
        stop: &AtomicBool,
    ) -> Result<(), LogError> {
        while !stop.load(Ordering::Relaxed) && !reached(&self.reader.positions(), &self.ends) {
            self.read(IDLE_WAIT, &came, &mut changed)?;
        }
        Ok(())
    }

    /// Reads what is new. `came` says when a record counts as having come, given its own
    /// time. Whether positions moved that are worth a commit.
    pub fn read(
        &mut self,
        wait: Duration,
        came: &impl Fn(&Stored, Millis) -> Millis,
        changed: &mut impl FnMut(&Changed),
    ) -> Result<bool, LogError> {
        let mut moved = false;
        for stored in self.reader.poll(wait, self.batch_bytes_max)? {
            let own = Millis(stored.timestamp_ms);
            // The clock is what was ingested and ticks; results are written later.
            if matches!(&*stored.topic, topic::CLOCK | topic::ENRICHED) {
                self.clock = Some(self.clock.map_or(own, |clock| clock.max(own)));
            }
            moved |= &*stored.topic != topic::CLOCK;
            let at = came(&stored, own);
            if let Some(change) = self.world.apply(&stored, at) {
                changed(&change);
            }
        }
        Ok(moved)
    }
}
