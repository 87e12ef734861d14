//! What the digests need of the current version of an item: two hundred thousand of them
//! are held, so that the texts of each are one piece of memory.

use dataflows::event::{Engagement, Enriched, Party, Version};
use dataflows::time::Millis;

use super::record::{Also, Item, Why};
use crate::discord::schedule::Window;

/// Characters of a title and of a text that are kept; more is never shown.
const TITLE_CHARS_MAX: usize = 300;
const TEXT_CHARS_MAX: usize = 600;
const NAME_CHARS_MAX: usize = 100;

/// The current version of an item, or its deletion.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub version: Version,
    pub published_at: Millis,
    pub first_ingested: Millis,
    pub mood: Option<f64>,
    pub engagement: u64,
    shown: [u8; SHOWN_BYTES],
    texts: Texts<FIELDS>,
}

/// Bytes of the hash of what is shown.
const SHOWN_BYTES: usize = 8;
/// What stands between topics.
const BETWEEN: char = '\0';

/// The texts in their order.
#[derive(Clone, Copy)]
enum Field {
    Id,
    Platform,
    /// The channel's id: channels of one name are different.
    ChannelId,
    Channel,
    Author,
    Title,
    Text,
    Url,
    Topics,
}

const FIELDS: usize = Field::Topics as usize + 1;

impl Known {
    /// `None` for a deletion.
    pub fn of(enriched: &Enriched) -> Option<Self> {
        let content = enriched.content.as_ref()?;
        let name = |p: &Party| beginning(p.name.as_ref().unwrap_or(&p.id), NAME_CHARS_MAX).to_string();
        let (channel, author) = (content.channel.as_ref().map(name), content.author.as_ref().map(name));
        let topics = content.topics.join(&BETWEEN.to_string());
        let texts: [Option<&str>; FIELDS] = [
            Some(&enriched.id),
            Some(&content.platform),
            content.channel.as_ref().map(|channel| channel.id.as_str()),
            channel.as_deref(),
            author.as_deref(),
            shortened(content.title.as_ref(), TITLE_CHARS_MAX),
            shortened(content.text.as_ref(), TEXT_CHARS_MAX),
            content.url.as_deref(),
            (!content.topics.is_empty()).then_some(&*topics),
        ];
        let mut known = Self {
            version: enriched.version,
            published_at: content.published_at,
            first_ingested: enriched.ingested_at,
            mood: content.sentiment.map(|sentiment| sentiment.compound),
            engagement: engagement(content.engagement),
            shown: [0; SHOWN_BYTES],
            texts: Texts::new(texts),
        };
        known.shown = known.shown_hash();
        Some(known)
    }

    pub fn id(&self) -> &str {
        self.texts.get(Field::Id as usize).expect("an item has an id")
    }

    pub fn platform(&self) -> &str {
        self.texts.get(Field::Platform as usize).expect("an item has a platform")
    }

    pub fn channel_id(&self) -> Option<&str> {
        self.texts.get(Field::ChannelId as usize)
    }

    pub fn channel(&self) -> Option<&str> {
        self.texts.get(Field::Channel as usize)
    }

    pub fn author(&self) -> Option<&str> {
        self.texts.get(Field::Author as usize)
    }

    pub fn title(&self) -> Option<&str> {
        self.texts.get(Field::Title as usize)
    }

    pub fn text(&self) -> Option<&str> {
        self.texts.get(Field::Text as usize)
    }

    pub fn url(&self) -> Option<&str> {
        self.texts.get(Field::Url as usize)
    }

    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.texts.get(Field::Topics as usize).into_iter().flat_map(|topics| topics.split(BETWEEN))
    }

    /// Of everything a reader sees, but not of engagement, which changes by the minute.
    fn shown_hash(&self) -> [u8; SHOWN_BYTES] {
        let seen = (
            self.platform(),
            self.channel(),
            self.author(),
            self.title(),
            self.text(),
            self.url(),
            self.published_at.0,
            self.mood.map(|m| (m * 100.0).round() as i64),
            self.topics().collect::<Vec<_>>(),
        );
        let bytes = serde_json::to_vec(&seen).expect("texts and numbers serialize");
        *blake3::hash(&bytes).as_bytes().first_chunk().expect("BLAKE3 gives 32 bytes")
    }

    /// Hash of what is shown of it, in hexadecimal.
    pub fn shown(&self) -> String {
        self.shown.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Bytes that it takes in memory, those of its place in the tables among them.
    pub fn bytes(&self) -> usize {
        const TABLES: usize = 160;
        size_of::<Self>() + TABLES + self.texts.bytes()
    }

    /// As a digest shows it.
    pub fn item(&self, why: Why) -> Item {
        let owned = |text: Option<&str>| text.map(str::to_string);
        Item {
            id: self.id().to_string(),
            version: self.version,
            shown: self.shown(),
            platform: self.platform().to_string(),
            channel: owned(self.channel()),
            author: owned(self.author()),
            title: owned(self.title()),
            text: owned(self.text()),
            url: owned(self.url()),
            published_at: self.published_at,
            mood: self.mood,
            topics: self.topics().map(str::to_string).collect(),
            why,
            edited: false,
            story: None,
        }
    }

    /// As a digest names it beside another item of the same story.
    pub fn also(&self) -> Also {
        Also {
            id: self.id().to_string(),
            version: self.version,
            shown: self.shown(),
            platform: self.platform().to_string(),
            url: self.url().map(str::to_string),
        }
    }

    pub(super) fn belongs_to(&self, window: Window) -> bool {
        let recent =
            window.start.0 - window.length_ms() <= self.published_at.0 && self.published_at < window.end;
        window.contains(self.published_at) || (window.contains(self.first_ingested) && recent)
    }
}

/// Texts in one piece; one that is absent is another thing than an empty one.
#[derive(Clone, Debug, PartialEq)]
struct Texts<const N: usize> {
    all: Box<str>,
    /// Where each ends, and the next begins.
    ends: [u32; N],
    /// A bit for each that is there.
    present: u16,
}

impl<const N: usize> Texts<N> {
    fn new(texts: [Option<&str>; N]) -> Self {
        let mut all = String::with_capacity(texts.iter().flatten().map(|text| text.len()).sum());
        let (mut ends, mut present) = ([0; N], 0);
        for (i, text) in texts.into_iter().enumerate() {
            all.push_str(text.unwrap_or_default());
            ends[i] = u32::try_from(all.len()).expect("a record is smaller than 4 GiB");
            present |= u16::from(text.is_some()) << i;
        }
        Self { all: all.into(), ends, present }
    }

    fn get(&self, i: usize) -> Option<&str> {
        let begin = i.checked_sub(1).map_or(0, |before| self.ends[before]);
        (self.present >> i & 1 == 1).then(|| &self.all[begin as usize..self.ends[i] as usize])
    }

    fn bytes(&self) -> usize {
        self.all.len()
    }
}

fn engagement(counts: Engagement) -> u64 {
    let [views, likes, comments, shares] =
        [counts.views, counts.likes, counts.comments, counts.shares].map(|n| u64::from(n.unwrap_or(0)));
    100 * likes + 200 * comments + 300 * shares + views
}

/// The first characters.
fn beginning(text: &str, chars_max: usize) -> &str {
    let end = text.char_indices().nth(chars_max).map_or(text.len(), |(at, _)| at);
    &text[..end]
}

/// The first characters of a text that has any but space.
fn shortened(text: Option<&String>, chars_max: usize) -> Option<&str> {
    text.map(|text| beginning(text, chars_max)).filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_as_they_were() {
        let texts = [Some("ä"), None, Some(""), Some("x\0y"), None];
        let packed = Texts::new(texts);
        assert_eq!(std::array::from_fn(|i| packed.get(i)), texts);
        assert_eq!(packed.bytes(), 5);
    }

    #[test]
    fn texts_are_cut_between_characters_and_blank_ones_are_none() {
        assert_eq!(shortened(Some(&"äöü".to_string()), 2), Some("äö"));
        assert_eq!(shortened(Some(&" \n".to_string()), 2), None);
        assert_eq!(shortened(None, 2), None);
    }
}
