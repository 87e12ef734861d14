//! Untrusted text becomes text that Discord shows as it is: plain text in, inert
//! markdown out.
//!
//! Invariants, tested on random input:
//! - No character that means something in Discord's markdown stands unescaped.
//! - No mention, custom emoji, timestamp, command, invite or link comes out:
//!   what starts one is followed by a zero-width space, so it shows but does nothing.
//! - No control, direction override or invisible character of the input survives.
//! - Output is cut between graphemes, never inside an escape, and never exceeds
//!   the limit, counted in UTF-16 units (the larger of what Discord may count).

use unicode_segmentation::UnicodeSegmentation;

/// Follows what would otherwise start a link or a mention.
const BREAK: char = '\u{200b}';
/// Marks that text was cut.
const ELLIPSIS: char = '…';
/// Combining marks kept per grapheme; more is ornament that climbs over other lines.
const MARKS_MAX: usize = 3;

/// The length that Discord may count, whichever way it counts: UTF-16 units.
pub fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// The whole text on one line, inert.
pub fn escape(text: &str) -> String {
    escape_within(text, usize::MAX)
}

/// As much of the text as fits into `units_max` UTF-16 units, on one line, inert,
/// with an ellipsis where it was cut.
pub fn escape_within(text: &str, units_max: usize) -> String {
    let clean = clean(text);
    let mut out = String::with_capacity(clean.len() + clean.len() / 8);
    let mut used = 0;
    // Where the text would end if the next grapheme did not fit any more.
    let mut room_for_ellipsis = 0;
    let mut before = None;
    let graphemes: Vec<&str> = clean.graphemes(true).collect();
    for (index, grapheme) in graphemes.iter().enumerate() {
        let mut piece = String::new();
        let after = graphemes.get(index + 1).and_then(|g| g.chars().next());
        push_grapheme(&mut piece, grapheme, before, after);
        let size = units(&piece);
        if used + size > units_max {
            out.truncate(room_for_ellipsis);
            if units_max > 0 {
                out.push(ELLIPSIS);
            }
            return out;
        }
        out.push_str(&piece);
        used += size;
        if used < units_max {
            room_for_ellipsis = out.len();
        }
        before = grapheme.chars().next_back();
    }
    out
}

fn push_grapheme(out: &mut String, grapheme: &str, before: Option<char>, after: Option<char>) {
    let mut marks = 0;
    let chars: Vec<char> = grapheme.chars().collect();
    for (index, &c) in chars.iter().enumerate() {
        if index > 0 && !c.is_ascii() && is_mark(c) {
            marks += 1;
            if marks > MARKS_MAX {
                continue;
            }
        }
        let next = chars.get(index + 1).copied().or(after);
        if is_markup(c) || (c == '.' && before.is_some_and(|b| b.is_ascii_digit()) && next == Some(' ')) {
            out.push('\\');
        }
        out.push(c);
        if starts_reference(c, next) {
            out.push(BREAK);
        }
    }
}

/// Characters with a meaning in Discord's markdown.
pub(crate) fn is_markup(c: char) -> bool {
    matches!(c, '\\' | '*' | '_' | '~' | '|' | '>' | '#' | '-' | '+' | '[' | ']' | '(' | ')' | '`' | '<')
}

/// Whether `c` may begin or join a mention, link, invite, emoji or timestamp.
fn starts_reference(c: char, next: Option<char>) -> bool {
    match c {
        '@' | '<' => true,
        '.' => next.is_some_and(char::is_alphabetic),
        '/' | ':' => next.is_some_and(|n| !n.is_whitespace()),
        _ => false,
    }
}

/// Marks that stack on the character before them.
fn is_mark(c: char) -> bool {
    matches!(c,
        '\u{0300}'..='\u{036f}' | '\u{0483}'..='\u{0489}' | '\u{0591}'..='\u{05bd}' | '\u{0610}'..='\u{061a}'
        | '\u{064b}'..='\u{065f}' | '\u{0e31}'..='\u{0e3a}' | '\u{0e47}'..='\u{0e4e}' | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// One line without characters that are invisible or change the direction.
fn clean(text: &str) -> String {
    let visible = text.chars().filter_map(|c| match c {
        c if c.is_whitespace() => Some(' '),
        c if c.is_control() || is_invisible(c) => None,
        c => Some(c),
    });
    let mut out = String::with_capacity(text.len());
    for c in visible {
        if c != ' ' || !(out.is_empty() || out.ends_with(' ')) {
            out.push(c);
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// Direction marks and overrides, zero-width characters, tags and other formatting
/// that shows nothing. Emoji sequences fall apart into their parts; that is accepted.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0e}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// A link that may be shown: http or https, a host, no credentials, at most 2 048
/// units. The second part is its host, as punycode, to show beside it.
pub fn link(url: &str) -> Option<(String, String)> {
    const URL_UNITS_MAX: usize = 2_048;
    let url = url::Url::parse(url.trim()).ok()?;
    let safe =
        matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    let host = url.host_str().filter(|h| !h.is_empty())?.to_string();
    let text = url.to_string();
    (safe && units(&text) <= URL_UNITS_MAX).then_some((text, host))
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    const PIECES: &[&str] = &[
        "@everyone",
        "@here",
        "<@123>",
        "<@!1>",
        "<@&9>",
        "<#12>",
        "<t:1:R>",
        "<id:home>",
        "</cmd:1>",
        "<a:x:1>",
        "<:x:1>",
        "discord.gg/abc",
        "https://evil.example/x",
        "HTTP://A",
        "[bank.com](http://evil)",
        "# big",
        "-# small",
        "\n> quote",
        "||spoiler||",
        "```",
        "`",
        "**",
        "__",
        "~~",
        "\\",
        "\\\\",
        "\u{202e}",
        "\u{200b}",
        "\u{2066}",
        "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
        "👩‍👩‍👧",
        "🇩🇪",
        "日本",
        "1. x",
        "\n- a",
        "+ b",
        " ",
        "a",
        "Z.z",
        "\u{7}",
        "<https://x.y>",
        "steam://run",
        "a.b",
        "3.14",
        "\u{e0041}",
        "\r\n",
    ];

    fn random_text(rng: &mut StdRng) -> String {
        (0..rng.random_range(0..30)).map(|_| PIECES[rng.random_range(0..PIECES.len())]).collect()
    }

    /// Removes escapes; panics at a character of markup that has none.
    fn unescape(text: &str) -> String {
        let mut out = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c == '\\' {
                let escaped = chars.next().unwrap_or_else(|| panic!("ends inside an escape: {text:?}"));
                assert!(escaped.is_ascii_punctuation(), "escapes {escaped:?} in {text:?}");
                out.push(escaped);
            } else {
                assert!(!is_markup(c), "{c:?} is not escaped in {text:?}");
                out.push(c);
            }
        }
        out
    }

    fn assert_inert(out: &str) {
        let shown = unescape(out);
        for trigger in
            ["@everyone", "@here", "<@", "<#", "<t:", "<a:", "<:", "<id", "</", "://", "discord.gg", "<h"]
        {
            assert!(!shown.contains(trigger), "{trigger} survives in {out:?}");
        }
        assert!(!out.contains('\n'));
        assert!(!out.chars().any(|c| c != BREAK && (is_invisible(c) || c.is_control())), "{out:?}");
    }

    #[test]
    fn random_text_comes_out_inert_and_within_the_limit() {
        let seed: u64 = rand::random();
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..20_000 {
            let text = random_text(&mut rng);
            assert_inert(&escape(&text));
            let limit = rng.random_range(0..60);
            let cut = escape_within(&text, limit);
            assert!(units(&cut) <= limit, "{cut:?} has more than {limit} units");
            assert_inert(&cut);
            let whole = escape(&text);
            if units(&whole) <= limit {
                assert_eq!(cut, whole, "cut although it fits");
            }
        }
    }

    #[test]
    fn arbitrary_characters_come_out_inert() {
        let seed: u64 = rand::random();
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..5_000 {
            let text: String = (0..rng.random_range(0..40)).map(|_| rng.random::<char>()).collect();
            let cut = escape_within(&text, rng.random_range(0..80));
            unescape(&cut);
            assert!(!cut.chars().any(|c| c != BREAK && is_invisible(c)));
        }
    }

    #[test]
    fn cuts_between_graphemes() {
        let family = "ab👍🏽cd";
        for limit in 0..12 {
            let cut = escape_within(family, limit);
            let body = cut.trim_end_matches(ELLIPSIS);
            assert!(family.starts_with(body) && (body.contains("👍🏽") || !body.contains('👍')), "{cut:?}");
        }
        assert_eq!(escape_within("a*b", 3), "a…");
        assert_eq!(escape_within("abc", 3), "abc");
        assert_eq!(escape_within("abcd", 3), "ab…");
    }

    #[test]
    fn ordinary_text_stays_readable() {
        assert_eq!(
            escape("Prices rose 3.14 percent, he said: no."),
            "Prices rose 3.14 percent, he said: no."
        );
        assert_eq!(escape("  two \n lines "), "two lines");
        assert_eq!(escape("Zalgo: e\u{301}\u{301}\u{301}\u{301}\u{301}"), "Zalgo: e\u{301}\u{301}\u{301}");
    }

    #[test]
    fn links_are_web_links_only() {
        assert_eq!(link("https://example.com/a b").map(|l| l.1), Some("example.com".to_string()));
        for bad in [
            "javascript:alert(1)",
            "data:text/html,x",
            "https://user@evil.example/",
            "nonsense",
            "file:///etc",
        ] {
            assert_eq!(link(bad), None, "{bad}");
        }
        assert_eq!(link("https://аррӏе.com/").map(|l| l.1), Some("xn--80ak6aa92e.com".to_string()));
        assert_eq!(link(&format!("https://a.example/{}", "x".repeat(2_048))), None);
    }
}
