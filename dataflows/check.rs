//! The bytes of an event become a [`ContentEvent`] that keeps every rule, or a [`Fault`].

use serde::Deserialize;

use crate::event::{Change, ContentEvent};
use crate::faults::{Fault, Reason};
use crate::time::{HOUR_MS, Millis};

/// Sizes in bytes that an event may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Of the whole record.
    pub record_bytes_max: usize,
    /// Of title and text together, before markup is removed.
    pub text_bytes_max: usize,
    /// Of each id: platform, native id, author, channel.
    pub id_bytes_max: usize,
}

/// How far ahead of its ingestion an item may say it was published.
pub const FUTURE_MS_MAX: i64 = HOUR_MS;

/// Parses and checks one event as of its ingestion.
pub fn parse(bytes: &[u8], ingested_at: Millis, limits: &Limits) -> Result<ContentEvent, Fault> {
    if bytes.len() > limits.record_bytes_max {
        return Err(Fault::new(
            Reason::TooLarge,
            format!("the record has {} bytes, {} are allowed", bytes.len(), limits.record_bytes_max),
        ));
    }
    let event: ContentEvent = serde_json::from_slice(bytes).map_err(|e| {
        let reason =
            if e.to_string().starts_with("missing field") { Reason::Missing } else { Reason::Malformed };
        Fault::new(reason, format!("not a content event: {e}"))
    })?;
    check(&event, ingested_at, limits)?;
    Ok(event)
}

/// Checks the rules that the type cannot state.
pub fn check(event: &ContentEvent, ingested_at: Millis, limits: &Limits) -> Result<(), Fault> {
    check_id("platform", &event.platform, limits)?;
    check_id("native_id", &event.native_id, limits)?;
    if event.platform.contains(':') {
        return Err(Fault::new(Reason::Invalid, "platform contains ':', which ends it in a content id"));
    }
    if event.change == Change::Deleted {
        return Ok(());
    }
    if event.kind.is_none() {
        return Err(Fault::new(Reason::Missing, "kind is required unless the change is a deletion"));
    }
    let Some(published_at) = event.published_at else {
        return Err(Fault::new(Reason::Missing, "published_at is required unless the change is a deletion"));
    };
    check_time(published_at, ingested_at)?;
    for (field, party) in [("author", &event.author), ("channel", &event.channel)] {
        if let Some(party) = party {
            check_id(&format!("{field}.id"), &party.id, limits)?;
        }
    }
    let text = event.title.as_ref().map_or(0, String::len) + event.text.as_ref().map_or(0, String::len);
    if text > limits.text_bytes_max {
        return Err(Fault::new(
            Reason::TooLarge,
            format!("title and text have {text} bytes, {} are allowed", limits.text_bytes_max),
        ));
    }
    Ok(())
}

fn check_time(published_at: Millis, ingested_at: Millis) -> Result<(), Fault> {
    if published_at.0 > ingested_at.0.saturating_add(FUTURE_MS_MAX) {
        return Err(Fault::new(
            Reason::Future,
            format!(
                "published_at {published_at} is more than an hour ahead of its ingestion at {ingested_at}"
            ),
        ));
    }
    // RFC 3339 has four digits for a year.
    const YEAR_ZERO_MS: i64 = -62_167_219_200_000;
    if published_at.0 < YEAR_ZERO_MS {
        return Err(Fault::new(Reason::Invalid, "published_at is before the year 0"));
    }
    Ok(())
}

fn check_id(field: &str, id: &str, limits: &Limits) -> Result<(), Fault> {
    if id.is_empty() {
        return Err(Fault::new(Reason::Missing, format!("{field} is empty")));
    }
    if id.len() > limits.id_bytes_max {
        return Err(Fault::new(
            Reason::TooLarge,
            format!("{field} has {} bytes, {} are allowed", id.len(), limits.id_bytes_max),
        ));
    }
    if id.chars().any(char::is_control) {
        return Err(Fault::new(Reason::Invalid, format!("{field} contains a control character")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { record_bytes_max: 1000, text_bytes_max: 200, id_bytes_max: 20 };

    fn reason(json: &str) -> Option<Reason> {
        parse(json.as_bytes(), Millis(HOUR_MS * 10), &LIMITS).err().map(|f| f.reason)
    }

    #[test]
    fn each_rule_has_its_reason() {
        let with = |fields: &str| {
            format!(
                r#"{{"platform":"x","native_id":"1","change":"created","kind":"post","published_at":0{fields}}}"#
            )
        };
        assert_eq!(reason(&with("")), None);
        assert_eq!(reason(&with(r#","surprise":{"kept":[1]}"#)), None);
        assert_eq!(reason(r#"{"platform":"x","native_id":"1","change":"deleted"}"#), None);
        assert_eq!(reason(&with(r#","media":null,"author":null"#)), None);
        let long = "a".repeat(201);
        let cases = [
            ("{", Reason::Malformed),
            ("[]", Reason::Malformed),
            ("", Reason::Malformed),
            (r#"{"platform":"x","change":"deleted"}"#, Reason::Missing),
            (r#"{"platform":"x","native_id":"1","change":"erased"}"#, Reason::Malformed),
            (r#"{"platform":"","native_id":"1","change":"deleted"}"#, Reason::Missing),
            (r#"{"platform":"a:b","native_id":"1","change":"deleted"}"#, Reason::Invalid),
            (r#"{"platform":"x","native_id":"1\n","change":"deleted"}"#, Reason::Invalid),
            (r#"{"platform":"x","native_id":"1","change":"created","published_at":0}"#, Reason::Missing),
            (r#"{"platform":"x","native_id":"1","change":"created","kind":"post"}"#, Reason::Missing),
        ];
        for (json, expected) in cases {
            assert_eq!(reason(json), Some(expected), "{json}");
        }
        assert_eq!(reason(&with(&format!(r#","text":"{long}""#))), Some(Reason::TooLarge));
        assert_eq!(
            reason(&with(&format!(r#","author":{{"id":"{}"}}"#, &long[..21]))),
            Some(Reason::TooLarge)
        );
        assert_eq!(reason(&with(&format!(r#","x":"{}""#, "a".repeat(1000)))), Some(Reason::TooLarge));
        let future = with("").replace(":0}", &format!(":{}}}", HOUR_MS * 11 + 1));
        assert_eq!(reason(&future), Some(Reason::Future));
    }
}
