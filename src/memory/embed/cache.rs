//! What content.vectors holds, on disk: how many chunks an item has, and the vector
//! of every text, so that no text is embedded twice.
//!
//! Invariants: written after a commit only, and a function of content.vectors:
//! `vectors_next` is a position that it certainly reflects, and [`Cache::catch_up`]
//! reads on from there. Deleted, it is rebuilt. A vector whose last chunk is gone is
//! gone too, so that a deletion leaves nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dataflows::embed::{Embedded, Plan, TextHash, parse_chunk_key};
use dataflows::record::{Positions, Stored, TopicPartition, topic};
use dataflows::time::DAY_MS;
use dataflows::vector::Vector;
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::log::{Log, LogError};

const SCHEMA: i64 = 1;
/// Bytes read at once while catching up.
const READ_BYTES: usize = 4 << 20;
/// Commits after which the reflected position is moved, so that a restart reads little.
const SETTLE_COMMITS: u32 = 64;

pub struct Cache {
    connection: Mutex<Connection>,
    model: String,
    commits: Mutex<u32>,
}

const TABLES: &str = "
    DROP TABLE IF EXISTS chunk; DROP TABLE IF EXISTS vector; DROP TABLE IF EXISTS vectors_next;
    CREATE TABLE chunk (
        id TEXT NOT NULL, chunk INTEGER NOT NULL, hash BLOB NOT NULL, model TEXT NOT NULL,
        seen_at INTEGER NOT NULL, PRIMARY KEY (id, chunk)) WITHOUT ROWID;
    CREATE INDEX chunk_hash ON chunk (hash, model);
    CREATE INDEX chunk_seen ON chunk (seen_at);
    CREATE TABLE vector (
        hash BLOB NOT NULL, model TEXT NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (hash, model));
    CREATE TABLE vectors_next (partition INTEGER PRIMARY KEY, next INTEGER NOT NULL);
";

impl Cache {
    pub fn open(path: &Path, model: &str) -> Result<Self, LogError> {
        let failed = |e: &dyn std::fmt::Display| {
            LogError::Misconfigured(format!("cannot use {}: {e}", path.display()))
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| failed(&e))?;
        }
        let connection = Connection::open(path).map_err(|e| failed(&e))?;
        let prepare = || -> rusqlite::Result<()> {
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            if version != SCHEMA {
                connection.execute_batch(TABLES)?;
                connection.pragma_update(None, "user_version", SCHEMA)?;
            }
            Ok(())
        };
        prepare().map_err(|e| failed(&e))?;
        Ok(Self { connection: Mutex::new(connection), model: model.to_string(), commits: Mutex::new(0) })
    }

    /// How many chunks the item has, from 0 without gaps.
    pub fn chunks_of(&self, id: &str) -> Result<u32, LogError> {
        let connection = self.connection.lock();
        let count = || -> rusqlite::Result<u32> {
            connection
                .prepare_cached("SELECT coalesce(max(chunk) + 1, 0) FROM chunk WHERE id = ?1")?
                .query_row([id], |row| row.get(0))
        };
        count().map_err(broken)
    }

    /// The vector of a text, if it was embedded before.
    pub fn vector(&self, hash: TextHash) -> Option<Vector> {
        let connection = self.connection.lock();
        let find = || -> rusqlite::Result<Option<Vec<u8>>> {
            connection
                .prepare_cached("SELECT vector FROM vector WHERE hash = ?1 AND model = ?2")?
                .query_row(params![hash.0, self.model], |row| row.get(0))
                .optional()
        };
        // A cache that cannot be read costs an embedding, nothing else.
        find().ok().flatten().and_then(|bytes| Vector::from_bytes(&bytes))
    }

    /// Keeps what was committed.
    pub fn remember(&self, done: &[(Arc<Plan>, Vec<Vector>)]) -> Result<(), LogError> {
        let mut connection = self.connection.lock();
        let mut keep = || -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            for (plan, vectors) in done {
                for (index, (chunk, vector)) in (0u32..).zip(plan.chunks.iter().zip(vectors)) {
                    let row = Row { id: &plan.id, chunk: index, hash: chunk.hash, model: &self.model };
                    put(&transaction, row, vector, plan.timestamp_ms)?;
                }
                for index in plan.chunks.len() as u32..plan.chunks_before {
                    remove(&transaction, &plan.id, index)?;
                }
            }
            transaction.commit()
        };
        keep().map_err(broken)?;
        *self.commits.lock() += 1;
        Ok(())
    }

    /// Whether it is time to call [`Cache::settle`].
    pub fn is_unsettled(&self) -> bool {
        *self.commits.lock() >= SETTLE_COMMITS
    }

    /// Notes that everything committed so far is here. Only the one committer of
    /// content.vectors may say so.
    pub fn settle(&self, log: &dyn Log) -> Result<(), LogError> {
        let ends = ends(log)?;
        self.store_next(&ends)?;
        *self.commits.lock() = 0;
        Ok(())
    }

    /// Reads what is committed and not here, and forgets what is older than the
    /// retention. Called before anything is embedded, by the only committer.
    pub fn catch_up(&self, log: &dyn Log, retention_d: u32) -> Result<(), LogError> {
        let ends = ends(log)?;
        let mut from = ends.clone();
        {
            let connection = self.connection.lock();
            for (partition, next) in &mut from {
                *next = connection
                    .query_row(
                        "SELECT next FROM vectors_next WHERE partition = ?1",
                        [partition.partition],
                        |row| row.get::<_, i64>(0),
                    )
                    .optional()
                    .map_err(broken)?
                    .map_or(0, |next| next as u64);
            }
        }
        let mut reader = log.reader(&from)?;
        let mut latest_ms = 0;
        while reader.positions().iter().any(|(partition, at)| ends.get(partition).is_some_and(|end| at < end))
        {
            let records = reader.poll(Duration::from_millis(100), READ_BYTES)?;
            latest_ms = records.iter().map(|record| record.timestamp_ms).fold(latest_ms, i64::max);
            self.follow(&records).map_err(broken)?;
        }
        self.store_next(&ends)?;
        let before_ms = latest_ms - i64::from(retention_d) * DAY_MS;
        self.expire(before_ms).map_err(broken)
    }

    fn follow(&self, records: &[Stored]) -> rusqlite::Result<()> {
        let mut connection = self.connection.lock();
        let transaction = connection.transaction()?;
        for record in records {
            let Some((id, chunk)) = parse_chunk_key(&record.key) else { continue };
            let embedded = record.value.as_deref().and_then(|v| serde_json::from_slice::<Embedded>(v).ok());
            match embedded.and_then(|e| Some((TextHash::from_hex(&e.text_hash)?, e))) {
                Some((hash, e)) => {
                    let row = Row { id, chunk, hash, model: &e.model };
                    put(&transaction, row, &e.vector, record.timestamp_ms)?;
                }
                None => remove(&transaction, id, chunk)?,
            }
        }
        transaction.commit()
    }

    fn expire(&self, before_ms: i64) -> rusqlite::Result<()> {
        let mut connection = self.connection.lock();
        let transaction = connection.transaction()?;
        transaction.execute("DELETE FROM chunk WHERE seen_at < ?1", [before_ms])?;
        transaction.execute(
            "DELETE FROM vector WHERE NOT EXISTS
                (SELECT 1 FROM chunk WHERE chunk.hash = vector.hash AND chunk.model = vector.model)",
            [],
        )?;
        transaction.commit()
    }

    fn store_next(&self, ends: &Positions) -> Result<(), LogError> {
        let mut connection = self.connection.lock();
        let mut store = || -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            for (partition, next) in ends {
                transaction.execute(
                    "INSERT OR REPLACE INTO vectors_next VALUES (?1, ?2)",
                    params![partition.partition, *next as i64],
                )?;
            }
            transaction.commit()
        };
        store().map_err(broken)
    }
}

/// A cache that cannot be read or written ends the stage: the next start reads the log again.
#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
fn broken(error: rusqlite::Error) -> LogError {
    LogError::Fatal(format!("the cache of embeddings: {error}"))
}

/// The committed end of every partition of content.vectors.
fn ends(log: &dyn Log) -> Result<Positions, LogError> {
    let topics = log.topics()?;
    let vectors = topics.iter().find(|info| info.name == topic::VECTORS);
    let info =
        vectors.ok_or_else(|| LogError::Misconfigured(format!("topic {} does not exist", topic::VECTORS)))?;
    let ends = (0..).zip(&info.ranges);
    Ok(ends.map(|(partition, (_, end))| (TopicPartition::new(topic::VECTORS, partition), *end)).collect())
}

struct Row<'a> {
    id: &'a str,
    chunk: u32,
    hash: TextHash,
    model: &'a str,
}

#[expect(clippy::needless_pass_by_value, reason = "it is used up")]
fn put(transaction: &Transaction<'_>, row: Row<'_>, vector: &Vector, seen_at: i64) -> rusqlite::Result<()> {
    let before = old_text(transaction, row.id, row.chunk)?;
    transaction
        .prepare_cached("INSERT OR REPLACE INTO chunk VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![row.id, row.chunk, row.hash.0, row.model, seen_at])?;
    transaction.prepare_cached("INSERT OR IGNORE INTO vector VALUES (?1, ?2, ?3)")?.execute(params![
        row.hash.0,
        row.model,
        vector.to_bytes()
    ])?;
    drop_unused(transaction, before)
}

fn remove(transaction: &Transaction<'_>, id: &str, chunk: u32) -> rusqlite::Result<()> {
    let before = old_text(transaction, id, chunk)?;
    transaction
        .prepare_cached("DELETE FROM chunk WHERE id = ?1 AND chunk = ?2")?
        .execute(params![id, chunk])?;
    drop_unused(transaction, before)
}

type Text = (Vec<u8>, String);

fn old_text(transaction: &Transaction<'_>, id: &str, chunk: u32) -> rusqlite::Result<Option<Text>> {
    transaction
        .prepare_cached("SELECT hash, model FROM chunk WHERE id = ?1 AND chunk = ?2")?
        .query_row(params![id, chunk], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// Drops the vector of a text that no chunk has any more.
fn drop_unused(transaction: &Transaction<'_>, text: Option<Text>) -> rusqlite::Result<()> {
    let Some((hash, model)) = text else { return Ok(()) };
    transaction
        .prepare_cached(
            "DELETE FROM vector WHERE hash = ?1 AND model = ?2
             AND NOT EXISTS (SELECT 1 FROM chunk WHERE hash = ?1 AND model = ?2)",
        )?
        .execute(params![hash, model])?;
    Ok(())
}
