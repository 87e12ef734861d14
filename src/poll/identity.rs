//! Who an entry is. Feeds give three names, none of which can be trusted alone:
//! the guid (or atom:id), the link, and title with date.
//!
//! The ladder, per feed: the guid, unless two different entries of one fetch
//! shared it; else the link, unless likewise; else title and date. An entry that
//! lacks a rung uses the next. A clash is remembered for ever: rungs are only
//! ever given up, so that identity does not flap.
//!
//! Giving up a rung, or a publisher adding guids later, must not make every item
//! new. So every known item keeps all its names, and its key is the one it was
//! first given: an entry is first looked up by the highest rung in use, and by
//! lower ones among items that never had the higher name.

use dataflows::time::Millis;
use serde::{Deserialize, Serialize};
use url::Url;

/// The first 16 bytes of a BLAKE3 hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 16]);

impl Hash {
    pub fn of(parts: &[&str]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        Self(bytes)
    }

    pub fn hex(&self) -> String {
        self.0.iter().map(|b| format!("{b:02x}")).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rung {
    Guid,
    Link,
    Title,
}

/// The names of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aliases {
    guid: Option<(Hash, String)>,
    link: Option<(Hash, String)>,
    title: Hash,
    /// The title without the date: tells two entries from one that is listed twice.
    headline: Hash,
}

impl Aliases {
    pub fn new(guid: Option<&str>, link: Option<&str>, headline: &str, published: Option<Millis>) -> Self {
        let named = |text: &str| (Hash::of(&[text]), text.to_string());
        let date = published.map_or_else(String::new, |p| p.0.to_string());
        Self {
            guid: guid.map(named),
            link: link.map(named),
            title: Hash::of(&[headline, &date]),
            headline: Hash::of(&[headline]),
        }
    }

    pub fn has_guid(&self) -> bool {
        self.guid.is_some()
    }

    pub fn get(&self, rung: Rung) -> Option<Hash> {
        match rung {
            Rung::Guid => self.guid.as_ref().map(|(hash, _)| *hash),
            Rung::Link => self.link.as_ref().map(|(hash, _)| *hash),
            Rung::Title => Some(self.title),
        }
    }

    /// The item's key under this rung: `g:`, `l:` or `t:` and the name itself if
    /// it is short and plain, else `g=`, `l=` or `t=` and its hash in hexadecimal.
    /// At most [`KEY_BYTES_MAX`] bytes.
    pub fn key(&self, rung: Rung) -> Option<String> {
        let (letter, (hash, name)) = match rung {
            Rung::Guid => ('g', self.guid.as_ref()?),
            Rung::Link => ('l', self.link.as_ref()?),
            Rung::Title => return Some(format!("t={}", self.title.hex())),
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?#@!$&'()*+,;=%".contains(&b);
        let short = name.len() <= KEY_BYTES_MAX - 2 && name.bytes().all(plain);
        Some(if short { format!("{letter}:{name}") } else { format!("{letter}={}", hash.hex()) })
    }
}

/// The id of an item whose platform vouches for its ids, out of the item's key: the id
/// itself, or `=` and its hash if it is long or not plain.
pub fn native_id(key: &str) -> &str {
    key.strip_prefix("g:").or_else(|| key.strip_prefix('g')).unwrap_or(key)
}

pub const KEY_BYTES_MAX: usize = 128;

/// Which rungs a feed can still be trusted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ladder {
    pub guid: bool,
    pub link: bool,
}

impl Default for Ladder {
    fn default() -> Self {
        Self { guid: true, link: true }
    }
}

impl Ladder {
    /// The names of an entry that count, highest first; never empty.
    pub fn rungs(self, aliases: &Aliases) -> Vec<(Rung, Hash)> {
        let usable = |rung: &Rung| match rung {
            Rung::Guid => self.guid,
            Rung::Link => self.link,
            Rung::Title => true,
        };
        let all = [Rung::Guid, Rung::Link, Rung::Title];
        all.into_iter().filter(usable).filter_map(|rung| Some((rung, aliases.get(rung)?))).collect()
    }

    /// Gives up the rungs on which different entries of this fetch clash.
    pub fn learn<'a>(&mut self, fetch: impl Iterator<Item = &'a Aliases> + Clone) {
        if self.guid && self.clashes(Rung::Guid, fetch.clone()) {
            self.guid = false;
        }
        if self.link && self.clashes(Rung::Link, fetch) {
            self.link = false;
        }
    }

    fn clashes<'a>(self, rung: Rung, fetch: impl Iterator<Item = &'a Aliases>) -> bool {
        let mut first = std::collections::HashMap::new();
        fetch.filter(|a| self.rungs(a).first().is_some_and(|(top, _)| *top == rung)).any(|aliases| {
            let other = *first.entry(aliases.get(rung)).or_insert(aliases);
            let links_differ = aliases.get(Rung::Link) != other.get(Rung::Link);
            links_differ || aliases.headline != other.headline
        })
    }
}

/// A link without what does not tell pages apart: tracking parameters, fragment,
/// trailing slash, the difference of http and https. Only compared, never fetched.
pub fn canonical_link(link: &str) -> String {
    let Ok(mut url) = Url::parse(link) else { return link.to_string() };
    // A fragment that begins with "!" or "/" is a route: it is the page.
    if !url.fragment().is_some_and(|f| f.starts_with(['!', '/'])) {
        url.set_fragment(None);
    }
    let is_tracking =
        |name: &str| name.starts_with("utm_") || matches!(name, "fbclid" | "gclid" | "mc_cid" | "mc_eid");
    if let Some(query) = url.query() {
        let name = |pair: &&str| !is_tracking(pair.split('=').next().unwrap_or_default());
        let kept: Vec<&str> = query.split('&').filter(|p| !p.is_empty()).filter(name).collect();
        let kept = kept.join("&");
        url.set_query(Some(kept.as_str()).filter(|q| !q.is_empty()));
    }
    let path = url.path().trim_end_matches('/').to_string();
    url.set_path(&path);
    let text = url.as_str();
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")).unwrap_or(text);
    // A URL without a path keeps its slash in this crate.
    rest.strip_suffix('/').unwrap_or(rest).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_mean_one_page_are_one() {
        let same = [
            "https://example.org/a",
            "http://example.org/a/",
            "https://EXAMPLE.org:443/a?utm_source=rss&utm_medium=feed",
            "https://example.org/a?fbclid=1#comments",
        ];
        for link in same {
            assert_eq!(canonical_link(link), "example.org/a", "{link}");
        }
        assert_eq!(canonical_link("https://example.org/?p=1&utm_x=2&q=3"), "example.org/?p=1&q=3");
        assert_eq!(canonical_link("https://example.org"), "example.org");
        assert_ne!(canonical_link("https://example.org/#!/a"), canonical_link("https://example.org/#!/b"));
    }

    #[test]
    fn keys_are_bounded_and_their_forms_are_apart() {
        let aliases =
            |guid: &str| Aliases::new(Some(guid), None, "t", None).key(Rung::Guid).expect("has a guid");
        assert_eq!(aliases("https://example.org/?p=1"), "g:https://example.org/?p=1");
        assert!(aliases("with space").starts_with("g="));
        assert_eq!(aliases(&"x".repeat(1000)).len(), 34);
        assert!(aliases(&"x".repeat(KEY_BYTES_MAX - 2)).len() == KEY_BYTES_MAX);
    }

    #[test]
    fn a_clash_gives_up_its_rung_and_an_entry_listed_twice_does_not() {
        let entry = |guid: Option<&str>, link: &str, title: &str| Aliases::new(guid, Some(link), title, None);
        let learned = |fetch: &[Aliases]| {
            let mut ladder = Ladder::default();
            ladder.learn(fetch.iter());
            (ladder.guid, ladder.link)
        };
        assert_eq!(learned(&[entry(Some("1"), "a", "x"), entry(Some("1"), "a", "x")]), (true, true));
        assert_eq!(learned(&[entry(Some("1"), "a", "x"), entry(Some("1"), "b", "y")]), (false, true));
        // One page for many entries, with the page as their guid.
        assert_eq!(learned(&[entry(Some("1"), "a", "x"), entry(Some("1"), "a", "y")]), (false, false));
        assert_eq!(learned(&[entry(None, "a", "x"), entry(None, "a", "y")]), (true, false));
        // With sound guids it does not matter that links clash.
        assert_eq!(learned(&[entry(Some("1"), "a", "x"), entry(Some("2"), "a", "y")]), (true, true));
    }
}
