//! A switch for all content, none, or a stable part of it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// `true`, `false`, or a percentage of content chosen by a hash of its id: the
/// same ids on every host and after every restart, and raising the percentage
/// only adds ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// Hundredths of a percent, 0..=10000.
    share_e4: u16,
}

const ALL: u16 = 10_000;

/// Where the content stands among all, 0..10000. Fixed for ever: another hash would
/// move content in and out of a rollout at an upgrade.
fn place(content_id: &str) -> u16 {
    let hash = blake3::hash(content_id.as_bytes());
    let (head, _) = hash.as_bytes().split_first_chunk::<8>().expect("a hash has 32 bytes");
    (u64::from_le_bytes(*head) % u64::from(ALL)) as u16
}

impl Rollout {
    pub const ON: Self = Self { share_e4: ALL };
    pub const OFF: Self = Self { share_e4: 0 };

    /// Whether the switch is on for this content.
    pub fn includes(&self, content_id: &str) -> bool {
        place(content_id) < self.share_e4
    }

    /// Off for everything.
    pub fn is_off(&self) -> bool {
        self.share_e4 == 0
    }

    /// Reads `true`, `false`, `25%` or `25` (percent).
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is not true, false or a percentage from 0% to 100%");
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" => return Ok(Self::ON),
            "false" | "off" | "no" => return Ok(Self::OFF),
            _ => {}
        }
        let number = text.trim().trim_end_matches('%').trim_end();
        // A bare 1 or 0 is what scripts write for true and false; "1%" is one percent.
        match number {
            "1" if !text.contains('%') => return Ok(Self::ON),
            "0" => return Ok(Self::OFF),
            _ => {}
        }
        let percent: f64 = number.parse().map_err(|_| expected())?;
        if !(0.0..=100.0).contains(&percent) {
            return Err(expected());
        }
        Ok(Self { share_e4: (percent * 100.0).round() as u16 })
    }
}

impl fmt::Display for Rollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ON => f.write_str("true"),
            Self::OFF => f.write_str("false"),
            part => write!(f, "{}%", f64::from(part.share_e4) / 100.0),
        }
    }
}

impl Serialize for Rollout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rollout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Rollout;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or a percentage")
            }
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Rollout, E> {
                Ok(if on { Rollout::ON } else { Rollout::OFF })
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Rollout, E> {
                Rollout::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_switches_and_percentages() {
        for (text, shown) in [
            ("true", "true"),
            ("1", "true"),
            ("0", "false"),
            ("25%", "25%"),
            ("0.5", "0.5%"),
            ("100%", "true"),
            ("1%", "1%"),
        ] {
            assert_eq!(Rollout::parse(text).expect(text).to_string(), shown);
        }
        for text in ["", "101%", "-1", "maybe", "NaN", "%"] {
            assert!(Rollout::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn raising_the_share_only_adds_content() {
        let (small, large) = (Rollout::parse("10%").expect("valid"), Rollout::parse("30%").expect("valid"));
        let ids: Vec<String> = (0..20_000).map(|i| format!("web:{i}")).collect();
        assert!(ids.iter().all(|id| !small.includes(id) || large.includes(id)));
        let share = ids.iter().filter(|id| small.includes(id)).count() as f64 / ids.len() as f64;
        assert!((0.09..0.11).contains(&share), "10% took {share}");
        assert!(ids.iter().all(|id| Rollout::ON.includes(id) && !Rollout::OFF.includes(id)));
    }

    #[test]
    fn the_place_of_content_never_changes() {
        assert_eq!(["web:1", "rss:https://example.org/a", "youtube:ü"].map(place), [5389, 6856, 9713]);
    }
}
