//! results.volume → the [`Volume`] of a window: how much was published, by topic and
//! by channel, and in which mood.
//!
//! Cells of 1 h are summed over the full hours of the window; for the minutes around
//! them cells of 1 m. Channels have hours only (their minutes would not fit into a
//! small memory): an hour that the window cuts is counted to the window it starts in.
//!
//! Retention: cells that start within the lookback (two of the longest windows), at
//! most `cells_max`; past that the oldest leave and are counted.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use dataflows::record::Stored;
use dataflows::time::{HOUR_MS, MINUTE_MS, Millis};

use super::routes::Route;
use super::schedule::Window;

/// Sums over some cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    pub count: u64,
    pub scored: u64,
    /// Sum of compounds, in 1e-4.
    pub compound_e4: i64,
}

impl Activity {
    pub fn mood(&self) -> Option<f64> {
        (self.scored > 0).then(|| self.compound_e4 as f64 / 1e4 / self.scored as f64)
    }

    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.scored += other.scored;
        self.compound_e4 += other.compound_e4;
    }
}

/// What happened in a window, as far as a route is concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Every item once, unless the route names topics: then once per topic.
    pub total: Activity,
    pub topics: BTreeMap<String, Activity>,
    pub channels: BTreeMap<String, Activity>,
}

/// A record of results.volume, as far as it is needed here.
#[derive(Deserialize)]
struct Cell {
    window: String,
    start: Millis,
    by: Vec<String>,
    #[serde(default)]
    platform: Option<String>,
    #[serde(default)]
    topic: Option<String>,
    #[serde(default)]
    channel: Option<String>,
    count: u64,
    #[serde(default)]
    scored: u64,
    /// In 1e-4, exact.
    #[serde(default)]
    compound_sum: i64,
}

/// Which dimensions a cell is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum By {
    Nothing,
    Platform,
    Topic,
    PlatformTopic,
    Channel,
    ChannelTopic,
}

impl By {
    fn of(names: &[String]) -> Option<Self> {
        let has = |name: &str| names.iter().any(|n| n == name);
        match (has("platform"), has("topic"), has("channel")) {
            (false, false, false) => Some(Self::Nothing),
            (true, false, false) => Some(Self::Platform),
            (false, true, false) => Some(Self::Topic),
            (true, true, false) => Some(Self::PlatformTopic),
            (_, false, true) => Some(Self::Channel),
            (_, true, true) => Some(Self::ChannelTopic),
        }
    }
}

#[derive(Debug)]
struct Entry {
    by: By,
    platform: Option<String>,
    topic: Option<String>,
    channel: Option<String>,
    activity: Activity,
}

/// Length of the cells, then their start.
type Place = (i64, Millis);

/// The current cells of the recent past.
#[derive(Debug)]
pub struct Activities {
    cells: BTreeMap<Place, HashMap<Vec<u8>, Entry>>,
    places: HashMap<Vec<u8>, Place>,
    cells_max: usize,
    /// Cells that left because of `cells_max`.
    pub dropped: u64,
}

impl Activities {
    pub fn new(cells_max: usize) -> Self {
        Self { cells: BTreeMap::new(), places: HashMap::new(), cells_max, dropped: 0 }
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Takes a record of results.volume; whether it could be read.
    pub fn apply(&mut self, stored: &Stored, oldest: Millis) -> bool {
        self.remove(&stored.key);
        let Some(value) = &stored.value else { return true };
        let Ok(cell) = serde_json::from_slice::<Cell>(value) else { return false };
        let length = match cell.window.as_str() {
            "1m" => MINUTE_MS,
            "1h" => HOUR_MS,
            _ => return true,
        };
        let Some(by) = By::of(&cell.by) else { return true };
        let by_channel = matches!(by, By::Channel | By::ChannelTopic);
        if cell.start < oldest || (by_channel && length == MINUTE_MS) {
            return true;
        }
        let activity = Activity { count: cell.count, scored: cell.scored, compound_e4: cell.compound_sum };
        let entry = Entry { by, platform: cell.platform, topic: cell.topic, channel: cell.channel, activity };
        let place = (length, cell.start);
        self.cells.entry(place).or_default().insert(stored.key.clone(), entry);
        self.places.insert(stored.key.clone(), place);
        self.keep_bounded();
        true
    }

    /// Forgets what starts before `oldest`.
    pub fn expire(&mut self, oldest: Millis) {
        for length in [MINUTE_MS, HOUR_MS] {
            while let Some((&place, _)) =
                self.cells.range((length, Millis(i64::MIN))..(length, oldest)).next()
            {
                self.forget(place);
            }
        }
    }

    fn keep_bounded(&mut self) {
        while self.places.len() > self.cells_max {
            // Minutes come first in the order, so detail leaves before hours do.
            let Some((&place, _)) = self.cells.first_key_value() else { return };
            self.dropped += self.forget(place) as u64;
        }
    }

    fn forget(&mut self, place: Place) -> usize {
        let cells = self.cells.remove(&place).unwrap_or_default();
        cells.keys().for_each(|key| {
            self.places.remove(key);
        });
        cells.len()
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(place) = self.places.remove(key)
            && let Some(cells) = self.cells.get_mut(&place)
        {
            cells.remove(key);
            if cells.is_empty() {
                self.cells.remove(&place);
            }
        }
    }

    /// What happened in the window, for this route.
    pub fn volume(&self, window: Window, route: &Route) -> Volume {
        let mut volume = Volume::default();
        let first_full = Millis(window.start.0 + HOUR_MS - 1).floor(HOUR_MS);
        let last_full = window.end.floor(HOUR_MS);
        if first_full < last_full {
            self.sum(MINUTE_MS, window.start, first_full, route, Part::WithoutChannels, &mut volume);
            self.sum(HOUR_MS, first_full, last_full, route, Part::WithoutChannels, &mut volume);
            self.sum(MINUTE_MS, last_full, window.end, route, Part::WithoutChannels, &mut volume);
        } else {
            self.sum(MINUTE_MS, window.start, window.end, route, Part::WithoutChannels, &mut volume);
        }
        self.sum(HOUR_MS, first_full, window.end, route, Part::Channels, &mut volume);
        volume
    }

    fn sum(&self, length: i64, from: Millis, to: Millis, route: &Route, part: Part, volume: &mut Volume) {
        if from >= to {
            return;
        }
        for entry in self.cells.range((length, from)..(length, to)).flat_map(|(_, cells)| cells.values()) {
            let platform_fits = route.platforms.is_empty()
                || entry.platform.as_ref().is_some_and(|p| route.platforms.contains(p));
            let topic_fits =
                entry.topic.as_ref().is_some_and(|t| route.topics.is_empty() || route.topics.contains(t));
            if platform_fits {
                part.add(entry, topic_fits, route, volume);
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Part {
    WithoutChannels,
    Channels,
}

impl Part {
    fn add(self, entry: &Entry, topic_fits: bool, route: &Route, volume: &mut Volume) {
        let by_topic = if route.platforms.is_empty() { By::Topic } else { By::PlatformTopic };
        let by_total = if route.platforms.is_empty() { By::Nothing } else { By::Platform };
        let by_channel = if route.topics.is_empty() { By::Channel } else { By::ChannelTopic };
        match self {
            Self::WithoutChannels if entry.by == by_topic && topic_fits => {
                let name = entry.topic.clone().unwrap_or_default();
                volume.topics.entry(name).or_default().add(entry.activity);
                if !route.topics.is_empty() {
                    volume.total.add(entry.activity);
                }
            }
            Self::WithoutChannels if entry.by == by_total && route.topics.is_empty() => {
                volume.total.add(entry.activity);
            }
            Self::Channels if entry.by == by_channel && (topic_fits || route.topics.is_empty()) => {
                if let Some(channel) = &entry.channel {
                    let platform = entry.platform.as_deref().unwrap_or("");
                    let name =
                        if platform.is_empty() { channel.clone() } else { format!("{platform}:{channel}") };
                    volume.channels.entry(name).or_default().add(entry.activity);
                }
            }
            _ => {}
        }
    }
}
