//! HTML to plain text: takes what a source calls text, which may be plain, escaped or
//! HTML, and gives plain text.
//!
//! What a text is:
//! - **HTML** if it holds a tag of a known element, `<!doctype` or a whole comment. A tag
//!   here is strict: `</name>`, or `<name>` with attributes that are `name=value` or one of
//!   HTML's own valueless ones. So `a <b and c> d`, `x < y`, `I <3 you` and `Vec<String>`
//!   hold none.
//! - **escaped** if it holds no tag, but a character reference that ends in a semicolon
//!   and exists: `R&amp;D`, `&#8217;`; not `x & y`, `AT&T`, `?a=1&copy=2`.
//! - **plain** otherwise.
//!
//! What comes out:
//! - Plain text stays as it is, and escaped text but for its references, decoded **once**:
//!   `&amp;lt;` is `&lt;`.
//! - Of HTML remains what a reader sees: tags go, block elements and `<br>` become line
//!   breaks (paragraphs a blank line), cells and white space one space, `<pre>` keeps its
//!   lines, an image its alternative text. Comments, and the content of script, style,
//!   template, head, iframe and the like, are left out if they are closed somewhere;
//!   otherwise only their tag is, so that mentioning `<script>` costs nobody his text.
//! - From every text: control characters but tab and newline are removed, `\r\n` and `\r`
//!   are `\n`.
//!
//! Linear in the input and without recursion, whatever the input; the output is at most
//! [`EXPANSION_MAX`] times as long. Tokens follow the HTML standard (a test compares with
//! html5ever's tokenizer on random soup) with two exceptions: references need their
//! semicolon, and a script ends at the first `</script`. html5ever itself is not used: it
//! compares each attribute of a tag with all before it, which takes 1.8 s for 0.2 MB of
//! attributes and grows with the square.

mod elements;
mod reference;
mod scan;
mod writer;

use std::borrow::Cow;

use elements::Effect;
use scan::{Piece, Pieces};
use writer::Writer;

/// Longest output, as a multiple of the input: `<p>` can become two newlines, `&nGt;` six
/// bytes.
pub const EXPANSION_MAX: usize = 2;

/// The version of these rules.
pub const VERSION: &str = "html 1";

pub fn to_text(input: &str) -> Cow<'_, str> {
    let bytes = input.as_bytes();
    let Some(first) = bytes.iter().position(|b| SPECIAL[*b as usize]) else {
        return Cow::Borrowed(input);
    };
    let input = without_controls(input, first);
    if scan::is_html(&input) {
        return Cow::Owned(seen(&input));
    }
    match reference::decoded(&input) {
        // What a reference stood for may be a control character in its turn.
        Some(decoded) => Cow::Owned(without_controls(&decoded, 0).into_owned()),
        None => input,
    }
}

/// Bytes that may make a text more than plain, or begin what has to go. Most texts hold none.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut b = 0;
    while b < 256 {
        let byte = b as u8;
        // 0xc2 leads the control characters U+0080 to U+009f, and a few harmless ones.
        special[b] = matches!(byte, 0..=8 | 0x0b..=0x1f | 0x7f | 0xc2 | b'<' | b'&');
        b += 1;
    }
    special
};

fn without_controls(input: &str, from: usize) -> Cow<'_, str> {
    let unwanted = |c: char| c.is_control() && c != '\n' && c != '\t';
    let Some(first) = input[from..].find(unwanted) else { return Cow::Borrowed(input) };
    let (clean, rest) = input.split_at(from + first);
    let mut out = String::with_capacity(input.len());
    out.push_str(clean);
    let mut chars = rest.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' if chars.peek() != Some(&'\n') => out.push('\n'),
            c if unwanted(c) => {}
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// What a reader of this HTML sees.
fn seen(input: &str) -> String {
    let mut writer = Writer::with_capacity(input.len());
    let mut pieces = Pieces::new(input);
    // The element whose content is left out, and how deep in others of its name we are.
    let mut hidden: Option<(&'static str, usize)> = None;
    while let Some(piece) = pieces.next() {
        match piece {
            Piece::Text(text) => {
                if hidden.is_none() {
                    writer.text(text);
                }
            }
            Piece::Start(tag) => {
                let effect = elements::effect(tag.name);
                match (effect, &mut hidden) {
                    (Effect::Raw, _) => {
                        pieces.skip_raw(tag.name);
                    }
                    (Effect::Verbatim, None) => {
                        if let Some(text) = pieces.skip_raw(tag.name) {
                            writer.line_break();
                            writer.text(text);
                            writer.line_break();
                        }
                    }
                    (Effect::Verbatim, Some(_)) => {
                        pieces.skip_raw(tag.name);
                    }
                    (Effect::Hidden(name), Some((inside, depth))) if *inside == name => *depth += 1,
                    (Effect::Body, Some(("head", _))) => hidden = None,
                    (_, Some(_)) => {}
                    (Effect::Hidden(name), None) => {
                        if pieces.closes(name) || (name == "head" && pieces.opens_body()) {
                            hidden = Some((name, 1));
                        }
                    }
                    (Effect::Image, None) => writer.text(tag.alt),
                    (effect, None) => writer.boundary(effect, true),
                }
            }
            Piece::End(name) => match (elements::effect(name), &mut hidden) {
                (Effect::Hidden(name), Some((inside, depth))) if *inside == name => {
                    *depth -= 1;
                    if *depth == 0 {
                        hidden = None;
                    }
                }
                (_, Some(_)) => {}
                (effect, None) => writer.boundary(effect, false),
            },
        }
    }
    writer.finish()
}

#[cfg(test)]
mod tests;
