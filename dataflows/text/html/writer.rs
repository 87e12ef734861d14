//! Writes text as a reader sees it: white space collapsed, line breaks where blocks meet.

use super::elements::Effect;
use super::reference;

/// What separates the next word from what is written; the larger of two wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    None,
    Space,
    Line,
    BlankLine,
}

pub(super) struct Writer {
    out: String,
    gap: Gap,
    /// How deep in elements that keep their white space.
    preformatted: usize,
}

impl Writer {
    pub(super) fn with_capacity(bytes: usize) -> Writer {
        Writer { out: String::with_capacity(bytes), gap: Gap::None, preformatted: 0 }
    }

    pub(super) fn text(&mut self, text: &str) {
        reference::split(text, self, Writer::run, |writer, c| writer.run(c.encode_utf8(&mut [0; 4])));
    }

    pub(super) fn line_break(&mut self) {
        self.gap = self.gap.max(Gap::Line);
    }

    /// What the start or end of an element does to the text.
    pub(super) fn boundary(&mut self, effect: Effect, start: bool) {
        let gap = match effect {
            Effect::Block | Effect::Body | Effect::Verbatim => Gap::Line,
            Effect::Paragraph => Gap::BlankLine,
            Effect::Preformatted => {
                self.preformatted =
                    if start { self.preformatted + 1 } else { self.preformatted.saturating_sub(1) };
                Gap::BlankLine
            }
            // Two breaks leave a line blank.
            Effect::Break if self.gap >= Gap::Line => Gap::BlankLine,
            Effect::Break => Gap::Line,
            Effect::Cell => Gap::Space,
            Effect::Inline | Effect::Image | Effect::Hidden(_) | Effect::Raw => Gap::None,
        };
        self.gap = self.gap.max(gap);
    }

    /// Text without references, or what one stood for.
    fn run(&mut self, text: &str) {
        let mut word = None;
        for (at, c) in text.char_indices() {
            let space = matches!(c, ' ' | '\n' | '\t' | '\u{a0}');
            if !space && !c.is_control() {
                word.get_or_insert(at);
                continue;
            }
            if let Some(from) = word.take() {
                self.word(&text[from..at]);
            }
            if space
                && self.preformatted > 0
                && c != '\u{a0}'
                && !self.out.is_empty()
                && self.gap <= Gap::Space
            {
                self.word(&text[at..at + c.len_utf8()]);
            } else if space {
                self.gap = self.gap.max(Gap::Space);
            }
        }
        if let Some(from) = word {
            self.word(&text[from..]);
        }
    }

    fn word(&mut self, word: &str) {
        if !self.out.is_empty() {
            self.out.push_str(match self.gap {
                Gap::None => "",
                Gap::Space => " ",
                Gap::Line => "\n",
                Gap::BlankLine => "\n\n",
            });
        }
        self.gap = Gap::None;
        self.out.push_str(word);
    }

    pub(super) fn finish(mut self) -> String {
        self.out.truncate(self.out.trim_end().len());
        self.out
    }
}
