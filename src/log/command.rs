//! `tidings topics list` and `topics tail`: what the log holds, for people and scripts.
//!
//! Consumes an open log and produces lines; the same lines leave over HTTP
//! (`api.rs`), so that the command reads the same when another process holds the
//! folder. Only committed records are shown.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use dataflows::record::{Positions, Stored, TopicPartition};
use dataflows::time::Millis;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Log, LogError, Reader, TopicInfo};

/// How long one look for records may take; a stop is noticed after it at the latest.
const POLL_TIMEOUT: Duration = Duration::from_millis(250);
const POLL_BYTES: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("there is no topic {name}; there are: {known}")]
    NoTopic { name: String, known: String },
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

/// Where `topics tail` starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum From {
    #[default]
    Beginning,
    End,
}

/// What `topics tail` shows.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TailArgs {
    /// The topic, without the deployment's prefix
    pub topic: String,
    /// Start at the first record kept, or after the last one there is
    #[arg(long, value_enum, default_value = "beginning")]
    pub from: From,
    /// Stop after this many records
    #[arg(long, value_parser = at_least_one)]
    pub limit: Option<usize>,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Stay and print what arrives
    #[arg(short, long)]
    pub follow: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "a number from 1 on".to_string())
}

impl TailArgs {
    /// Where the process that holds the folder answers the same, as JSON lines.
    pub fn path(&self) -> String {
        let topic: String = url::form_urlencoded::byte_serialize(self.topic.as_bytes()).collect();
        let from = if self.from == From::End { "end" } else { "beginning" };
        let limit = self.limit.map_or(String::new(), |limit| format!("&limit={limit}"));
        format!("/v1/topics/{topic}/records?from={from}&follow={}{limit}", self.follow)
    }
}

/// One line of `topics list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TopicLine {
    pub topic: String,
    pub partitions: usize,
    /// Offsets between the first that can be read and the committed end; compaction
    /// and Kafka's control records leave gaps, so there may be fewer records.
    pub offsets: u64,
}

impl std::convert::From<&TopicInfo> for TopicLine {
    fn from(info: &TopicInfo) -> Self {
        let offsets = info.ranges.iter().map(|(first, end)| end - first).sum();
        Self { topic: info.name.clone(), partitions: info.ranges.len(), offsets }
    }
}

/// One record of `topics tail --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RecordLine {
    pub topic: String,
    pub partition: u32,
    pub offset: u64,
    pub timestamp: Millis,
    pub key: String,
    pub headers: BTreeMap<String, String>,
    /// JSON where the value is JSON, else text; null is a tombstone.
    pub value: Value,
}

impl std::convert::From<&Stored> for RecordLine {
    fn from(stored: &Stored) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let value = match stored.value.as_deref() {
            None => Value::Null,
            Some(bytes) => serde_json::from_slice(bytes).unwrap_or_else(|_| Value::String(text(bytes))),
        };
        Self {
            topic: stored.topic.to_string(),
            partition: stored.partition,
            offset: stored.offset,
            timestamp: Millis(stored.timestamp_ms),
            key: text(&stored.key),
            headers: stored.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            value,
        }
    }
}

impl RecordLine {
    /// For people: where, when, key, value. Control characters cannot move the terminal.
    fn plain(&self) -> String {
        let value = match &self.value {
            Value::Null => "(tombstone)".to_string(),
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        let line = format!(
            "{}/{}@{}  {}  {}  {value}",
            self.topic, self.partition, self.offset, self.timestamp, self.key
        );
        line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
    }

    /// One line, with or without JSON.
    pub fn line(&self, json: bool) -> String {
        if json { serde_json::to_string(self).expect("plain data serializes") } else { self.plain() }
    }
}

pub fn list(log: &dyn Log) -> Result<Vec<TopicLine>, LogError> {
    Ok(log.topics()?.iter().map(TopicLine::from).collect())
}

/// Writes `topics list` as columns, or as one JSON object a line.
pub fn write_list(lines: &[TopicLine], json: bool, out: &mut dyn Write) -> io::Result<()> {
    let width = lines.iter().map(|line| line.topic.len()).max().unwrap_or(0).max("topic".len());
    if !json {
        writeln!(out, "{:<width$}  partitions     offsets", "topic")?;
    }
    for line in lines {
        if json {
            writeln!(out, "{}", serde_json::to_string(line).expect("plain data serializes"))?;
        } else {
            writeln!(out, "{:<width$}  {:>10}  {:>10}", line.topic, line.partitions, line.offsets)?;
        }
    }
    Ok(())
}

/// Writes `topics tail` until the end seen at the start, the limit, or with `follow`
/// until `stop` says so. A closed pipe ends it in order.
pub fn write_tail(
    log: &dyn Log,
    args: &TailArgs,
    out: &mut dyn Write,
    stop: impl Fn() -> bool,
) -> Result<(), CommandError> {
    let mut tail = Tail::open(log, args)?;
    while !stop() {
        let Some(lines) = tail.next_batch()? else { break };
        for line in &lines {
            match writeln!(out, "{}", line.line(args.json)) {
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                outcome => outcome?,
            }
        }
        match out.flush() {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            outcome => outcome?,
        }
    }
    Ok(())
}

/// The records of one tail, in batches.
pub struct Tail {
    reader: Box<dyn Reader>,
    /// Where it ends, unless it follows.
    until: Option<Positions>,
    left: usize,
}

impl Tail {
    pub fn open(log: &dyn Log, args: &TailArgs) -> Result<Self, CommandError> {
        Self::open_at(log, args, None)
    }

    /// Begins at these offsets, one a partition, as far as they are still there.
    pub fn open_at(log: &dyn Log, args: &TailArgs, start: Option<&[u64]>) -> Result<Self, CommandError> {
        let topics = log.topics()?;
        let Some(info) = topics.iter().find(|info| info.name == args.topic) else {
            let known = topics.iter().map(|info| info.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(CommandError::NoTopic { name: args.topic.clone(), known });
        };
        let at = |pick: fn(&(u64, u64)) -> u64| -> Positions {
            let position = |(p, range)| (TopicPartition::new(info.name.as_str(), p as u32), pick(range));
            info.ranges.iter().enumerate().map(position).collect()
        };
        let (first, end) = (at(|range| range.0), at(|range| range.1));
        let mut from = if args.from == From::End { end.clone() } else { first.clone() };
        for (partition, next) in (0..).zip(start.unwrap_or_default()) {
            let partition = TopicPartition::new(info.name.as_str(), partition);
            if let Some(position) = from.get_mut(&partition) {
                *position = (*next).clamp(first[&partition], end[&partition]);
            }
        }
        let reader = log.reader(&from)?;
        Ok(Self { reader, until: (!args.follow).then_some(end), left: args.limit.unwrap_or(usize::MAX) })
    }

    /// For each partition the offset that is read next.
    pub fn positions(&self) -> Positions {
        self.reader.positions()
    }

    /// The next records, none if nothing came in a while; `None` at the end.
    pub fn next_batch(&mut self) -> Result<Option<Vec<RecordLine>>, LogError> {
        let reached = |until: &Positions| {
            let positions = self.reader.positions();
            until.iter().all(|(partition, end)| positions.get(partition) >= Some(end))
        };
        if self.left == 0 || self.until.as_ref().is_some_and(reached) {
            return Ok(None);
        }
        let read = self.reader.poll(POLL_TIMEOUT, POLL_BYTES)?;
        let before_end = |stored: &&Stored| match &self.until {
            Some(until) => {
                let at = TopicPartition::new(stored.topic.clone(), stored.partition);
                until.get(&at).is_some_and(|end| stored.offset < *end)
            }
            None => true,
        };
        let lines: Vec<_> = read.iter().filter(before_end).take(self.left).map(RecordLine::from).collect();
        self.left -= lines.len();
        Ok(Some(lines))
    }
}
