//! HTML cut into text, start tags and end tags, as the HTML standard's tokenizer cuts it.
//!
//! Every byte is looked at a bounded number of times: a piece begins where the last one
//! ended, and a search that found no end is remembered.

use super::elements;

pub(super) enum Piece<'a> {
    /// Text with its character references.
    Text(&'a str),
    Start(Tag<'a>),
    End(&'a str),
}

pub(super) struct Tag<'a> {
    /// In the case of the input.
    pub name: &'a str,
    /// The value of `alt`, with its character references; empty without one.
    pub alt: &'a str,
}

/// White space within tags; `\r` is gone by now.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\t' | 0x0c)
}

pub(super) struct Pieces<'a> {
    input: &'a str,
    at: usize,
    /// Names whose end tag was sought from some point on and not found.
    unclosed: Vec<&'static str>,
    body: Option<bool>,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(input: &'a str) -> Pieces<'a> {
        Pieces { input, at: 0, unclosed: Vec::new(), body: None }
    }

    pub(super) fn next(&mut self) -> Option<Piece<'a>> {
        while self.at < self.input.len() {
            let start = self.at;
            let rest = &self.input[start..];
            let bytes = rest.as_bytes();
            if bytes[0] != b'<' || !opens_markup(bytes) {
                let end = 1 + bytes[1..]
                    .iter()
                    .enumerate()
                    .position(|(i, b)| *b == b'<' && opens_markup(&bytes[i + 1..]))
                    .unwrap_or(bytes.len() - 1);
                self.at += end;
                return Some(Piece::Text(&rest[..end]));
            }
            match bytes[1] {
                b'!' if rest.starts_with("<!--") => self.at += comment_length(rest),
                b'/' if bytes[2].is_ascii_alphabetic() => {
                    let (tag, length) = tag(rest, 2);
                    self.at += length;
                    if let Some(tag) = tag {
                        return Some(Piece::End(tag.name));
                    }
                }
                b if b.is_ascii_alphabetic() => {
                    let (tag, length) = tag(rest, 1);
                    self.at += length;
                    if let Some(tag) = tag {
                        return Some(Piece::Start(tag));
                    }
                }
                // Declarations and other "bogus comments".
                _ => self.at += rest.find('>').map_or(rest.len(), |end| end + 1),
            }
        }
        None
    }

    /// Skips to the end tag of this element and returns what stands before it; without
    /// one nothing is skipped.
    pub(super) fn skip_raw(&mut self, name: &str) -> Option<&'a str> {
        let length = self.length_to_end_tag(name)?;
        let skipped = &self.input[self.at..self.at + length];
        self.at += length;
        Some(skipped)
    }

    /// Whether an end tag of this element follows.
    pub(super) fn closes(&mut self, name: &str) -> bool {
        self.length_to_end_tag(name).is_some()
    }

    /// Whether a `<body` stands anywhere.
    pub(super) fn opens_body(&mut self) -> bool {
        let input = self.input;
        *self
            .body
            .get_or_insert_with(|| input.match_indices('<').any(|(at, _)| is_named(&input[at + 1..], "body")))
    }

    fn length_to_end_tag(&mut self, name: &str) -> Option<usize> {
        if self.unclosed.iter().any(|unclosed| unclosed.eq_ignore_ascii_case(name)) {
            return None;
        }
        let rest = &self.input[self.at..];
        let found = rest.match_indices("</").map(|(at, _)| at).find(|at| is_named(&rest[at + 2..], name));
        if found.is_none()
            && let Some(name) = elements::with_content(name)
        {
            self.unclosed.push(name);
        }
        found
    }
}

/// Whether what follows a `<` or `</` is this name, in any case, and not a longer one.
fn is_named(text: &str, name: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() > name.len()
        && bytes[..name.len()].eq_ignore_ascii_case(name.as_bytes())
        && (is_space(bytes[name.len()]) || matches!(bytes[name.len()], b'/' | b'>'))
}

/// Whether a `<` begins markup: a tag, a comment, a declaration.
fn opens_markup(bytes: &[u8]) -> bool {
    match bytes.get(1) {
        Some(b'!' | b'?') => true,
        Some(b'/') => bytes.len() > 2,
        Some(b) => b.is_ascii_alphabetic(),
        None => false,
    }
}

/// The bytes of the comment that the text begins with; to the end if it is not closed.
fn comment_length(text: &str) -> usize {
    let body = &text[4..];
    if body.starts_with('>') {
        return 5;
    }
    if body.starts_with("->") {
        return 6;
    }
    let mut from = 0;
    while let Some(at) = body[from..].find("--") {
        let after = from + at + 2;
        if body[after..].starts_with('>') {
            return 4 + after + 1;
        }
        if body[after..].starts_with("!>") {
            return 4 + after + 2;
        }
        from = after - 1;
    }
    text.len()
}

/// The tag that the text begins with, its name at `name_at`, and its length in bytes. A
/// tag without an end is none, and takes the rest with it.
fn tag(text: &str, name_at: usize) -> (Option<Tag<'_>>, usize) {
    let bytes = text.as_bytes();
    let name_ends = |b: &u8| is_space(*b) || matches!(b, b'/' | b'>');
    let skip = |from: usize, end: &dyn Fn(&u8) -> bool| {
        bytes[from..].iter().position(end).map_or(bytes.len(), |length| from + length)
    };
    let mut at = skip(name_at, &name_ends);
    let mut tag = Tag { name: &text[name_at..at], alt: "" };
    let mut has_alt = false;
    loop {
        at = skip(at, &|b| !is_space(*b) && *b != b'/');
        if at >= bytes.len() {
            return (None, bytes.len());
        }
        if bytes[at] == b'>' {
            return (Some(tag), at + 1);
        }
        // A name may begin with "=", and otherwise ends there.
        let name = at;
        at = skip(at + 1, &|b| name_ends(b) || *b == b'=');
        let is_alt = bytes[name..at].eq_ignore_ascii_case(b"alt");
        let equals = skip(at, &|b| !is_space(*b));
        let mut value = "";
        if bytes.get(equals) == Some(&b'=') {
            at = skip(equals + 1, &|b| !is_space(*b));
            match bytes.get(at) {
                Some(quote @ (b'"' | b'\'')) => {
                    let end = skip(at + 1, &|b| b == quote);
                    value = text.get(at + 1..end).unwrap_or_default();
                    at = end + 1;
                }
                Some(b'>') => {}
                _ => {
                    let end = skip(at, &|b| is_space(*b) || *b == b'>');
                    value = text.get(at..end).unwrap_or_default();
                    at = end;
                }
            }
            at = at.min(bytes.len());
        }
        if is_alt && !has_alt {
            has_alt = true;
            tag.alt = value;
        }
    }
}

/// Most attributes of a tag that is looked at as evidence of HTML: bounds how often a byte
/// is looked at by tags that overlap.
const EVIDENCE_ATTRIBUTES_MAX: usize = 32;

/// Whether the text holds a tag of a known element, a doctype or a whole comment.
pub(super) fn is_html(input: &str) -> bool {
    let mut comments_end = true;
    input.match_indices('<').any(|(at, _)| {
        let text = &input[at..];
        if let Some(comment) = text.strip_prefix("<!--") {
            // If one comment has no end, no later one has.
            comments_end = comments_end && comment.contains("-->");
            return comments_end;
        }
        if let Some(declaration) = text.strip_prefix("<!") {
            return declaration.as_bytes().get(..7).is_some_and(|word| word.eq_ignore_ascii_case(b"doctype"));
        }
        is_tag(text)
    })
}

/// Whether the text begins with a well-formed tag of a known element.
fn is_tag(text: &str) -> bool {
    let (closing, body) = match text.strip_prefix("</") {
        Some(body) => (true, body),
        None => (false, &text[1..]),
    };
    let name = body.bytes().take_while(u8::is_ascii_alphanumeric).take(16).count();
    if !elements::is_known(&body[..name]) {
        return false;
    }
    let mut rest = &body[name..];
    for _ in 0..=EVIDENCE_ATTRIBUTES_MAX {
        let spaceless = rest.trim_start_matches([' ', '\n', '\t']);
        if spaceless.starts_with('>') || (!closing && spaceless.starts_with("/>")) {
            return true;
        }
        if closing || spaceless.len() == rest.len() {
            return false;
        }
        match after_attribute(spaceless) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    false
}

/// What follows the attribute that the text begins with; `None` if it begins with none.
fn after_attribute(text: &str) -> Option<&str> {
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b':' | b'.' | b'@');
    let (name, rest) = text.split_at(text.bytes().take_while(is_name).count());
    if name.is_empty() {
        return None;
    }
    let Some(value) = rest.trim_start_matches([' ', '\n', '\t']).strip_prefix('=') else {
        return elements::may_lack_value(name).then_some(rest);
    };
    let value = value.trim_start_matches([' ', '\n', '\t']);
    if let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let end = value[1..].find(quote)?;
        return Some(&value[end + 2..]);
    }
    let length =
        value.bytes().position(|b| is_space(b) || matches!(b, b'>' | b'<' | b'"' | b'\'' | b'=' | b'`'))?;
    let ends = is_space(value.as_bytes()[length]) || value.as_bytes()[length] == b'>';
    (length > 0 && ends).then_some(&value[length..])
}
