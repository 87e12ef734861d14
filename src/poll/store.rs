//! What the pollers remember, in one SQLite file of the data folder.
//!
//! Invariant: the outcome of a poll is written in one synced transaction, **after**
//! the log has its records. A crash before that polls again and sends again what
//! the log already has; Enrich knows those as duplicates. Only the first-seen
//! times of items without a date are written before, so that the second sending
//! equals the first.

use std::collections::BTreeMap;
use std::path::Path;

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::changes::{Changes, Known};
use super::feed::Wishes;
use super::fetch::Validators;
use super::identity::{Hash, Ladder};
use super::rhythm::Rhythm;

pub const FILE: &str = "poll.sqlite";
const VERSION: i64 = 2;

const SCHEMA: &str = "
    CREATE TABLE setting (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE source (key TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE item (
        source TEXT NOT NULL, key TEXT NOT NULL, guid BLOB, link BLOB, title BLOB NOT NULL,
        content BLOB NOT NULL, published_ms INTEGER NOT NULL, emitted INTEGER NOT NULL,
        absent_since_ms INTEGER, PRIMARY KEY (source, key)) WITHOUT ROWID;
    CREATE TABLE undated (
        source TEXT NOT NULL, key TEXT NOT NULL, first_seen_ms INTEGER NOT NULL,
        PRIMARY KEY (source, key)) WITHOUT ROWID;
";

/// Since version 2: posts of streams that were told, by a hash of their id.
const SCHEMA_TOLD: &str = "
    CREATE TABLE told (source TEXT NOT NULL, id INTEGER NOT NULL, time_us INTEGER NOT NULL,
        PRIMARY KEY (source, id)) WITHOUT ROWID;
";

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{FILE} was written by another version of Tidings (schema {0}, this one has {VERSION})")]
    Version(i64),
    #[error("{FILE}: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("{FILE} holds a state that cannot be read: {0}")]
    State(#[from] serde_json::Error),
}

/// What is remembered of one source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct State {
    pub ladder: Ladder,
    /// The first fetch was worked off.
    pub seeded: bool,
    pub validators: Validators,
    /// Where the configured URL has moved for good.
    pub moved_to: Option<String>,
    /// The server said 410; looked at rarely.
    pub gone: bool,
    pub errors_in_row: u32,
    pub last_error: Option<String>,
    pub last_attempt_ms: Option<i64>,
    pub last_success_ms: Option<i64>,
    pub next_due_ms: Option<i64>,
    pub wishes: Wishes,
    pub polls: u64,
    pub created: u64,
    pub updated: u64,
    /// Entries that could not be read, over all fetches.
    pub broken: u64,
    /// Records that the log refused for good.
    pub rejected: u64,
    /// Items told to be gone.
    pub deleted: u64,
    /// How far a platform that numbers its items, or a stream, was followed.
    pub cursor: Option<String>,
    /// Ids of the last page and the items' keys, for platforms that page by ids of
    /// their own: what is missing from the next page was deleted.
    pub page: Vec<(String, String)>,
    /// When items came.
    pub rhythm: Rhythm,
}

pub struct Store {
    connection: Mutex<Connection>,
}

impl Store {
    /// Opens or creates the file in `folder`.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(folder.join(FILE))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        match connection.query_row("PRAGMA user_version", [], |row| row.get(0))? {
            0 => connection.execute_batch(&format!(
                "BEGIN; {SCHEMA} {SCHEMA_TOLD} PRAGMA user_version = {VERSION}; COMMIT;"
            ))?,
            1 => connection
                .execute_batch(&format!("BEGIN; {SCHEMA_TOLD} PRAGMA user_version = {VERSION}; COMMIT;"))?,
            VERSION => {}
            other => return Err(StoreError::Version(other)),
        }
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// The states as they are, also while another process polls; none before the first poll.
    pub fn read_states(folder: &Path) -> Result<BTreeMap<String, State>, StoreError> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(BTreeMap::new());
        }
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        states(&connection)
    }

    pub fn states(&self) -> Result<BTreeMap<String, State>, StoreError> {
        states(&self.connection.lock())
    }

    /// A number that is drawn once per data folder, so that two installations do
    /// not poll in step.
    pub fn seed(&self) -> Result<u64, StoreError> {
        use std::hash::{BuildHasher, Hasher};
        let drawn = std::hash::RandomState::new().build_hasher().finish() >> 1;
        let connection = self.connection.lock();
        connection.execute(
            "INSERT OR IGNORE INTO setting VALUES ('seed', ?1)",
            [i64::try_from(drawn).unwrap_or_default()],
        )?;
        let seed: i64 =
            connection.query_row("SELECT value FROM setting WHERE name = 'seed'", [], |r| r.get(0))?;
        Ok(seed.unsigned_abs())
    }

    pub fn known(&self, source: &str) -> Result<Vec<Known>, StoreError> {
        let connection = self.connection.lock();
        let mut statement = connection.prepare_cached(
            "SELECT key, guid, link, title, content, published_ms, emitted, absent_since_ms
             FROM item WHERE source = ?1",
        )?;
        let rows = statement.query_map([source], |row| {
            Ok(Known {
                key: row.get(0)?,
                guid: row.get::<_, Option<[u8; 16]>>(1)?.map(Hash),
                link: row.get::<_, Option<[u8; 16]>>(2)?.map(Hash),
                title: Hash(row.get(3)?),
                content: Hash(row.get(4)?),
                published_ms: row.get(5)?,
                emitted: row.get(6)?,
                absent_since_ms: row.get(7)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub fn undated(&self, source: &str) -> Result<BTreeMap<String, i64>, StoreError> {
        let connection = self.connection.lock();
        let mut statement =
            connection.prepare_cached("SELECT key, first_seen_ms FROM undated WHERE source = ?1")?;
        let rows = statement.query_map([source], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Before the events are sent.
    pub fn write_undated(&self, source: &str, undated: &[(String, i64)]) -> Result<(), StoreError> {
        if undated.is_empty() {
            return Ok(());
        }
        let mut connection = self.connection.lock();
        let transaction = connection.transaction()?;
        for (key, first_seen_ms) in undated {
            transaction
                .prepare_cached("INSERT OR IGNORE INTO undated VALUES (?1, ?2, ?3)")?
                .execute(params![source, key, first_seen_ms])?;
        }
        Ok(transaction.commit()?)
    }

    /// After the log has the events: the state, and with `changes` the items.
    pub fn commit(&self, source: &str, state: &State, changes: Option<&Changes>) -> Result<(), StoreError> {
        let text = serde_json::to_string(state)?;
        let mut connection = self.connection.lock();
        let transaction = connection.transaction()?;
        transaction.execute("INSERT OR REPLACE INTO source VALUES (?1, ?2)", params![source, text])?;
        if let Some(changes) = changes {
            for row in &changes.remember {
                transaction
                    .prepare_cached(
                        "INSERT OR REPLACE INTO item VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                    )?
                    .execute(params![
                        source,
                        row.key,
                        row.guid.map(|h| h.0),
                        row.link.map(|h| h.0),
                        row.title.0,
                        row.content.0,
                        row.published_ms,
                        row.emitted,
                        row.absent_since_ms,
                    ])?;
            }
            for key in &changes.forget {
                transaction
                    .prepare_cached("DELETE FROM item WHERE source = ?1 AND key = ?2")?
                    .execute(params![source, key])?;
            }
            transaction.execute("DELETE FROM undated WHERE source = ?1", [source])?;
        }
        Ok(transaction.commit()?)
    }

    /// Forgets sources that are not configured and were last polled before `before_ms`.
    pub fn forget_unused(&self, configured: &[&str], before_ms: i64) -> Result<usize, StoreError> {
        let mut connection = self.connection.lock();
        let unused: Vec<String> = states(&connection)?
            .into_iter()
            .filter(|(key, state)| {
                !configured.contains(&key.as_str()) && state.last_attempt_ms.unwrap_or(0) < before_ms
            })
            .map(|(key, _)| key)
            .collect();
        let transaction = connection.transaction()?;
        for key in &unused {
            transaction.execute("DELETE FROM source WHERE key = ?1", [key])?;
            transaction.execute("DELETE FROM item WHERE source = ?1", [key])?;
            transaction.execute("DELETE FROM undated WHERE source = ?1", [key])?;
            transaction.execute("DELETE FROM told WHERE source = ?1", [key])?;
        }
        transaction.commit()?;
        Ok(unused.len())
    }

    /// The last `max` posts of a stream that were told and the one before, which says how
    /// far back they go; the oldest first.
    pub fn told(&self, source: &str, max: usize) -> Result<Vec<(i64, u64)>, StoreError> {
        let connection = self.connection.lock();
        let mut statement = connection.prepare_cached(
            "SELECT id, time_us FROM told WHERE source = ?1 ORDER BY time_us DESC, id LIMIT ?2",
        )?;
        let max = i64::try_from(max).unwrap_or(i64::MAX).saturating_add(1);
        let rows = statement
            .query_map(params![source, max], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
        let mut told: Vec<(i64, u64)> = rows.collect::<Result<_, _>>()?;
        told.reverse();
        Ok(told)
    }

    /// After the log has the records of a stream: its state and what was told; what is
    /// older than `forgotten_us` goes.
    pub fn commit_told(
        &self,
        source: &str,
        state: &State,
        told: &[(i64, u64)],
        forgotten_us: u64,
    ) -> Result<(), StoreError> {
        let text = serde_json::to_string(state)?;
        let us = |us: u64| i64::try_from(us).unwrap_or(i64::MAX);
        let mut connection = self.connection.lock();
        let transaction = connection.transaction()?;
        transaction.execute("INSERT OR REPLACE INTO source VALUES (?1, ?2)", params![source, text])?;
        for (id, time_us) in told {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO told VALUES (?1, ?2, ?3)")?
                .execute(params![source, id, us(*time_us)])?;
        }
        if forgotten_us > 0 {
            transaction
                .prepare_cached("DELETE FROM told WHERE source = ?1 AND time_us < ?2")?
                .execute(params![source, us(forgotten_us)])?;
        }
        Ok(transaction.commit()?)
    }

    /// How many items are remembered of a source.
    pub fn count(&self, source: &str) -> Result<usize, StoreError> {
        let connection = self.connection.lock();
        let count = connection
            .query_row("SELECT count(*) FROM item WHERE source = ?1", [source], |row| row.get::<_, i64>(0))
            .optional()?;
        Ok(count.and_then(|c| usize::try_from(c).ok()).unwrap_or(0))
    }
}

fn states(connection: &Connection) -> Result<BTreeMap<String, State>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT key, state FROM source")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let mut states = BTreeMap::new();
    for row in rows {
        let (key, text) = row?;
        states.insert(key, serde_json::from_str(&text)?);
    }
    Ok(states)
}
