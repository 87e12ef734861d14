//! A feed server on loopback that answers as it is told and notes what it was asked.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

type Answer = Arc<dyn Fn(&HeaderMap) -> Response + Send + Sync>;

pub const QUERY: &str = "x-query";

#[derive(Default)]
struct Shared {
    answers: Mutex<BTreeMap<String, Answer>>,
    asked: Mutex<Vec<(String, HeaderMap)>>,
    at_once: AtomicUsize,
    at_once_max: AtomicUsize,
}

pub struct Server {
    pub address: std::net::SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared::default());
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") });
        Self { address, shared, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on `path` answers so.
    pub fn on(&self, path: &str, answer: impl Fn(&HeaderMap) -> Response + Send + Sync + 'static) {
        self.shared.answers.lock().unwrap().insert(path.into(), Arc::new(answer));
    }

    /// A 200 with this body.
    pub fn feed(&self, path: &str, body: impl Into<Vec<u8>>) {
        let body = body.into();
        self.on(path, move |_| reply(200, &[("content-type", "application/xml")], body.clone()));
    }

    /// A 200 with this JSON.
    pub fn json(&self, path: &str, body: &serde_json::Value) {
        let body = body.to_string();
        self.on(path, move |_| {
            reply(200, &[("content-type", "application/json; charset=utf-8")], body.clone())
        });
    }

    /// The paths and queries asked for since the last call.
    pub fn asked_with_queries(&self) -> Vec<String> {
        let whole = |(path, headers): (String, HeaderMap)| match headers[QUERY].to_str().unwrap() {
            "" => path,
            query => format!("{path}?{query}"),
        };
        self.requests().into_iter().map(whole).collect()
    }

    pub fn status(&self, path: &str, status: u16, headers: &'static [(&'static str, &'static str)]) {
        self.on(path, move |_| reply(status, headers, ""));
    }

    pub fn redirect(&self, path: &str, status: u16, to: &str) {
        let to = to.to_string();
        self.on(path, move |_| reply(status, &[("location", to.as_str())], ""));
    }

    /// The paths asked for since the last call.
    pub fn asked(&self) -> Vec<String> {
        self.requests().into_iter().map(|(path, _)| path).collect()
    }

    pub fn requests(&self) -> Vec<(String, HeaderMap)> {
        std::mem::take(&mut *self.shared.asked.lock().unwrap())
    }

    pub fn at_once_max(&self) -> usize {
        self.shared.at_once_max.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).expect("a valid response")
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let now = shared.at_once.fetch_add(1, Ordering::SeqCst) + 1;
    shared.at_once_max.fetch_max(now, Ordering::SeqCst);
    // Lets a second request in, if the client sends one.
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    let path = request.uri().path().to_string();
    let mut headers = request.headers().clone();
    // Answers see the question's query this way.
    headers.insert(QUERY, request.uri().query().unwrap_or_default().parse().expect("a query is ASCII"));
    shared.asked.lock().unwrap().push((path.clone(), headers.clone()));
    let answer = shared.answers.lock().unwrap().get(&path).cloned();
    let response =
        answer.map_or_else(|| reply(StatusCode::NOT_FOUND.as_u16(), &[], ""), |answer| answer(&headers));
    shared.at_once.fetch_sub(1, Ordering::SeqCst);
    response
}
