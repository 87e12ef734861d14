//! How far alerts were decided: the one record of state.alerts, written with every
//! transaction of the engine.

use std::collections::BTreeMap;

use dataflows::record::{Record, topic};
use dataflows::time::Millis;
use serde::{Deserialize, Serialize};

use super::read_topic;
use crate::discord::deliver::record;
use crate::log::{Log, LogError};

const KEY: &[u8] = b"decided";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Standing {
    /// The last instant that was looked at; everything up to the committed positions was
    /// known then.
    pub decided: Millis,
    /// New items that were read after their own time was decided, and since when they count.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub late: BTreeMap<String, Millis>,
}

impl Standing {
    /// The last one written; `None` on a log that never had alerts.
    pub fn read(log: &dyn Log, batch_bytes_max: usize) -> Result<Option<Self>, LogError> {
        let mut last: Option<Self> = None;
        read_topic(log, topic::ALERTS_STATE, batch_bytes_max, |stored| {
            let Some(value) = &stored.value else { return };
            match serde_json::from_slice::<Self>(value) {
                Ok(state) if last.as_ref().is_none_or(|last| state.decided >= last.decided) => {
                    last = Some(state);
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, offset = stored.offset, "how far alerts are is unreadable");
                }
            }
        })?;
        Ok(last)
    }

    pub fn record(&self) -> Record {
        let value = serde_json::to_vec(self).expect("texts and times serialize");
        record(topic::ALERTS_STATE, KEY.to_vec(), value, self.decided.0)
    }
}
