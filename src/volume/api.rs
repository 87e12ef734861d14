//! `GET /v1/volume`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use dataflows::time::Millis;
use dataflows::volume::{By, VolumeCell, Window};
use parking_lot::RwLock;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Query, View};
use crate::ops::http::{List, Parameters, Problem, number};
use crate::ops::openapi::{Operation, Routes};

const CELLS: List = List { name: "volume", limit_default: 10_000, limit_max: 10_000 };

/// Start of a cell, and the names of the dimensions that it is grouped by.
type Place = (i64, Vec<Option<String>>);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[schemars(extend("enum" = ["1m", "1h", "1d"], "default" = "1h"))]
    window: Option<String>,
    /// Cells that start at or after this.
    from: Option<String>,
    /// Cells that start before this.
    to: Option<String>,
    platform: Option<String>,
    /// A watched topic.
    topic: Option<String>,
    /// The id of a channel.
    channel: Option<String>,
    /// How to group: of platform, topic, channel, with commas between them; channel implies
    /// platform. `volume.groupings` says which are counted. Without it, a cell a window.
    by: Option<String>,
    #[serde(default, deserialize_with = "number")]
    limit: Option<usize>,
    cursor: Option<String>,
}

/// The answer: cells, and the pipeline clock they are of.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "VolumePage")]
pub struct Answer {
    pub cells: Vec<VolumeCell>,
    pub as_of: Millis,
    /// The `cursor` of the next page; null on the last.
    pub cursor: Option<String>,
}

pub fn routes(view: Arc<RwLock<View>>) -> Routes {
    let operation = Operation::new("volume", "Volume, mood and distinct authors, over windows.")
        .query::<Asked>()
        .list(&CELLS)
        .answers_as::<Answer>(
            "By start, then platform, topic and channel; cells without items are left out.",
        );
    Routes::default().get("/v1/volume", volume, operation).with_state(view)
}

async fn volume(
    State(view): State<Arc<RwLock<View>>>,
    Parameters(asked): Parameters<Asked>,
) -> Result<Json<Answer>, Problem> {
    page(&view.read(), asked).map(Json).map_err(Problem::bad_request)
}

fn page(view: &View, asked: Asked) -> Result<Answer, String> {
    let limit = CELLS.limit(asked.limit)?;
    let after: Option<Place> = CELLS.after(asked.cursor.as_deref())?;
    let mut query = query(asked)?;
    if let Some((start, _)) = &after {
        query.from = query.from.max(Millis(*start));
    }
    let found = view.query(&query).map_err(|e| e.to_string())?;
    let rest = found.into_iter().filter(|cell| after.as_ref().is_none_or(|after| place(cell) > *after));
    let (cells, cursor) = CELLS.page(rest, limit, place);
    Ok(Answer { cells, as_of: view.as_of(), cursor })
}

/// In the order of the view.
fn place(cell: &VolumeCell) -> Place {
    let names = [&cell.platform, &cell.topic, &cell.channel];
    (cell.start.0, names.into_iter().flatten().cloned().collect())
}

fn query(asked: Asked) -> Result<Query, String> {
    let window = asked.window.unwrap_or_else(|| "1h".into());
    let time = |name: &str, value: Option<String>, default| match value.filter(|v| !v.is_empty()) {
        None => Ok(Millis(default)),
        Some(text) => match text.parse() {
            Ok(ms) => Ok(Millis(ms)),
            Err(_) => Millis::parse(&text).map_err(|e| format!("{name}: {e} or a number of milliseconds")),
        },
    };
    let text = |value: Option<String>| value.filter(|v| !v.is_empty());
    Ok(Query {
        window: Window::parse(&window).ok_or_else(|| format!("window {window:?} is none of 1m, 1h, 1d"))?,
        from: time("from", asked.from, i64::MIN)?,
        to: time("to", asked.to, i64::MAX)?,
        platform: text(asked.platform),
        topic: text(asked.topic),
        channel: text(asked.channel),
        by: By::parse(asked.by.as_deref().unwrap_or_default()).map_err(|e| format!("by: {e}"))?,
    })
}
