//! The bytes of a response in, text in UTF-8 without an XML declaration out.
//!
//! What servers and feeds say about their encoding is wrong often enough that
//! the bytes are asked first: a byte-order mark decides; then bytes that are not
//! ASCII and valid as UTF-8 are UTF-8, whatever was declared; then the charset of
//! the Content-Type, then that of the XML declaration. Nothing fails: a byte that
//! fits no encoding becomes U+FFFD.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// Where an XML declaration is looked for.
const PROLOG_BYTES_MAX: usize = 1024;

/// Decodes a body. `charset` is the parameter of the Content-Type, if any.
pub fn decode(body: &[u8], charset: Option<&str>) -> String {
    let (encoding, skip) = match Encoding::for_bom(body) {
        Some((encoding, bom_bytes)) => (encoding, bom_bytes),
        None => (guess(body, charset), 0),
    };
    let (text, _) = encoding.decode_without_bom_handling(&body[skip..]);
    without_declaration(&text).to_string()
}

fn guess(body: &[u8], charset: Option<&str>) -> &'static Encoding {
    let declared = charset
        .and_then(|label| Encoding::for_label(label.trim().trim_matches('"').as_bytes()))
        .or_else(|| declared_in_prolog(body));
    if let Some(utf16) = utf16_without_mark(body) {
        return utf16;
    }
    if !body.is_ascii() && std::str::from_utf8(body).is_ok() {
        return UTF_8;
    }
    match declared {
        // Said to be UTF-8 and is not. With some valid sequences it is UTF-8 with
        // faults; with none it is the encoding that old software writes.
        Some(encoding) if encoding == UTF_8 => {
            if has_utf8_sequence(body) {
                UTF_8
            } else {
                WINDOWS_1252
            }
        }
        // A declaration in bytes of one byte a character cannot mean two.
        Some(encoding) if encoding.name().starts_with("UTF-16") => UTF_8,
        Some(encoding) => encoding,
        None if body.is_ascii() || has_utf8_sequence(body) => UTF_8,
        None => WINDOWS_1252,
    }
}

fn utf16_without_mark(body: &[u8]) -> Option<&'static Encoding> {
    match body.get(..4)? {
        [b'<', 0, _, 0] => Some(encoding_rs::UTF_16LE),
        [0, b'<', 0, _] => Some(encoding_rs::UTF_16BE),
        _ => None,
    }
}

fn declared_in_prolog(body: &[u8]) -> Option<&'static Encoding> {
    let head = String::from_utf8_lossy(&body[..body.len().min(PROLOG_BYTES_MAX)]);
    let declaration = head.split_once("<?xml")?.1.split_once("?>")?.0;
    let value = declaration.split_once("encoding")?.1.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let label = value[1..].split_once(quote)?.0;
    Encoding::for_label(label.as_bytes())
}

/// Whether any character beyond ASCII is encoded as UTF-8 has it.
fn has_utf8_sequence(body: &[u8]) -> bool {
    body.utf8_chunks().any(|chunk| !chunk.valid().is_ascii())
}

/// The text without what precedes its first markup: white space that makes an
/// XML declaration ill-formed, a second byte-order mark, the declaration, whose
/// encoding no longer holds.
fn without_declaration(text: &str) -> &str {
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '\0'));
    match text.strip_prefix("<?xml").filter(|rest| rest.starts_with(|c: char| c.is_whitespace())) {
        Some(rest) => rest.split_once("?>").map_or(text, |(_, after)| after.trim_start()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_win_over_declarations() {
        let latin = b"<?xml version='1.0' encoding='iso-8859-1'?><a>caf\xe9</a>";
        let cases: [(&[u8], Option<&str>, &str); 12] = [
            (latin, None, "<a>caf\u{e9}</a>"),
            (latin, Some("utf-8"), "<a>caf\u{e9}</a>"),
            (b"<?xml version=\"1.0\" encoding=\"utf-8\"?><a>caf\xe9</a>", None, "<a>caf\u{e9}</a>"),
            (
                b"<?xml version=\"1.0\" encoding=\"latin1\"?><a>caf\xc3\xa9</a>",
                Some("latin1"),
                "<a>caf\u{e9}</a>",
            ),
            (b"\xef\xbb\xbf<?xml version='1.0'?>\n<a>x</a>", Some("latin1"), "<a>x</a>"),
            (b"\n  <?xml version='1.0'?><a>x</a>", None, "<a>x</a>"),
            (b"<a>\xc3\xa9 and \xff</a>", None, "<a>\u{e9} and \u{fffd}</a>"),
            (b"<a>\x80</a>", None, "<a>\u{20ac}</a>"),
            (b"\xff\xfe<\0a\0/\0>\0", None, "<a/>"),
            (b"<\0a\0/\0>\0", Some("utf-16"), "<a/>"),
            (b"<?xml version='1.0' encoding='utf-16'?><a/>", None, "<a/>"),
            (b"<?xml version='1.0' encoding='shift_jis'?><a>\x93\xfa</a>", None, "<a>\u{65e5}</a>"),
        ];
        for (body, charset, expected) in cases {
            assert_eq!(decode(body, charset), expected, "{:?}", String::from_utf8_lossy(body));
        }
    }
}
