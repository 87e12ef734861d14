//! New items that have the words of a rule: content.enriched → readings.
//!
//! An item is new once: at the ingestion of its first version, or when that was read, if
//! it was read late. A later version that has not the words any more, and a deletion,
//! take it away; one that has them for the first time does not make it new. What comes
//! counts from its instant on, so that a reading after downtime is what it would have been.
//!
//! Retention: the window of the rule, at most `hits_per_rule_max`; then the oldest leave
//! and are counted, and the rule has found enough by far. At most [`WAITING_MAX`] versions
//! wait for their instant; past that the oldest are applied before it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dataflows::event::{Content, Enriched};
use dataflows::text::topics::Topics;
use dataflows::time::{HOUR_MS, Millis};

use super::newest::Newest;
use super::{Detail, Reading, Readings, counted, duration};
use crate::alerts::record::Example;
use crate::alerts::rule::{Condition, Rule, matcher};
use crate::alerts::{Settings, metrics};

const WAITING_MAX: usize = 50_000;
/// Late items of which a restart knows since when they count.
const LATE_MAX: usize = 1_000;

pub(super) struct Keywords {
    matcher: Topics,
    lanes: BTreeMap<String, Lane>,
    waiting: BTreeMap<(Millis, u64), Seen>,
    /// How many versions of an item wait.
    waiting_ids: HashMap<String, usize>,
    sequence: u64,
    hits_max: usize,
    age_max_ms: i64,
}

/// A version of an item.
struct Seen {
    id: String,
    /// `None` is a deletion.
    example: Option<Example>,
    is_new: bool,
    /// Read after its own time was decided.
    is_late: bool,
    /// The rules that have it.
    rules: Vec<String>,
}

struct Lane {
    rule: Rule,
    hits: BTreeMap<(Millis, String), Example>,
    times: HashMap<String, Millis>,
    /// Those that count from when they were read.
    late: BTreeSet<String>,
}

impl Keywords {
    pub fn new(rules: &[Rule], settings: &Settings) -> Self {
        let lane = |rule: &Rule| Lane {
            rule: rule.clone(),
            hits: BTreeMap::new(),
            times: HashMap::new(),
            late: BTreeSet::new(),
        };
        let rules = rules.iter().filter(|rule| matches!(rule.condition, Condition::Keyword { .. }));
        let lanes: BTreeMap<String, Lane> = rules.map(|rule| (rule.name.clone(), lane(rule))).collect();
        let all: Vec<Rule> = lanes.values().map(|lane| lane.rule.clone()).collect();
        Self {
            matcher: matcher(&all).expect("the rules were checked when they were read"),
            lanes,
            waiting: BTreeMap::new(),
            waiting_ids: HashMap::new(),
            sequence: 0,
            hits_max: settings.hits_per_rule_max,
            age_max_ms: i64::try_from(settings.item_age_max_h).unwrap_or(i64::MAX).saturating_mul(HOUR_MS),
        }
    }

    pub fn len(&self) -> usize {
        self.waiting.len() + self.lanes.values().map(|lane| lane.hits.len()).sum::<usize>()
    }

    /// Takes a version of an item, which counts from `at` on; `example` is `None` for a
    /// deletion.
    pub fn apply(&mut self, enriched: &Enriched, example: Option<&Example>, at: Millis) {
        let rules = match &enriched.content {
            Some(content) => self.rules_of(content),
            None => Vec::new(),
        };
        let is_known = self.waiting_ids.contains_key(&enriched.id)
            || self.lanes.values().any(|lane| lane.times.contains_key(&enriched.id));
        if rules.is_empty() && !is_known {
            return;
        }
        let oldest = enriched.ingested_at.0.saturating_sub(self.age_max_ms);
        let is_recent = enriched.content.as_ref().is_some_and(|content| content.published_at.0 >= oldest);
        let seen = Seen {
            id: enriched.id.clone(),
            example: example.cloned(),
            is_new: enriched.previous.is_none() && is_recent,
            is_late: at != enriched.ingested_at,
            rules,
        };
        *self.waiting_ids.entry(seen.id.clone()).or_default() += 1;
        self.sequence += 1;
        self.waiting.insert((at, self.sequence), seen);
        while self.waiting.len() > WAITING_MAX {
            self.apply_first();
        }
    }

    /// From now on everything up to `at` counts.
    pub fn advance(&mut self, at: Millis) {
        while self.waiting.first_key_value().is_some_and(|((of, _), _)| *of <= at) {
            self.apply_first();
        }
    }

    fn apply_first(&mut self) {
        let Some(((at, _), seen)) = self.waiting.pop_first() else { return };
        if let Some(count) = self.waiting_ids.get_mut(&seen.id) {
            *count -= 1;
            if *count == 0 {
                self.waiting_ids.remove(&seen.id);
            }
        }
        for (name, lane) in &mut self.lanes {
            let example = seen.example.as_ref().filter(|_| seen.rules.contains(name));
            match (example, lane.times.get(&seen.id).copied()) {
                (None, _) => lane.remove(&seen.id),
                (Some(example), Some(time)) => {
                    lane.hits.insert((time, seen.id.clone()), example.clone());
                }
                (Some(example), None) if seen.is_new => {
                    if seen.is_late {
                        lane.late.insert(seen.id.clone());
                    }
                    lane.insert(at, example.clone(), self.hits_max);
                }
                (Some(_), None) => {}
            }
        }
    }

    /// New items that count from when they were read, and since when; the latest of them.
    pub fn late(&self) -> BTreeMap<String, Millis> {
        let hits = self.lanes.values().flat_map(|lane| {
            lane.late.iter().filter_map(|id| Some((id.clone(), lane.times.get(id).copied()?)))
        });
        let waiting = self.waiting.iter().filter(|(_, seen)| seen.is_late && seen.is_new);
        let all = hits.chain(waiting.map(|((at, _), seen)| (seen.id.clone(), *at)));
        let mut late: Vec<(Millis, String)> = all.map(|(id, at)| (at, id)).collect();
        late.sort_unstable_by(|a, b| b.cmp(a));
        late.into_iter().take(LATE_MAX).map(|(at, id)| (id, at)).collect()
    }

    /// The rules that this content is for, by its words and their filters.
    fn rules_of(&self, content: &Content) -> Vec<String> {
        if self.lanes.is_empty() {
            return Vec::new();
        }
        let text = content.analysed_text();
        let takes = |name: &&str| {
            self.lanes.get(*name).is_some_and(|lane| lane.rule.takes(&content.platform, &content.topics))
        };
        self.matcher.matches(&text).into_iter().filter(takes).map(str::to_string).collect()
    }

    pub fn readings(
        &self,
        rule: &Rule,
        at: Millis,
        detail: Detail,
        newest: &Newest,
        examples_max: usize,
    ) -> Readings {
        let Some(lane) = self.lanes.get(&rule.name) else { return Readings::default() };
        let Condition::Keyword { any, items_min, window_ms, by_platform } = &rule.condition else {
            return Readings::default();
        };
        let mut found: BTreeMap<&str, Vec<&Example>> = BTreeMap::new();
        if !by_platform {
            found.insert(&rule.name, Vec::new());
        }
        for hit in lane.within(at, *window_ms) {
            let subject = if *by_platform { &hit.platform } else { &rule.name };
            found.entry(subject).or_default().push(hit);
        }
        let enough = |hits: &[&Example]| hits.len() as u64 >= *items_min;
        found.retain(|_, hits| detail.wants(enough(hits)));
        if found.is_empty() {
            return Readings { all: Vec::new(), complete: true };
        }
        let window = duration(*window_ms);
        let words = words(any);
        let reading = |(subject, hits): (&str, Vec<&Example>)| {
            let (count, met) = (hits.len() as u64, enough(&hits));
            let on = if *by_platform { format!(" on {subject}") } else { String::new() };
            let bare = Reading {
                subject: subject.to_string(),
                label: subject.to_string(),
                met,
                value: count as f64,
                threshold: *items_min as f64,
                short: detail
                    .short(met, || format!("{count} of {} within {window}{on}", counted(*items_min, "item"))),
                ..Reading::default()
            };
            if !met {
                return bare;
            }
            let has = if count == 1 { "has" } else { "have" };
            Reading {
                why: format!(
                    "{}{on} within {window} {has} {words}; {} enough",
                    counted(count, "new item"),
                    is_or_are(*items_min)
                ),
                examples: hits.iter().rev().filter_map(|hit| newest.shown(hit)).take(examples_max).collect(),
                ..bare
            }
        };
        Readings { all: found.into_iter().map(reading).collect(), complete: true }
    }

    /// Forgets hits before `oldest`.
    pub fn expire(&mut self, oldest: Millis) {
        for lane in self.lanes.values_mut() {
            while let Some(((_, id), _)) = lane.hits.first_key_value().filter(|((at, _), _)| *at < oldest) {
                let id = id.clone();
                lane.remove(&id);
            }
        }
    }
}

impl Lane {
    fn insert(&mut self, at: Millis, example: Example, hits_max: usize) {
        self.times.insert(example.id.clone(), at);
        self.hits.insert((at, example.id.clone()), example);
        while self.hits.len() > hits_max {
            let Some(((_, id), _)) = self.hits.pop_first() else { break };
            self.times.remove(&id);
            self.late.remove(&id);
            metrics::FORGOTTEN.with_label_values(&["hit"]).inc();
        }
    }

    fn remove(&mut self, id: &str) {
        if let Some(at) = self.times.remove(id) {
            self.hits.remove(&(at, id.to_string()));
            self.late.remove(id);
        }
    }

    fn within(&self, at: Millis, window_ms: i64) -> impl Iterator<Item = &Example> {
        let from = (Millis(at.0.saturating_sub(window_ms) + 1), String::new());
        self.hits.range(from..(Millis(at.0 + 1), String::new())).map(|(_, hit)| hit)
    }
}

fn is_or_are(n: u64) -> String {
    if n == 1 { "1 is".to_string() } else { format!("{n} are") }
}

/// The first words of a rule, for a sentence.
fn words(any: &[String]) -> String {
    const SHOWN_MAX: usize = 4;
    let shown: Vec<String> = any.iter().take(SHOWN_MAX).map(|word| format!("“{word}”")).collect();
    let more = any.len().saturating_sub(SHOWN_MAX);
    let one_of = if any.len() > 1 { "one of " } else { "" };
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{one_of}{}{rest}", shown.join(", "))
}
