//! `tidings eval pii`: what the masks find in a corpus of texts with personal values and
//! of texts that only look like it, as precision, recall and F2 by kind.
//!
//! The corpus is compiled in; its head says where its values come from. A value counts as
//! found where kind and place are both right: another kind or another end is one miss and
//! one false alarm. F2 weighs recall four times precision: a value that stays readable
//! harms more than a number that does not.

use std::io::Write;

use anyhow::{Context, bail, ensure};
use dataflows::pii::{self, Kind, Kinds, find};
use serde::Serialize;

/// Floors that a regression falls below; the figures themselves are in docs/privacy.md.
pub const PRECISION_MIN: f64 = 0.95;
pub const RECALL_MIN: f64 = 0.95;
/// Of each kind.
pub const F2_MIN: f64 = 0.9;

const CORPUS: &str = include_str!("pii/corpus.tsv");

#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Texts to evaluate on, in the form of src/eval/pii/corpus.tsv [default: that file]
    #[arg(long, value_name = "FILE")]
    pub corpus: Option<std::path::PathBuf>,
    /// Prints every value that was missed and every false alarm
    #[arg(long)]
    pub errors: bool,
    /// Prints the figures as JSON
    #[arg(long)]
    pub json: bool,
}

/// A text and the values in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// The language, or what the text looks like where there is nothing to find.
    pub class: String,
    pub text: String,
    /// Kind, start and end in bytes.
    pub values: Vec<(Kind, usize, usize)>,
}

/// Values right, wrongly found and missed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    pub right: usize,
    pub false_alarms: usize,
    pub missed: usize,
}

impl Tally {
    /// 1 where nothing was found: nothing of it was wrong.
    pub fn precision(&self) -> f64 {
        share(self.right, self.right + self.false_alarms)
    }

    pub fn recall(&self) -> f64 {
        share(self.right, self.right + self.missed)
    }

    pub fn f2(&self) -> f64 {
        share(5 * self.right, 5 * self.right + 4 * self.missed + self.false_alarms)
    }

    fn add(&mut self, other: Self) {
        self.right += other.right;
        self.false_alarms += other.false_alarms;
        self.missed += other.missed;
    }
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub analyzer: &'static str,
    pub texts: usize,
    /// Texts in which there is nothing to find, and those of them in which nothing was.
    pub look_alikes: usize,
    pub look_alikes_clean: usize,
    pub kinds: Vec<(&'static str, Tally)>,
    pub overall: Tally,
    /// One line for each value that was missed and each false alarm.
    #[serde(skip)]
    pub errors: Vec<String>,
}

impl Report {
    pub fn is_good(&self) -> bool {
        self.overall.precision() >= PRECISION_MIN
            && self.overall.recall() >= RECALL_MIN
            && self.kinds.iter().all(|(_, tally)| tally.f2() >= F2_MIN)
    }
}

/// Prints the figures; false if they are below their floors.
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<bool> {
    let texts = match &args.corpus {
        None => corpus()?,
        Some(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            parse(&text).with_context(|| format!("{} is not a corpus", path.display()))?
        }
    };
    let report = evaluate(&texts);
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        write!(out, "{}", table(&report))?;
    }
    if args.errors {
        for error in &report.errors {
            writeln!(out, "{error}")?;
        }
    }
    Ok(report.is_good())
}

/// The corpus of the repository.
pub fn corpus() -> anyhow::Result<Vec<Labelled>> {
    parse(CORPUS).context("the corpus")
}

/// Reads `class<TAB>text with ⟦kind|value⟧`; lines that begin with `#` are comments.
pub fn parse(corpus: &str) -> anyhow::Result<Vec<Labelled>> {
    let lines = corpus
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty() && !line.starts_with("# ") && *line != "#");
    lines.map(|(number, line)| labelled(line).with_context(|| format!("line {}", number + 1))).collect()
}

fn labelled(line: &str) -> anyhow::Result<Labelled> {
    let (class, mut rest) = line.split_once('\t').context("no tab")?;
    let (mut text, mut values) = (String::new(), Vec::new());
    while let Some((before, marked)) = rest.split_once('⟦') {
        let (mark, after) = marked.split_once('⟧').context("a mark does not end")?;
        let (kind, value) = mark.split_once('|').context("a mark has no kind")?;
        let Some(kind) = Kind::parse(kind) else { bail!("no such kind: {kind}") };
        ensure!(!value.is_empty(), "an empty value");
        text.push_str(before);
        values.push((kind, text.len(), text.len() + value.len()));
        text.push_str(value);
        rest = after;
    }
    text.push_str(rest);
    Ok(Labelled { class: class.to_string(), text, values })
}

/// Finds and compares.
pub fn evaluate(texts: &[Labelled]) -> Report {
    let mut tallies = [Tally::default(); Kind::ALL.len()];
    let (mut errors, mut look_alikes, mut clean) = (Vec::new(), 0, 0);
    for Labelled { class, text, values } in texts {
        let found: Vec<_> = find(text, Kinds::ALL).into_iter().map(|f| (f.kind, f.start, f.end)).collect();
        if values.is_empty() {
            look_alikes += 1;
            clean += usize::from(found.is_empty());
        }
        for value @ (kind, start, end) in &found {
            let tally = &mut tallies[*kind as usize];
            if values.contains(value) {
                tally.right += 1;
            } else {
                tally.false_alarms += 1;
                errors.push(format!(
                    "false alarm  {:<10}  {:?} in {class}: {text:?}",
                    kind.name(),
                    &text[*start..*end]
                ));
            }
        }
        for (kind, start, end) in values.iter().filter(|value| !found.contains(value)) {
            tallies[*kind as usize].missed += 1;
            errors.push(format!(
                "missed       {:<10}  {:?} in {class}: {text:?}",
                kind.name(),
                &text[*start..*end]
            ));
        }
    }
    let mut overall = Tally::default();
    tallies.iter().for_each(|tally| overall.add(*tally));
    Report {
        analyzer: pii::VERSION,
        texts: texts.len(),
        look_alikes,
        look_alikes_clean: clean,
        kinds: Kind::ALL.iter().map(|kind| (kind.name(), tallies[*kind as usize])).collect(),
        overall,
        errors,
    }
}

fn table(report: &Report) -> String {
    let mut text = format!(
        "{:<11} {:>6} {:>6} {:>6} {:>6}  {:>9} {:>6} {:>6}\n",
        "kind", "values", "right", "missed", "false", "precision", "recall", "F2"
    );
    let overall = ("all", report.overall);
    for (name, tally) in report.kinds.iter().chain([&overall]) {
        text.push_str(&format!(
            "{name:<11} {:>6} {:>6} {:>6} {:>6}  {:>9.3} {:>6.3} {:>6.3}\n",
            tally.right + tally.missed,
            tally.right,
            tally.missed,
            tally.false_alarms,
            tally.precision(),
            tally.recall(),
            tally.f2(),
        ));
    }
    text.push_str(&format!(
        "\n{} texts; in {} of the {} that only look like it nothing was found. Kind and place must both be\n\
         right. F2 weighs recall four times precision. Analyzer: {}.\n",
        report.texts, report.look_alikes_clean, report.look_alikes, report.analyzer
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_become_places() {
        let read = parse("# a comment\nde\tan ⟦email|ü@example.org⟧, ja\nid\t#12\n").unwrap();
        assert_eq!(read[0].text, "an ü@example.org, ja");
        assert_eq!(read[0].values, [(Kind::Email, 3, 17)]);
        assert_eq!((read[1].class.as_str(), read[1].values.len()), ("id", 0));
        for broken in ["no tab", "x\t⟦email|", "x\t⟦name|Jane⟧", "x\t⟦email⟧"] {
            assert!(parse(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn figures_by_hand() {
        let tally = Tally { right: 6, false_alarms: 2, missed: 4 };
        assert_eq!((tally.precision(), tally.recall()), (0.75, 0.6));
        assert!((tally.f2() - 5.0 * 0.75 * 0.6 / (4.0 * 0.75 + 0.6)).abs() < 1e-12);
        // The right kind at the wrong place is a miss and a false alarm.
        let text =
            Labelled { class: "en".into(), text: "x@example.org".into(), values: vec![(Kind::Email, 1, 13)] };
        assert_eq!(evaluate(&[text]).overall, Tally { right: 0, false_alarms: 1, missed: 1 });
    }
}
