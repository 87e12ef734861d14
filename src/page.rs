//! The page: `GET /`, from the binary, with nothing from outside.
//!
//! The browser asks the program's own HTTP interface for everything it shows, so there
//! is no second way to the data. The policy it is served with allows no script, style
//! or connection but ours; text from outside only becomes text nodes.
//!
//! Where a token is needed, `/login?token=…` exchanges it for a cookie that scripts
//! cannot read ([`crate::ops::http`] accepts it like the header).

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::ops::http::Problem;

const INDEX: &str = include_str!("page/assets/index.html");

/// Name, media type, content.
const ASSETS: [(&str, &str, &str); 8] = [
    ("page.css", "text/css; charset=utf-8", include_str!("page/assets/page.css")),
    ("icon.svg", "image/svg+xml", include_str!("page/assets/icon.svg")),
    ("page.js", SCRIPT, include_str!("page/assets/page.js")),
    ("dom.js", SCRIPT, include_str!("page/assets/dom.js")),
    ("charts.js", SCRIPT, include_str!("page/assets/charts.js")),
    ("happening.js", SCRIPT, include_str!("page/assets/happening.js")),
    ("now.js", SCRIPT, include_str!("page/assets/now.js")),
    ("views.js", SCRIPT, include_str!("page/assets/views.js")),
];
const SCRIPT: &str = "text/javascript; charset=utf-8";

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

pub fn routes() -> Router {
    Router::new().route("/", get(index)).route("/assets/{name}", get(asset))
}

async fn index() -> Response {
    served("text/html; charset=utf-8", INDEX)
}

async fn asset(Path(name): Path<String>) -> Response {
    match ASSETS.iter().find(|(known, _, _)| *known == name) {
        Some((_, media_type, content)) => served(media_type, content),
        None => Problem::not_found("the page has no such part").into_response(),
    }
}

fn served(media_type: &'static str, content: &'static str) -> Response {
    let fixed: [(HeaderName, &'static str); 5] = [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // A new version of the program has new parts under the same names.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (fixed.map(|(name, value)| (name, HeaderValue::from_static(value))), content).into_response()
}
