//! The parameters of a request, from its query to a type; what is wrong is a problem.

use axum::extract::{FromRequestParts, Query};
use axum::http::Uri;
use axum::http::request::Parts;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::Problem;
use crate::ops::openapi;

/// Reads the query of a request. The type says `deny_unknown_fields`; an unknown name is
/// told the nearest known one.
pub struct Parameters<T>(pub T);

impl<S: Sync, T: DeserializeOwned + JsonSchema> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(rejection) => {
                let detail = unknown::<T>(&parts.uri).unwrap_or_else(|| rejection.body_text());
                Err(Problem::bad_request(detail))
            }
        }
    }
}

/// What to say about the first name that the type does not have.
fn unknown<T: JsonSchema>(uri: &Uri) -> Option<String> {
    let known = openapi::parameter_names::<T>();
    let mut asked = url::form_urlencoded::parse(uri.query()?.as_bytes());
    let name = asked.find_map(|(name, _)| (!known.contains(&*name)).then(|| name.into_owned()))?;
    let likeness = |other: &&String| strsim::jaro_winkler(&name, other);
    let nearest = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    let all: Vec<&str> = known.iter().map(String::as_str).collect();
    Some(format!("unknown parameter {name:?}: is it {nearest:?}? There are {}", all.join(", ")))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        #[serde(default, deserialize_with = "crate::ops::http::number")]
        limit: Option<usize>,
        cursor: Option<String>,
    }

    fn read(query: &str) -> Result<Asked, String> {
        let (mut parts, ()) =
            axum::http::Request::get(format!("/x?{query}")).body(()).expect("a request").into_parts();
        let read = futures_util::FutureExt::now_or_never(Parameters::from_request_parts(&mut parts, &()));
        read.expect("nothing to wait for").map(|Parameters(asked)| asked).map_err(|problem| problem.detail)
    }

    #[test]
    fn what_is_wrong_is_named() {
        let asked = read("limit=3&cursor=a%20b").expect("valid");
        assert_eq!((asked.limit, asked.cursor.as_deref()), (Some(3), Some("a b")));
        let why = read("limit=3&curser=x").expect_err("unknown");
        assert_eq!(why, "unknown parameter \"curser\": is it \"cursor\"? There are cursor, limit");
        assert!(read("limit=x").expect_err("no number").contains("\"x\" is not a whole number"));
        assert!(read("limit=1&limit=2").is_err());
    }
}
