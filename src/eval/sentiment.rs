//! `tidings eval sentiment`: our sentiment on the four human-rated sets of texts of the
//! VADER paper, beside the reference implementation's and the paper's own figures.
//!
//! Reads what scripts/vader_reference.sh leaves in its folder: `reference.tsv`, with each
//! text, its mean human rating and the reference's scores, and `reference.json`, with the
//! reference's time on the same machine.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use dataflows::text::sentiment;
use serde::{Deserialize, Serialize};

use super::measures::{Agreement, agreement};

#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Folder of the texts, as scripts/vader_reference.sh leaves it [default: that of the script]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Prints the figures as JSON
    #[arg(long)]
    pub json: bool,
}

/// One of the four sets, and what Hutto & Gilbert 2014, table 4, says of VADER on it.
struct Set {
    id: &'static str,
    name: &'static str,
    texts: usize,
    published: Published,
}

/// The paper's "overall F1" is not a mean over the classes, as ours is: with hardly a
/// neutral text, it is near the F1 of the positive class.
#[derive(Clone, Copy, Debug, Serialize)]
struct Published {
    pearson_r: f64,
    overall_f1: f64,
}

const SETS: [Set; 4] = [
    set("tweets", "tweets", 4_200, 0.881, 0.96),
    set("movie_reviews", "movie reviews", 10_605, 0.451, 0.61),
    set("amazon_reviews", "Amazon reviews", 3_708, 0.565, 0.63),
    set("nyt_editorials", "NYT editorials", 5_190, 0.492, 0.55),
];

const fn set(id: &'static str, name: &'static str, texts: usize, pearson_r: f64, overall_f1: f64) -> Set {
    Set { id, name, texts, published: Published { pearson_r, overall_f1 } }
}

/// What the paper says of VADER's correlation with the ratings of a set.
pub fn published_pearson_r(set: &str) -> Option<f64> {
    SETS.iter().find(|known| known.id == set).map(|known| known.published.pearson_r)
}

/// Passes over a set; the fastest is reported, because other work on the machine only adds.
const PASSES: usize = 5;

#[derive(Debug, Serialize)]
struct Report {
    analyzer: &'static str,
    reference: About,
    sets: Vec<SetReport>,
}

#[derive(Debug, Serialize)]
struct SetReport {
    set: &'static str,
    name: &'static str,
    texts: usize,
    ours: Agreement,
    reference: Agreement,
    published: Published,
    /// Texts whose compound is not the reference's to 4 decimals.
    differing: usize,
    us_per_document: f64,
    reference_us_per_document: f64,
}

/// reference.json
#[derive(Debug, Serialize, Deserialize)]
struct About {
    vader: String,
    python: String,
    us_per_document: BTreeMap<String, f64>,
}

struct Rated {
    text: String,
    rating: f64,
    /// The reference's compound.
    compound: f64,
}

/// Prints the figures; false if any compound differs from the reference's.
pub fn run(args: &Args, cache: Option<&Path>, out: &mut dyn Write) -> anyhow::Result<bool> {
    let folder = match (&args.data, cache) {
        (Some(folder), _) => folder.clone(),
        (None, Some(cache)) => cache.join("vader-3.3.2"),
        (None, None) => bail!("no folder of the texts is known: name it with --data"),
    };
    let report = report(&folder)?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        write!(out, "{}", table(&report))?;
    }
    Ok(report.sets.iter().all(|set| set.differing == 0))
}

fn report(folder: &Path) -> anyhow::Result<Report> {
    let read = |name: &str| {
        let file = folder.join(name);
        std::fs::read_to_string(&file).with_context(|| {
            format!("cannot read {}: run scripts/vader_reference.sh, which makes it", file.display())
        })
    };
    let about: About =
        serde_json::from_str(&read("reference.json")?).context("reference.json is not as expected")?;
    let mut rated = rated(&read("reference.tsv")?)?;
    let mut sets = Vec::new();
    for set in &SETS {
        let texts = rated.remove(set.id).unwrap_or_default();
        ensure!(
            texts.len() == set.texts,
            "{} has {} {}, not {}: run scripts/vader_reference.sh --force",
            folder.join("reference.tsv").display(),
            texts.len(),
            set.name,
            set.texts
        );
        let reference_us = about.us_per_document.get(set.id).copied().unwrap_or_default();
        sets.push(evaluate(set, &texts, reference_us));
    }
    Ok(Report { analyzer: sentiment::VERSION, reference: about, sets })
}

/// The texts of each set; synthetic ones have no rating and are left out.
fn rated(tsv: &str) -> anyhow::Result<BTreeMap<String, Vec<Rated>>> {
    let mut sets: BTreeMap<String, Vec<Rated>> = BTreeMap::new();
    for (index, line) in tsv.lines().enumerate() {
        let at = || format!("line {} of reference.tsv", index + 1);
        let columns: Vec<&str> = line.split('\t').collect();
        let [set, _id, text, rating, compound, ..] = columns[..] else { bail!("{} is too short", at()) };
        if rating.is_empty() {
            continue;
        }
        let rated = Rated {
            text: serde_json::from_str(text).with_context(at)?,
            rating: rating.parse().with_context(at)?,
            compound: compound.parse().with_context(at)?,
        };
        sets.entry(set.to_string()).or_default().push(rated);
    }
    Ok(sets)
}

fn evaluate(set: &Set, texts: &[Rated], reference_us_per_document: f64) -> SetReport {
    let mut compounds = Vec::with_capacity(texts.len());
    let mut fastest = f64::INFINITY;
    for _ in 0..PASSES {
        compounds.clear();
        let start = Instant::now();
        compounds.extend(texts.iter().map(|rated| sentiment::score(&rated.text).compound));
        fastest = fastest.min(start.elapsed().as_secs_f64());
    }
    let pairs = |score: &dyn Fn(usize) -> f64| -> Vec<(f64, f64)> {
        texts.iter().enumerate().map(|(i, rated)| (rated.rating, score(i))).collect()
    };
    SetReport {
        set: set.id,
        name: set.name,
        texts: texts.len(),
        ours: agreement(&pairs(&|i| compounds[i])),
        reference: agreement(&pairs(&|i| texts[i].compound)),
        published: set.published,
        differing: texts.iter().zip(&compounds).filter(|(rated, ours)| rated.compound != **ours).count(),
        us_per_document: fastest * 1e6 / texts.len() as f64,
        reference_us_per_document,
    }
}

fn table(report: &Report) -> String {
    let mut rows = vec![
        ["set", "by", "texts", "r", "F1", "F1 +", "F1 -", "F1 0", "accuracy", "sign", "coverage", "us/doc"]
            .map(str::to_string),
    ];
    for set in &report.sets {
        let ours = row(&set.ours, set.us_per_document);
        rows.push(named([set.name, "Tidings", &set.texts.to_string()], &ours));
        let reference = row(&set.reference, set.reference_us_per_document);
        rows.push(named(["", &format!("vaderSentiment {}", report.reference.vader), ""], &reference));
        let Published { pearson_r, overall_f1 } = set.published;
        let mut published = [const { String::new() }; 9];
        published[0] = format!("{pearson_r:.3}");
        published[1] = format!("{overall_f1:.2}*");
        rows.push(named(["", "paper, 2014", ""], &published));
    }
    let differing: usize = report.sets.iter().map(|set| set.differing).sum();
    let texts: usize = report.sets.iter().map(|set| set.texts).sum();
    let total =
        |us: fn(&SetReport) -> f64| report.sets.iter().map(|set| us(set) * set.texts as f64).sum::<f64>();
    let speedup = total(|set| set.reference_us_per_document) / total(|set| set.us_per_document);
    let mut text = aligned(&rows);
    text.push_str(&format!(
        "\nr: Pearson, with the mean of 20 human ratings. F1: mean over three classes, then positive, negative,\n\
         neutral; a rating (-4 to 4) or a compound (-1 to 1) is neutral below 0.05 from 0. sign: right sign where\n\
         neither is 0; coverage: how many those are. * The paper's overall F1 is no mean over the classes.\n\
         Compounds that differ from the reference (Python {}): {differing} of {texts}. Speed: {speedup:.0} times its.\n",
        report.reference.python
    ));
    text
}

fn row(a: &Agreement, us: f64) -> [String; 9] {
    let figures = [
        a.pearson_r,
        a.macro_f1,
        a.f1_positive,
        a.f1_negative,
        a.f1_neutral,
        a.accuracy,
        a.sign_accuracy,
        a.sign_coverage,
    ];
    let mut cells = [const { String::new() }; 9];
    for (cell, figure) in cells.iter_mut().zip(figures) {
        *cell = format!("{figure:.3}");
    }
    cells[8] = format!("{us:.2}");
    cells
}

fn named(names: [&str; 3], figures: &[String; 9]) -> [String; 12] {
    let mut cells = names.iter().map(|name| name.to_string()).chain(figures.iter().cloned());
    std::array::from_fn(|_| cells.next().unwrap_or_default())
}

/// Columns as wide as their widest cell; the first two to the left, figures to the right.
fn aligned(rows: &[[String; 12]]) -> String {
    let mut widths = [0; 12];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
            let cell = if index < 2 { format!("{cell:<width$}  ") } else { format!("{cell:>width$}  ") };
            line.push_str(&cell);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_folder_names_the_script() {
        let args = Args { data: Some("/nonexistent".into()), json: false };
        let error = format!("{:#}", run(&args, None, &mut Vec::new()).unwrap_err());
        assert!(
            error.contains("/nonexistent/reference.json") && error.contains("scripts/vader_reference.sh"),
            "{error}"
        );
    }

    #[test]
    fn a_truncated_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("reference.json"),
            r#"{"vader":"3.3.2","python":"3","seed":1,"us_per_document":{}}"#,
        )
        .unwrap();
        std::fs::write(
            folder.path().join("reference.tsv"),
            "tweets\t1\t\"good\"\t1.5\t0.4404\t1.0\t0.0\t0.0\n",
        )
        .unwrap();
        let error = report(folder.path()).unwrap_err().to_string();
        assert!(error.contains("1 tweets, not 4200"), "{error}");
    }
}
