//! The line that says where else a story is told.

use super::NAME_MAX;
use crate::discord::digest::{Also, OfStory};
use crate::discord::escape::{escape_within, link, units};

/// Beside longer ones there would be no room for the rest.
const LINK_UNITS_MAX: usize = 200;

/// `Also on x <https://x.example/1>, mastodon`; `None` if nowhere else. Links are bare, so that
/// a reader sees where they lead.
pub(super) fn text(story: &OfStory, links: bool) -> Option<String> {
    let on: Vec<String> = story.also.iter().map(|also| place(also, links)).collect();
    (!on.is_empty()).then(|| format!("Also on {}", on.join(", ")))
}

fn place(also: &Also, links: bool) -> String {
    let name = escape_within(&also.platform, NAME_MAX);
    let target = also.url.as_deref().filter(|_| links).and_then(link);
    match target.filter(|(url, _)| is_plain(url)) {
        Some((url, _)) => format!("{name} <{url}>"),
        None => name,
    }
}

/// Whether nothing in it would end the link early, or show as something else.
fn is_plain(url: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "()<>[]\\|`*_~".contains(c);
    units(url) <= LINK_UNITS_MAX && !url.replace('_', "").contains(odd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataflows::event::Version;

    fn also(platform: &str, url: Option<&str>) -> Also {
        Also {
            id: "x:1".into(),
            version: Version::default(),
            shown: String::new(),
            platform: platform.into(),
            url: url.map(Into::into),
        }
    }

    fn story(also: Vec<Also>) -> OfStory {
        OfStory { id: "s".into(), items: 3, also }
    }

    #[test]
    fn links_are_bare_and_odd_ones_are_left_out() {
        let both = story(vec![also("x", Some("https://x.example/a_b")), also("rss", None)]);
        assert_eq!(text(&both, true).as_deref(), Some("Also on x <https://x.example/a_b>, rss"));
        assert_eq!(text(&both, false).as_deref(), Some("Also on x, rss"));
        for odd in
            ["javascript:x", "https://x.example/> [bank](https://evil.example)", "https://x.example/|a|"]
        {
            let line = text(&story(vec![also("x", Some(odd))]), true).unwrap();
            assert_eq!(line, "Also on x");
        }
        assert_eq!(text(&story(Vec::new()), true), None);
    }
}
