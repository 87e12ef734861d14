//! The labelled texts: what each says, who published it and when, and of which story it is.

use anyhow::{Context, anyhow};
use dataflows::event::analysed_text;
use dataflows::time::{HOUR_MS, Millis};

/// The halves by name.
pub(super) const HALVES: [(&str, &str); 2] =
    [("development", include_str!("development.tsv")), ("held out", include_str!("held_out.tsv"))];
/// The time of the first text: any, the same in every run.
const START: Millis = Millis(1_790_000_000_000);

/// A text and the story that it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelled {
    /// `None` belongs to no story.
    pub story: Option<String>,
    pub published_at: Millis,
    pub platform: String,
    pub author: String,
    pub title: Option<String>,
    pub text: String,
}

impl Labelled {
    pub fn analysed(&self) -> String {
        analysed_text(self.title.as_deref(), Some(&self.text))
    }
}

/// The texts of both halves.
pub fn halves() -> anyhow::Result<Vec<Vec<Labelled>>> {
    HALVES.iter().map(|(_, texts)| parse(texts)).collect()
}

/// Reads `story<TAB>hours<TAB>platform/author<TAB>text`; `#` begins a comment.
pub(super) fn parse(texts: &str) -> anyhow::Result<Vec<Labelled>> {
    let lines = texts.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let mut texts = lines
        .map(|(number, line)| labelled(line).with_context(|| format!("line {}", number + 1)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    texts.sort_by_key(|text| text.published_at);
    Ok(texts)
}

fn labelled(line: &str) -> anyhow::Result<Labelled> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [story, hours, source, text] = fields[..] else { return Err(anyhow!("not four fields")) };
    let (platform, author) = source.split_once('/').context("a source is platform/author")?;
    let hours: f64 = hours.parse().context("hours are a number")?;
    let (title, text) = match text.split_once(" || ") {
        Some((title, text)) => (Some(title.to_string()), text),
        None => (None, text),
    };
    Ok(Labelled {
        story: (story != "-").then(|| story.to_string()),
        published_at: Millis(START.0 + (hours * HOUR_MS as f64) as i64),
        platform: platform.to_string(),
        author: author.to_string(),
        title,
        text: text.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_labelled_texts_are_what_they_say() {
        let halves = halves().unwrap();
        let stories: Vec<BTreeSet<String>> =
            halves.iter().map(|texts| texts.iter().filter_map(|t| t.story.clone()).collect()).collect();
        assert!(stories.iter().map(BTreeSet::len).sum::<usize>() >= 60);
        assert!(stories[0].is_disjoint(&stories[1]), "no story is in both halves");
        assert!(halves.iter().map(Vec::len).sum::<usize>() >= 300);
        for texts in &halves {
            for story in texts.iter().filter_map(|t| t.story.as_ref()) {
                let of = texts.iter().filter(|t| t.story.as_ref() == Some(story));
                let by: BTreeSet<_> = of.map(|t| (&t.platform, &t.author)).collect();
                assert!(by.len() >= 2, "{story} has two authors");
            }
        }
        assert!(parse("x\t1\tno author\ttext").is_err());
    }
}
