//! The elements of HTML, living and obsolete, and what each does to the text around it.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing: the text runs on.
    Inline,
    /// A line of its own.
    Block,
    /// A blank line around it.
    Paragraph,
    /// A paragraph whose white space counts.
    Preformatted,
    /// `<br>`, `<hr>`.
    Break,
    /// A space between it and the next cell.
    Cell,
    Image,
    /// Its content is HTML, and not seen.
    Hidden(&'static str),
    /// Its content is no HTML, and not seen.
    Raw,
    /// Its content is text without tags.
    Verbatim,
    /// Ends a head that was not closed.
    Body,
}

/// Longest name of an element.
const NAME_BYTES_MAX: usize = 10;

#[rustfmt::skip]
const ELEMENTS: &[(&str, Effect)] = {
    use Effect::*;
    &[
        ("a", Inline), ("abbr", Inline), ("acronym", Inline), ("address", Block), ("applet", Inline),
        ("area", Inline), ("article", Paragraph), ("aside", Paragraph), ("audio", Inline), ("b", Inline),
        ("base", Inline), ("basefont", Inline), ("bdi", Inline), ("bdo", Inline), ("big", Inline),
        ("blockquote", Paragraph), ("body", Body), ("br", Break), ("button", Inline), ("canvas", Inline),
        ("caption", Block), ("center", Block), ("cite", Inline), ("code", Inline), ("col", Inline),
        ("colgroup", Inline), ("data", Inline), ("datalist", Inline), ("dd", Block), ("del", Inline),
        ("details", Block), ("dfn", Inline), ("dialog", Block), ("dir", Block), ("div", Block), ("dl", Paragraph),
        ("dt", Block), ("em", Inline), ("embed", Inline), ("fieldset", Block), ("figcaption", Block),
        ("figure", Paragraph), ("font", Inline), ("footer", Block), ("form", Block), ("frame", Inline),
        ("frameset", Block), ("h1", Paragraph), ("h2", Paragraph), ("h3", Paragraph), ("h4", Paragraph),
        ("h5", Paragraph), ("h6", Paragraph), ("head", Hidden("head")), ("header", Block), ("hgroup", Block),
        ("hr", Break), ("html", Block), ("i", Inline), ("iframe", Raw), ("img", Image), ("input", Inline),
        ("ins", Inline), ("kbd", Inline), ("label", Inline), ("legend", Block), ("li", Block), ("link", Inline),
        ("main", Block), ("map", Inline), ("mark", Inline), ("marquee", Block), ("math", Inline),
        ("menu", Block), ("meta", Inline), ("meter", Inline), ("nav", Block), ("nobr", Inline),
        ("noembed", Raw), ("noframes", Raw), ("noscript", Inline), ("object", Inline), ("ol", Paragraph),
        ("optgroup", Block), ("option", Block), ("output", Inline), ("p", Paragraph), ("param", Inline),
        ("picture", Inline), ("pre", Preformatted), ("progress", Inline), ("q", Inline), ("rp", Inline),
        ("rt", Inline), ("ruby", Inline), ("s", Inline), ("samp", Inline), ("script", Raw), ("search", Block),
        ("section", Paragraph), ("select", Inline), ("slot", Inline), ("small", Inline), ("source", Inline),
        ("span", Inline), ("strike", Inline), ("strong", Inline), ("style", Raw), ("sub", Inline),
        ("summary", Block), ("sup", Inline), ("svg", Inline), ("table", Paragraph), ("tbody", Block),
        ("td", Cell), ("template", Hidden("template")), ("textarea", Verbatim), ("tfoot", Block), ("th", Cell),
        ("thead", Block), ("time", Inline), ("title", Verbatim), ("tr", Block), ("track", Inline), ("tt", Inline),
        ("u", Inline), ("ul", Paragraph), ("var", Inline), ("video", Inline), ("wbr", Inline),
    ]
};

/// Attributes that HTML allows without a value.
#[rustfmt::skip]
const VALUELESS: &[&str] = &[
    "allowfullscreen", "async", "autofocus", "autoplay", "checked", "compact", "controls", "declare",
    "default", "defer", "disabled", "download", "formnovalidate", "hidden", "inert", "ismap", "itemscope",
    "loop", "multiple", "muted", "nohref", "nomodule", "noresize", "noshade", "novalidate", "nowrap", "open",
    "playsinline", "readonly", "required", "reversed", "scoped", "selected",
];

fn find(name: &str) -> Option<Effect> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let mut lower = [0; NAME_BYTES_MAX];
    let lower = &mut lower[..name.len()];
    lower.copy_from_slice(name.as_bytes());
    lower.make_ascii_lowercase();
    let at = ELEMENTS.binary_search_by(|(element, _)| element.as_bytes().cmp(lower)).ok()?;
    Some(ELEMENTS[at].1)
}

/// Whether HTML has an element of this name, in any case.
pub(super) fn is_known(name: &str) -> bool {
    find(name).is_some()
}

/// What an element does to the text; an unknown one nothing.
pub(super) fn effect(name: &str) -> Effect {
    find(name).unwrap_or(Effect::Inline)
}

/// The table's own name of an element whose end tag is looked for.
pub(super) fn with_content(name: &str) -> Option<&'static str> {
    let of_its_own = |effect| matches!(effect, Effect::Raw | Effect::Verbatim | Effect::Hidden(_));
    let found = ELEMENTS.iter().find(|(element, _)| element.eq_ignore_ascii_case(name))?;
    of_its_own(found.1).then_some(found.0)
}

pub(super) fn may_lack_value(attribute: &str) -> bool {
    VALUELESS.iter().any(|valueless| valueless.eq_ignore_ascii_case(attribute))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_found_in_any_case() {
        assert!(ELEMENTS.is_sorted_by(|a, b| a.0 < b.0));
        for (name, effect) in ELEMENTS {
            assert_eq!(find(name), Some(*effect));
            assert_eq!(find(&name.to_uppercase()), Some(*effect));
        }
        assert!(!is_known("string") && !is_known("") && !is_known("blockquotes"));
    }
}
