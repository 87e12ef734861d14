//! The embedded memory: one SQLite file is the truth, searches scan a copy of the
//! vectors at one byte a value in memory and rescore the best with the full ones.
//!
//! Invariants:
//! - A batch is one SQLite transaction with its positions: after `kill -9` the file
//!   holds whole batches and the positions after the last one, so replay is exact.
//! - The copy is changed only after the commit and under the writer's lock, so that
//!   it equals the file; it is loaded by the first search that needs it.
//! - `item.deleted` rows keep the version of a deletion: nothing older returns.

mod scan;
mod store;

use std::path::{Path, PathBuf};

use dataflows::record::Positions;
use dataflows::time::Millis;
use parking_lot::{Mutex, RwLock};
use rusqlite::{Connection, OpenFlags};
use serde::Deserialize;

use super::{Batch, Candidates, Filters, Item, Memory, MemoryError, QueryVector, State};
use scan::Scan;
use store::Effect;

/// Table `[memory.sqlite]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub cache_kbytes: i64,
    pub busy_timeout_ms: u64,
    pub rescore_factor: usize,
    pub readers_max: usize,
}

pub struct Sqlite {
    path: PathBuf,
    settings: Settings,
    writer: Mutex<Connection>,
    /// Idle connections of searches.
    readers: Mutex<Vec<Connection>>,
    scan: RwLock<Option<Scan>>,
}

impl Sqlite {
    pub fn open(settings: &Settings, path: &Path) -> Result<Self, MemoryError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| {
                MemoryError::Misconfigured(format!("cannot create {}: {e}", folder.display()))
            })?;
        }
        let mut writer = connect(settings, path, OpenFlags::default())?;
        store::prepare(&mut writer).map_err(|e| explain(path, &e))?;
        Ok(Self {
            path: path.to_path_buf(),
            settings: settings.clone(),
            writer: Mutex::new(writer),
            readers: Mutex::default(),
            scan: RwLock::default(),
        })
    }

    /// Runs `read` on a connection of its own, so that searches do not wait for writes.
    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, MemoryError> {
        let idle = self.readers.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                connect(&self.settings, &self.path, flags)?
            }
        };
        let result = read(&connection).map_err(|e| explain(&self.path, &e));
        let mut readers = self.readers.lock();
        if readers.len() < self.settings.readers_max {
            readers.push(connection);
        }
        result
    }

    /// Repeats what was committed on the copy. Called with the writer's lock held.
    fn follow(&self, effects: Vec<Effect>) {
        let mut scan = self.scan.write();
        if let Some(copy) = scan.as_mut() {
            effects.into_iter().for_each(|effect| copy.apply(effect));
            if copy.is_mostly_gone() {
                *scan = None;
            }
        }
    }

    fn dense(
        &self,
        vector: QueryVector<'_>,
        filters: &Filters,
        limit: usize,
    ) -> Result<Vec<(String, String)>, MemoryError> {
        let wide = limit.saturating_mul(self.settings.rescore_factor.max(1));
        let nearest = |scan: &Option<Scan>| match scan {
            Some(scan) if scan.model == vector.model => Some(scan.nearest(vector.values, filters, wide)),
            _ => None,
        };
        let rows = nearest(&self.scan.read());
        let rows = match rows {
            Some(rows) => rows,
            None => {
                let mut scan = self.scan.write();
                if scan.as_ref().is_none_or(|scan| scan.model != vector.model) {
                    *scan = Some(self.read(|connection| Scan::load(connection, vector.model))?);
                }
                nearest(&scan).unwrap_or_default()
            }
        };
        self.read(|connection| store::rescore(connection, vector.values, &rows, limit))
    }
}

impl Memory for Sqlite {
    fn backend(&self) -> &'static str {
        "sqlite"
    }

    fn apply(&self, batch: &Batch) -> Result<(), MemoryError> {
        let mut writer = self.writer.lock();
        let applied = store::apply(&mut writer, batch).map_err(|e| explain(&self.path, &e))?;
        self.follow(applied);
        Ok(())
    }

    fn candidates(
        &self,
        vector: Option<QueryVector<'_>>,
        terms: &[String],
        filters: &Filters,
        limit: usize,
    ) -> Result<Candidates, MemoryError> {
        let dense = match vector {
            Some(vector) => self.dense(vector, filters, limit)?,
            None => Vec::new(),
        };
        let lexical = if terms.is_empty() {
            Vec::new()
        } else {
            self.read(|connection| store::lexical(connection, terms, filters, limit))?
        };
        Ok(Candidates { dense, lexical })
    }

    fn items(&self, ids: &[String]) -> Result<Vec<Item>, MemoryError> {
        self.read(|connection| store::items(connection, ids))
    }

    fn state(&self) -> Result<State, MemoryError> {
        self.read(store::state)
    }

    fn as_of(&self) -> Result<Option<Millis>, MemoryError> {
        self.read(store::as_of)
    }

    /// The file is ours alone while we run.
    fn reflects(&self, _positions: &Positions) -> Result<bool, MemoryError> {
        Ok(true)
    }

    fn items_since(&self, since: Millis) -> Result<u64, MemoryError> {
        store::items_since(&self.writer.lock(), since).map_err(|e| explain(&self.path, &e))
    }

    fn expire(&self, before: Millis) -> Result<(), MemoryError> {
        let mut writer = self.writer.lock();
        let expired = store::expire(&mut writer, before).map_err(|e| explain(&self.path, &e))?;
        self.follow(expired);
        Ok(())
    }
}

fn connect(settings: &Settings, path: &Path, flags: OpenFlags) -> Result<Connection, MemoryError> {
    let connection = Connection::open_with_flags(path, flags).map_err(|e| explain(path, &e))?;
    let configure = || {
        connection.busy_timeout(std::time::Duration::from_millis(settings.busy_timeout_ms))?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.pragma_update(None, "cache_size", -settings.cache_kbytes)?;
        if flags.contains(OpenFlags::SQLITE_OPEN_READ_WRITE) {
            connection.pragma_update(None, "journal_mode", "WAL")?;
            // Survives kill -9 whole; a power cut may lose the last batches, which
            // their positions go with, so they are read again.
            connection.pragma_update(None, "synchronous", "NORMAL")?;
        }
        Ok(())
    };
    configure().map_err(|e| explain(path, &e))?;
    Ok(connection)
}

fn explain(path: &Path, error: &rusqlite::Error) -> MemoryError {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull, NotADatabase, OutOfMemory,
        PermissionDenied, ReadOnly, SystemIoFailure,
    };
    let shown = path.display();
    match error.sqlite_error_code() {
        Some(DatabaseBusy | DatabaseLocked | DiskFull | SystemIoFailure | OutOfMemory) => {
            MemoryError::Retry(format!("{shown}: {error}"))
        }
        Some(CannotOpen | PermissionDenied | ReadOnly) => {
            MemoryError::Misconfigured(format!("cannot use {shown}: {error}"))
        }
        Some(DatabaseCorrupt | NotADatabase) => MemoryError::Fatal(format!(
            "{shown} is damaged ({error}); stop, delete it and start again: it is rebuilt from the log"
        )),
        _ => MemoryError::Fatal(format!("{shown}: {error}")),
    }
}
