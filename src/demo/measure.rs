//! Consumes the text of `/metrics`, produces the few numbers that the demonstration
//! shows.

use std::collections::BTreeMap;

/// One sample: its name, its labels, its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// Reads the samples of our own family; lines it does not understand are other
/// people's and are left out.
pub fn samples(text: &str) -> Vec<Sample> {
    text.lines().filter(|line| line.starts_with("tidings_")).filter_map(sample).collect()
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let mut found = BTreeMap::new();
    let mut rest = labels.trim_end_matches('}');
    while let Some((label, after)) = rest.split_once("=\"") {
        let (content, next) = quoted(after)?;
        found.insert(label.trim_start_matches(',').to_string(), content);
        rest = next;
    }
    Some(Sample { name: name.to_string(), labels: found, value })
}

/// The text up to the closing quote, unescaped, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut content = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((content, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => content.push('\n'),
                other => content.push(other),
            },
            other => content.push(other),
        }
    }
    None
}

/// The sum of a name's samples with these labels.
pub fn sum(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let fits = |sample: &&Sample| {
        let has = |(label, value): &(&str, &str)| sample.labels.get(*label).is_some_and(|held| held == value);
        sample.name == name && labels.iter().all(has)
    };
    samples.iter().filter(fits).map(|sample| sample.value).sum()
}

/// The sums of a name's samples by the values of one label.
pub fn by_label(samples: &[Sample], name: &str, label: &str) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.name == name) {
        if let Some(value) = sample.labels.get(label) {
            *sums.entry(value.clone()).or_default() += sample.value;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP tidings_stage_records_total Records.
# TYPE tidings_stage_records_total counter
tidings_stage_records_total{outcome="created",stage="enrich"} 7
tidings_stage_records_total{outcome="stale",stage="enrich"} 2
tidings_stage_records_total{outcome="created",stage="other"} 100
tidings_memory_points 12.5
tidings_odd{why="a \"quoted\", {braced}"} 1
other_total 9
"#;

    #[test]
    fn sums_by_name_and_labels() {
        let samples = samples(TEXT);
        assert_eq!(samples.len(), 5);
        assert_eq!(sum(&samples, "tidings_stage_records_total", &[("stage", "enrich")]), 9.0);
        assert_eq!(sum(&samples, "tidings_memory_points", &[]), 12.5);
        assert_eq!(sum(&samples, "tidings_absent", &[]), 0.0);
        let outcomes = by_label(&samples, "tidings_stage_records_total", "outcome");
        assert_eq!(outcomes["created"], 107.0);
        assert_eq!(samples[4].labels["why"], "a \"quoted\", {braced}");
    }
}
