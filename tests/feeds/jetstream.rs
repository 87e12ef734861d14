//! A Jetstream on loopback: keeps what was published, replays from a cursor of either
//! kind, and breaks off or refuses when it is told to.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures_util::SinkExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

pub struct Jetstream {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

/// Status and headers of an answer to a handshake.
type Refusal = (u16, Vec<(&'static str, String)>);

struct Shared {
    /// Sequence number, time, text.
    messages: Mutex<Vec<(u64, u64, String)>>,
    asked: Mutex<Vec<String>>,
    refusals: Mutex<VecDeque<Refusal>>,
    /// Messages that were sent over all connections.
    sent: Mutex<usize>,
    /// Counts up when there is something new, and when connections are to end.
    events: watch::Sender<(u64, u64)>,
    numbered: bool,
}

impl Jetstream {
    /// `numbered`: of the second version, whose messages have a sequence number.
    pub async fn start(numbered: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            messages: Mutex::default(),
            asked: Mutex::default(),
            refusals: Mutex::default(),
            sent: Mutex::default(),
            events: watch::channel((0, 0)).0,
            numbered,
        });
        let serving = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, serving.clone()));
            }
        });
        Self { address, shared, task }
    }

    pub fn url(&self) -> String {
        format!("ws://{}/subscribe", self.address)
    }

    /// Publishes a commit of a post; `time_us` and the revision are of this time.
    pub fn publish(&self, time_us: u64, operation: &str, rkey: &str, text: Option<&str>) {
        let record = text.map_or_else(String::new, |text| {
            format!(
                r#","cid":"bafy","record":{{"$type":"app.bsky.feed.post","createdAt":"2026-11-24T09:59:00.000Z","langs":["en"],"text":{text:?}}}"#
            )
        });
        self.say(
            time_us,
            &format!(
                r#""kind":"commit","commit":{{"rev":"{}","operation":"{operation}","collection":"app.bsky.feed.post","rkey":"{rkey}"{record}}}"#,
                tid(time_us)
            ),
        );
    }

    /// Any message, but for its did, time and number.
    pub fn say(&self, time_us: u64, rest: &str) {
        let mut messages = self.shared.messages.lock().unwrap();
        let seq = messages.len() as u64 + 1;
        let number = if self.shared.numbered { format!(r#""cursor":{seq},"#) } else { String::new() };
        messages.push((
            seq,
            time_us,
            format!(r#"{{"did":"did:plc:ann","time_us":{time_us},{number}{rest}}}"#),
        ));
        drop(messages);
        self.shared.events.send_modify(|(new, _)| *new += 1);
    }

    /// Ends all connections, without a word.
    pub fn break_off(&self) {
        self.shared.events.send_modify(|(_, ends)| *ends += 1);
    }

    /// The next handshakes are answered so.
    pub fn refuse(&self, status: u16, headers: &[(&'static str, &str)]) {
        let headers = headers.iter().map(|(n, v)| (*n, v.to_string())).collect();
        self.shared.refusals.lock().unwrap().push_back((status, headers));
    }

    /// The queries of all handshakes since the last call.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.asked.lock().unwrap())
    }

    /// How many handshakes there were since the last `asked`.
    pub fn connections(&self) -> usize {
        self.shared.asked.lock().unwrap().len()
    }

    pub fn sent(&self) -> usize {
        *self.shared.sent.lock().unwrap()
    }
}

impl Drop for Jetstream {
    fn drop(&mut self) {
        self.task.abort();
        self.break_off();
    }
}

/// A TID of this time.
pub fn tid(time_us: u64) -> String {
    const ALPHABET: &[u8; 32] = b"234567abcdefghijklmnopqrstuvwxyz";
    let value = time_us << 10;
    (0..13).rev().map(|at| ALPHABET[(value >> (at * 5)) as usize & 31] as char).collect()
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut cursor: Option<u64> = None;
    #[expect(clippy::result_large_err, reason = "the library's type")]
    let handshake = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        let query = request.uri().query().unwrap_or_default().to_string();
        cursor =
            query.split('&').find_map(|p| p.strip_prefix("cursor=")).map(|c| c.parse().expect("a number"));
        shared.asked.lock().unwrap().push(query);
        match shared.refusals.lock().unwrap().pop_front() {
            None => Ok(response),
            Some((status, headers)) => {
                let mut refusal = axum::http::Response::builder().status(status);
                for (name, value) in headers {
                    refusal = refusal.header(name, value);
                }
                Err(refusal.body(Some("no".to_string())).expect("valid"))
            }
        }
    };
    let mut events = shared.events.subscribe();
    let ends = events.borrow().1;
    let Ok(mut socket) = accept_hdr_async(stream, handshake).await else { return };
    let live = shared.messages.lock().unwrap().len();
    let mut at = match cursor {
        None => live,
        // Below: sequence numbers, inclusive; else times.
        Some(seq) if seq < 1_000_000_000_000_000 => (seq as usize).saturating_sub(1).min(live),
        Some(time_us) => {
            let messages = shared.messages.lock().unwrap();
            messages.iter().position(|(_, at, _)| *at >= time_us).unwrap_or(live)
        }
    };
    loop {
        if events.borrow_and_update().1 != ends {
            return;
        }
        let next: Vec<String> =
            shared.messages.lock().unwrap()[at..].iter().map(|(_, _, text)| text.clone()).collect();
        for text in next {
            if socket.send(Message::Text(text)).await.is_err() {
                return;
            }
            at += 1;
            *shared.sent.lock().unwrap() += 1;
        }
        if events.changed().await.is_err() {
            return;
        }
    }
}
