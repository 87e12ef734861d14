//! content.events become content.enriched, or dead letters.
//!
//! Each record is decoded, checked, given its identity and version, what is personal in
//! it masked, and its text understood: microseconds, no model, no network. Duplicates and
//! stale records produce nothing but a count; a fault produces a dead letter.
//!
//! Invariants:
//! - Records of one id reach one worker in log order, since the topics are keyed
//!   by content id and a worker owns whole partitions.
//! - A record carries in `previous` exactly what the version before it contributed.
//! - Nothing leaves unmasked, dead letters included: this is the only stage that reads
//!   what producers wrote. Identity and content hash are of the event as it came.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use crate::Epoch;
use crate::check::{self, Limits};
use crate::event::{Change, Content, ContentEvent, Enriched, Media, Party, Version};
use crate::faults::{Fault, Reason, cloud_event, dead_letter_redacted};
use crate::identity::{Entry, Verdict, content_hash, decide};
use crate::pii::{self, Counts, Redactor};
use crate::record::{Record, Stored, topic};
use crate::text::{self, topics::Topics};
use crate::time::Millis;

/// What is known of ids: the committed index with what the epochs since add.
pub trait Identities {
    fn get(&self, id: &str) -> Option<Entry>;
    /// Remembers the entry; durable once `epoch` is committed.
    fn put(&mut self, epoch: Epoch, id: String, entry: Entry);
}

/// What became of records, by the names of `tidings_stage_records_total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    pub created: u64,
    pub updated: u64,
    pub deleted: u64,
    pub duplicate: u64,
    pub stale: u64,
    pub already_deleted: u64,
    /// Personal values masked.
    pub redacted: Counts,
}

/// Whether an item, by its content id, is included in something.
pub type Includes = dyn Fn(&str) -> bool + Send + Sync;
/// The partition of a key.
pub type PartitionOf = dyn Fn(&[u8]) -> u32 + Send + Sync;
/// Takes the counts of a batch and the reasons of its faults.
pub type Observe = dyn Fn(&Outcomes, &[Reason]) + Send + Sync;

/// What a step needs besides the record.
#[derive(Clone)]
pub struct Settings {
    pub limits: Limits,
    pub topics: Arc<Topics>,
    /// Terms of one item at most.
    pub terms_max: usize,
    /// Whether an item's sentiment is analysed, by content id.
    pub sentiment: Arc<Includes>,
    /// What masks personal values; dead letters always are where it is not off.
    pub redactor: Arc<Redactor>,
    /// Whether an item's personal values are masked, by content id.
    pub redaction: Arc<Includes>,
    /// The partition that a key belongs to, for the topic's partition count.
    pub partition_of: Arc<PartitionOf>,
    /// Called with every counted batch, and with the reason of every fault.
    pub observe: Arc<Observe>,
}

/// Enriches the records of content.events that this worker owns.
pub fn enrich<'scope, I: Identities + 'static>(
    events: StreamVec<'scope, Epoch, Stored>,
    settings: Settings,
    identities: I,
) -> StreamVec<'scope, Epoch, Record> {
    let mut state = State { settings, identities, outcomes: Outcomes::default(), faults: Vec::new() };
    events.unary::<CapacityContainerBuilder<Vec<Record>>, _, _, _>(Pipeline, "Enrich", move |_cap, _info| {
        move |input, output| {
            input.for_each(|cap, data| {
                let Some(epoch) = cap.least().copied() else { return };
                let mut session = output.session(&cap);
                for stored in data.drain(..) {
                    if let Some(record) = state.step_caught(epoch, &stored) {
                        session.give(record);
                    }
                }
                state.observe();
            });
        }
    })
}

/// The step without timely.
pub struct State<I> {
    pub settings: Settings,
    pub identities: I,
    outcomes: Outcomes,
    faults: Vec<Reason>,
}

impl<I: Identities> State<I> {
    pub fn new(settings: Settings, identities: I) -> Self {
        Self { settings, identities, outcomes: Outcomes::default(), faults: Vec::new() }
    }

    /// One record in; what is to be appended for it out. A panic becomes a fault.
    pub fn step_caught(&mut self, epoch: Epoch, stored: &Stored) -> Option<Record> {
        let result = catch_unwind(AssertUnwindSafe(|| self.step(epoch, stored))).unwrap_or_else(|_| {
            Err(Fault::new(Reason::Panicked, "the step panicked; the log has the place"))
        });
        result.unwrap_or_else(|fault| {
            self.faults.push(fault.reason);
            let redacted = &mut self.outcomes.redacted;
            Some(dead_letter_redacted("enrich", stored, &fault, &self.settings.redactor, redacted))
        })
    }

    fn step(&mut self, epoch: Epoch, stored: &Stored) -> Result<Option<Record>, Fault> {
        // A tombstone in content.events is not an event: erasure and compaction write them.
        let Some(value) = &stored.value else { return Ok(None) };
        let ingested_at = Millis(stored.timestamp_ms);
        let event = check::parse(value, ingested_at, &self.settings.limits)?;
        let id = event.content_id();
        self.check_place(&id, stored)?;
        let hash = content_hash(&event);
        let entry = self.identities.get(&id);
        let revision = match decide(entry.as_ref(), event.change, event.revision, &hash) {
            Verdict::Accept { revision } => revision,
            verdict => {
                self.count_refused(verdict);
                return Ok(None);
            }
        };
        let enriched = Enriched {
            change: match (event.change, &entry) {
                (Change::Deleted, _) => Change::Deleted,
                (_, Some(entry)) if entry.contribution.is_some() => Change::Updated,
                _ => Change::Created,
            },
            version: Version { revision, enrichment: 0 },
            ingested_at,
            content_hash: hex(&hash),
            previous: entry.and_then(|e| e.contribution),
            content: (event.change != Change::Deleted).then(|| self.understand(&id, event)),
            id,
        };
        self.count_accepted(enriched.change);
        let record = record(&enriched, stored);
        self.identities.put(
            epoch,
            enriched.id.clone(),
            Entry {
                version: enriched.version,
                content_hash: hash,
                ingested_at,
                contribution: enriched.contribution(),
            },
        );
        Ok(Some(record))
    }

    fn check_place(&self, id: &str, stored: &Stored) -> Result<(), Fault> {
        if stored.key != id.as_bytes() {
            let key = String::from_utf8_lossy(&stored.key);
            return Err(Fault::new(
                Reason::WrongKey,
                format!("the record's key is {key:?}, its content id {id:?}"),
            ));
        }
        let partition = (self.settings.partition_of)(&stored.key);
        if partition != stored.partition {
            return Err(Fault::new(
                Reason::WrongPartition,
                format!(
                    "{id:?} belongs on partition {partition} (murmur2 of the key), it lies on {}",
                    stored.partition
                ),
            ));
        }
        Ok(())
    }

    fn understand(&mut self, id: &str, event: ContentEvent) -> Content {
        let off = Redactor::off();
        let redacts = !self.settings.redactor.is_off() && (self.settings.redaction)(id);
        let redactor = if redacts { self.settings.redactor.as_ref() } else { &off };
        let counts = &mut self.outcomes.redacted;
        let mut analysis = text::analyse_redacted(
            event.title.as_deref(),
            event.text.as_deref(),
            event.lang.as_deref(),
            &self.settings.topics,
            self.settings.terms_max,
            (self.settings.sentiment)(id),
            |text| redactor.mask(text, counts).into_owned(),
        );
        if redacts {
            analysis.analyzers.insert("redaction".to_string(), pii::VERSION.to_string());
        }
        let mut party =
            |party: Option<Party>| party.map(|p| redacted_party(redactor, &event.platform, p, counts));
        let (author, channel) = (party(event.author), party(event.channel));
        let mut address = |url: String| match redactor.mask_url(&url, counts) {
            Cow::Borrowed(_) => url,
            Cow::Owned(masked) => masked,
        };
        let url = event.url.map(&mut address);
        let media = event.media.into_iter().map(|m| Media { url: address(m.url), ..m }).collect();
        Content {
            platform: event.platform,
            native_id: event.native_id,
            kind: event.kind.expect("checked: only a deletion has no kind"),
            published_at: event.published_at.expect("checked: only a deletion has no time"),
            author,
            channel,
            thread_id: event.thread_id,
            title: analysis.title,
            text: analysis.text,
            lang: analysis.lang,
            url,
            engagement: event.engagement.unwrap_or_default(),
            media,
            reply_to: event.reply_to,
            sentiment: analysis.sentiment,
            topics: analysis.topics,
            terms: analysis.terms,
            analyzers: analysis.analyzers,
        }
    }

    fn count_accepted(&mut self, change: Change) {
        match change {
            Change::Created => self.outcomes.created += 1,
            Change::Updated => self.outcomes.updated += 1,
            Change::Deleted => self.outcomes.deleted += 1,
        }
    }

    fn count_refused(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Accept { .. } => {}
            Verdict::Duplicate => self.outcomes.duplicate += 1,
            Verdict::Stale => self.outcomes.stale += 1,
            Verdict::AlreadyDeleted => self.outcomes.already_deleted += 1,
        }
    }

    /// Reports and resets the counts.
    pub fn observe(&mut self) -> Outcomes {
        let outcomes = std::mem::take(&mut self.outcomes);
        (self.settings.observe)(&outcomes, &self.faults);
        self.faults.clear();
        outcomes
    }
}

/// An id and a name that may be an email address, as those of feeds often are.
fn redacted_party(redactor: &Redactor, platform: &str, party: Party, counts: &mut Counts) -> Party {
    Party {
        id: redactor.mask_id(platform, &party.id, counts).into_owned(),
        name: party.name.map(|name| redactor.mask_name(platform, &name, counts).into_owned()),
    }
}

fn record(enriched: &Enriched, stored: &Stored) -> Record {
    let mut headers = cloud_event("content.enriched.v1", "enrich", stored.timestamp_ms);
    if let Some(at) = stored.headers.get("fetched_at") {
        headers.push("fetched_at", at);
    }
    Record {
        topic: topic::ENRICHED.into(),
        // Co-partitioned with content.events, whose place was checked.
        partition: Some(stored.partition),
        key: stored.key.clone(),
        value: Some(serde_json::to_vec(enriched).expect("an enriched record is plain data")),
        timestamp_ms: stored.timestamp_ms,
        headers,
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [DIGITS[(b >> 4) as usize] as char, DIGITS[(b & 15) as usize] as char])
        .collect()
}

/// Reads what [`hex`] wrote.
pub fn unhex(text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}

/// Identities in memory only, for tests and recomputation.
impl Identities for BTreeMap<String, Entry> {
    fn get(&self, id: &str) -> Option<Entry> {
        BTreeMap::get(self, id).cloned()
    }
    fn put(&mut self, _epoch: Epoch, id: String, entry: Entry) {
        self.insert(id, entry);
    }
}
