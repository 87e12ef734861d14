//! The language of a text: identified where the text is long enough to tell, declared by
//! its source otherwise.
//!
//! Trigrams of a short text say little ("Lol nice" is Latin to them), and a source knows
//! the language of its feed; a long text is better evidence than a feed's label. Links,
//! mentions and hashtags belong to no language and do not count.

mod codes;
mod latin;

use std::borrow::Cow;

/// The analyzer and its version, as records carry it.
pub const VERSION: &str = "whatlang 0.18";

/// Characters, without links and mentions, from which on the text itself decides.
pub const IDENTIFIED_CHARS_MIN: usize = 40;
/// Only this much of a text is looked at: more does not change the answer.
const IDENTIFIED_CHARS_MAX: usize = 600;

/// ISO 639-1 of the text's language (639-3 where there is no shorter code); `None` if
/// neither the text nor the source says.
pub fn language(text: &str, declared: Option<&str>) -> Option<String> {
    identified(text).or_else(|| declared.and_then(normalised))
}

/// The language that a text of sufficient length reliably shows.
pub fn identified(text: &str) -> Option<String> {
    let prose = prose(text)?;
    let code = if is_latin(&prose) { latin::identified(&prose) } else { by_whatlang(&prose) }?;
    codes::shortest(code).map(str::to_string)
}

fn is_latin(text: &str) -> bool {
    if text.is_ascii() {
        return true;
    }
    whatlang::detect_script(text) == Some(whatlang::Script::Latin)
}

/// Scripts of one language, or of a few, are quick to tell.
fn by_whatlang(text: &str) -> Option<&'static str> {
    let info = whatlang::detect(text)?;
    info.is_reliable().then(|| info.lang().code())
}

/// A language tag as sources write it (`en-US`, `pt_BR`, `eng`, `ZH-Hant`) as a code;
/// `None` if it is no tag of a language.
pub fn normalised(declared: &str) -> Option<String> {
    let primary = declared.trim().split(['-', '_']).next()?;
    if !primary.bytes().all(|b| b.is_ascii_alphabetic()) {
        return None;
    }
    codes::shortest(&primary.to_ascii_lowercase()).map(str::to_string)
}

/// The words of the text, up to a limit; `None` if they are too few.
fn prose(text: &str) -> Option<Cow<'_, str>> {
    if text.len() < IDENTIFIED_CHARS_MIN {
        return None;
    }
    let text = match text.char_indices().nth(IDENTIFIED_CHARS_MAX) {
        Some((end, _)) => &text[..end],
        None => text,
    };
    let prose = if text.contains(['@', '#']) || text.contains("://") || text.contains("www.") {
        Cow::Owned(without_links(text))
    } else {
        Cow::Borrowed(text)
    };
    prose.trim().chars().nth(IDENTIFIED_CHARS_MIN - 1).is_some().then_some(prose)
}

fn without_links(text: &str) -> String {
    let mut prose = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        let bare = word.trim_start_matches(|c: char| c.is_ascii_punctuation() && !matches!(c, '@' | '#'));
        if bare.starts_with(['@', '#']) || bare.contains("://") || bare.starts_with("www.") {
            continue;
        }
        if !prose.is_empty() {
            prose.push(' ');
        }
        prose.push_str(word);
    }
    prose
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGLISH: &str = "The committee will publish its findings before the end of the year, she said.";
    const GERMAN: &str =
        "Der Ausschuss wird seine Ergebnisse noch vor dem Ende des Jahres veröffentlichen, sagte sie.";

    #[test]
    fn a_long_text_decides_over_the_label() {
        assert_eq!(language(ENGLISH, None).as_deref(), Some("en"));
        assert_eq!(language(GERMAN, Some("en")).as_deref(), Some("de"));
        let japanese = "委員会は年末までに調査結果を公表する予定だと彼女は述べた。今後の対応についても検討を続けるという。";
        assert_eq!(language(japanese, Some("en")).as_deref(), Some("ja"));
        let russian = "Комитет опубликует свои выводы до конца года, сообщила она журналистам.";
        assert_eq!(language(russian, None).as_deref(), Some("ru"));
    }

    #[test]
    fn a_short_text_has_the_language_of_its_source() {
        assert_eq!(language("Lol nice", Some("en-US")).as_deref(), Some("en"));
        assert_eq!(language("Lol nice", None), None);
        assert_eq!(language("", Some("pt_BR")).as_deref(), Some("pt"));
        // Forty bytes are not forty characters.
        assert_eq!(language("привет привет привет", Some("uk")).as_deref(), Some("uk"));
    }

    #[test]
    fn links_and_mentions_do_not_count() {
        let links = "@somebody @somebody_else https://example.org/a/long/path?with=a&query=string #and #tags www.example.org";
        assert_eq!(language(links, Some("fr")).as_deref(), Some("fr"));
        let mixed = format!("{links} {GERMAN}");
        assert_eq!(language(&mixed, Some("fr")).as_deref(), Some("de"));
    }

    #[test]
    fn tags_of_sources_become_codes() {
        for (declared, expected) in [
            ("en", Some("en")),
            ("EN-us", Some("en")),
            (" pt_BR ", Some("pt")),
            ("eng", Some("en")),
            ("ger", Some("de")),
            ("cmn-Hans-CN", Some("zh")),
            ("zh-Hant", Some("zh")),
            ("iw", Some("he")),
            ("yue", Some("yue")),
            ("und", None),
            ("qaa", None),
            ("xx", None),
            ("english", None),
            ("e", None),
            ("", None),
            ("e1", None),
            ("日本", None),
        ] {
            assert_eq!(normalised(declared).as_deref(), expected, "{declared:?}");
        }
    }

    #[test]
    fn every_language_that_can_be_identified_has_a_code() {
        for lang in whatlang::Lang::all() {
            let code = codes::shortest(lang.code()).unwrap();
            assert!(code.len() == 2, "{lang:?} is {code}");
        }
    }
}
