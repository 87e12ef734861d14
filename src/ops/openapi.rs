//! What is served, and its description: `GET /openapi.json`.
//!
//! Consumes the [`Routes`] of every part, produces one OpenAPI 3.1 document. A route is
//! added together with its [`Operation`], so that neither is there without the other, and
//! the schemas are those of the Rust types that the handlers read and write. A process
//! describes what it serves itself: its `--roles` decide.

mod operation;

use std::collections::BTreeSet;

use axum::Router;
use axum::handler::Handler;
use axum::http::{Method, header};
use axum::routing::{get, post};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

pub use operation::Operation;

use operation::{Place, problem};

/// The version of the specification that the document keeps to.
const VERSION: &str = "3.1.1";
pub const PATH: &str = "/openapi.json";
const SCHEMAS: &str = "/components/schemas";

/// Routes of which each has a description.
pub struct Routes<S = ()> {
    router: Router<S>,
    places: Vec<Place>,
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self { router: Router::new(), places: Vec::new() }
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    #[must_use]
    pub fn get<H: Handler<T, S>, T: 'static>(
        mut self,
        path: &'static str,
        handler: H,
        operation: Operation,
    ) -> Self {
        self.router = self.router.route(path, get(handler));
        self.places.push(Place { method: Method::GET, path, operation });
        self
    }

    #[must_use]
    pub fn post<H: Handler<T, S>, T: 'static>(
        mut self,
        path: &'static str,
        handler: H,
        operation: Operation,
    ) -> Self {
        self.router = self.router.route(path, post(handler));
        self.places.push(Place { method: Method::POST, path, operation });
        self
    }

    pub fn with_state(self, state: S) -> Routes {
        Routes { router: self.router.with_state(state), places: self.places }
    }
}

/// What is no part of the interface: the page.
impl From<Router> for Routes {
    fn from(router: Router) -> Self {
        Self { router, places: Vec::new() }
    }
}

/// The routes alone.
impl From<Routes> for Router {
    fn from(routes: Routes) -> Self {
        routes.router
    }
}

/// All routes, and the document that describes them.
pub fn with_document(all: impl IntoIterator<Item = Routes>) -> Router {
    let (mut router, mut places) = (Router::new(), Vec::new());
    for routes in all {
        router = router.merge(routes.router);
        places.extend(routes.places);
    }
    let operation = Operation::new("openapi", "This document.")
        .answers_as::<Map<String, Value>>("OpenAPI 3.1 of what this process serves.");
    places.push(Place { method: Method::GET, path: PATH, operation });
    let text: bytes::Bytes = document(&places).to_string().into();
    let answer = move || async move { ([(header::CONTENT_TYPE, "application/json")], text) };
    router.route(PATH, get(answer))
}

fn document(places: &[Place]) -> Value {
    let settings = SchemaSettings::draft2020_12;
    let mut written =
        settings().for_serialize().with(|s| s.definitions_path = SCHEMAS.into()).into_generator();
    // A type may be read in more forms than it is written: what is read has no part in the
    // table of schemas.
    let mut read = settings().for_deserialize().with(|s| s.inline_subschemas = true).into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for place in places {
        let described = place.describe(&mut read, &mut written);
        let at = paths.entry(place.path).or_insert_with(|| json!({}));
        at[place.method.as_str().to_ascii_lowercase()] = described;
    }
    let problem = problem(&mut written);
    json!({
        "openapi": VERSION,
        "info": {
            "title": "Tidings",
            "version": crate::VERSION,
            "description": "Watches many platforms at once, understands what is published, and tells Discord what \
                            matters. Lists take `limit` and `cursor`; errors are problems (RFC 9457); instants are \
                            RFC 3339, and as parameters also milliseconds since 1970.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": env!("CARGO_PKG_LICENSE") },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "bearer": [] }, { "cookie": [] }],
        "paths": paths,
        "components": {
            "schemas": written.take_definitions(true),
            "responses": { "Problem": problem },
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The token in `TIDINGS_API_TOKEN`. None is needed on loopback where none is set.",
                },
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": super::http::COOKIE,
                    "description": "What `/login?token=…` gives a browser for the token.",
                },
            },
        },
    })
}

/// The names of the parameters that a type reads.
pub fn parameter_names<T: JsonSchema>() -> BTreeSet<String> {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.map(|properties| properties.keys().cloned().collect()).unwrap_or_default()
}
