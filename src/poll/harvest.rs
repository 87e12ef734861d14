//! What one poll of a platform brought, in one shape for all platforms; and the
//! fetching of JSON that those with an API share.

use serde::de::DeserializeOwned;
use url::Url;

use super::event::Draft;
use super::feed::Wishes;
use super::fetch::{FetchError, Fetcher, Quota, Validators};
use super::schedule::Outcome;
use super::store::State;

/// Items as a platform shows them now.
#[derive(Debug, Default)]
pub struct Harvest {
    /// The newest first; each item once.
    pub drafts: Vec<Draft>,
    /// Keys of items that the platform says do not exist any more.
    pub gone: Vec<String>,
    /// Entries that could not be read.
    pub broken: usize,
    /// What the state becomes once the log has the items.
    pub keep: Keep,
    /// Where the source is asked from now on, if it moved for good.
    pub moved_to: Option<Url>,
    pub max_age_s: Option<u64>,
    /// Why this is not all: what is here counts, and the poll failed.
    pub interrupted: Option<NoHarvest>,
    /// Seconds that the host asks for quiet although it answered.
    pub pause_s: Option<u64>,
}

/// The parts of the state that a poll sets.
#[derive(Debug, Default)]
pub struct Keep {
    pub validators: Validators,
    pub wishes: Wishes,
    pub cursor: Option<String>,
    pub page: Vec<(String, String)>,
}

impl Keep {
    pub fn of(state: &State) -> Self {
        Self {
            validators: state.validators.clone(),
            wishes: state.wishes.clone(),
            cursor: state.cursor.clone(),
            page: state.page.clone(),
        }
    }
}

/// Why there is nothing.
#[derive(Debug, thiserror::Error)]
pub enum NoHarvest {
    #[error("{0}")]
    Fetch(#[from] FetchError),
    /// The answer is not what the platform documents.
    #[error("{0}")]
    Unreadable(String),
}

impl NoHarvest {
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Fetch(error) => error.outcome(),
            Self::Unreadable(_) => Outcome::Parse,
        }
    }

    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Fetch(error) => error.retry_after_s(),
            Self::Unreadable(_) => None,
        }
    }
}

/// Fetches JSON; what it is not is said without its content.
pub async fn json<T: DeserializeOwned>(
    fetcher: &Fetcher,
    url: &Url,
    now_ms: i64,
) -> Result<(T, Option<Quota>), NoHarvest> {
    let response = fetcher.get_json(url, now_ms).await?;
    let body = response.body.unwrap_or_default();
    let value = serde_json::from_slice(&body).map_err(|error| {
        let kind = response.content_type.as_deref().unwrap_or("data").split(';').next().unwrap_or_default();
        let kind: String = kind.chars().filter(|c| !c.is_control()).take(80).collect();
        NoHarvest::Unreadable(format!(
            "received {kind} that is not the platform's JSON ({:?}, line {})",
            error.classify(),
            error.line()
        ))
    })?;
    Ok((value, response.quota))
}

/// A figure as coarse as an update is worth: equal for figures less than `ratio` apart
/// or so.
pub fn step(figure: Option<u32>, ratio: f64) -> String {
    figure.map_or_else(String::new, |n| {
        let steps = (f64::from(n).ln_1p() / ratio.ln_1p()).floor();
        format!("{steps}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_changes_of_figures_are_none() {
        assert_ne!(step(None, 0.1), step(Some(0), 0.1));
        assert_ne!(step(Some(0), 0.1), step(Some(1), 0.1));
        assert_ne!(step(Some(100), 0.1), step(Some(112), 0.1));
        let distinct: std::collections::BTreeSet<String> =
            (1_000..1_500).map(|n| step(Some(n), 0.1)).collect();
        assert!((4..=6).contains(&distinct.len()), "{distinct:?}");
    }
}
