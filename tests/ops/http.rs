//! The server against clients that are hostile, slow, many, or merely wrong.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Json;
use axum::routing::{get, post};
use tidings::config::Secret;
use tidings::ops::health::{self, Health};
use tidings::ops::http::{Access, PROBLEM_CONTENT_TYPE, Problem, Settings, serve};
use tidings::ops::shutdown::Shutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::process::{get as ask, raw};

const TOKEN: &str = "0123456789abcdef-api";

/// A server in this process; stops when dropped.
struct Server {
    address: SocketAddr,
    shutdown: Shutdown,
    runtime: Option<tokio::runtime::Runtime>,
    /// Requests to /held wait for a permit.
    gate: Arc<Semaphore>,
    /// Requests that came to /held.
    arrived: Arc<AtomicUsize>,
    health: Arc<Health>,
}

impl Server {
    fn start(listen: &str, access: Access, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings: Settings = shipped("http");
        change(&mut settings);
        // So that the one test with a watched loop need not wait a minute.
        let health_settings = health::Settings { loop_stalled_s: 0, ..shipped("health") };
        let health = Health::new(&health_settings);
        let gate = Arc::new(Semaphore::new(0));
        let arrived = Arc::new(AtomicUsize::new(0));
        let (held, arrivals) = (gate.clone(), arrived.clone());
        let routes = Router::new()
            .route("/v1/echo/{id}", post(|Json(body): Json<serde_json::Value>| async move { Json(body) }))
            .route("/v1/text", post(|body: String| async move { body.len().to_string() }))
            .route("/v1/fails", get(|| async { Problem::internal("it broke") }))
            .route(
                "/held",
                get(move || async move {
                    arrivals.fetch_add(1, Ordering::SeqCst);
                    held.acquire().await.expect("the gate is never closed").forget();
                    "through"
                }),
            );
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let shutdown = Shutdown::new();
        let listener = runtime.block_on(TcpListener::bind(listen)).expect("binds");
        let address = SocketAddr::from(([127, 0, 0, 1], listener.local_addr().expect("bound").port()));
        let routers = vec![health::routes(health.clone()), routes.into()];
        runtime.spawn(serve(listener, routers, settings, access, shutdown.clone()));
        Self { address, shutdown, runtime: Some(runtime), gate, arrived, health }
    }

    fn local(change: impl FnOnce(&mut Settings)) -> Self {
        Self::start("127.0.0.1:0", Access::default(), change)
    }

    fn address(&self) -> String {
        self.address.to_string()
    }

    fn get(&self, path: &str, headers: &str) -> String {
        ask(&self.address(), path, headers)
    }

    fn post(&self, path: &str, content_type: &str, body: &str) -> String {
        let host = self.address();
        let length = body.len();
        raw(
            &host,
            &format!(
                "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: {content_type}\r\n\
                 Content-Length: {length}\r\n\r\n{body}"
            ),
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.trigger();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn shipped<T: serde::de::DeserializeOwned>(table: &str) -> T {
    let defaults: toml::Table = include_str!("../../config/default.toml").parse().expect("valid");
    defaults[table].clone().try_into().expect("whole")
}

/// The status, and the body as a problem whose status agrees.
fn problem(answer: &str, status: u16) -> Problem {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "not {status}: {answer}");
    assert!(answer.to_lowercase().contains(&format!("content-type: {PROBLEM_CONTENT_TYPE}")), "{answer}");
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    let problem: Problem = serde_json::from_str(body).unwrap_or_else(|_| panic!("not a problem: {answer}"));
    assert_eq!(problem.status, status);
    problem
}

fn is_ok(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200 ")
}

#[test]
fn foreign_hosts_and_origins_get_nothing_on_loopback() {
    let server = Server::local(|settings| settings.allowed_hosts = vec!["tidings.example".to_string()]);
    let address = server.address();
    let port = server.address.port();
    let with_host = |host: &str| {
        raw(&address, &format!("GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    };
    for host in ["localhost", "127.0.0.1", "[::1]", "LOCALHOST", "127.9.9.9", "tidings.example"] {
        assert!(is_ok(&with_host(&format!("{host}:{port}"))), "{host}");
    }
    for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8080", "192.0.2.1"] {
        problem(&with_host(host), 421);
    }
    for request in [
        "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n".to_string(),
        format!("GET /health HTTP/1.1\r\nHost: {address}\r\nHost: evil.example\r\nConnection: close\r\n\r\n"),
        "GET /health HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n".to_string(),
    ] {
        assert!(raw(&address, &request).starts_with("HTTP/1.1 400 "), "{request}");
    }
    assert!(is_ok(&server.get("/health", &format!("Origin: http://{address}\r\n"))));
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1", "file://", "http://"] {
        problem(&server.get("/health", &format!("Origin: {origin}\r\n")), 403);
    }
}

#[test]
fn off_loopback_everything_but_probes_needs_the_token() {
    let access = Access {
        api_token: Some(Secret::new(TOKEN)),
        folder_token: Some(Secret::new("the-folders-own-token")),
    };
    let server = Server::start("0.0.0.0:0", access, |_| {});
    for path in ["/livez", "/healthz", "/readyz", "/metrics", "/health", "/health/discord"] {
        assert!(is_ok(&server.get(path, "")), "{path}");
    }
    let refused = server.get("/v1/fails", "");
    problem(&refused, 401);
    assert!(refused.to_lowercase().contains("www-authenticate: bearer"), "{refused}");
    for header in [
        "Authorization: Bearer wrong",
        &format!("Authorization: Basic {TOKEN}"),
        &format!("Authorization: Bearer {TOKEN}x"),
        &format!("Authorization: {TOKEN}"),
        "Authorization: Bearer ",
    ] {
        problem(&server.get("/v1/fails", &format!("{header}\r\n")), 401);
    }
    for token in [TOKEN, "the-folders-own-token"] {
        problem(&server.get("/v1/fails", &format!("Authorization: bearer {token}\r\n")), 500);
    }
    problem(&server.get("/nothing", ""), 401);
}

#[test]
fn nothing_is_served_off_loopback_without_a_token() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let error = runtime.block_on(async {
        let listener = TcpListener::bind("0.0.0.0:0").await.expect("binds");
        serve(listener, vec![], shipped("http"), Access::default(), Shutdown::new()).await
    });
    assert!(error.expect_err("refused").to_string().contains("no API token"));
}

#[test]
fn details_of_components_are_for_those_with_the_token() {
    let access = Access { api_token: Some(Secret::new(TOKEN)), folder_token: None };
    let server = Server::start("0.0.0.0:0", access, |_| {});
    server.health.component("log", || {
        health::Component::ok("log").details(serde_json::json!({"brokers": "kafka.internal:9092"}))
    });
    for path in ["/health", "/health/log"] {
        assert!(!server.get(path, "").contains("kafka.internal"));
        let full = server.get(path, &format!("Authorization: Bearer {TOKEN}\r\n"));
        assert!(full.contains("kafka.internal"), "{full}");
    }
    problem(&server.get("/health/nothing", ""), 404);
}

#[test]
fn every_error_is_a_problem() {
    let server = Server::local(|settings| settings.body_bytes_max = 100);
    problem(&server.get("/nothing", ""), 404);
    let wrong_method = server.get("/v1/echo/1", "");
    problem(&wrong_method, 405);
    assert!(wrong_method.to_lowercase().contains("allow: post"), "{wrong_method}");
    problem(&server.post("/v1/echo/1", "text/plain", "{}"), 415);
    problem(&server.post("/v1/echo/1", "application/json", "{"), 400);
    assert!(is_ok(&server.post("/v1/echo/1", "application/json", "{}")));
    let large = "x".repeat(101);
    problem(&server.post("/v1/text", "text/plain", &large), 413);
    let host = server.address();
    let chunked = format!(
        "POST /v1/text HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
         65\r\n{large}\r\n0\r\n\r\n"
    );
    problem(&raw(&host, &chunked), 413);
    assert_eq!(problem(&server.get("/v1/fails", ""), 500).detail, "it broke");
}

#[test]
fn too_many_requests_are_told_to_come_back_and_probes_still_answer() {
    let server = Server::local(|settings| settings.requests_max = 2);
    let address = server.address();
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let address = address.clone();
            std::thread::spawn(move || ask(&address, "/held", ""))
        })
        .collect();
    // Both must be at work before anything else asks, or one of them is refused.
    super::process::until("both requests", || (server.arrived.load(Ordering::SeqCst) == 2).then_some(()));
    let refused = server.get("/v1/fails", "");
    assert_eq!(problem(&refused, 503).retry_after_s, Some(2));
    assert!(refused.to_lowercase().contains("retry-after: 2\r\n"), "{refused}");
    for path in ["/livez", "/metrics"] {
        assert!(is_ok(&server.get(path, "")), "{path}");
    }
    server.gate.add_permits(2);
    for waiting in waiting {
        assert!(is_ok(&waiting.join().expect("answers")));
    }
    problem(&server.get("/v1/fails", ""), 500);
}

#[test]
fn slow_handlers_and_silent_clients_are_given_up() {
    let server = Server::local(|settings| {
        settings.request_timeout_s = 1;
        settings.idle_timeout_s = 2;
    });
    let given_up = server.get("/held", "");
    assert!(problem(&given_up, 503).detail.contains("took too long"), "{given_up}");
    // Half a request, then silence: the server hangs up.
    let mut stream = TcpStream::connect(server.address).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: loc").expect("sends");
    let started = Instant::now();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(started.elapsed() >= Duration::from_millis(1_900), "closed early: {:?}", started.elapsed());
}

#[test]
fn connections_beyond_the_limit_wait_for_a_free_one() {
    let server = Server::local(|settings| settings.connections_max = 1);
    let first = TcpStream::connect(server.address).expect("connects");
    let mut second = TcpStream::connect(server.address).expect("the kernel queues it");
    let request = format!("GET /livez HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address);
    second.write_all(request.as_bytes()).expect("sends");
    second.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    let mut answer = [0; 12];
    assert!(second.read_exact(&mut answer).is_err(), "served beyond the limit");
    drop(first);
    second.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    second.read_exact(&mut answer).expect("answers");
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[test]
fn shutdown_lets_a_request_finish_and_then_stops() {
    let server = Server::local(|_| {});
    let address = server.address();
    let waiting = std::thread::spawn(move || ask(&address, "/held", ""));
    super::process::until("the request", || (server.arrived.load(Ordering::SeqCst) == 1).then_some(()));
    server.shutdown.trigger();
    super::process::until("no new connections", || TcpStream::connect(server.address).is_err().then_some(()));
    server.gate.add_permits(1);
    let answer = waiting.join().expect("answers");
    assert!(is_ok(&answer), "{answer}");
    super::process::until("the end of the server", || {
        TcpStream::connect(server.address).is_err().then_some(())
    });
}

#[test]
fn metrics_are_labelled_by_template_and_never_by_what_clients_send() {
    let server = Server::local(|_| {});
    server.post("/v1/echo/some-id-of-a-client", "application/json", "{}");
    server.get("/made-up-path", "");
    raw(
        &server.address(),
        &format!("BREW /livez HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address),
    );
    let metrics = server.get("/metrics", "");
    assert!(metrics.contains(r#"route="/v1/echo/{id}""#), "{metrics}");
    assert!(metrics.contains(r#"method="GET",route="unmatched",status="404""#), "{metrics}");
    assert!(metrics.contains(r#"method="other""#), "{metrics}");
    for foreign in ["some-id", "made-up", "BREW"] {
        assert!(!metrics.contains(foreign), "{foreign}");
    }
    for name in [
        "tidings_process_resident_memory_bytes",
        "tidings_process_cpu_seconds_total",
        "tidings_process_open_fds",
    ] {
        assert!(metrics.contains(&format!("# TYPE {name} ")), "{name}");
    }
    assert!(metrics.lines().filter(|line| !line.starts_with('#') && line.contains(' ')).count() > 10);
}

#[test]
fn liveness_fails_when_a_loop_hangs_and_readiness_until_conditions_are_met() {
    let server = Server::local(|_| {});
    let condition = server.health.condition("replay");
    condition.progress(50.0);
    let waiting = server.get("/readyz", "");
    assert!(
        waiting.starts_with("HTTP/1.1 503 ") && waiting.contains("\"progress_percent\":50.0"),
        "{waiting}"
    );
    condition.met();
    assert!(is_ok(&server.get("/readyz", "")));
    assert!(is_ok(&server.get("/livez", "")) && is_ok(&server.get("/healthz", "")));
    let watchdog = server.health.watchdog("analyse 0");
    let stalled = super::process::until("a stalled loop", || {
        Some(server.get("/livez", "")).filter(|answer| answer.starts_with("HTTP/1.1 503 "))
    });
    assert!(stalled.contains("analyse 0"), "{stalled}");
    drop(watchdog);
    assert!(is_ok(&server.get("/livez", "")));
}
