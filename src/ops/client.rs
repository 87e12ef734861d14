//! How commands reach a Tidings: its data folder directly, or over HTTP when
//! another process holds it.

use std::time::Duration;

use serde::de::DeserializeOwned;
use url::Url;

use crate::config::{Config, Secret};
use crate::ops::data_dir::{DataDir, Holder, Opened};
use crate::ops::exit::{Exit, Failure};
use crate::ops::http::Problem;

/// What a command works on.
#[derive(Debug)]
pub enum Reach {
    /// Nobody else holds the folder: open it.
    Folder(DataDir),
    /// A running Tidings: ask it.
    Server(Client),
}

/// Finds out which it is: `TIDINGS_URL` first, then whoever holds the folder,
/// then the folder itself.
pub fn reach(config: &Config) -> Result<Reach, Failure> {
    if let Some(url) = &config.url {
        return Ok(Reach::Server(Client::new(url.url().clone(), config.api_token.clone())?));
    }
    let path = &config.data_dir;
    let opened = DataDir::open(path).map_err(|error| {
        Failure::new(Exit::Usage, format!("cannot open the data folder {}: {error}", path.display()))
    })?;
    match opened {
        Opened::Held(folder) => Ok(Reach::Folder(folder)),
        Opened::HeldBy(Holder { url: Some(url), token, .. }) => Ok(Reach::Server(Client::new(url, token)?)),
        Opened::HeldBy(Holder { pid, .. }) => Err(held(config, pid)),
    }
}

/// The failure of a command that needs a folder which another process holds
/// without serving HTTP.
pub fn held(config: &Config, pid: Option<u32>) -> Failure {
    let who = pid.map_or("another process".to_string(), |pid| format!("process {pid}"));
    let message = format!(
        "the data folder {} is held by {who}, which does not answer over HTTP (yet): wait for it or stop it",
        config.data_dir.display()
    );
    Failure::new(Exit::FolderHeld, message)
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("cannot reach {url}: {reason}")]
    Unreachable { url: Url, reason: String },
    /// The server's own words.
    #[error("{0}")]
    Refused(Problem),
    #[error("{url} answered what this version does not understand: {reason}")]
    Unexpected { url: Url, reason: String },
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Unreachable { .. } => Exit::FolderHeld,
            ClientError::Refused(problem) if problem.status < 500 => Exit::Usage,
            ClientError::Refused(_) | ClientError::Unexpected { .. } => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}

/// A blocking client for one command; not for use inside of an async runtime.
pub struct Client {
    base: Url,
    token: Option<Secret>,
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.base)
    }
}

/// Seconds to connect; a local process answers in milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Seconds for a whole request: longer than the server gives a handler.
/// Following a topic goes on until somebody ends it.
const STREAM_TIMEOUT: Duration = Duration::from_secs(30 * 24 * 3600);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

impl Client {
    pub fn new(base: Url, token: Option<Secret>) -> Result<Self, Failure> {
        let internal =
            |error: &dyn std::fmt::Display| Failure::failed(format!("cannot set up HTTP: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| internal(&error))?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| internal(&error))?;
        Ok(Self { base, token, http, runtime })
    }

    pub fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
    }

    pub fn base(&self) -> &Url {
        &self.base
    }

    /// `GET path?query` as JSON.
    pub fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, ClientError> {
        let mut url = self.url(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.send(self.http.get(url.clone()), url)
    }

    /// `GET path` as a stream of bytes that may go on for long.
    pub fn stream(&self, path: &str) -> Result<BodyReader<'_>, ClientError> {
        // The path carries its query.
        let url = self.url(path)?;
        let request = self.authorised(self.http.get(url.clone()).timeout(STREAM_TIMEOUT));
        let unreachable =
            |error: reqwest::Error| ClientError::Unreachable { url: url.clone(), reason: innermost(&error) };
        let response = self.runtime.block_on(async { request.send().await }).map_err(unreachable)?;
        if response.status().is_success() {
            return Ok(BodyReader { runtime: &self.runtime, response, left: Vec::new().into() });
        }
        let status = response.status();
        let body = self.runtime.block_on(async { response.bytes().await }).map_err(unreachable)?;
        Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => ClientError::Refused(problem),
            Err(_) => ClientError::Unexpected { url, reason: status.to_string() },
        })
    }

    /// `POST path` with a body of this content type; the answer as JSON.
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<T, ClientError> {
        let url = self.url(path)?;
        let request = self.http.post(url.clone()).header(reqwest::header::CONTENT_TYPE, content_type);
        self.send(request.body(body), url)
    }

    fn authorised(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    fn url(&self, path: &str) -> Result<Url, ClientError> {
        self.base
            .join(path)
            .map_err(|error| ClientError::Unexpected { url: self.base.clone(), reason: error.to_string() })
    }

    fn send<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
        url: Url,
    ) -> Result<T, ClientError> {
        let request = self.authorised(request);
        let answer = self.runtime.block_on(async {
            let response = request.send().await?;
            let status = response.status();
            Ok((status, response.bytes().await?))
        });
        let (status, body) = answer.map_err(|error: reqwest::Error| ClientError::Unreachable {
            url: url.clone(),
            reason: innermost(&error),
        })?;
        if status.is_success() {
            return serde_json::from_slice(&body)
                .map_err(|error| ClientError::Unexpected { url, reason: error.to_string() });
        }
        Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => ClientError::Refused(problem),
            Err(_) => ClientError::Unexpected { url, reason: status.to_string() },
        })
    }
}

/// The body of an answer, as it arrives.
pub struct BodyReader<'a> {
    runtime: &'a tokio::runtime::Runtime,
    response: reqwest::Response,
    left: bytes::Bytes,
}

impl std::io::Read for BodyReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.left.is_empty() {
            match self
                .runtime
                .block_on(async { self.response.chunk().await })
                .map_err(std::io::Error::other)?
            {
                Some(chunk) => self.left = chunk,
                None => return Ok(0),
            }
        }
        let n = buffer.len().min(self.left.len());
        buffer[..n].copy_from_slice(&self.left.split_to(n));
        Ok(n)
    }
}

/// The cause at the bottom of a chain: "connection refused" and not "error sending request".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
