//! A Qdrant for tests: the real wire protocol (the generated server traits of the
//! client crate) over an exact, in-memory collection, and faults on demand.
//!
//! What is answered here is answered as Qdrant documents it: cosine over named
//! dense vectors, sparse dot products with the IDF modifier over the points that
//! have the vector, filters, `already exists`, `doesn't exist`, refused dimensions.
//! What Tidings does not call is `unimplemented`, so that a test notices. This file is
//! long because the client's generated traits ask for every method of two services.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::qdrant_client::qdrant::collections_server::{Collections, CollectionsServer};
use ::qdrant_client::qdrant::condition::ConditionOneOf;
use ::qdrant_client::qdrant::r#match::MatchValue;
use ::qdrant_client::qdrant::point_id::PointIdOptions;
use ::qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use ::qdrant_client::qdrant::points_server::{Points, PointsServer};
use ::qdrant_client::qdrant::value::Kind;
use ::qdrant_client::qdrant::*;
use parking_lot::Mutex;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// What goes wrong next.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// So many calls are refused before they do anything.
    pub unavailable: u32,
    /// So many writes do their work, and their answer is lost.
    pub lost_replies: u32,
    /// Milliseconds that every call takes.
    pub slow_ms: u64,
}

pub struct Server {
    pub url: String,
    store: Arc<Store>,
    runtime: Option<tokio::runtime::Runtime>,
}

#[derive(Default)]
struct Store {
    collections: Mutex<HashMap<String, Collection>>,
    faults: Mutex<Faults>,
    writes: AtomicU64,
    refused: AtomicU64,
    api_key: Option<String>,
}

struct Collection {
    config: CreateCollection,
    points: BTreeMap<String, Stored>,
    indexes: BTreeSet<String>,
}

struct Stored {
    point: PointStruct,
    dense: HashMap<String, Vec<f32>>,
    sparse: HashMap<String, HashMap<u32, f32>>,
}

impl Server {
    pub fn start() -> Self {
        Self::with_key(None)
    }

    pub fn with_key(api_key: Option<&str>) -> Self {
        let store = Arc::new(Store { api_key: api_key.map(str::to_string), ..Store::default() });
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let incoming = {
            let _inside = runtime.enter();
            TcpIncoming::bind(any).expect("a free port")
        };
        let address = incoming.local_addr().expect("bound");
        let service = Service(store.clone());
        let server = tonic::transport::Server::builder()
            .add_service(PointsServer::new(service.clone()).max_decoding_message_size(64 << 20))
            .add_service(CollectionsServer::new(service))
            .serve_with_incoming(incoming);
        runtime.spawn(server);
        Self { url: format!("http://{address}"), store, runtime: Some(runtime) }
    }

    pub fn fail(&self, faults: Faults) {
        *self.store.faults.lock() = faults;
    }

    /// Points of a collection, of every kind.
    pub fn points(&self, collection: &str) -> usize {
        self.store.collections.lock().get(collection).map_or(0, |c| c.points.len())
    }

    pub fn indexes(&self, collection: &str) -> BTreeSet<String> {
        self.store.collections.lock().get(collection).map(|c| c.indexes.clone()).unwrap_or_default()
    }

    /// Upserts and deletions that were carried out.
    pub fn writes(&self) -> u64 {
        self.store.writes.load(Ordering::SeqCst)
    }

    /// Calls that were refused as unavailable.
    pub fn refused(&self) -> u64 {
        self.store.refused.load(Ordering::SeqCst)
    }

    /// As an operator who removes the collection.
    pub fn drop_collection(&self, collection: &str) {
        self.store.collections.lock().remove(collection);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[derive(Clone)]
struct Service(Arc<Store>);

impl Service {
    /// Faults, the key, and then the request.
    async fn admit<T>(&self, request: Request<T>) -> Result<T, Status> {
        if let Some(key) = &self.0.api_key {
            let given = request.metadata().get("api-key").and_then(|value| value.to_str().ok());
            if given != Some(key) {
                return Err(Status::unauthenticated("Invalid API key or JWT"));
            }
        }
        let slow_ms = {
            let mut faults = self.0.faults.lock();
            if faults.unavailable > 0 {
                faults.unavailable -= 1;
                self.0.refused.fetch_add(1, Ordering::SeqCst);
                return Err(Status::unavailable("injected: unavailable"));
            }
            faults.slow_ms
        };
        if slow_ms > 0 {
            tokio::time::sleep(Duration::from_millis(slow_ms)).await;
        }
        Ok(request.into_inner())
    }

    fn on<T>(&self, name: &str, f: impl FnOnce(&mut Collection) -> Result<T, Status>) -> Result<T, Status> {
        match self.0.collections.lock().get_mut(name) {
            Some(collection) => f(collection),
            None => Err(Status::not_found(format!("Not found: Collection `{name}` doesn't exist!"))),
        }
    }

    /// Counts a write, and perhaps loses its answer.
    fn written(&self) -> Result<Response<PointsOperationResponse>, Status> {
        self.0.writes.fetch_add(1, Ordering::SeqCst);
        let mut faults = self.0.faults.lock();
        if faults.lost_replies > 0 {
            faults.lost_replies -= 1;
            return Err(Status::unavailable("injected: the reply is lost"));
        }
        let result = UpdateResult { operation_id: Some(0), status: UpdateStatus::Completed.into() };
        Ok(Response::new(PointsOperationResponse { result: Some(result), ..Default::default() }))
    }
}

impl Collection {
    fn dense_params(&self, name: &str) -> Option<VectorParams> {
        match self.config.vectors_config.as_ref()?.config.as_ref()? {
            vectors_config::Config::ParamsMap(map) => map.map.get(name).copied(),
            vectors_config::Config::Params(params) => name.is_empty().then_some(*params),
        }
    }

    fn sparse_params(&self, name: &str) -> Option<SparseVectorParams> {
        self.config.sparse_vectors_config.as_ref()?.map.get(name).copied()
    }

    fn put(&mut self, point: PointStruct) -> Result<(), Status> {
        let id = id_text(point.id.as_ref())?;
        let named = match point.vectors.as_ref().and_then(|v| v.vectors_options.as_ref()) {
            Some(vectors::VectorsOptions::Vectors(named)) => named.vectors.clone(),
            _ => return Err(Status::invalid_argument("Wrong input: named vectors are expected")),
        };
        let mut stored = Stored { point, dense: HashMap::new(), sparse: HashMap::new() };
        for (name, vector) in named {
            match vector.vector {
                Some(vector::Vector::Dense(dense)) => {
                    let params = self.dense_params(&name).ok_or_else(|| no_vector(&name))?;
                    if dense.data.len() as u64 != params.size {
                        let got = dense.data.len();
                        return Err(Status::invalid_argument(format!(
                            "Wrong input: Vector dimension error: expected dim: {}, got {got}",
                            params.size
                        )));
                    }
                    // Cosine: Qdrant stores normalised vectors.
                    stored.dense.insert(name, normalized(dense.data));
                }
                Some(vector::Vector::Sparse(sparse)) => {
                    self.sparse_params(&name).ok_or_else(|| no_vector(&name))?;
                    stored.sparse.insert(name, read_sparse(sparse)?);
                }
                _ => return Err(Status::invalid_argument("Wrong input: neither dense nor sparse")),
            }
        }
        self.points.insert(id, stored);
        Ok(())
    }

    fn query(&self, query: &QueryPoints) -> Result<Vec<ScoredPoint>, Status> {
        let using = query.using.clone().unwrap_or_default();
        let nearest = match query.query.as_ref().and_then(|q| q.variant.as_ref()) {
            Some(query::Variant::Nearest(input)) => input.variant.clone(),
            _ => return Err(Status::unimplemented("only nearest")),
        };
        let mut scored = match nearest {
            Some(vector_input::Variant::Dense(dense)) => {
                let params = self.dense_params(&using).ok_or_else(|| no_vector(&using))?;
                if dense.data.len() as u64 != params.size {
                    return Err(Status::invalid_argument("Wrong input: Vector dimension error"));
                }
                self.nearest_dense(&using, &normalized(dense.data), query.filter.as_ref())?
            }
            Some(vector_input::Variant::Sparse(sparse)) => {
                let params = self.sparse_params(&using).ok_or_else(|| no_vector(&using))?;
                let idf = params.modifier == Some(Modifier::Idf.into());
                self.nearest_sparse(&using, &read_sparse(sparse)?, idf, query.filter.as_ref())?
            }
            _ => return Err(Status::unimplemented("only dense and sparse vectors")),
        };
        scored.sort_by(|a, b| b.score.total_cmp(&a.score));
        let limit = query.limit.unwrap_or(10) as usize;
        Ok(scored.into_iter().skip(query.offset.unwrap_or(0) as usize).take(limit).collect())
    }

    fn nearest_dense(
        &self,
        using: &str,
        vector: &[f32],
        filter: Option<&Filter>,
    ) -> Result<Vec<ScoredPoint>, Status> {
        let mut scored = Vec::new();
        for (id, stored) in &self.points {
            if let Some(dense) = stored.dense.get(using)
                && meets(id, stored, filter)?
            {
                scored.push(stored.scored(dense.iter().zip(vector).map(|(a, b)| a * b).sum()));
            }
        }
        Ok(scored)
    }

    fn nearest_sparse(
        &self,
        using: &str,
        query: &HashMap<u32, f32>,
        idf: bool,
        filter: Option<&Filter>,
    ) -> Result<Vec<ScoredPoint>, Status> {
        let having = || self.points.values().filter_map(|stored| stored.sparse.get(using));
        let total = having().count() as f32;
        let weight = |term: &u32| {
            if !idf {
                return 1.0;
            }
            let with = having().filter(|words| words.contains_key(term)).count() as f32;
            ((total - with + 0.5) / (with + 0.5) + 1.0).ln()
        };
        let query: Vec<(u32, f32)> =
            query.iter().map(|(term, value)| (*term, value * weight(term))).collect();
        let mut scored = Vec::new();
        for (id, stored) in &self.points {
            let Some(words) = stored.sparse.get(using) else { continue };
            let shared = query.iter().filter_map(|(term, value)| Some(words.get(term)? * value));
            let (count, score) = shared.fold((0, 0.0), |(count, sum), part| (count + 1, sum + part));
            if count > 0 && meets(id, stored, filter)? {
                scored.push(stored.scored(score));
            }
        }
        Ok(scored)
    }
}

impl Stored {
    fn scored(&self, score: f32) -> ScoredPoint {
        ScoredPoint {
            id: self.point.id.clone(),
            payload: self.point.payload.clone(),
            score,
            ..Default::default()
        }
    }
}

fn no_vector(name: &str) -> Status {
    Status::invalid_argument(format!("Wrong input: Not existing vector name error: {name}"))
}

fn id_text(id: Option<&PointId>) -> Result<String, Status> {
    match id.and_then(|id| id.point_id_options.as_ref()) {
        Some(PointIdOptions::Uuid(text)) => uuid::Uuid::parse_str(text)
            .map(|uuid| uuid.to_string())
            .map_err(|_| Status::invalid_argument(format!("Unable to parse UUID: {text}"))),
        Some(PointIdOptions::Num(number)) => Ok(number.to_string()),
        None => Err(Status::invalid_argument("Malformed type of point id")),
    }
}

fn normalized(mut values: Vec<f32>) -> Vec<f32> {
    let length = values.iter().map(|v| v * v).sum::<f32>().sqrt();
    if length > 0.0 {
        values.iter_mut().for_each(|v| *v /= length);
    }
    values
}

fn read_sparse(sparse: SparseVector) -> Result<HashMap<u32, f32>, Status> {
    if sparse.indices.len() != sparse.values.len() {
        return Err(Status::invalid_argument("Wrong input: indices and values differ in length"));
    }
    let count = sparse.indices.len();
    let map: HashMap<u32, f32> = sparse.indices.into_iter().zip(sparse.values).collect();
    if map.len() != count {
        return Err(Status::invalid_argument("Wrong input: indices must be unique"));
    }
    Ok(map)
}

fn meets(id: &str, stored: &Stored, filter: Option<&Filter>) -> Result<bool, Status> {
    let Some(filter) = filter else { return Ok(true) };
    if filter.min_should.is_some() {
        return Err(Status::unimplemented("min_should"));
    }
    for condition in &filter.must {
        if !holds(id, stored, condition)? {
            return Ok(false);
        }
    }
    for condition in &filter.must_not {
        if holds(id, stored, condition)? {
            return Ok(false);
        }
    }
    let mut any = filter.should.is_empty();
    for condition in &filter.should {
        any |= holds(id, stored, condition)?;
    }
    Ok(any)
}

fn holds(id: &str, stored: &Stored, condition: &Condition) -> Result<bool, Status> {
    match condition.condition_one_of.as_ref() {
        Some(ConditionOneOf::Field(field)) => field_holds(stored, field),
        Some(ConditionOneOf::Filter(filter)) => meets(id, stored, Some(filter)),
        Some(ConditionOneOf::HasId(has)) => {
            let ids: Vec<String> = has.has_id.iter().map(|id| id_text(Some(id))).collect::<Result<_, _>>()?;
            Ok(ids.iter().any(|given| given == id))
        }
        _ => Err(Status::unimplemented("this condition")),
    }
}

/// A list meets a condition when one of its values does.
fn field_holds(stored: &Stored, field: &FieldCondition) -> Result<bool, Status> {
    let values: Vec<&Value> = match stored.point.payload.get(&field.key).map(|value| (value, &value.kind)) {
        None => Vec::new(),
        Some((_, Some(Kind::ListValue(list)))) => list.values.iter().collect(),
        Some((value, _)) => vec![value],
    };
    if let Some(range) = &field.range {
        let number = |value: &Value| match value.kind {
            Some(Kind::IntegerValue(n)) => Some(n as f64),
            Some(Kind::DoubleValue(n)) => Some(n),
            _ => None,
        };
        let inside = |n: f64| {
            range.lt.is_none_or(|lt| n < lt)
                && range.lte.is_none_or(|lte| n <= lte)
                && range.gt.is_none_or(|gt| n > gt)
                && range.gte.is_none_or(|gte| n >= gte)
        };
        return Ok(values.into_iter().filter_map(number).any(inside));
    }
    match field.r#match.as_ref().and_then(|m| m.match_value.as_ref()) {
        Some(MatchValue::Keyword(keyword)) => {
            Ok(values.iter().any(|v| matches!(&v.kind, Some(Kind::StringValue(text)) if text == keyword)))
        }
        Some(MatchValue::Integer(n)) => {
            Ok(values.iter().any(|v| matches!(v.kind, Some(Kind::IntegerValue(value)) if value == *n)))
        }
        _ => Err(Status::unimplemented("this match")),
    }
}

/// Methods that Tidings does not call.
macro_rules! uncalled {
    ($($name:ident: $request:ident => $response:ident;)*) => {
        $(
            fn $name<'life, 'call>(
                &'life self,
                _request: Request<$request>,
            ) -> Pin<Box<dyn Future<Output = Result<Response<$response>, Status>> + Send + 'call>>
            where
                'life: 'call,
                Self: 'call,
            {
                Box::pin(async { Err(Status::unimplemented(stringify!($name))) })
            }
        )*
    };
}

#[tonic::async_trait]
impl Points for Service {
    async fn upsert(
        &self,
        request: Request<UpsertPoints>,
    ) -> Result<Response<PointsOperationResponse>, Status> {
        let upsert = self.admit(request).await?;
        if upsert.wait != Some(true) {
            return Err(Status::invalid_argument("the tests expect wait=true"));
        }
        self.on(&upsert.collection_name, |collection| {
            upsert.points.into_iter().try_for_each(|point| collection.put(point))
        })?;
        self.written()
    }

    async fn delete(
        &self,
        request: Request<DeletePoints>,
    ) -> Result<Response<PointsOperationResponse>, Status> {
        let delete = self.admit(request).await?;
        if delete.wait != Some(true) {
            return Err(Status::invalid_argument("the tests expect wait=true"));
        }
        let selector = delete.points.and_then(|points| points.points_selector_one_of);
        self.on(&delete.collection_name, |collection| {
            let doomed: Vec<String> = match selector {
                Some(PointsSelectorOneOf::Points(list)) => {
                    list.ids.iter().map(|id| id_text(Some(id))).collect::<Result<_, _>>()?
                }
                Some(PointsSelectorOneOf::Filter(filter)) => {
                    let mut doomed = Vec::new();
                    for (id, stored) in &collection.points {
                        if meets(id, stored, Some(&filter))? {
                            doomed.push(id.clone());
                        }
                    }
                    doomed
                }
                None => return Err(Status::invalid_argument("no points are selected")),
            };
            doomed.iter().for_each(|id| drop(collection.points.remove(id)));
            Ok(())
        })?;
        self.written()
    }

    async fn get(&self, request: Request<GetPoints>) -> Result<Response<GetResponse>, Status> {
        let get = self.admit(request).await?;
        let result = self.on(&get.collection_name, |collection| {
            let mut found = Vec::new();
            for id in &get.ids {
                if let Some(stored) = collection.points.get(&id_text(Some(id))?) {
                    found.push(RetrievedPoint {
                        id: stored.point.id.clone(),
                        payload: stored.point.payload.clone(),
                        ..Default::default()
                    });
                }
            }
            Ok(found)
        })?;
        Ok(Response::new(GetResponse { result, ..Default::default() }))
    }

    async fn create_field_index(
        &self,
        request: Request<CreateFieldIndexCollection>,
    ) -> Result<Response<PointsOperationResponse>, Status> {
        let index = self.admit(request).await?;
        self.on(&index.collection_name, |collection| {
            collection.indexes.insert(index.field_name.clone());
            Ok(())
        })?;
        Ok(Response::new(PointsOperationResponse::default()))
    }

    async fn count(&self, request: Request<CountPoints>) -> Result<Response<CountResponse>, Status> {
        let count = self.admit(request).await?;
        let counted = self.on(&count.collection_name, |collection| {
            let mut counted = 0;
            for (id, stored) in &collection.points {
                counted += u64::from(meets(id, stored, count.filter.as_ref())?);
            }
            Ok(counted)
        })?;
        Ok(Response::new(CountResponse {
            result: Some(CountResult { count: counted }),
            ..Default::default()
        }))
    }

    async fn query(&self, request: Request<QueryPoints>) -> Result<Response<QueryResponse>, Status> {
        let query = self.admit(request).await?;
        let result = self.on(&query.collection_name, |collection| collection.query(&query))?;
        Ok(Response::new(QueryResponse { result, ..Default::default() }))
    }

    async fn query_batch(
        &self,
        request: Request<QueryBatchPoints>,
    ) -> Result<Response<QueryBatchResponse>, Status> {
        let batch = self.admit(request).await?;
        let result = self.on(&batch.collection_name, |collection| {
            let answer = |query: &QueryPoints| Ok(BatchResult { result: collection.query(query)? });
            batch.query_points.iter().map(answer).collect::<Result<Vec<_>, Status>>()
        })?;
        Ok(Response::new(QueryBatchResponse { result, ..Default::default() }))
    }

    uncalled! {
        update_vectors: UpdatePointVectors => PointsOperationResponse;
        delete_vectors: DeletePointVectors => PointsOperationResponse;
        set_payload: SetPayloadPoints => PointsOperationResponse;
        overwrite_payload: SetPayloadPoints => PointsOperationResponse;
        delete_payload: DeletePayloadPoints => PointsOperationResponse;
        clear_payload: ClearPayloadPoints => PointsOperationResponse;
        delete_field_index: DeleteFieldIndexCollection => PointsOperationResponse;
        create_vector_name: CreateVectorNameRequest => PointsOperationResponse;
        delete_vector_name: DeleteVectorNameRequest => PointsOperationResponse;
        search: SearchPoints => SearchResponse;
        search_batch: SearchBatchPoints => SearchBatchResponse;
        search_groups: SearchPointGroups => SearchGroupsResponse;
        scroll: ScrollPoints => ScrollResponse;
        recommend: RecommendPoints => RecommendResponse;
        recommend_batch: RecommendBatchPoints => RecommendBatchResponse;
        recommend_groups: RecommendPointGroups => RecommendGroupsResponse;
        discover: DiscoverPoints => DiscoverResponse;
        discover_batch: DiscoverBatchPoints => DiscoverBatchResponse;
        update_batch: UpdateBatchPoints => UpdateBatchResponse;
        query_groups: QueryPointGroups => QueryGroupsResponse;
        facet: FacetCounts => FacetResponse;
        search_matrix_pairs: SearchMatrixPoints => SearchMatrixPairsResponse;
        search_matrix_offsets: SearchMatrixPoints => SearchMatrixOffsetsResponse;
    }
}

#[tonic::async_trait]
impl Collections for Service {
    async fn get(
        &self,
        request: Request<GetCollectionInfoRequest>,
    ) -> Result<Response<GetCollectionInfoResponse>, Status> {
        let name = self.admit(request).await?.collection_name;
        let params = self.on(&name, |collection| {
            Ok(CollectionParams {
                vectors_config: collection.config.vectors_config.clone(),
                sparse_vectors_config: collection.config.sparse_vectors_config.clone(),
                ..Default::default()
            })
        })?;
        let config = CollectionConfig { params: Some(params), ..Default::default() };
        let info = CollectionInfo {
            status: CollectionStatus::Green.into(),
            config: Some(config),
            ..Default::default()
        };
        Ok(Response::new(GetCollectionInfoResponse { result: Some(info), ..Default::default() }))
    }

    async fn create(
        &self,
        request: Request<CreateCollection>,
    ) -> Result<Response<CollectionOperationResponse>, Status> {
        let config = self.admit(request).await?;
        let mut collections = self.0.collections.lock();
        let name = config.collection_name.clone();
        if collections.contains_key(&name) {
            return Err(Status::already_exists(format!("Wrong input: Collection `{name}` already exists!")));
        }
        collections.insert(name, Collection { config, points: BTreeMap::new(), indexes: BTreeSet::new() });
        Ok(Response::new(CollectionOperationResponse { result: true, ..Default::default() }))
    }

    async fn collection_exists(
        &self,
        request: Request<CollectionExistsRequest>,
    ) -> Result<Response<CollectionExistsResponse>, Status> {
        let name = self.admit(request).await?.collection_name;
        let exists = self.0.collections.lock().contains_key(&name);
        let result = Some(CollectionExists { exists });
        Ok(Response::new(CollectionExistsResponse { result, ..Default::default() }))
    }

    uncalled! {
        list: ListCollectionsRequest => ListCollectionsResponse;
        update: UpdateCollection => CollectionOperationResponse;
        delete: DeleteCollection => CollectionOperationResponse;
        update_aliases: ChangeAliases => CollectionOperationResponse;
        list_collection_aliases: ListCollectionAliasesRequest => ListAliasesResponse;
        list_aliases: ListAliasesRequest => ListAliasesResponse;
        collection_cluster_info: CollectionClusterInfoRequest => CollectionClusterInfoResponse;
        update_collection_cluster_setup:
            UpdateCollectionClusterSetupRequest => UpdateCollectionClusterSetupResponse;
        create_shard_key: CreateShardKeyRequest => CreateShardKeyResponse;
        delete_shard_key: DeleteShardKeyRequest => DeleteShardKeyResponse;
        list_shard_keys: ListShardKeysRequest => ListShardKeysResponse;
    }
}
