//! Search: a question in, hits out. Meaning and words are ranked apart and fused.
//!
//! Reciprocal rank fusion (Cormack, Clarke, Büttcher, SIGIR 2009): an item's score
//! is the sum of 1 / (60 + rank) over the rankings it is in. Ranks, not scores, are
//! combined, so a cosine never has to be weighed against a BM25. Both backends
//! rank, this file fuses: the same question has the same `why` on either.
//!
//! Without a model (absent, or still loading) the words alone answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use dataflows::time::Millis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::models::Model;
use super::{Candidates, Filters, Item, Memory, MemoryError, QueryVector, metrics, terms};
use crate::ops::http::List;

/// Table `[memory.search]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub candidates_max: usize,
    pub rrf_k: u32,
    pub query_chars_max: usize,
    pub query_terms_max: usize,
    pub limit_default: usize,
    pub limit_max: usize,
    pub snippet_chars_max: usize,
}

/// A question.
#[derive(Clone, Debug, Default)]
pub struct Query {
    pub text: String,
    pub filters: Filters,
    pub limit: usize,
    /// Hits to pass over.
    pub offset: usize,
}

impl Query {
    /// The same for the same question, whatever page of it is asked for.
    fn fingerprint(&self) -> String {
        let Filters { platform, since, topic, lang } = &self.filters;
        let question = (&self.text, platform, since, topic, lang);
        let bytes = serde_json::to_vec(&question).expect("a question is plain data");
        blake3::hash(&bytes).to_hex()[..16].to_string()
    }
}

/// How the answer was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Hybrid,
    /// By words alone: there is no model, or it is not ready.
    Lexical,
    /// By meaning alone: the question has no words.
    Dense,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::Hybrid => "hybrid",
            Mode::Lexical => "lexical",
            Mode::Dense => "dense",
        }
    }
}

/// The answer of `GET /v1/search`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SearchPage")]
pub struct Answer {
    pub hits: Vec<Hit>,
    pub mode: Mode,
    /// Why meaning took no part, if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode_reason: Option<String>,
    /// The `cursor` of the next page; null on the last.
    pub cursor: Option<String>,
    /// The pipeline time that the memory reflects; absent while it is empty.
    pub as_of: Option<Millis>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Hit {
    pub id: String,
    pub score: f64,
    pub title: Option<String>,
    pub snippet: String,
    pub url: Option<String>,
    pub platform: String,
    pub channel: Option<String>,
    pub author: Option<String>,
    pub published_at: Millis,
    pub lang: Option<String>,
    pub topics: Vec<String>,
    pub compound: Option<f64>,
    pub why: Why,
}

/// The item's rank by meaning and by words, from 1; absent where it is not ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Ranks")]
pub struct Why {
    pub dense_rank: Option<u32>,
    pub lexical_rank: Option<u32>,
}

/// An item with its fused score.
#[derive(Clone, Debug, PartialEq)]
pub struct Fused {
    pub id: String,
    pub score: f64,
    pub why: Why,
}

/// Fuses two rankings; equal scores by the better single rank, then by id.
pub fn fuse(dense: &[String], lexical: &[String], k: u32) -> Vec<Fused> {
    let mut ranks: HashMap<&str, Why> = HashMap::new();
    let none = Why { dense_rank: None, lexical_rank: None };
    for (rank, id) in (1u32..).zip(dense) {
        ranks.entry(id).or_insert(none).dense_rank.get_or_insert(rank);
    }
    for (rank, id) in (1u32..).zip(lexical) {
        ranks.entry(id).or_insert(none).lexical_rank.get_or_insert(rank);
    }
    let part = |rank: Option<u32>| rank.map_or(0.0, |rank| 1.0 / f64::from(k + rank));
    let best = |why: &Why| why.dense_rank.into_iter().chain(why.lexical_rank).min();
    let mut fused: Vec<Fused> = ranks
        .into_iter()
        .map(|(id, why)| Fused {
            id: id.to_string(),
            score: part(why.dense_rank) + part(why.lexical_rank),
            why,
        })
        .collect();
    fused.sort_by(|a, b| {
        b.score
            .total_cmp(&a.score)
            .then_with(|| best(&a.why).cmp(&best(&b.why)))
            .then_with(|| a.id.cmp(&b.id))
    });
    fused
}

/// The memory with the model that reads questions; shared by HTTP and the command line.
pub struct Search {
    memory: Arc<dyn Memory>,
    model: Arc<Model>,
    settings: Settings,
}

impl Search {
    pub fn new(memory: Arc<dyn Memory>, model: Arc<Model>, settings: Settings) -> Self {
        Self { memory, model, settings }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The hits of a question as a list over HTTP.
    pub fn list(&self) -> List {
        let Settings { limit_default, limit_max, .. } = self.settings;
        List { name: "search", limit_default, limit_max }
    }

    /// Where the page of a cursor begins; a cursor of another question is refused.
    pub fn offset(&self, query: &Query, cursor: Option<&str>) -> Result<usize, String> {
        match self.list().after::<(usize, String)>(cursor)? {
            None => Ok(0),
            Some((offset, of)) if of == query.fingerprint() => Ok(offset),
            Some(_) => Err("cursor is one of another question".to_string()),
        }
    }

    /// Answers the question. Blocking: tens of milliseconds with a model.
    pub fn answer(&self, query: &Query) -> Result<Answer, MemoryError> {
        let started = Instant::now();
        let text: String = query.text.chars().take(self.settings.query_chars_max).collect();
        let terms = terms::query_terms(&text, self.settings.query_terms_max);
        let (question, mode_reason) = match self.model.embed_query(&text) {
            Ok(question) => (Some(question), None),
            Err(reason) => (None, Some(reason)),
        };
        let mode = match (&question, terms.is_empty()) {
            (Some(_), false) => Mode::Hybrid,
            (Some(_), true) => Mode::Dense,
            (None, _) => Mode::Lexical,
        };
        let found = self.memory.candidates(
            question.as_ref().map(|(model, vector)| QueryVector { model, values: &vector.0 }),
            &terms,
            &query.filters,
            self.settings.candidates_max,
        )?;
        let (hits, more) = self.page(query, &terms, found)?;
        let as_of = self.memory.as_of()?;
        metrics::SEARCH_SECONDS.with_label_values(&[mode.name()]).observe(started.elapsed().as_secs_f64());
        let cursor = more.then(|| self.list().cursor(&(query.offset + query.limit, query.fingerprint())));
        Ok(Answer { hits, mode, mode_reason, cursor, as_of })
    }

    /// The asked-for hits and whether there are more. Items that vanished between
    /// ranking and reading are left out, and the page is filled from those after.
    fn page(
        &self,
        query: &Query,
        terms: &[String],
        found: Candidates,
    ) -> Result<(Vec<Hit>, bool), MemoryError> {
        let ids: Vec<String> = found.dense.iter().map(|(id, _)| id.clone()).collect();
        let fused = fuse(&ids, &found.lexical, self.settings.rrf_k);
        let wanted = query.offset.saturating_add(query.limit);
        let mut chunks: HashMap<String, String> = found.dense.into_iter().collect();
        let mut hits: Vec<Hit> = Vec::new();
        let mut seen = 0usize;
        for part in fused.chunks(query.limit.max(10)) {
            if seen > wanted {
                break;
            }
            let ids: Vec<String> = part.iter().map(|fused| fused.id.clone()).collect();
            let items = self.memory.items(&ids)?;
            let mut items: HashMap<String, Item> =
                items.into_iter().map(|item| (item.id.clone(), item)).collect();
            for fused in part {
                let Some(item) = items.remove(&fused.id).filter(|item| meets(item, &query.filters)) else {
                    continue;
                };
                if seen >= query.offset && hits.len() < query.limit {
                    hits.push(self.hit(fused, item, chunks.remove(&fused.id), terms));
                }
                seen += 1;
            }
        }
        Ok((hits, seen > wanted))
    }

    fn hit(&self, fused: &Fused, item: Item, chunk: Option<String>, terms: &[String]) -> Hit {
        // By words: the place of the first word. By meaning alone: the nearest chunk.
        let text = match (fused.why.lexical_rank, chunk) {
            (None, Some(chunk)) => chunk,
            _ => item.text.clone().or_else(|| item.title.clone()).unwrap_or_default(),
        };
        Hit {
            id: item.id,
            score: fused.score,
            snippet: snippet(&text, terms, self.settings.snippet_chars_max),
            title: item.title,
            url: item.url,
            platform: item.platform,
            channel: item.channel,
            author: item.author,
            published_at: item.published_at,
            lang: item.lang,
            topics: item.topics,
            compound: item.compound,
            why: fused.why,
        }
    }
}

fn meets(item: &Item, filters: &Filters) -> bool {
    filters.platform.as_ref().is_none_or(|platform| item.platform == *platform)
        && filters.since.is_none_or(|since| item.published_at >= since)
        && filters.lang.as_ref().is_none_or(|lang| item.lang.as_ref() == Some(lang))
        && filters.topic.as_ref().is_none_or(|topic| item.topics.contains(topic))
}

/// At most `chars_max` characters on one line, around the first of the terms.
pub fn snippet(text: &str, terms: &[String], chars_max: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let first = words
        .iter()
        .position(|word| terms::terms(word).iter().any(|term| terms.contains(term)))
        .unwrap_or_default();
    // A few words before the first match, for context.
    let start = if words[..first].iter().map(|w| w.chars().count() + 1).sum::<usize>() * 2 < chars_max {
        0
    } else {
        first.saturating_sub(4)
    };
    let mut snippet = if start > 0 { "… ".to_string() } else { String::new() };
    let mut left = chars_max.saturating_sub(snippet.chars().count());
    for (n, word) in words[start..].iter().enumerate() {
        let length = word.chars().count() + usize::from(n > 0);
        // One character is kept for the mark of what is left out.
        if length + 1 > left {
            if n == 0 {
                snippet.extend(word.chars().take(left.saturating_sub(1)));
            }
            snippet.push('…');
            return snippet;
        }
        if n > 0 {
            snippet.push(' ');
        }
        snippet.push_str(word);
        left -= length;
    }
    snippet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[&str]) -> Vec<String> {
        ids.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn fusion_is_the_formula() {
        let fused = fuse(&ids(&["a", "b", "c"]), &ids(&["c", "d"]), 60);
        let shown: Vec<(&str, f64)> = fused.iter().map(|f| (f.id.as_str(), f.score)).collect();
        assert_eq!(
            shown,
            [("c", 1.0 / 63.0 + 1.0 / 61.0), ("a", 1.0 / 61.0), ("b", 1.0 / 62.0), ("d", 1.0 / 62.0)]
        );
        assert_eq!(fused[0].why, Why { dense_rank: Some(3), lexical_rank: Some(1) });
    }

    #[test]
    fn snippets_are_bounded_and_show_the_match() {
        let text = "word ".repeat(100) + "needle in the hay";
        let shown = snippet(&text, &["needle".into()], 60);
        assert!(shown.contains("needle") && shown.chars().count() <= 60, "{shown}");
        assert_eq!(snippet("short\n text", &[], 60), "short text");
        assert_eq!(snippet("", &[], 60), "");
        assert_eq!(snippet(&"é".repeat(100), &[], 10), "é".repeat(9) + "…");
    }
}
