//! Instants as data: milliseconds since the epoch, written as RFC 3339.

use std::fmt;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Milliseconds since 1970-01-01T00:00:00Z. Reads RFC 3339 or a number of
/// milliseconds, writes RFC 3339 in UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub i64);

pub const SECOND_MS: i64 = 1_000;
pub const MINUTE_MS: i64 = 60 * SECOND_MS;
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
pub const DAY_MS: i64 = 24 * HOUR_MS;

impl Millis {
    /// Parses RFC 3339. Errors say what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(plain) = plain::parse(text.as_bytes()) {
            return Ok(Self(plain));
        }
        text.parse::<Timestamp>()
            .map(|t| Self(t.as_millisecond()))
            .map_err(|_| format!("{text:?} is not an RFC 3339 time"))
    }

    /// The start of the UTC-aligned window of `length_ms` that contains this instant.
    pub fn floor(self, length_ms: i64) -> Self {
        Self(self.0.div_euclid(length_ms) * length_ms)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = plain::written(self.0, &mut [0; plain::BYTES_MAX]) {
            return f.write_str(text);
        }
        match Timestamp::from_millisecond(self.0) {
            Ok(t) => write!(f, "{t}"),
            // Outside of years -9999..9999: only a number can say it.
            Err(_) => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            match plain::written(self.0, &mut [0; plain::BYTES_MAX]) {
                Some(text) => serializer.serialize_str(text),
                None => serializer.collect_str(self),
            }
        } else {
            serializer.serialize_i64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Millis;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time or a number of milliseconds")
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Millis, E> {
                Millis::parse(v).map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Millis, E> {
                Ok(Millis(v))
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Millis, E> {
                i64::try_from(v).map(Millis).map_err(|_| E::custom("a time out of range"))
            }
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<Millis, E> {
                if v.fract() == 0.0 && v.abs() < 9e15 {
                    Ok(Millis(v as i64))
                } else {
                    Err(E::custom("a time must be a whole number of milliseconds"))
                }
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(Visitor)
        } else {
            deserializer.deserialize_i64(Visitor)
        }
    }
}

impl JsonSchema for Millis {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// `2026-11-24T10:00:00.25Z`: from the year 0 on, UTC, at most milliseconds. Every record
/// has several, so this form is read and written without a calendar library; what is
/// not of this form is left to it, and a test compares both.
mod plain {
    use super::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};

    pub const BYTES_MAX: usize = "0000-00-00T00:00:00.000Z".len();

    /// Days from 1970-01-01 to the first of March of the year 0.
    const MARCH_OF_YEAR_0: i64 = -719_468;
    const DAYS_OF_400_YEARS: i64 = 146_097;
    /// From the year 0 to the library's last second, two days before the year 10000.
    const RANGE: std::ops::Range<i64> = -62_167_219_200_000..253_402_207_200_000;

    /// Milliseconds since the epoch as text; `None` outside of [`RANGE`].
    pub fn written(ms: i64, out: &mut [u8; BYTES_MAX]) -> Option<&str> {
        if !RANGE.contains(&ms) {
            return None;
        }
        let (year, month, day) = date(ms.div_euclid(DAY_MS));
        let rest = ms.rem_euclid(DAY_MS);
        out[..20].copy_from_slice(b"0000-00-00T00:00:00Z");
        let mut digits = |at: usize, n: i64| {
            out[at] += (n / 10) as u8;
            out[at + 1] += (n % 10) as u8;
        };
        digits(0, year / 100);
        digits(2, year % 100);
        digits(5, month);
        digits(8, day);
        digits(11, rest / HOUR_MS);
        digits(14, rest / MINUTE_MS % 60);
        digits(17, rest / SECOND_MS % 60);
        let fraction = rest % SECOND_MS;
        let mut end = 19;
        if fraction > 0 {
            out[19] = b'.';
            end = 20;
            let (mut left, mut place) = (fraction, 100);
            while left > 0 {
                out[end] = b'0' + (left / place) as u8;
                (left, place, end) = (left % place, place / 10, end + 1);
            }
        }
        out[end] = b'Z';
        std::str::from_utf8(&out[..=end]).ok()
    }

    /// The reverse; `None` for every other form, and for what may be no date.
    pub fn parse(text: &[u8]) -> Option<i64> {
        let number = |at: usize, digits: usize| {
            text[at..at + digits]
                .iter()
                .try_fold(0, |n, b| b.is_ascii_digit().then(|| 10 * n + i64::from(b - b'0')))
        };
        let (fraction, shape) = match text.len() {
            20 => (0, true),
            length @ 22..=24 => {
                let digits = length - 21;
                (number(20, digits)? * 10_i64.pow(3 - digits as u32), text[19] == b'.')
            }
            _ => return None,
        };
        let signs = [text[4], text[7], text[10], text[13], text[16], text[text.len() - 1]];
        if !shape || signs != *b"--T::Z" {
            return None;
        }
        let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
        let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
        // The last days of months and leap seconds are for the library to judge.
        if !(1..=12).contains(&month) || !(1..=28).contains(&day) || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let time = hour * HOUR_MS + minute * MINUTE_MS + second * SECOND_MS + fraction;
        Some(days(year, month, day) * DAY_MS + time).filter(|ms| RANGE.contains(ms))
    }

    /// Proleptic Gregorian calendar: H. Hinnant, "chrono-Compatible Low-Level Date
    /// Algorithms", `civil_from_days`. Years begin in March, so that leap days end them.
    fn date(days: i64) -> (i64, i64, i64) {
        let days = days - MARCH_OF_YEAR_0;
        let (era, of_era) = (days.div_euclid(DAYS_OF_400_YEARS), days.rem_euclid(DAYS_OF_400_YEARS));
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        (year + 400 * era + i64::from(month <= 2), month, day)
    }

    /// `days_from_civil` of the same source.
    fn days(year: i64, month: i64, day: i64) -> i64 {
        let year = year - i64::from(month <= 2);
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
        let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
        era * DAYS_OF_400_YEARS + day_of_era + MARCH_OF_YEAR_0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_as_the_calendar_library_does() {
        let library = |ms: i64| Timestamp::from_millisecond(ms).expect("in range").to_string();
        let edges = [-62_167_219_200_000, 253_402_207_199_999, 0, -1, 951_782_400_000, 951_868_799_999];
        let days = (-800_000..2_900_000).step_by(37).map(|day| day * DAY_MS + day.rem_euclid(86_400) * 997);
        for ms in edges.into_iter().chain(days).filter(|ms| (edges[0]..=edges[1]).contains(ms)) {
            let text = Millis(ms).to_string();
            assert_eq!(text, library(ms), "{ms}");
            assert_eq!(Millis::parse(&text), Ok(Millis(ms)), "{text}");
        }
        for ms in [edges[0] - 1, edges[1] + 1, i64::MIN, i64::MAX] {
            let told = Timestamp::from_millisecond(ms).map_or(ms.to_string(), |t| t.to_string());
            assert_eq!(Millis(ms).to_string(), told);
        }
        for text in [
            "2026-02-30T10:00:00Z",
            "2026-02-29T10:00:00Z",
            "2024-02-29T10:00:00Z",
            "2026-13-01T10:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T23:59:60Z",
            "2026-01-01T10:00:00.1234Z",
            "2026-01-01T10:00:00.Z",
            "2026-01-01t10:00:00z",
            "2026-01-01 10:00:00Z",
            "2026-01-01T10:00:00+02:00",
            "2026-01-01T10:00:00",
            "2026-01-01T10:00:00,5Z",
            "20x6-01-01T10:00:00Z",
            "+026-01-01T10:00:00Z",
            "2026-01-01T10:00:00.5Z",
            "",
            "Z",
            "9999-12-31T10:00:00Z",
            "9999-12-28T10:00:00Z",
            "2026-01-31T10:00:00.05Z",
            "2026-00-10T10:00:00Z",
        ] {
            let library = text.parse::<Timestamp>().ok().map(|t| Millis(t.as_millisecond()));
            assert_eq!(Millis::parse(text).ok(), library, "{text}");
        }
    }

    #[test]
    fn reads_both_forms_and_writes_one() {
        let text: Millis = serde_json::from_str("\"2026-11-24T10:00:00.250Z\"").expect("valid");
        let number: Millis = serde_json::from_str(&text.0.to_string()).expect("valid");
        assert_eq!(text, number);
        assert_eq!(serde_json::to_string(&text).expect("plain"), "\"2026-11-24T10:00:00.25Z\"");
        assert!(serde_json::from_str::<Millis>("\"yesterday\"").is_err());
    }

    #[test]
    fn floors_towards_the_past() {
        assert_eq!(Millis(-1).floor(MINUTE_MS), Millis(-MINUTE_MS));
        assert_eq!(Millis(MINUTE_MS).floor(MINUTE_MS), Millis(MINUTE_MS));
    }
}
