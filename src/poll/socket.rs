//! A URL in, a web socket out: the handshake by the pollers' own HTTP client, so that
//! its guard, its resolver and its TLS hold here too; the frames by tungstenite.

use reqwest::Upgraded;
use reqwest::header::{CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use reqwest::header::{SEC_WEBSOCKET_VERSION, UPGRADE};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use url::Url;

use super::fetch::{FetchError, Fetcher};

pub(super) type Socket = WebSocketStream<Upgraded>;

/// Connects. `url` is http or https, which stand for ws and wss.
pub(super) async fn connect(
    fetcher: &Fetcher,
    url: &Url,
    message_bytes_max: usize,
) -> Result<Socket, FetchError> {
    let key = generate_key();
    let value = |text: &str| HeaderValue::from_str(text).expect("a key is base64");
    let headers = HeaderMap::from_iter([
        (CONNECTION, HeaderValue::from_static("Upgrade")),
        (UPGRADE, HeaderValue::from_static("websocket")),
        (SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
        (SEC_WEBSOCKET_KEY, value(&key)),
    ]);
    let response = fetcher.upgrade(url, headers).await?;
    let accepted = response.headers().get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
    if accepted != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
        return Err(FetchError::Unreachable("the server did not answer as a web socket does".into()));
    }
    let upgraded = response.upgrade().await;
    let upgraded = upgraded.map_err(|error| FetchError::Unreachable(format!("no web socket: {error}")))?;
    let config = WebSocketConfig {
        max_message_size: Some(message_bytes_max),
        max_frame_size: Some(message_bytes_max),
        ..WebSocketConfig::default()
    };
    Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await)
}
