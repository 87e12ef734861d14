//! A TOML text as a list of settings, each with its line.

use toml::Value;
use toml::de::{DeTable, DeValue};

/// One value of a document. Tables are taken apart; arrays are values.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub path: Vec<String>,
    pub value: Value,
    pub line: usize,
}

/// A document that is not TOML: the line and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    pub line: usize,
    pub message: String,
}

/// Reads a document into its entries, in their order. An empty table is an entry
/// of its own, so that the defaults can say that a table takes any key.
pub fn parse(text: &str) -> Result<Vec<Entry>, Vec<Malformed>> {
    let (spanned, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let malformed = |error: &toml::de::Error| Malformed {
            line: line_of(text, error.span().map_or(0, |s| s.start)),
            message: error.message().replace('\n', " "),
        };
        return Err(errors.iter().map(malformed).collect());
    }
    let values: toml::Table = match text.parse() {
        Ok(values) => values,
        Err(error) => return Err(vec![Malformed { line: 1, message: error.message().to_string() }]),
    };
    let mut entries = Vec::new();
    take_apart(text, &mut Vec::new(), spanned.get_ref(), &values, &mut entries);
    Ok(entries)
}

fn take_apart(
    text: &str,
    path: &mut Vec<String>,
    spans: &DeTable<'_>,
    values: &toml::Table,
    entries: &mut Vec<Entry>,
) {
    for (key, spanned) in spans {
        let Some(value) = values.get(key.get_ref().as_ref()) else { continue };
        path.push(key.get_ref().to_string());
        match (spanned.get_ref(), value) {
            (DeValue::Table(spans), Value::Table(values)) if !values.is_empty() => {
                take_apart(text, path, spans, values, entries);
            }
            _ => {
                let line = line_of(text, key.span().start);
                entries.push(Entry { path: path.clone(), value: value.clone(), line });
            }
        }
        path.pop();
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_line_of_every_value() {
        let text = "a = 1\n\n[b]\nc = [1,\n 2]\nd.e = \"x\"\n[b.open]\n[[list]]\nname = \"n\"\n";
        let entries = parse(text).expect("valid");
        let seen: Vec<(String, usize)> = entries.iter().map(|e| (e.path.join("."), e.line)).collect();
        let expected = [("a", 1), ("b.c", 4), ("b.d.e", 6), ("b.open", 7), ("list", 8)];
        assert_eq!(seen, expected.map(|(p, l)| (p.to_string(), l)));
    }

    #[test]
    fn reports_every_broken_line() {
        let errors = parse("a = \nb = 1\nc = [\n").expect_err("broken");
        assert!(errors.iter().any(|e| e.line == 1), "{errors:?}");
    }
}
