//! Cells: one value per window, start and combination of dimensions. This file is
//! long because it is a vocabulary of small types that are read together.

use std::fmt;

use differential_dataflow::difference::{Abelian, IsZero, Monoid, Semigroup};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::Contribution;
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS, Millis};

/// Tumbling windows, aligned to UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Window {
    #[serde(rename = "1m")]
    Minute,
    #[serde(rename = "1h")]
    Hour,
    #[serde(rename = "1d")]
    Day,
}

impl Window {
    pub const ALL: [Window; 3] = [Window::Minute, Window::Hour, Window::Day];

    pub fn length_ms(self) -> i64 {
        match self {
            Window::Minute => MINUTE_MS,
            Window::Hour => HOUR_MS,
            Window::Day => DAY_MS,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Window::Minute => "1m",
            Window::Hour => "1h",
            Window::Day => "1d",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|w| w.name() == name)
    }
}

/// What cells may be grouped by, in the order in which names are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dimension {
    Platform,
    Topic,
    Channel,
}

impl Dimension {
    pub fn name(self) -> &'static str {
        match self {
            Dimension::Platform => "platform",
            Dimension::Topic => "topic",
            Dimension::Channel => "channel",
        }
    }
}

/// A set of dimensions. Channel implies platform, since channel ids are unique on
/// their platform only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct By(u8);

impl By {
    const BITS: [(Dimension, u8); 3] =
        [(Dimension::Platform, 1), (Dimension::Topic, 2), (Dimension::Channel, 4)];

    pub fn new(dimensions: impl IntoIterator<Item = Dimension>) -> Self {
        let mut bits = 0;
        for dimension in dimensions {
            bits |= match dimension {
                Dimension::Platform => 1,
                Dimension::Topic => 2,
                Dimension::Channel => 4 | 1,
            };
        }
        Self(bits)
    }

    pub fn has(self, dimension: Dimension) -> bool {
        Self::BITS.iter().any(|&(d, bit)| d == dimension && self.0 & bit != 0)
    }

    pub fn dimensions(self) -> impl Iterator<Item = Dimension> {
        Self::BITS.into_iter().filter(move |(_, bit)| self.0 & bit != 0).map(|(d, _)| d)
    }

    /// The grouping whose distinct authors are the sum of this one's over platforms: an
    /// author is one of one platform. Channels and topics share authors and do not add up.
    pub fn without_platform(self) -> Option<By> {
        (self.has(Dimension::Platform) && !self.has(Dimension::Channel)).then_some(Self(self.0 & !1))
    }

    /// `platform+topic`, or `none`.
    pub fn name(self) -> String {
        self.static_name().into()
    }

    pub(super) fn static_name(self) -> &'static str {
        match self.0 {
            1 => "platform",
            2 => "topic",
            3 => "platform+topic",
            5 => "platform+channel",
            7 => "platform+topic+channel",
            // Channel brings platform with it, so 4 and 6 are not made.
            _ => "none",
        }
    }

    /// Reads `platform,topic`, `platform+topic`, `none` or nothing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut dimensions = Vec::new();
        for name in text.split([',', '+']).map(str::trim).filter(|n| !n.is_empty() && *n != "none") {
            dimensions.push(match name {
                "platform" => Dimension::Platform,
                "topic" => Dimension::Topic,
                "channel" => Dimension::Channel,
                other => return Err(format!("{other:?} is none of platform, topic, channel")),
            });
        }
        Ok(Self::new(dimensions))
    }
}

impl fmt::Debug for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// Which groupings are materialised, and how long cells live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub groupings: Vec<By>,
    /// How long cells are kept after their end, by window: minute, hour, day.
    pub horizon_ms: [i64; 3],
    /// How long after its end a cell accepts changes.
    pub identity_horizon_ms: i64,
}

/// How far records may be out of order between partitions before a change to a
/// cell at the edge of its horizon is lost.
pub const DISORDER_MS_MAX: i64 = HOUR_MS;

impl Settings {
    pub fn start(&self, window: Window, published_at: Millis) -> i64 {
        published_at.floor(window.length_ms()).0
    }

    /// Whether the authors of `by` are sums of those of another materialised grouping.
    pub fn sums_authors(&self, by: By) -> bool {
        self.groupings.iter().any(|finer| finer.without_platform() == Some(by))
    }

    fn open_ms(&self, window: Window) -> i64 {
        self.horizon_ms[window as usize].min(self.identity_horizon_ms)
    }

    /// Whether an event of this ingest time still counts in the cell that starts at `start`.
    pub fn accepts(&self, window: Window, start: i64, ingested_at: Millis) -> bool {
        ingested_at.0 < start.saturating_add(window.length_ms() + self.open_ms(window))
    }

    /// Cells that start before this accept nothing ingested at `clock` or later.
    pub fn closed_before(&self, window: Window, clock: Millis) -> i64 {
        clock.0.saturating_sub(self.open_ms(window) + window.length_ms()).saturating_add(1)
    }

    /// Cells that start before this are frozen when the pipeline clock is at `clock`.
    pub fn frozen_before(&self, window: Window, clock: Millis) -> i64 {
        self.closed_before(window, Millis(clock.0.saturating_sub(DISORDER_MS_MAX)))
    }

    /// Cells that start before this have left retention when the pipeline clock is at `clock`.
    pub fn expired_before(&self, window: Window, clock: Millis) -> i64 {
        let kept_ms = self.horizon_ms[window as usize];
        clock.0.saturating_sub(kept_ms + DISORDER_MS_MAX + window.length_ms()).saturating_add(1)
    }
}

/// A string by its keyed hash; 0 stands for null and for absent dimensions. Names
/// travel beside the cells, and a collision is detected where they are announced.
pub type Symbol = u64;

/// Window, start and grouping in one word, because an arrangement of authors holds it
/// for each of them. Its order is that of the three.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place(u64);

impl Place {
    const BY_BITS: u32 = 3;
    const WINDOW_SHIFT: u32 = 62;
    /// Minutes since the epoch become positive numbers that sort the same.
    const MINUTES_BIAS: i64 = 1 << 58;

    /// `start` in whole minutes; what is below is dropped.
    pub fn new(window: Window, start: i64, by: By) -> Self {
        let minutes = start.div_euclid(MINUTE_MS) + Self::MINUTES_BIAS;
        Self((window as u64) << Self::WINDOW_SHIFT | (minutes as u64) << Self::BY_BITS | u64::from(by.0))
    }

    pub fn window(self) -> Window {
        Window::ALL[(self.0 >> Self::WINDOW_SHIFT) as usize]
    }

    pub fn start(self) -> i64 {
        let minutes = (self.0 << 2 >> (2 + Self::BY_BITS)) as i64 - Self::MINUTES_BIAS;
        minutes * MINUTE_MS
    }

    pub fn by(self) -> By {
        By(self.0 as u8 & ((1 << Self::BY_BITS) - 1))
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.window().name(), Millis(self.start()), self.by())
    }
}

/// A cell's key. Its order groups the cells of a window and start together,
/// which is how they expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CellKey {
    pub place: Place,
    pub platform: Symbol,
    pub topic: Symbol,
    pub channel: Symbol,
}

impl CellKey {
    pub fn window(&self) -> Window {
        self.place.window()
    }

    pub fn start(&self) -> i64 {
        self.place.start()
    }

    pub fn by(&self) -> By {
        self.place.by()
    }

    /// Window and start: what freezes and expires together.
    pub fn bucket(&self) -> (Window, i64) {
        (self.window(), self.start())
    }
}

/// What a cell sums: integers, so that retractions cancel to zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sums {
    pub count: i64,
    /// Items with a compound.
    pub scored: i64,
    /// Sum of compounds, in units of 1e-4.
    pub compound: i64,
    pub views: i64,
    pub likes: i64,
    pub comments: i64,
    pub shares: i64,
}

impl Sums {
    pub fn of(contribution: &Contribution) -> Self {
        let e = &contribution.engagement;
        let count = |c: Option<u32>| i64::from(c.unwrap_or(0));
        Self {
            count: 1,
            scored: i64::from(contribution.compound.is_some()),
            compound: i64::from(contribution.compound.unwrap_or(0)),
            views: count(e.views),
            likes: count(e.likes),
            comments: count(e.comments),
            shares: count(e.shares),
        }
    }
}

impl IsZero for Sums {
    fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

impl Semigroup for Sums {
    fn plus_equals(&mut self, rhs: &Self) {
        self.count += rhs.count;
        self.scored += rhs.scored;
        self.compound += rhs.compound;
        self.views += rhs.views;
        self.likes += rhs.likes;
        self.comments += rhs.comments;
        self.shares += rhs.shares;
    }
}

impl Monoid for Sums {
    fn zero() -> Self {
        Self::default()
    }
}

impl Abelian for Sums {
    fn negate(&mut self) {
        let n = *self;
        *self = Self {
            count: -n.count,
            scored: -n.scored,
            compound: -n.compound,
            views: -n.views,
            likes: -n.likes,
            comments: -n.comments,
            shares: -n.shares,
        };
    }
}

/// One record of results.volume, and one cell of `GET /v1/volume`. Dimensions
/// that the cell is not grouped by are absent; a dimension that is null means
/// items without one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VolumeCell {
    pub window: Window,
    pub start: Millis,
    /// The dimensions the cell is grouped by.
    pub by: Vec<Dimension>,
    #[serde(default, with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub platform: Option<Option<String>>,
    #[serde(default, with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub topic: Option<Option<String>>,
    #[serde(default, with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub channel: Option<Option<String>>,
    pub count: i64,
    /// Items of the cell that have a compound.
    pub scored: i64,
    /// Sum of compounds in units of 1e-4, exact.
    pub compound_sum: i64,
    /// Mean compound over the scored items, -1 to 1; null when there are none.
    pub compound_mean: Option<f64>,
    /// Distinct (platform, author id), exact.
    pub authors: i64,
    pub views: i64,
    pub likes: i64,
    pub comments: i64,
    pub shares: i64,
}

/// A present null is another thing than an absent field.
mod present {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(
        value: &Option<Option<String>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().expect("absent fields are skipped").serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Option<String>>, D::Error> {
        Option::<String>::deserialize(deserializer).map(Some)
    }
}

impl VolumeCell {
    pub fn new(key: &CellKey, sums: &Sums, authors: i64, name: impl Fn(Symbol) -> Option<String>) -> Self {
        let dimension = |d, symbol| key.by().has(d).then(|| name(symbol));
        Self {
            window: key.window(),
            start: Millis(key.start()),
            by: key.by().dimensions().collect(),
            platform: dimension(Dimension::Platform, key.platform),
            topic: dimension(Dimension::Topic, key.topic),
            channel: dimension(Dimension::Channel, key.channel),
            count: sums.count,
            scored: sums.scored,
            compound_sum: sums.compound,
            compound_mean: mean(sums.compound, sums.scored),
            authors,
            views: sums.views,
            likes: sums.likes,
            comments: sums.comments,
            shares: sums.shares,
        }
    }

    pub fn sums(&self) -> Sums {
        Sums {
            count: self.count,
            scored: self.scored,
            compound: self.compound_sum,
            views: self.views,
            likes: self.likes,
            comments: self.comments,
            shares: self.shares,
        }
    }

    pub fn by(&self) -> By {
        By::new(self.by.iter().copied())
    }

    /// The key in results.volume: a JSON array, the same for the same place.
    pub fn record_key(&self) -> Vec<u8> {
        let dimensions = [&self.platform, &self.topic, &self.channel];
        let place = (self.window, self.start, self.by().name());
        let mut key = serde_json::to_vec(&place).expect("a key is plain data");
        for dimension in dimensions.into_iter().flatten() {
            *key.last_mut().expect("a bracket") = b',';
            serde_json::to_writer(&mut key, dimension).expect("a key is plain data");
            key.push(b']');
        }
        key
    }
}

/// Window, start, grouping and the names of its dimensions, of a [`VolumeCell::record_key`];
/// `None` for other keys.
pub fn parse_record_key(key: &[u8]) -> Option<(Window, Millis, By, Vec<Option<String>>)> {
    let mut parts: Vec<Option<String>> = serde_json::from_slice(key).ok()?;
    let names = parts.split_off(3.min(parts.len()));
    let [Some(window), Some(start), Some(by)] = parts.as_slice() else { return None };
    let by = By::parse(by).ok()?;
    let fits = by.dimensions().count() == names.len();
    fits.then_some((Window::parse(window)?, Millis::parse(start).ok()?, by, names))
}

/// Mean compound of a sum in units of 1e-4, with 8 decimals.
pub fn mean(sum: i64, n: i64) -> Option<f64> {
    (n > 0).then(|| (sum as f64 / n as f64 * 1e4).round() / 1e8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groupings_read_what_they_write_and_channel_implies_platform() {
        for text in
            ["none", "platform", "topic", "platform+topic", "platform+channel", "platform+topic+channel"]
        {
            assert_eq!(By::parse(text).expect("valid").name(), text);
        }
        assert_eq!(By::parse("channel").expect("valid").name(), "platform+channel");
        assert_eq!(By::parse("topic,platform").expect("valid").name(), "platform+topic");
        assert!(By::parse("author").is_err());
    }

    #[test]
    fn a_place_gives_back_what_it_was_made_of_and_sorts_as_that() {
        let starts = [i64::MIN / MINUTE_MS * MINUTE_MS, -DAY_MS, -MINUTE_MS, 0, MINUTE_MS, 400 * DAY_MS];
        let mut places = Vec::new();
        for window in Window::ALL {
            for start in starts {
                for by in (0..8).map(By) {
                    let place = Place::new(window, start, by);
                    assert_eq!((place.window(), place.start(), place.by()), (window, start, by));
                    places.push(place);
                }
            }
        }
        assert!(places.is_sorted() && places.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn a_present_null_is_not_an_absent_dimension() {
        let key = CellKey {
            place: Place::new(Window::Hour, 0, By::new([Dimension::Platform, Dimension::Topic])),
            platform: 1,
            topic: 0,
            channel: 0,
        };
        let sums = Sums { count: 3, scored: 3, compound: 1, ..Sums::default() };
        let cell = VolumeCell::new(&key, &sums, 2, |s| (s != 0).then(|| "x".to_string()));
        let json = serde_json::to_value(&cell).expect("plain");
        assert_eq!(json["platform"], "x");
        assert_eq!(json.get("topic"), Some(&serde_json::Value::Null));
        assert_eq!(json.get("channel"), None);
        assert_eq!(json["compound_mean"], 0.00003333);
        assert_eq!(serde_json::from_value::<VolumeCell>(json).expect("same"), cell);
        assert_eq!(cell.record_key(), br#"["1h","1970-01-01T00:00:00Z","platform+topic","x",null]"#);
        let parsed = (Window::Hour, Millis(0), cell.by(), vec![Some("x".to_string()), None]);
        assert_eq!(parse_record_key(&cell.record_key()), Some(parsed));
        for other in
            ["", "[]", r#"["1h","1970-01-01T00:00:00Z","platform+topic","x"]"#, r#"["1h",null,"none"]"#]
        {
            assert_eq!(parse_record_key(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_cell_accepts_until_its_horizon_and_expires_after_it() {
        let settings = Settings {
            groupings: vec![],
            horizon_ms: [7 * DAY_MS, 90 * DAY_MS, 400 * DAY_MS],
            identity_horizon_ms: 30 * DAY_MS,
        };
        let closes = MINUTE_MS + 7 * DAY_MS;
        assert!(settings.accepts(Window::Minute, 0, Millis(closes - 1)));
        assert!(!settings.accepts(Window::Minute, 0, Millis(closes)));
        assert!(!settings.accepts(Window::Hour, 0, Millis(HOUR_MS + 30 * DAY_MS)));
        assert!(settings.closed_before(Window::Minute, Millis(closes - 1)) <= 0);
        assert!(settings.closed_before(Window::Minute, Millis(closes)) > 0);
        // The edges of the clock agree with acceptance, an hour later.
        assert!(settings.frozen_before(Window::Minute, Millis(closes + DISORDER_MS_MAX - 1)) <= 0);
        assert!(settings.frozen_before(Window::Minute, Millis(closes + DISORDER_MS_MAX)) > 0);
        assert!(settings.expired_before(Window::Hour, Millis(HOUR_MS + 90 * DAY_MS + DISORDER_MS_MAX)) > 0);
        assert!(settings.frozen_before(Window::Day, Millis(0)) < 0);
    }
}
