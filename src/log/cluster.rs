//! Who runs this deployment: one set of committers at a time.
//!
//! Consumes and produces `control.cluster` (compacted, one partition), which holds
//! the highest index of each kind of committer ever used and the heartbeat of the
//! running set.
//!
//! Why the indices: positions are assigned by hand, so nothing but its
//! `transactional.id` fences a committer. A set that is smaller than the one before
//! would leave the higher ids alive; so every id ever used is claimed before any
//! position or state is read.
//!
//! Why the heartbeat: a second set would take over from the first at once, and both
//! would fence each other in turn. It is committed under an id of its own, so that a
//! set that was taken over learns it from its next heartbeat at the latest.
//!
//! The same data folder is never refused: its instance id is kept in it, and a
//! process that was killed starts again at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dataflows::record::{Headers, Record, TopicPartition, topic};
use serde::{Deserialize, Serialize};

use super::{Committer, Log, LogError, Settings, TopicSpec, Transaction};

const HEARTBEAT_KEY: &[u8] = b"heartbeat";
const COMMITTERS_PREFIX: &str = "committers/";
/// The committer of the heartbeats.
const CLUSTER_COMMITTER: &str = "cluster-0";
const INSTANCE_FILE: &str = "instance";
const READ_STEP: Duration = Duration::from_millis(200);
const READ_BYTES: usize = 1 << 20;

/// How many committers of each kind this set runs: `{"enrich": 2, "analyse": 1}`.
pub type Committers = BTreeMap<String, u32>;

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Another set is alive: start with the word to take over, or do not start.
    #[error(
        "another set of Tidings runs this deployment (instance {instance} on {host}, process {process}; its last sign \
         of life is {age_s} s old): stop it first, or start with --takeover"
    )]
    Live { instance: String, host: String, process: u32, age_s: i64 },
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Who asks to run.
#[derive(Clone, Debug)]
pub struct Instance {
    pub id: String,
    pub host: String,
}

impl Instance {
    /// The id kept in the data folder, made when there is none.
    pub fn of_folder(data_dir: &Path) -> std::io::Result<Self> {
        let path = data_dir.join(INSTANCE_FILE);
        let id = match std::fs::read_to_string(&path) {
            Ok(id) if !id.trim().is_empty() => id.trim().to_string(),
            _ => {
                let id = uuid::Uuid::new_v4().to_string();
                std::fs::create_dir_all(data_dir)?;
                // Whole or not at all: a torn id would make us a stranger to ourselves.
                let draft = data_dir.join(format!("{INSTANCE_FILE}.draft"));
                std::fs::write(&draft, &id)?;
                std::fs::rename(&draft, &path)?;
                id
            }
        };
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Ok(Self { id, host })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Heartbeat {
    pub instance: String,
    pub host: String,
    pub process: u32,
    pub at_ms: i64,
    /// The set stopped in order: another may start at once.
    pub left: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Highest {
    /// Committers 0..count of this kind have been used.
    pub count: u32,
}

/// Membership of the set that runs; dropping it does not leave.
pub struct Cluster {
    committer: Box<dyn Committer>,
    instance: Instance,
}

/// What joining gives: the membership, and the committers asked for, already holding
/// their ids: `committers["enrich"][1]` is `enrich-1`.
pub struct Joined {
    pub cluster: Cluster,
    pub committers: BTreeMap<String, Vec<Box<dyn Committer>>>,
}

/// The topic that the cluster is agreed on.
pub const SPEC: TopicSpec =
    TopicSpec { name: topic::CLUSTER, partitions: 1, compact: true, retention_ms: None };

impl Cluster {
    /// Joins as the set that runs, or says which other one does. After it, every
    /// committer id ever used is ours or free, and positions may be read.
    pub fn join(
        log: &Arc<dyn Log>,
        settings: &Settings,
        instance: Instance,
        wanted: &Committers,
        takeover: bool,
        now_ms: i64,
    ) -> Result<Joined, ClusterError> {
        log.create(&[SPEC])?;
        let state = State::read(&**log)?;
        if !takeover {
            state.refuse_if_alive(&instance, now_ms, settings.heartbeat_timeout_s)?;
        }
        let mut cluster = Self { committer: log.committer(CLUSTER_COMMITTER)?, instance };
        let highest = state.highest_with(wanted);
        // Written before the ids are used: after a crash in between too many are
        // claimed the next time, never too few.
        cluster.write(&highest, &cluster.heartbeat_at(now_ms, false), now_ms)?;
        let mut committers = BTreeMap::new();
        for (kind, count) in highest {
            let mut held = Vec::new();
            for index in 0..count {
                let committer = log.committer(&format!("{kind}-{index}"))?;
                // The others were claimed to be fenced, and are let go.
                if index < wanted.get(&kind).copied().unwrap_or(0) {
                    held.push(committer);
                }
            }
            committers.insert(kind, held);
        }
        Ok(Joined { cluster, committers })
    }

    /// To be called every `heartbeat_interval_s`. [`LogError::Fenced`]: another set
    /// took over; stop.
    pub fn heartbeat(&mut self, now_ms: i64) -> Result<(), LogError> {
        self.write(&BTreeMap::new(), &self.heartbeat_at(now_ms, false), now_ms)
    }

    /// Says that this set stopped in order, after its last commit.
    pub fn leave(mut self, now_ms: i64) -> Result<(), LogError> {
        self.write(&BTreeMap::new(), &self.heartbeat_at(now_ms, true), now_ms)
    }

    fn heartbeat_at(&self, at_ms: i64, left: bool) -> Heartbeat {
        let Instance { id, host } = self.instance.clone();
        Heartbeat { instance: id, host, process: std::process::id(), at_ms, left }
    }

    fn write(&mut self, highest: &Committers, heartbeat: &Heartbeat, now_ms: i64) -> Result<(), LogError> {
        let mut records: Vec<Record> = highest
            .iter()
            .map(|(kind, count)| {
                record(format!("{COMMITTERS_PREFIX}{kind}"), &Highest { count: *count }, now_ms)
            })
            .collect();
        records.push(record(HEARTBEAT_KEY, heartbeat, now_ms));
        self.committer.commit(&Transaction { records, ..Transaction::default() })
    }
}

fn record(key: impl Into<Vec<u8>>, value: &impl Serialize, now_ms: i64) -> Record {
    Record {
        topic: topic::CLUSTER.into(),
        partition: Some(0),
        key: key.into(),
        value: Some(serde_json::to_vec(value).expect("plain data serializes")),
        timestamp_ms: now_ms,
        headers: Headers::new(),
    }
}

/// What the topic says: the last record of each key.
#[derive(Default)]
struct State {
    heartbeat: Option<Heartbeat>,
    highest: Committers,
}

impl State {
    fn read(log: &dyn Log) -> Result<Self, LogError> {
        let partition = TopicPartition::new(topic::CLUSTER, 0);
        let topics = log.topics()?;
        let end = topics.iter().find(|t| t.name == topic::CLUSTER).map_or(0, |t| t.ranges[0].1);
        let mut reader = log.reader(&[(partition.clone(), 0)].into())?;
        let mut state = Self::default();
        while reader.positions()[&partition] < end {
            for stored in reader.poll(READ_STEP, READ_BYTES)? {
                let Some(value) = stored.value else { continue };
                // A record of a later version may say more; what cannot be read at
                // all must not keep a deployment from starting.
                if stored.key == HEARTBEAT_KEY {
                    state.heartbeat = serde_json::from_slice(&value).ok();
                } else if let Ok(key) = std::str::from_utf8(&stored.key)
                    && let Some(kind) = key.strip_prefix(COMMITTERS_PREFIX)
                    && let Ok(Highest { count }) = serde_json::from_slice(&value)
                {
                    state.highest.insert(kind.to_string(), count);
                }
            }
        }
        Ok(state)
    }

    /// A heartbeat from the future counts as alive: clocks differ by less than the timeout.
    fn refuse_if_alive(&self, instance: &Instance, now_ms: i64, timeout_s: u64) -> Result<(), ClusterError> {
        let Some(heartbeat) = &self.heartbeat else { return Ok(()) };
        let age_s = now_ms.saturating_sub(heartbeat.at_ms) / 1000;
        if heartbeat.left || heartbeat.instance == instance.id || age_s >= timeout_s as i64 {
            return Ok(());
        }
        Err(ClusterError::Live {
            instance: heartbeat.instance.clone(),
            host: heartbeat.host.clone(),
            process: heartbeat.process,
            age_s: age_s.max(0),
        })
    }

    fn highest_with(&self, wanted: &Committers) -> Committers {
        let mut highest = self.highest.clone();
        for (kind, count) in wanted {
            let known = highest.entry(kind.clone()).or_default();
            *known = (*known).max(*count);
        }
        highest
    }
}
