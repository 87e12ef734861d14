//! A content event from a map of fields, in one pass.
//!
//! `#[serde(flatten)]` would buffer the whole map before it looks at the first field;
//! every event of the firehose goes through here, so the fields are matched by hand.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, de};

use super::{ContentEvent, Media};

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Platform,
    NativeId,
    Change,
    Kind,
    Revision,
    PublishedAt,
    Author,
    Channel,
    ThreadId,
    Title,
    Text,
    Lang,
    Url,
    Engagement,
    Media,
    ReplyTo,
    Other(String),
}

impl<'de> Deserialize<'de> for ContentEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Event)
    }
}

struct Event;

impl<'de> Visitor<'de> for Event {
    type Value = ContentEvent;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the fields of a content event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ContentEvent, A::Error> {
        let (mut platform, mut native_id, mut change, mut kind) = (None, None, None, None);
        let (mut revision, mut published_at, mut author, mut channel) = (None, None, None, None);
        let (mut thread_id, mut title, mut text, mut lang) = (None, None, None, None);
        let (mut url, mut engagement, mut media, mut reply_to) = (None, None, None, None);
        let mut other = BTreeMap::new();
        while let Some(field) = map.next_key()? {
            let map = &mut map;
            match field {
                Field::Platform => once(map, &mut platform, "platform")?,
                Field::NativeId => once(map, &mut native_id, "native_id")?,
                Field::Change => once(map, &mut change, "change")?,
                Field::Kind => once(map, &mut kind, "kind")?,
                Field::Revision => once(map, &mut revision, "revision")?,
                Field::PublishedAt => once(map, &mut published_at, "published_at")?,
                Field::Author => once(map, &mut author, "author")?,
                Field::Channel => once(map, &mut channel, "channel")?,
                Field::ThreadId => once(map, &mut thread_id, "thread_id")?,
                Field::Title => once(map, &mut title, "title")?,
                Field::Text => once(map, &mut text, "text")?,
                Field::Lang => once(map, &mut lang, "lang")?,
                Field::Url => once(map, &mut url, "url")?,
                Field::Engagement => once(map, &mut engagement, "engagement")?,
                Field::Media => once::<_, Option<Vec<Media>>>(map, &mut media, "media")?,
                Field::ReplyTo => once(map, &mut reply_to, "reply_to")?,
                Field::Other(name) => {
                    other.insert(name, map.next_value()?);
                }
            }
        }
        let missing = <A::Error as de::Error>::missing_field;
        Ok(ContentEvent {
            platform: platform.ok_or_else(|| missing("platform"))?,
            native_id: native_id.ok_or_else(|| missing("native_id"))?,
            change: change.ok_or_else(|| missing("change"))?,
            kind: kind.unwrap_or_default(),
            revision: revision.unwrap_or_default(),
            published_at: published_at.unwrap_or_default(),
            author: author.unwrap_or_default(),
            channel: channel.unwrap_or_default(),
            thread_id: thread_id.unwrap_or_default(),
            title: title.unwrap_or_default(),
            text: text.unwrap_or_default(),
            lang: lang.unwrap_or_default(),
            url: url.unwrap_or_default(),
            engagement: engagement.unwrap_or_default(),
            media: media.flatten().unwrap_or_default(),
            reply_to: reply_to.unwrap_or_default(),
            other,
        })
    }
}

fn once<'de, A, T>(map: &mut A, slot: &mut Option<T>, name: &'static str) -> Result<(), A::Error>
where
    A: MapAccess<'de>,
    T: Deserialize<'de>,
{
    if slot.is_some() {
        return Err(A::Error::duplicate_field(name));
    }
    *slot = Some(map.next_value()?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What serde's own derive makes of the same fields.
    #[derive(Debug, Deserialize)]
    struct Derived {
        platform: String,
        #[serde(default)]
        text: Option<String>,
        #[serde(flatten)]
        other: BTreeMap<String, serde_json::Value>,
    }

    #[test]
    fn keeps_unknown_fields_and_refuses_a_field_that_comes_twice() {
        let json = r#"{"mood":[1,{"a":null}],"platform":"x","native_id":"1","change":"deleted","text":null}"#;
        let (event, derived): (ContentEvent, Derived) = (
            serde_json::from_str(json).expect("an event"),
            serde_json::from_str(json).expect("the same fields"),
        );
        assert_eq!((&event.platform, &event.text), (&derived.platform, &derived.text));
        assert_eq!(event.other.get("mood"), derived.other.get("mood"));
        assert_eq!(event.other.len(), 1);
        let again: ContentEvent = serde_json::from_str(&serde_json::to_string(&event).expect("plain data"))
            .expect("reads what it wrote");
        assert_eq!(again, event);
        for (wrong, said) in [
            (r#"{"platform":"x","platform":"y"}"#, "duplicate field `platform`"),
            (r#"{"platform":"x","change":"deleted"}"#, "missing field `native_id`"),
            (r#"{"platform":7}"#, "invalid type: integer `7`, expected a string"),
            (r#"["x"]"#, "expected an object with the fields of a content event"),
        ] {
            let error = serde_json::from_str::<ContentEvent>(wrong).expect_err("wrong").to_string();
            assert!(error.contains(said), "{wrong}: {error}");
        }
    }
}
