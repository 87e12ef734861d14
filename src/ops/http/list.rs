//! Lists over HTTP, all by the same rules: `limit`, and `cursor` for the page after.
//!
//! A cursor names its list and the place of the last item shown, so that a page begins
//! after that item, whatever came or went since. For clients it is a word without meaning:
//! one that no answer of this list gave is refused.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};

/// One list: whose cursors it takes, and how much it gives at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List {
    pub name: &'static str,
    pub limit_default: usize,
    pub limit_max: usize,
}

impl List {
    /// How many items to give; one rule for what is out of range.
    pub fn limit(&self, asked: Option<usize>) -> Result<usize, String> {
        within("limit", asked.unwrap_or(self.limit_default), self.limit_max)
    }

    /// The place after which the page begins; none for the first page.
    pub fn after<P: DeserializeOwned>(&self, cursor: Option<&str>) -> Result<Option<P>, String> {
        let Some(cursor) = cursor.filter(|cursor| !cursor.is_empty()) else { return Ok(None) };
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
        let read = bytes.and_then(|bytes| serde_json::from_slice::<(String, P)>(&bytes).ok());
        match read {
            Some((name, place)) if name == self.name => Ok(Some(place)),
            _ => Err("cursor is not one that an answer of this list gave".to_string()),
        }
    }

    /// What [`List::after`] reads.
    pub fn cursor<P: Serialize>(&self, place: &P) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&(self.name, place)).expect("places are plain data"))
    }

    /// The first `limit` of what is found, and the cursor of the page after, if there is one.
    pub fn page<T, P: Serialize>(
        &self,
        found: impl IntoIterator<Item = T>,
        limit: usize,
        place: impl FnOnce(&T) -> P,
    ) -> (Vec<T>, Option<String>) {
        let mut found = found.into_iter();
        let page: Vec<T> = found.by_ref().take(limit).collect();
        let last = page.last().filter(|_| found.next().is_some());
        let cursor = last.map(|last| self.cursor(&place(last)));
        (page, cursor)
    }
}

/// The one rule for numbers that say how many: from 1 on, and the range is told.
pub fn within(name: &str, asked: usize, max: usize) -> Result<usize, String> {
    if (1..=max).contains(&asked) { Ok(asked) } else { Err(format!("{name} must be between 1 and {max}")) }
}

/// Reads a number as a parameter; one that no range holds is kept at the end of what there
/// is, so that [`within`] can name its range.
pub fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(&text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(D::Error::custom(format!("{text:?} is not a whole number")));
    }
    let beyond = if text.starts_with('-') { 0 } else { usize::MAX };
    Ok(Some(digits.parse().ok().filter(|_| !text.starts_with('-')).unwrap_or(beyond)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: List = List { name: "one", limit_default: 2, limit_max: 5 };

    #[test]
    fn pages_are_the_list_and_the_last_has_no_cursor() {
        let all: Vec<u32> = (0..7).collect();
        for limit in 1..=5 {
            let (mut seen, mut cursor) = (Vec::new(), None::<String>);
            loop {
                let after: Option<u32> = ONE.after(cursor.as_deref()).expect("ours");
                let rest = all.iter().copied().filter(|n| after.is_none_or(|after| *n > after));
                let (page, next) = ONE.page(rest, limit, |n| *n);
                assert!(!page.is_empty() && page.len() <= limit);
                seen.extend(page);
                cursor = next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(seen, all);
        }
    }

    #[test]
    fn a_limit_out_of_range_is_told_the_range() {
        assert_eq!(ONE.limit(None), Ok(2));
        assert_eq!(ONE.limit(Some(5)), Ok(5));
        for wrong in [0, 6, usize::MAX] {
            assert_eq!(ONE.limit(Some(wrong)), Err("limit must be between 1 and 5".to_string()));
        }
        let read = |text: &str| {
            let text = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text);
            number(text).map_err(|error| error.to_string())
        };
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("3"), Ok(Some(3)));
        assert_eq!(read("-1"), Ok(Some(0)));
        assert_eq!(read("99999999999999999999999"), Ok(Some(usize::MAX)));
        for wrong in ["x", "1.5", "-", "1e3", " 1"] {
            assert_eq!(read(wrong), Err(format!("{wrong:?} is not a whole number")));
        }
    }

    #[test]
    fn a_cursor_of_another_list_or_of_nobody_is_refused() {
        let other = List { name: "other", ..ONE };
        let theirs = other.cursor(&7u32);
        assert_eq!(other.after(Some(&theirs)), Ok(Some(7u32)));
        let longer = format!("{theirs}A");
        for wrong in [theirs.as_str(), "7", "!", longer.as_str(), &URL_SAFE_NO_PAD.encode("[\"one\",\"x\"]")]
        {
            assert!(ONE.after::<u32>(Some(wrong)).is_err(), "{wrong}");
        }
        assert_eq!(ONE.after::<u32>(Some("")), Ok(None), "empty means unset");
    }
}
