//! `tidings eval stories`: which of a few hundred labelled texts the graph takes for one
//! story, by their words alone and with embeddings, as BCubed precision, recall and F1.
//!
//! The texts are compiled in, in two halves: thresholds may be chosen on the development
//! half, the other is held out. BCubed (Bagga and Baldwin, 1998) asks of each text which share
//! of those in its story belong there, and which share of those that belong there are in it,
//! and takes the mean over all texts. A text that is no story's is one of its own.

mod texts;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use dataflows::Epoch;
use dataflows::chunk::chunks;
use dataflows::collect::{Committer, collect};
use dataflows::event::Version;
use dataflows::pii::without_masks;
use dataflows::stories::item::{Settings, symbol};
use dataflows::stories::items::{Change, Vectored, Versioned};
use dataflows::stories::shown::Shown;
use dataflows::stories::signature::Signature;
use dataflows::stories::sketch::Sketch;
use dataflows::stories::{self, Gauges, Part, Story};
use serde::Serialize;
use timely::dataflow::operators::Input;

use crate::config::Config;
use crate::memory::models::{Embedder, Model};

use texts::HALVES;
pub use texts::{Labelled, halves};

/// What a regression falls below. By words alone a story is missed rather than invented.
pub const PRECISION_BY_WORDS_MIN: f64 = 0.95;
pub const F1_WITH_EMBEDDINGS_MIN: f64 = 0.8;

/// Texts that arrive in one epoch.
const EPOCH_TEXTS: usize = 16;
const MODEL_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Prints every story that was found wrong, and what is missing in it
    #[arg(long)]
    pub errors: bool,
    /// Prints the figures as JSON
    #[arg(long)]
    pub json: bool,
}

/// BCubed, over all texts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
}

#[derive(Debug, Serialize)]
pub struct Row {
    pub half: &'static str,
    /// The model's id, if there are embeddings.
    pub embeddings: Option<String>,
    pub texts: usize,
    pub stories: usize,
    pub found: usize,
    pub figures: Figures,
    #[serde(skip)]
    errors: Vec<String>,
}

impl Row {
    pub fn is_good(&self) -> bool {
        match self.embeddings {
            None => self.figures.precision >= PRECISION_BY_WORDS_MIN,
            Some(_) => self.figures.f1 >= F1_WITH_EMBEDDINGS_MIN,
        }
    }
}

/// Prints the figures; false if they are below their floors.
pub fn run(args: &Args, config: &Config, cache: Option<&Path>, out: &mut dyn Write) -> anyhow::Result<bool> {
    let settings = &config.stories.graph;
    let model = match cache {
        Some(cache) => Model::new(&config.models.clone().in_cache(cache)).wait(MODEL_WAIT),
        None => Err("no cache folder is known: set TIDINGS_CACHE".to_string()),
    };
    let mut rows = Vec::new();
    for (half, texts) in HALVES {
        let texts = texts::parse(texts).with_context(|| format!("the texts of the half {half}"))?;
        rows.push(row(half, &texts, settings, None)?);
        if let Ok(embedder) = &model {
            let chars_max = config.embed.chunk_chars_max;
            rows.push(row(half, &texts, settings, Some((embedder.as_ref(), chars_max)))?);
        }
    }
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
    } else {
        write!(out, "{}", table(&rows, model.as_ref().err()))?;
    }
    if args.errors {
        for error in rows.iter().flat_map(|row| &row.errors) {
            writeln!(out, "{error}")?;
        }
    }
    Ok(rows.iter().all(Row::is_good))
}

/// The figures by words alone, of each half.
pub fn by_words(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let row_of = |(half, texts)| row(half, &texts::parse(texts)?, settings, None);
    HALVES.into_iter().map(row_of).collect()
}

fn row(
    half: &'static str,
    texts: &[Labelled],
    settings: &Settings,
    model: Option<(&dyn Embedder, usize)>,
) -> anyhow::Result<Row> {
    let sketches = match model {
        None => vec![None; texts.len()],
        Some((embedder, chars_max)) => sketches(texts, embedder, chars_max)?,
    };
    let found = found(texts, &sketches, settings);
    let labels = texts.iter().enumerate().map(|(i, text)| match &text.story {
        Some(story) => story.clone(),
        None => format!("- {i}"),
    });
    let labels: Vec<String> = labels.collect();
    let stories: BTreeSet<&String> = texts.iter().filter_map(|text| text.story.as_ref()).collect();
    Ok(Row {
        half,
        embeddings: model.map(|(embedder, _)| embedder.model().to_string()),
        texts: texts.len(),
        stories: stories.len(),
        found: found.iter().collect::<BTreeSet<_>>().len()
            - found.iter().filter(|f| f.is_empty()).count().min(1),
        figures: bcubed(&labels, &alone(&found)),
        errors: errors(half, model.is_some(), texts, &labels, &alone(&found)),
    })
}

/// The sketch of each text's first chunk, as the pipeline makes it.
fn sketches(
    texts: &[Labelled],
    embedder: &dyn Embedder,
    chars_max: usize,
) -> anyhow::Result<Vec<Option<Sketch>>> {
    let starts: Vec<String> = texts
        .iter()
        .map(|text| {
            chunks(&text.analysed(), chars_max).first().map_or_else(String::new, |c| (*c).to_string())
        })
        .collect();
    let mut sketches = Vec::new();
    for batch in starts.chunks(embedder.batch_max().max(1)) {
        let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
        let vectors = embedder.embed(&batch).map_err(|e| anyhow!("the model failed: {e}"))?;
        sketches.extend(vectors.iter().map(|v| Sketch::of(embedder.model(), &v.0)));
    }
    Ok(sketches)
}

/// Of each text the id of the story that the graph puts it into; empty for none.
fn found(texts: &[Labelled], sketches: &[Option<Sketch>], settings: &Settings) -> Vec<String> {
    let ids: Vec<String> = (0..texts.len()).map(|i| format!("{}:{i}", texts[i].platform)).collect();
    let changes: Vec<Vec<Change>> = texts
        .iter()
        .zip(sketches)
        .zip(&ids)
        .map(|((text, sketch), id)| changes(id, text, sketch.as_ref()))
        .collect();
    let settings = settings.clone();
    let stories = timely::execute_directly(move |worker| {
        let gauges = Rc::new(Gauges::default());
        let (mut input, mut parts, epochs, probe) = worker.dataflow(|scope| {
            let (input, changes) = scope.new_input();
            let (parts, parts_stream) = scope.new_input();
            let (bindings, bindings_stream) = scope.new_input();
            let records = stories::stories(changes, parts_stream, &settings, &gauges);
            let (epochs, probe) = collect(records, bindings_stream, Committer::One);
            drop(bindings);
            (input, parts, epochs, probe)
        });
        parts.send(Part::CaughtUp);
        for (epoch, batch) in changes.chunks(EPOCH_TEXTS).enumerate() {
            batch.iter().flatten().for_each(|change| input.send(stories::routed(change.clone())));
            input.advance_to(epoch as Epoch + 1);
            parts.advance_to(epoch as Epoch + 1);
            worker.step_while(|| probe.less_than(&(epoch as Epoch + 1)));
        }
        drop((input, parts));
        worker.step_while(|| !probe.done());
        let records = epochs.borrow_mut().values_mut().flat_map(|e| std::mem::take(&mut e.records)).collect();
        last_values(records)
    });
    let mut story_of: HashMap<String, String> = HashMap::new();
    for story in stories.values().filter(|story| story.merged_into.is_none()) {
        assert_eq!(story.items as usize, story.members.len(), "no story here is longer than its list");
        story_of.extend(story.members.iter().map(|id| (id.clone(), story.id.clone())));
    }
    ids.iter().map(|id| story_of.remove(id).unwrap_or_default()).collect()
}

fn last_values(records: Vec<dataflows::record::Record>) -> BTreeMap<Vec<u8>, Story> {
    let mut stories = BTreeMap::new();
    for record in records {
        match record.value {
            None => _ = stories.remove(&record.key),
            Some(value) => {
                let story = serde_json::from_slice(&value).expect("the graph writes stories");
                stories.insert(record.key, story);
            }
        }
    }
    stories
}

fn changes(id: &str, text: &Labelled, sketch: Option<&Sketch>) -> Vec<Change> {
    let (id, version): (Arc<str>, _) = (id.into(), Version { revision: 1, enrichment: 0 });
    let analysed = text.analysed();
    let versioned = Versioned {
        version,
        published_at: text.published_at,
        text: symbol(&analysed),
        signature: Signature::of(&without_masks(&analysed)),
        shown: Shown {
            id: &id,
            platform: &text.platform,
            author: Some(&text.author),
            title: text.title.as_deref().unwrap_or(&text.text),
            has_title: text.title.is_some(),
            ..Shown::default()
        }
        .packed(),
    };
    let vector = sketch.map(|sketch| {
        let sketch = Some(sketch.clone());
        Change::Vector(Box::new(Vectored { id, version, published_at: text.published_at, sketch }))
    });
    let clock = Change::Clock(text.published_at);
    [Change::Version(Box::new(versioned)), clock].into_iter().chain(vector).collect()
}

/// Those in no story, each as one of its own.
fn alone(found: &[String]) -> Vec<String> {
    let name = |(i, story): (usize, &String)| if story.is_empty() { format!("- {i}") } else { story.clone() };
    found.iter().enumerate().map(name).collect()
}

/// Precision and recall are means over all; F1 is of these means.
pub fn bcubed(labels: &[String], found: &[String]) -> Figures {
    let n = labels.len();
    let share = |of: &[String], right: &[String]| -> f64 {
        let shares = (0..n).map(|i| {
            let same: Vec<usize> = (0..n).filter(|&j| of[j] == of[i]).collect();
            same.iter().filter(|&&j| right[j] == right[i]).count() as f64 / same.len() as f64
        });
        shares.sum::<f64>() / n.max(1) as f64
    };
    let (precision, recall) = (share(found, labels), share(labels, found));
    let f1 = if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
    Figures { precision, recall, f1 }
}

/// What is wrongly in a story, and what is wrongly in none or another.
fn errors(
    half: &str,
    embedded: bool,
    texts: &[Labelled],
    labels: &[String],
    found: &[String],
) -> Vec<String> {
    let how = if embedded { "with embeddings" } else { "by words" };
    let mut errors = Vec::new();
    let mut groups: BTreeMap<&String, Vec<usize>> = BTreeMap::new();
    for (i, story) in found.iter().enumerate() {
        groups.entry(story).or_default().push(i);
    }
    for members in groups.values() {
        let distinct: BTreeSet<&String> = members.iter().map(|&i| &labels[i]).collect();
        if distinct.len() > 1 {
            let lines: Vec<String> =
                members.iter().map(|&i| format!("    {:<12} {}", labels[i], texts[i].analysed())).collect();
            errors.push(format!("{half}, {how}: one story of several\n{}", lines.join("\n")));
        }
    }
    let mut stories: BTreeMap<&String, BTreeMap<&String, Vec<usize>>> = BTreeMap::new();
    for (i, label) in labels.iter().enumerate() {
        stories.entry(label).or_default().entry(&found[i]).or_default().push(i);
    }
    for (label, parts) in stories.iter().filter(|(_, parts)| parts.len() > 1) {
        let lines: Vec<String> = parts
            .values()
            .enumerate()
            .flat_map(|(n, part)| {
                part.iter().map(move |&i| format!("    part {n:<7} {}", texts[i].analysed()))
            })
            .collect();
        errors.push(format!("{half}, {how}: {label} in {} parts\n{}", parts.len(), lines.join("\n")));
    }
    errors
}

fn table(rows: &[Row], no_model: Option<&String>) -> String {
    let mut text = format!(
        "{:<12} {:<16} {:>6} {:>8} {:>6}  {:>9} {:>7} {:>6}\n",
        "half", "", "texts", "stories", "found", "precision", "recall", "F1"
    );
    for row in rows {
        let how = if row.embeddings.is_some() { "with embeddings" } else { "by words alone" };
        let Figures { precision, recall, f1 } = row.figures;
        text.push_str(&format!(
            "{:<12} {how:<16} {:>6} {:>8} {:>6}  {precision:>9.3} {recall:>7.3} {f1:>6.3}\n",
            row.half, row.texts, row.stories, row.found
        ));
    }
    text.push_str(&format!(
        "\nBCubed over all texts; one that is no story's counts as one of its own. By words alone precision is to be\n\
         at least {PRECISION_BY_WORDS_MIN}, with embeddings F1 at least {F1_WITH_EMBEDDINGS_MIN}.\n"
  ));
    match (no_model, rows.iter().find_map(|row| row.embeddings.as_ref())) {
        (Some(reason), _) => text.push_str(&format!("Not measured with embeddings: {reason}\n")),
        (None, Some(model)) => text.push_str(&format!("Embeddings: {model}.\n")),
        (None, None) => {}
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_string).collect()
    }

    #[test]
    fn figures_by_hand() {
        let perfect = bcubed(&names("a a b c"), &names("x x y z"));
        assert_eq!((perfect.precision, perfect.recall, perfect.f1), (1.0, 1.0, 1.0));
        // One of three is in another's story: 2/3, 2/3, 1/3 of it is right; of its own story none.
        let mixed = bcubed(&names("a a b b"), &names("x x x y"));
        assert!((mixed.precision - (2.0 / 3.0 + 2.0 / 3.0 + 1.0 / 3.0 + 1.0) / 4.0).abs() < 1e-12);
        assert!((mixed.recall - (1.0 + 1.0 + 0.5 + 0.5) / 4.0).abs() < 1e-12);
    }
}
