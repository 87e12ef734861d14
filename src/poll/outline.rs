//! The text of a feed in, where its entries are out: a scan that understands tags
//! and nothing else, so that it cannot fail on what an XML parser refuses.
//!
//! Two uses. After a parse failed it lets every entry be parsed by itself, so
//! that one broken entry costs itself and not the feed. And it splits a feed that
//! is not safe as a whole (see [`is_safe`]). Every function is linear in the text.

/// feed-rs recurses once per nested media group, on the stack.
const GROUPS_MAX: usize = 200;
/// feed-rs copies a group's thumbnails into each of its sub-groups.
const GROUPS_TIMES_TAGS_MAX: usize = 200_000;

/// Whether parsing costs about as much as the text is long. Counts on the raw
/// text whatever could be a `<media:group>`, so nothing can hide from it.
pub fn is_safe(text: &str) -> bool {
    let bytes = text.as_bytes();
    let groups =
        text.match_indices("group").filter(|(at, _)| *at > 0 && matches!(bytes[at - 1], b'<' | b':')).count();
    let tags = bytes.iter().filter(|b| **b == b'<').count();
    groups <= GROUPS_MAX && groups.saturating_mul(tags) <= GROUPS_TIMES_TAGS_MAX
}

/// What the scan found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outline<'a> {
    /// Local name of the first element.
    pub root: Option<&'a str>,
    /// Everything before the first entry.
    pub head: &'a str,
    /// Start tags that are open where the first entry begins, outermost first.
    pub open: Vec<&'a str>,
    /// Each `<item>` or `<entry>`, from its first byte to its last. One without
    /// an end tag reaches to the next, or to the end.
    pub entries: Vec<&'a str>,
}

impl Outline<'_> {
    /// A whole document around one entry.
    pub fn wrap(&self, entry: &str) -> String {
        self.close(self.open.concat() + entry)
    }

    /// The document without its entries.
    pub fn head_only(&self) -> String {
        self.close(self.head.to_string())
    }

    fn close(&self, mut text: String) -> String {
        for tag in self.open.iter().rev() {
            text.push_str("</");
            text.push_str(name(tag));
            text.push('>');
        }
        text
    }
}

/// Scans a document that has no XML declaration any more.
pub fn outline(text: &str) -> Outline<'_> {
    let mut found = Outline { head: text, ..Outline::default() };
    let mut open: Vec<&str> = Vec::new();
    // Where the current entry begins, and its start tag.
    let mut current: Option<(usize, &str)> = None;
    let mut scan = Scan { text, at: 0, quotes: true };
    while let Some((start, markup)) = scan.next() {
        match (markup, current) {
            (Markup::Start(tag), entry) if is_entry(tag) => {
                match entry {
                    Some((begin, _)) => found.entries.push(&text[begin..start]),
                    None if found.entries.is_empty() => {
                        found.head = &text[..start];
                        found.open = open.clone();
                    }
                    None => {}
                }
                found.root.get_or_insert(local(tag));
                current = Some((start, tag));
            }
            (Markup::End(tag), Some((begin, entry))) if name(tag) == name(entry) => {
                found.entries.push(&text[begin..scan.at]);
                current = None;
            }
            // Only what precedes the first entry matters outside of entries.
            (Markup::Start(tag), None) if found.entries.is_empty() => {
                found.root.get_or_insert(local(tag));
                open.push(tag);
            }
            (Markup::Empty(tag), None) => {
                found.root.get_or_insert(local(tag));
            }
            // An end tag closes its element and whatever was left open in it.
            (Markup::End(tag), None) => {
                if let Some(position) = open.iter().rposition(|t| name(t) == name(tag)) {
                    open.truncate(position);
                }
            }
            _ => {}
        }
    }
    if let Some((begin, _)) = current {
        found.entries.push(&text[begin..]);
    }
    found
}

fn is_entry(tag: &str) -> bool {
    matches!(name(tag), "item" | "entry" | "rss:item" | "atom:entry")
}

/// `<media:group x="y">` -> `media:group`.
fn name(tag: &str) -> &str {
    let inner = tag.trim_start_matches(['<', '/']);
    let end = inner.find(|c: char| c.is_whitespace() || matches!(c, '>' | '/')).unwrap_or(inner.len());
    &inner[..end]
}

fn local(tag: &str) -> &str {
    let name = name(tag);
    name.split_once(':').map_or(name, |(_, local)| local)
}

enum Markup<'a> {
    /// The whole tag, from `<` to `>`.
    Start(&'a str),
    Empty(&'a str),
    End(&'a str),
    /// Comment, CDATA, instruction, declaration, or a bare `<`.
    Other,
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
    /// Off once a quote in a tag was never closed: then quotes mean nothing.
    quotes: bool,
}

impl<'a> Scan<'a> {
    /// The next markup and where it starts; `at` is then the offset after it.
    fn next(&mut self) -> Option<(usize, Markup<'a>)> {
        let start = self.at + self.text[self.at..].find('<')?;
        let rest = &self.text[start..];
        for (opening, closing) in [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>")] {
            if let Some(inner) = rest.strip_prefix(opening) {
                let length = inner.find(closing).map(|at| opening.len() + at + closing.len());
                self.at = start + length.unwrap_or(rest.len());
                return Some((start, Markup::Other));
            }
        }
        if rest.starts_with("<!") {
            self.at = start + doctype_length(rest);
            return Some((start, Markup::Other));
        }
        if !rest[1..].starts_with(|c: char| c == '/' || c == '_' || c.is_alphabetic()) {
            self.at = start + 1;
            return Some((start, Markup::Other));
        }
        let (length, whole) = self.tag_length(rest);
        self.at = start + length;
        let tag = &rest[..length];
        let markup = match tag {
            _ if !whole => Markup::Other,
            _ if tag.starts_with("</") => Markup::End(tag),
            _ if tag.ends_with("/>") => Markup::Empty(tag),
            _ => Markup::Start(tag),
        };
        Some((start, markup))
    }

    /// Bytes of the tag including its `>`, which quotes may hide. A tag that runs
    /// into another one or the end is not whole.
    fn tag_length(&mut self, rest: &str) -> (usize, bool) {
        let mut quote = None;
        for (at, byte) in rest.bytes().enumerate().skip(1) {
            match (quote, byte) {
                (None, b'>') => return (at + 1, true),
                (None, b'<') => return (at, false),
                (None, b'"' | b'\'') if self.quotes => quote = Some(byte),
                (Some(open), _) if open == byte => quote = None,
                _ => {}
            }
        }
        if quote.is_some() {
            self.quotes = false;
            return self.tag_length(rest);
        }
        (rest.len(), false)
    }
}

/// The text after a leading `<!DOCTYPE …>`: entities are never expanded, so
/// nothing of it is needed.
pub fn without_doctype(text: &str) -> &str {
    match text.get(..9) {
        Some(start) if start.eq_ignore_ascii_case("<!doctype") => text[doctype_length(text)..].trim_start(),
        _ => text,
    }
}

/// Bytes of a `<!DOCTYPE …>` with its internal subset.
fn doctype_length(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut quote = None;
    for (at, byte) in rest.bytes().enumerate() {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            (None, b'<') => depth += 1,
            (None, b'>') if depth <= 1 => return at + 1,
            (None, b'>') => depth -= 1,
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_entries_whatever_is_in_them() {
        let text = r#"<rss version="2.0" x=">"><channel><title>a < b <item></title>
            <item><![CDATA[</item><item>]]><br></item><!-- <item> -->
            <item><title>cut off
            <item a="</item>">last</item></channel></rss>"#;
        let text = text.replacen("<item></title>", "</title>", 1);
        let found = outline(&text);
        assert_eq!(found.root, Some("rss"));
        assert_eq!(found.open, ["<rss version=\"2.0\" x=\">\">", "<channel>"]);
        assert_eq!(found.entries.len(), 3);
        assert_eq!(found.entries[0], "<item><![CDATA[</item><item>]]><br></item>");
        assert!(found.entries[1].starts_with("<item><title>cut off"));
        assert_eq!(found.entries[2], "<item a=\"</item>\">last</item>");
        assert_eq!(found.wrap("<item/>"), "<rss version=\"2.0\" x=\">\"><channel><item/></channel></rss>");
        assert!(found.head_only().ends_with("</channel></rss>"));
    }

    #[test]
    fn an_rdf_channel_is_closed_before_its_items() {
        let found =
            outline("<rdf:RDF a='b'><channel><items/></channel><item>1</item><item>2</item></rdf:RDF>");
        assert_eq!(found.root, Some("RDF"));
        assert_eq!(found.open, ["<rdf:RDF a='b'>"]);
        assert_eq!(found.entries.len(), 2);
    }

    #[test]
    fn an_unclosed_quote_does_not_hide_the_rest() {
        let found = outline("<rss><channel><item><a href=\"x>1</a></item><item>2</item></channel></rss>");
        assert_eq!(found.entries.len(), 2);
    }

    #[test]
    fn groups_that_multiply_are_not_safe() {
        assert!(is_safe(&"<item>a group of <media:group/></item>".repeat(50)));
        assert!(!is_safe(&"<media:group>".repeat(201)));
        assert!(!is_safe(&format!("{}{}", "<m:group>".repeat(100), "<m:thumbnail/>".repeat(5000))));
    }

    #[test]
    fn a_doctype_with_entities_is_left_out() {
        let text = "<!DOCTYPE rss [ <!ENTITY a \"<>\"> <!ENTITY b \"&a;&a;\"> ]>\n<rss/>";
        assert_eq!(without_doctype(text), "<rss/>");
        assert_eq!(without_doctype("<rss/>"), "<rss/>");
    }
}
