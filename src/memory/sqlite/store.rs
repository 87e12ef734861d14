//! The statements: changes in, rows and [`Effect`]s out. Nothing here knows the copy
//! in memory.

use std::collections::HashSet;

use dataflows::embed::Embedded;
use dataflows::event::Version;
use dataflows::record::{Positions, TopicPartition};
use dataflows::time::Millis;
use dataflows::vector::{Vector, dot};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, named_params, params};

use crate::memory::terms::terms;
use crate::memory::{Batch, Change, Filters, Item, State};

/// A file of another number is of a version that this one cannot read.
const SCHEMA: i64 = 1;

/// What a commit changed, for the copy in memory.
pub(super) enum Effect {
    Item(Box<Item>),
    NoItem(String),
    Chunk { row: i64, chunk: Box<Embedded> },
    NoChunk { row: i64 },
}

/// Creates what is missing; a file of another schema is emptied, because the
/// memory is rebuilt from the log.
pub(super) fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let transaction = connection.transaction()?;
    if version != SCHEMA {
        transaction.execute_batch(
            "DROP TABLE IF EXISTS words; DROP TABLE IF EXISTS chunk; DROP TABLE IF EXISTS item;
             DROP TABLE IF EXISTS position; DROP TABLE IF EXISTS fact;",
        )?;
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "user_version", SCHEMA)?;
    }
    transaction.commit()
}

/// Revisions are u64 and stored as the i64 of the same bits: they are compared in
/// Rust only.
const TABLES: &str = "
    CREATE TABLE item (
        no INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, revision INTEGER NOT NULL,
        enrichment INTEGER NOT NULL, deleted INTEGER NOT NULL, seen_at INTEGER NOT NULL,
        platform TEXT NOT NULL, channel TEXT, author TEXT, title TEXT, text TEXT, url TEXT,
        published_at INTEGER NOT NULL, lang TEXT, topics TEXT NOT NULL, compound REAL);
    CREATE INDEX item_seen ON item (seen_at);
    CREATE VIRTUAL TABLE words USING fts5 (
        title, body, content = '', contentless_delete = 1, tokenize = \"unicode61 remove_diacritics 0\");
    CREATE TABLE chunk (
        no INTEGER PRIMARY KEY, id TEXT NOT NULL, chunk INTEGER NOT NULL, model TEXT NOT NULL,
        revision INTEGER NOT NULL, enrichment INTEGER NOT NULL, text TEXT NOT NULL, vector BLOB NOT NULL,
        UNIQUE (id, chunk, model));
    CREATE TABLE position (
        topic TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL, PRIMARY KEY (topic, partition));
    CREATE TABLE fact (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
";

pub(super) fn apply(connection: &mut Connection, batch: &Batch) -> rusqlite::Result<Vec<Effect>> {
    let transaction = connection.transaction()?;
    let mut effects = Vec::new();
    for change in &batch.changes {
        match change {
            Change::Item(item) => put_item(&transaction, item, &mut effects)?,
            Change::Deleted { id, version, seen_at } => {
                if is_news(&transaction, id, *version)? {
                    drop_words(&transaction, id)?;
                    put_row(&transaction, &deleted(id, *version, *seen_at), true)?;
                    effects.push(Effect::NoItem(id.clone()));
                }
            }
            Change::Forgotten { id } => forget(&transaction, id, &mut effects)?,
            Change::Chunk { embedded, .. } => put_chunk(&transaction, embedded, &mut effects)?,
            Change::ChunkGone { id, chunk, version } => {
                drop_chunk(&transaction, id, *chunk, *version, &mut effects)?;
            }
        }
    }
    put_positions(&transaction, &batch.positions)?;
    if let Some(as_of) = batch.as_of {
        transaction
            .prepare_cached(
                "INSERT INTO fact VALUES ('as_of', ?1)
                 ON CONFLICT DO UPDATE SET value = max(value, excluded.value)",
            )?
            .execute([as_of.0])?;
    }
    transaction.commit()?;
    Ok(effects)
}

fn put_positions(transaction: &Transaction<'_>, positions: &Positions) -> rusqlite::Result<()> {
    let mut put = transaction.prepare_cached("INSERT OR REPLACE INTO position VALUES (?1, ?2, ?3)")?;
    for (partition, next) in positions {
        put.execute(params![&*partition.topic, partition.partition, *next as i64])?;
    }
    Ok(())
}

/// Whether nothing newer than `version` of the item is stored.
fn is_news(connection: &Connection, id: &str, version: Version) -> rusqlite::Result<bool> {
    let stored = connection
        .prepare_cached("SELECT revision, enrichment FROM item WHERE id = ?1")?
        .query_row([id], read_version)
        .optional()?;
    Ok(stored.is_none_or(|stored| stored <= version))
}

fn read_version(row: &Row<'_>) -> rusqlite::Result<Version> {
    Ok(Version { revision: row.get::<_, i64>(0)? as u64, enrichment: row.get(1)? })
}

fn put_item(transaction: &Transaction<'_>, item: &Item, effects: &mut Vec<Effect>) -> rusqlite::Result<()> {
    if !is_news(transaction, &item.id, item.version)? {
        return Ok(());
    }
    drop_words(transaction, &item.id)?;
    let no = put_row(transaction, item, false)?;
    let indexed = |text: &Option<String>| terms(text.as_deref().unwrap_or_default()).join(" ");
    transaction
        .prepare_cached("INSERT INTO words (rowid, title, body) VALUES (?1, ?2, ?3)")?
        .execute(params![no, indexed(&item.title), indexed(&item.text)])?;
    effects.push(Effect::Item(Box::new(item.clone())));
    Ok(())
}

fn put_row(transaction: &Transaction<'_>, item: &Item, deleted: bool) -> rusqlite::Result<i64> {
    transaction
        .prepare_cached(
            "INSERT INTO item (id, revision, enrichment, deleted, seen_at, platform, channel, author,
                title, text, url, published_at, lang, topics, compound)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
             ON CONFLICT (id) DO UPDATE SET (revision, enrichment, deleted, seen_at, platform, channel, author,
                title, text, url, published_at, lang, topics, compound)
             = (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
             RETURNING no",
        )?
        .query_row(
            params![
                item.id,
                item.version.revision as i64,
                item.version.enrichment,
                deleted,
                item.seen_at.0,
                item.platform,
                item.channel,
                item.author,
                item.title,
                item.text,
                item.url,
                item.published_at.0,
                item.lang,
                serde_json::to_string(&item.topics).expect("strings are JSON"),
                item.compound,
            ],
            |row| row.get(0),
        )
}

/// The row that remembers a deletion: no content.
fn deleted(id: &str, version: Version, seen_at: Millis) -> Item {
    Item {
        id: id.to_string(),
        version,
        seen_at,
        platform: String::new(),
        channel: None,
        author: None,
        title: None,
        text: None,
        url: None,
        published_at: Millis(0),
        lang: None,
        topics: Vec::new(),
        compound: None,
    }
}

fn drop_words(transaction: &Transaction<'_>, id: &str) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "DELETE FROM words WHERE rowid IN (SELECT no FROM item WHERE id = ?1 AND deleted = 0)",
        )?
        .execute([id])?;
    Ok(())
}

/// Removes the item, its words and its chunks.
fn forget(transaction: &Transaction<'_>, id: &str, effects: &mut Vec<Effect>) -> rusqlite::Result<()> {
    drop_words(transaction, id)?;
    transaction.prepare_cached("DELETE FROM item WHERE id = ?1")?.execute([id])?;
    let mut chunks = transaction.prepare_cached("DELETE FROM chunk WHERE id = ?1 RETURNING no")?;
    for row in chunks.query_map([id], |row| row.get(0))? {
        effects.push(Effect::NoChunk { row: row? });
    }
    effects.push(Effect::NoItem(id.to_string()));
    Ok(())
}

fn put_chunk(
    transaction: &Transaction<'_>,
    chunk: &Embedded,
    effects: &mut Vec<Effect>,
) -> rusqlite::Result<()> {
    let stored = transaction
        .prepare_cached("SELECT revision, enrichment FROM chunk WHERE id = ?1 AND chunk = ?2 AND model = ?3")?
        .query_row(params![chunk.id, chunk.chunk, chunk.model], read_version)
        .optional()?;
    if stored.is_some_and(|stored| stored > chunk.version) {
        return Ok(());
    }
    let row = transaction
        .prepare_cached(
            "INSERT INTO chunk (id, chunk, model, revision, enrichment, text, vector)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (id, chunk, model) DO UPDATE SET
                (revision, enrichment, text, vector) = (?4, ?5, ?6, ?7)
             RETURNING no",
        )?
        .query_row(
            params![
                chunk.id,
                chunk.chunk,
                chunk.model,
                chunk.version.revision as i64,
                chunk.version.enrichment,
                chunk.payload.text,
                chunk.vector.to_bytes(),
            ],
            |row| row.get(0),
        )?;
    effects.push(Effect::Chunk { row, chunk: Box::new(chunk.clone()) });
    Ok(())
}

/// Removes the chunk of every model, unless a newer version wrote it.
fn drop_chunk(
    transaction: &Transaction<'_>,
    id: &str,
    chunk: u32,
    version: Option<Version>,
    effects: &mut Vec<Effect>,
) -> rusqlite::Result<()> {
    let mut select = transaction
        .prepare_cached("SELECT revision, enrichment, no FROM chunk WHERE id = ?1 AND chunk = ?2")?;
    let rows: Vec<(Version, i64)> = select
        .query_map(params![id, chunk], |row| Ok((read_version(row)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (stored, row) in rows {
        if version.is_none_or(|version| stored <= version) {
            transaction.prepare_cached("DELETE FROM chunk WHERE no = ?1")?.execute([row])?;
            effects.push(Effect::NoChunk { row });
        }
    }
    Ok(())
}

/// Items by words, best first: BM25, a match in the title counting twice.
pub(super) fn lexical(
    connection: &Connection,
    terms: &[String],
    filters: &Filters,
    limit: usize,
) -> rusqlite::Result<Vec<String>> {
    // Terms are letters and digits; quoted, none of them is ever syntax.
    let query: Vec<String> = terms.iter().map(|term| format!("\"{}\"", term.replace('"', ""))).collect();
    let mut statement = connection.prepare_cached(
        "SELECT item.id FROM words JOIN item ON item.no = words.rowid
         WHERE words MATCH :query AND item.deleted = 0
           AND (:platform IS NULL OR item.platform = :platform)
           AND (:since IS NULL OR item.published_at >= :since)
           AND (:lang IS NULL OR item.lang = :lang)
           AND (:topic IS NULL OR EXISTS (SELECT 1 FROM json_each(item.topics) WHERE value = :topic))
         ORDER BY bm25(words, 2.0, 1.0), item.id LIMIT :limit",
    )?;
    statement
        .query_map(
            named_params! {
                ":query": query.join(" OR "),
                ":platform": filters.platform,
                ":since": filters.since.map(|since| since.0),
                ":lang": filters.lang,
                ":topic": filters.topic,
                ":limit": limit as i64,
            },
            |row| row.get(0),
        )?
        .collect()
}

/// Orders the rows by their full vectors and keeps the best chunk of each item.
pub(super) fn rescore(
    connection: &Connection,
    vector: &[f32],
    rows: &[i64],
    limit: usize,
) -> rusqlite::Result<Vec<(String, String)>> {
    let mut select = connection.prepare_cached("SELECT id, text, vector FROM chunk WHERE no = ?1")?;
    let mut scored: Vec<(f32, String, String)> = Vec::with_capacity(rows.len());
    for row in rows {
        let found = select
            .query_row([row], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?)))
            .optional()?;
        // Absent: removed since the scan.
        if let Some((id, text, bytes)) = found
            && let Some(stored) = Vector::from_bytes(&bytes)
        {
            scored.push((dot(vector, &stored.0), id, text));
        }
    }
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let mut seen = HashSet::new();
    scored.retain(|(_, id, _)| seen.insert(id.clone()));
    scored.truncate(limit);
    Ok(scored.into_iter().map(|(_, id, text)| (id, text)).collect())
}

pub(super) fn items(connection: &Connection, ids: &[String]) -> rusqlite::Result<Vec<Item>> {
    let mut select = connection.prepare_cached(
        "SELECT revision, enrichment, id, seen_at, platform, channel, author, title, text, url,
            published_at, lang, topics, compound
         FROM item WHERE id = ?1 AND deleted = 0",
    )?;
    let mut items = Vec::with_capacity(ids.len());
    for id in ids {
        items.extend(select.query_row([id], read_item).optional()?);
    }
    Ok(items)
}

pub(super) fn read_item(row: &Row<'_>) -> rusqlite::Result<Item> {
    Ok(Item {
        version: read_version(row)?,
        id: row.get(2)?,
        seen_at: Millis(row.get(3)?),
        platform: row.get(4)?,
        channel: row.get(5)?,
        author: row.get(6)?,
        title: row.get(7)?,
        text: row.get(8)?,
        url: row.get(9)?,
        published_at: Millis(row.get(10)?),
        lang: row.get(11)?,
        topics: serde_json::from_str(&row.get::<_, String>(12)?).unwrap_or_default(),
        compound: row.get(13)?,
    })
}

pub(super) fn state(connection: &Connection) -> rusqlite::Result<State> {
    let items: i64 =
        connection.query_row("SELECT count(*) FROM item WHERE deleted = 0", [], |row| row.get(0))?;
    let chunks = connection
        .prepare_cached("SELECT model, count(*) FROM chunk GROUP BY model")?
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?
        .collect::<rusqlite::Result<_>>()?;
    let positions = connection
        .prepare_cached("SELECT topic, partition, next FROM position")?
        .query_map([], |row| {
            let topic: String = row.get(0)?;
            Ok((TopicPartition::new(topic, row.get(1)?), row.get::<_, i64>(2)? as u64))
        })?
        .collect::<rusqlite::Result<Positions>>()?;
    Ok(State { items: items as u64, chunks, positions })
}

pub(super) fn as_of(connection: &Connection) -> rusqlite::Result<Option<Millis>> {
    let mut select = connection.prepare_cached("SELECT value FROM fact WHERE name = 'as_of'")?;
    Ok(select.query_row([], |row| row.get(0)).optional()?.map(Millis))
}

pub(super) fn items_since(connection: &Connection, since: Millis) -> rusqlite::Result<u64> {
    let mut count =
        connection.prepare_cached("SELECT count(*) FROM item WHERE seen_at >= ?1 AND deleted = 0")?;
    Ok(count.query_row([since.0], |row| row.get::<_, i64>(0))? as u64)
}

pub(super) fn expire(connection: &mut Connection, before: Millis) -> rusqlite::Result<Vec<Effect>> {
    let transaction = connection.transaction()?;
    let mut effects = Vec::new();
    let ids: Vec<String> = transaction
        .prepare_cached("SELECT id FROM item WHERE seen_at < ?1")?
        .query_map([before.0], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for id in ids {
        forget(&transaction, &id, &mut effects)?;
    }
    transaction.commit()?;
    Ok(effects)
}
