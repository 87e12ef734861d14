//! The memory in Qdrant, over gRPC: one collection with a dense vector for each
//! chunk and a sparse one (words, weighed by Qdrant's IDF) for each item.
//!
//! Points, by `kind`:
//! - `item`: one for each content id, found by words, and what hits are shown from;
//! - `gone`: in the place of a deleted item, so that nothing older returns;
//! - `chunk`: one for each embedded chunk, id = UUIDv5 of content id, chunk and model;
//! - `about`: a single one with the model, the positions and the schema;
//! - `birth`: a random mark of the collection. `about` repeats it, so that positions which
//!   were on their way when a collection was replaced are not taken for the new one's.
//!
//! Invariants: points are written with `wait`, then `about` with the positions, so a
//! crash between repeats writes that change nothing; a collection restored from a
//! snapshot brings its own positions along. A collection holds the vectors of one
//! model; another's are refused.
//!
//! Both halves of a search are one batched query, fused by `search.rs` and not by
//! Qdrant: its fusion works on points, and an item's words and chunks are different
//! points; it also does not tell the single ranks. This file is long because the
//! collection, its writes and its questions share one layout of points.

mod points;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use dataflows::event::Version;
use dataflows::record::Positions;
use dataflows::time::Millis;
use parking_lot::Mutex;
use qdrant_client::qdrant::{
    Condition, CountPointsBuilder, CreateCollectionBuilder, CreateFieldIndexCollectionBuilder,
    DeletePointsBuilder, Distance, Filter, GetPointsBuilder, Modifier, PointId, PointStruct, Query,
    QueryBatchPointsBuilder, QueryPoints, QueryPointsBuilder, Range, RetrievedPoint, ScoredPoint,
    SparseVectorParamsBuilder, SparseVectorsConfigBuilder, UpsertPointsBuilder, VectorInput,
    VectorParamsBuilder, VectorsConfigBuilder, vectors_config,
};
use qdrant_client::{Qdrant as Client, QdrantError};
use serde::Deserialize;
use url::Url;

use super::{Batch, Candidates, Change, DIMENSIONS, Filters, Item, Memory, MemoryError, QueryVector, State};
use crate::config::Secret;
use points::{About, DENSE, Kind, WORDS};

/// Table `[memory.qdrant]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub collection: String,
    pub request_timeout_ms: u64,
    pub connect_timeout_ms: u64,
    pub attempts_max: u32,
    pub retry_delay_ms: u64,
    pub points_per_request_max: usize,
    pub average_terms: f64,
}

pub struct Qdrant {
    client: Client,
    settings: Settings,
    /// Only taken when dropped.
    runtime: Option<tokio::runtime::Runtime>,
    /// What the `about` point says; `None` until the collection was looked at.
    about: Mutex<Option<About>>,
}

/// gRPC status codes by number.
mod code {
    pub const INVALID_ARGUMENT: i32 = 3;
    pub const NOT_FOUND: i32 = 5;
    pub const ALREADY_EXISTS: i32 = 6;
    pub const PERMISSION_DENIED: i32 = 7;
    pub const FAILED_PRECONDITION: i32 = 9;
    pub const UNIMPLEMENTED: i32 = 12;
    pub const UNAUTHENTICATED: i32 = 16;
}

impl Qdrant {
    /// Connects when first used: a Qdrant that is down is no reason not to start.
    pub fn open(settings: &Settings, url: &Url, api_key: Option<&Secret>) -> Result<Self, MemoryError> {
        let address = grpc_address(url)?;
        let mut client = Client::from_url(&address)
            .timeout(Duration::from_millis(settings.request_timeout_ms))
            .connect_timeout(Duration::from_millis(settings.connect_timeout_ms))
            .skip_compatibility_check();
        if let Some(key) = api_key {
            client = client.api_key(key.expose());
        }
        let client = client
            .build()
            .map_err(|e| MemoryError::Misconfigured(format!("QDRANT_URL {address} cannot be used: {e}")))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("qdrant")
            .enable_all()
            .build()
            .map_err(|e| MemoryError::Fatal(format!("starting the threads of the Qdrant client: {e}")))?;
        Ok(Self { client, settings: settings.clone(), runtime: Some(runtime), about: Mutex::new(None) })
    }

    /// Runs a call, and again after a pause while Qdrant cannot be reached.
    fn call<T, F>(&self, call: impl Fn() -> F) -> Result<T, MemoryError>
    where
        F: Future<Output = Result<T, QdrantError>>,
    {
        let runtime = self.runtime.as_ref().expect("there until dropped");
        let mut delay = Duration::from_millis(self.settings.retry_delay_ms);
        for attempt in 1.. {
            let error = match runtime.block_on(call()) {
                Ok(value) => return Ok(value),
                Err(error) => self.explain(error),
            };
            if !matches!(error, MemoryError::Retry(_)) || attempt >= self.settings.attempts_max {
                return Err(error);
            }
            std::thread::sleep(delay);
            delay *= 2;
        }
        unreachable!("the loop ends by returning")
    }

    fn explain(&self, error: QdrantError) -> MemoryError {
        let collection = &self.settings.collection;
        let QdrantError::ResponseError { status } = &error else {
            return match error {
                QdrantError::InvalidUri(_) | QdrantError::ConversionError(_) => {
                    MemoryError::Misconfigured(format!("Qdrant: {error}"))
                }
                other => MemoryError::Retry(format!("Qdrant: {other}")),
            };
        };
        let message = status.message();
        match i32::from(status.code()) {
            code::UNAUTHENTICATED | code::PERMISSION_DENIED => {
                MemoryError::Misconfigured(format!("Qdrant refuses the key in QDRANT_API_KEY: {message}"))
            }
            code::INVALID_ARGUMENT | code::FAILED_PRECONDITION | code::UNIMPLEMENTED => {
                MemoryError::Misconfigured(format!("Qdrant refuses what is sent to {collection}: {message}"))
            }
            code::NOT_FOUND => {
                // Removed under us: looked at, and made, again by the next attempt.
                *self.about.lock() = None;
                MemoryError::Retry(format!("collection {collection} is gone: {message}"))
            }
            _ => MemoryError::Retry(format!("Qdrant: {message}")),
        }
    }

    /// The collection as it is, created if it is not there.
    fn about(&self) -> Result<About, MemoryError> {
        if let Some(about) = &*self.about.lock() {
            return Ok(about.clone());
        }
        let name = &self.settings.collection;
        if !self.call(|| self.client.collection_exists(name))? {
            self.create()?;
        }
        self.check()?;
        for (field, kind) in points::INDEXES {
            let index = CreateFieldIndexCollectionBuilder::new(name, *field, *kind).wait(true);
            self.call(|| self.client.create_field_index(index.clone()))?;
        }
        let birth = match self.birth()? {
            Some(birth) => birth,
            None => {
                self.upsert(&[points::birth()])?;
                // Who else was at it may have been the last.
                self.birth()?.ok_or_else(|| self.replaced())?
            }
        };
        let found = self.get(&[points::about_id()])?;
        let about = match found.into_iter().next() {
            Some(point) => points::read_about(point.payload).ok_or_else(|| {
                MemoryError::Misconfigured(format!("collection {name} is not of this version"))
            })?,
            None => About::default(),
        };
        // What was written for a collection that is gone says nothing of this one.
        let about = if about.birth == birth { about } else { About { birth, ..About::default() } };
        *self.about.lock() = Some(about.clone());
        Ok(about)
    }

    /// What tells this collection from another of the same name.
    fn birth(&self) -> Result<Option<String>, MemoryError> {
        let found = self.get(&[points::birth_id()])?;
        Ok(found.into_iter().next().and_then(|point| points::read_birth(&point.payload)))
    }

    fn replaced(&self) -> MemoryError {
        *self.about.lock() = None;
        MemoryError::Retry(format!("collection {} was replaced by another", self.settings.collection))
    }

    fn create(&self) -> Result<(), MemoryError> {
        let mut dense = VectorsConfigBuilder::default();
        dense.add_named_vector_params(DENSE, VectorParamsBuilder::new(DIMENSIONS as u64, Distance::Cosine));
        let mut sparse = SparseVectorsConfigBuilder::default();
        sparse.add_named_vector_params(WORDS, SparseVectorParamsBuilder::default().modifier(Modifier::Idf));
        let collection = CreateCollectionBuilder::new(&self.settings.collection)
            .vectors_config(dense)
            .sparse_vectors_config(sparse);
        let created = self.call(|| async {
            match self.client.create_collection(collection.clone()).await {
                // Another process was faster, or an answer was lost.
                Err(QdrantError::ResponseError { status })
                    if i32::from(status.code()) == code::ALREADY_EXISTS
                        || status.message().contains("already exists") =>
                {
                    Ok(false)
                }
                other => other.map(|_| true),
            }
        })?;
        tracing::info!(collection = self.settings.collection, created, "the collection is there");
        Ok(())
    }

    /// Whether the collection has the vectors we write.
    fn check(&self) -> Result<(), MemoryError> {
        let name = &self.settings.collection;
        let info = self.call(|| self.client.collection_info(name))?;
        let params = info.result.and_then(|info| info.config).and_then(|config| config.params);
        let dense =
            params.as_ref().and_then(|params| match params.vectors_config.as_ref()?.config.as_ref()? {
                vectors_config::Config::ParamsMap(map) => map.map.get(DENSE).copied(),
                vectors_config::Config::Params(_) => None,
            });
        let sparse =
            params.as_ref().and_then(|params| params.sparse_vectors_config.as_ref()?.map.get(WORDS).copied());
        let fits = dense
            .is_some_and(|d| d.size == DIMENSIONS as u64 && d.distance == i32::from(Distance::Cosine))
            && sparse.is_some_and(|s| s.modifier == Some(i32::from(Modifier::Idf)));
        if fits {
            return Ok(());
        }
        Err(MemoryError::Misconfigured(format!(
            "collection {name} was not made by Tidings ({DENSE}: {DIMENSIONS} dimensions, cosine; {WORDS}: \
             sparse with IDF): name another in [memory.qdrant] collection"
        )))
    }

    fn get(&self, ids: &[PointId]) -> Result<Vec<RetrievedPoint>, MemoryError> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(self.settings.points_per_request_max.max(1)) {
            let get = GetPointsBuilder::new(&self.settings.collection, ids).with_payload(true);
            found.extend(self.call(|| self.client.get_points(get.clone()))?.result);
        }
        Ok(found)
    }

    fn upsert(&self, points: &[PointStruct]) -> Result<(), MemoryError> {
        for points in points.chunks(self.settings.points_per_request_max.max(1)) {
            let upsert = UpsertPointsBuilder::new(&self.settings.collection, points).wait(true);
            self.call(|| self.client.upsert_points(upsert.clone()))?;
        }
        Ok(())
    }

    fn delete(&self, ids: &[PointId]) -> Result<(), MemoryError> {
        for ids in ids.chunks(self.settings.points_per_request_max.max(1)) {
            let delete = DeletePointsBuilder::new(&self.settings.collection).points(ids.to_vec()).wait(true);
            self.call(|| self.client.delete_points(delete.clone()))?;
        }
        Ok(())
    }

    fn delete_where(&self, filter: &Filter) -> Result<(), MemoryError> {
        let delete = DeletePointsBuilder::new(&self.settings.collection).points(filter.clone()).wait(true);
        self.call(|| self.client.delete_points(delete.clone())).map(|_| ())
    }

    fn count(&self, kind: Kind) -> Result<u64, MemoryError> {
        self.count_where(vec![points::is(points::KIND, kind.name())])
    }

    fn count_where(&self, all: Vec<Condition>) -> Result<u64, MemoryError> {
        let count = CountPointsBuilder::new(&self.settings.collection).filter(Filter::must(all)).exact(true);
        let counted = self.call(|| self.client.count(count.clone()))?;
        Ok(counted.result.map_or(0, |result| result.count))
    }

    /// The model of the collection: the one it has, or that of the first chunk.
    fn model_for(&self, about: &mut About, changes: &[Change]) -> Result<(), MemoryError> {
        for change in changes {
            let Change::Chunk { embedded, .. } = change else { continue };
            let model = about.model.get_or_insert_with(|| embedded.model.clone());
            if *model != embedded.model {
                return Err(MemoryError::Misconfigured(format!(
                    "collection {} holds vectors of {model}, and content.vectors has some of {}: vectors of two \
                     models do not compare; name another collection in [memory.qdrant] collection, and it is filled \
                     from the log",
                    self.settings.collection, embedded.model
                )));
            }
        }
        Ok(())
    }

    /// The versions of the points that the changes touch, where they exist.
    fn versions(&self, ids: HashSet<String>) -> Result<HashMap<String, Version>, MemoryError> {
        let ids: Vec<PointId> = ids.into_iter().map(PointId::from).collect();
        let found = self.get(&ids)?;
        Ok(found
            .into_iter()
            .filter_map(|point| Some((points::id_text(&point.id?)?, points::version(&point.payload)?)))
            .collect())
    }
}

/// What the changes come to for one point.
#[expect(clippy::large_enum_variant, reason = "a few hundred at a time, and most are points")]
enum Effect {
    Put(PointStruct),
    Remove,
}

impl Memory for Qdrant {
    fn backend(&self) -> &'static str {
        "qdrant"
    }

    fn apply(&self, batch: &Batch) -> Result<(), MemoryError> {
        let mut about = self.about()?;
        if !about.covers(&batch.after) {
            return Err(self.replaced());
        }
        self.model_for(&mut about, &batch.changes)?;
        let model = about.model.clone().unwrap_or_default();
        let ids = batch.changes.iter().map(|change| points::id_of(change, &model)).collect();
        let mut versions = self.versions(ids)?;
        let mut effects: BTreeMap<String, Effect> = BTreeMap::new();
        for change in &batch.changes {
            let id = points::id_of(change, &model);
            let news = |version: Version| versions.get(&id).is_none_or(|stored| *stored <= version);
            let (version, effect) = match change {
                Change::Item(item) if news(item.version) => {
                    (Some(item.version), Effect::Put(points::item(&id, item, self.settings.average_terms)))
                }
                Change::Deleted { id: content, version, seen_at } if news(*version) => {
                    (Some(*version), Effect::Put(points::gone(&id, content, *version, *seen_at)))
                }
                Change::Chunk { embedded, seen_at } if news(embedded.version) => {
                    (Some(embedded.version), Effect::Put(points::chunk(&id, embedded, *seen_at)))
                }
                Change::ChunkGone { version, .. } if version.is_none_or(news) => (None, Effect::Remove),
                Change::Forgotten { id: content } => {
                    self.delete_where(&points::chunks_of(content))?;
                    (None, Effect::Remove)
                }
                _ => continue,
            };
            match version {
                Some(version) => versions.insert(id.clone(), version),
                None => versions.remove(&id),
            };
            effects.insert(id, effect);
        }
        let mut put = Vec::new();
        let mut remove = Vec::new();
        for (id, effect) in effects {
            match effect {
                Effect::Put(point) => put.push(point),
                Effect::Remove => remove.push(PointId::from(id)),
            }
        }
        self.upsert(&put)?;
        self.delete(&remove)?;
        about.positions.extend(batch.positions.iter().map(|(partition, next)| (partition.clone(), *next)));
        about.as_of = about.as_of.max(batch.as_of);
        self.upsert(&[points::about(&about)])?;
        if self.birth()?.as_ref() != Some(&about.birth) {
            return Err(self.replaced());
        }
        *self.about.lock() = Some(about);
        Ok(())
    }

    fn candidates(
        &self,
        vector: Option<QueryVector<'_>>,
        terms: &[String],
        filters: &Filters,
        limit: usize,
    ) -> Result<Candidates, MemoryError> {
        let about = self.about()?;
        let query = |query: Query, using: &str, kind: Kind, limit: usize| -> QueryPoints {
            QueryPointsBuilder::new(&self.settings.collection)
                .query(query)
                .using(using)
                .filter(points::filter(kind, filters))
                .limit(limit as u64)
                .with_payload(true)
                .build()
        };
        let mut queries = Vec::new();
        let dense = vector.filter(|vector| about.model.as_deref() == Some(vector.model));
        if let Some(vector) = dense {
            let nearest = Query::new_nearest(VectorInput::new_dense(vector.values.to_vec()));
            // Several chunks of one item become one candidate.
            queries.push(query(nearest, DENSE, Kind::Chunk, limit.saturating_mul(2)));
        }
        if !terms.is_empty() {
            let (indices, values) = points::sparse_query(terms);
            let nearest = Query::new_nearest(VectorInput::new_sparse(indices, values));
            queries.push(query(nearest, WORDS, Kind::Item, limit));
        }
        if queries.is_empty() {
            return Ok(Candidates::default());
        }
        let batch = QueryBatchPointsBuilder::new(&self.settings.collection, queries);
        let mut results = self.call(|| self.client.query_batch(batch.clone()))?.result.into_iter();
        let mut next = || results.next().map(|batch| batch.result).unwrap_or_default();
        let mut candidates = Candidates::default();
        if dense.is_some() {
            candidates.dense = best_chunks(next(), limit);
        }
        if !terms.is_empty() {
            let scored = ordered(next()).into_iter();
            candidates.lexical =
                scored.filter_map(|point| points::text_of(&point.payload, points::ID)).collect();
        }
        Ok(candidates)
    }

    fn items(&self, ids: &[String]) -> Result<Vec<Item>, MemoryError> {
        let ids: Vec<PointId> = ids.iter().map(|id| PointId::from(points::item_id(id))).collect();
        Ok(self.get(&ids)?.into_iter().filter_map(|point| points::read_item(point.payload)).collect())
    }

    fn state(&self) -> Result<State, MemoryError> {
        let about = self.about()?;
        let chunks = match &about.model {
            Some(model) => BTreeMap::from([(model.clone(), self.count(Kind::Chunk)?)]),
            None => BTreeMap::new(),
        };
        Ok(State { items: self.count(Kind::Item)?, chunks, positions: about.positions })
    }

    fn as_of(&self) -> Result<Option<Millis>, MemoryError> {
        Ok(self.about()?.as_of)
    }

    fn reflects(&self, positions: &Positions) -> Result<bool, MemoryError> {
        Ok(self.about()?.covers(positions))
    }

    fn items_since(&self, since: Millis) -> Result<u64, MemoryError> {
        self.about()?;
        let since = Range { gte: Some(since.0 as f64), ..Range::default() };
        self.count_where(vec![
            points::is(points::KIND, Kind::Item.name()),
            Condition::range(points::SEEN_AT, since),
        ])
    }

    fn expire(&self, before: Millis) -> Result<(), MemoryError> {
        self.about()?;
        let before = Range { lt: Some(before.0 as f64), ..Range::default() };
        self.delete_where(&Filter::must([Condition::range(points::SEEN_AT, before)]))
    }
}

impl Drop for Qdrant {
    fn drop(&mut self) {
        // Without waiting, so that it may be dropped on any thread.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Best first; equal scores by point id, so that the order is one.
fn ordered(mut points: Vec<ScoredPoint>) -> Vec<ScoredPoint> {
    let id = |point: &ScoredPoint| point.id.as_ref().and_then(points::id_text);
    points.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| id(a).cmp(&id(b))));
    points
}

/// The best chunk of each item.
fn best_chunks(points: Vec<ScoredPoint>, limit: usize) -> Vec<(String, String)> {
    let mut seen = HashSet::new();
    let mut best = Vec::new();
    for point in ordered(points) {
        let Some(id) = points::text_of(&point.payload, points::ID) else { continue };
        if best.len() < limit && seen.insert(id.clone()) {
            let text = points::text_of(&point.payload, points::TEXT).unwrap_or_default();
            best.push((id, text));
        }
    }
    best
}

/// The gRPC address behind the configured one: the REST port 6333, and no port, mean
/// gRPC's 6334.
pub fn grpc_address(url: &Url) -> Result<String, MemoryError> {
    let wrong = |reason: &str| MemoryError::Misconfigured(format!("QDRANT_URL: {reason}"));
    let mut address = url.clone();
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(wrong("it is http://host:6334 or https://host:6334"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it holds a name or password: the key belongs into QDRANT_API_KEY"));
    }
    if url.port() == Some(6333) {
        tracing::info!("QDRANT_URL names the REST port 6333; gRPC is used, on port 6334");
    }
    if url.port().is_none_or(|port| port == 6333) {
        address.set_port(Some(6334)).map_err(|()| wrong("its port cannot be set"))?;
    }
    Ok(address.as_str().trim_end_matches('/').to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_port_becomes_the_grpc_port() {
        let address = |url: &str| grpc_address(&url.parse().expect("a URL")).ok();
        assert_eq!(address("http://localhost:6333"), Some("http://localhost:6334".into()));
        assert_eq!(address("https://x.cloud.qdrant.io/"), Some("https://x.cloud.qdrant.io:6334".into()));
        assert_eq!(address("http://[::1]:7000"), Some("http://[::1]:7000".into()));
        assert_eq!(address("localhost:6334"), None);
        assert_eq!(address("ftp://host"), None);
        assert_eq!(address("http://me:secret@host"), None);
    }
}
