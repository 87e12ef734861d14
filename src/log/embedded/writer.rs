//! The one writer: takes batches from every thread, gives offsets, and commits
//! what waits together with one sync.
//!
//! Invariants: batches get their offsets in the order of the queue; a claim of a
//! committer is ordered among the commits by the same queue, so that no commit of
//! an earlier holder lands after the claim was answered; readers see an offset
//! only after the records before it are committed.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use dataflows::record::TopicPartition;
use fjall::OwnedWriteBatch;

use super::disk::Disk;
use super::format;
use super::store::{Store, TIME_INDEX_RECORDS, Tail, Topic, storage};
use crate::log::LogError;
use crate::ops::failpoint;

/// The place of each record of a batch, in its order.
pub(super) type Places = Vec<(TopicPartition, u64)>;

pub(super) enum Work {
    /// Records, positions as key and value, and for a commit the committer's epoch.
    Write { records: Vec<Prepared>, positions: Vec<(Vec<u8>, u64)>, holder: Option<Holder> },
    /// Opens the committer of this id: its epoch is the answer.
    Claim { id: String },
}

/// A record encoded by its caller, with the partition it goes to.
pub(super) struct Prepared {
    pub topic: Arc<Topic>,
    pub partition: u32,
    pub timestamp_ms: i64,
    pub bytes: Vec<u8>,
}

#[derive(Clone)]
pub(super) struct Holder {
    pub id: String,
    pub epoch: u64,
}

pub(super) enum Answer {
    Written(Places),
    Claimed(u64),
}

struct Job {
    work: Work,
    answer: Sender<Result<Answer, LogError>>,
}

impl Job {
    fn bytes(&self) -> usize {
        match &self.work {
            Work::Write { records, .. } => records.iter().map(|r| r.bytes.len()).sum(),
            Work::Claim { .. } => 0,
        }
    }
}

/// The handle of the writer's thread; the last one dropped stops it.
pub(super) struct Writer {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub fn start(store: Arc<Store>, folder: &Path) -> Result<Self, LogError> {
        let (jobs, queue) = bounded(store.settings.embedded.queue_batches_max.max(1));
        let disk = Disk::new(folder, &store.settings.embedded);
        let thread = std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || run(&store, disk, &queue))
            .map_err(|e| LogError::Fatal(format!("cannot start the log's writer: {e}")))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    pub fn submit(&self, work: Work) -> Result<Answer, LogError> {
        let (answer, answered) = bounded(1);
        let gone = || LogError::Fatal("the log's writer has stopped".into());
        let jobs = self.jobs.as_ref().expect("held until dropped");
        jobs.send(Job { work, answer }).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the writer was answered to its callers already.
            let _ = thread.join();
        }
    }
}

fn run(store: &Store, mut disk: Disk, queue: &Receiver<Job>) {
    let mut epochs: HashMap<String, u64> = HashMap::new();
    while let Ok(first) = queue.recv() {
        let mut bytes = first.bytes();
        let mut group = vec![first];
        while bytes < store.settings.embedded.batch_bytes_max {
            let Ok(job) = queue.try_recv() else { break };
            bytes += job.bytes();
            group.push(job);
        }
        write_group(store, &mut disk, &mut epochs, group);
    }
}

/// What one group adds, until it is committed.
struct Group<'a> {
    store: &'a Store,
    batch: OwnedWriteBatch,
    tails: BTreeMap<(u32, u32), (Arc<Topic>, Tail)>,
    epochs: HashMap<String, u64>,
    /// Whose commits are in it.
    holders: Vec<String>,
}

fn write_group(store: &Store, disk: &mut Disk, epochs: &mut HashMap<String, u64>, jobs: Vec<Job>) {
    // A store that cannot say how large it is is not taken for a full one.
    let full = disk.check(|| store.db.disk_space().unwrap_or(0));
    let batch = store.db.batch().durability(Some(store.durability()));
    let mut group =
        Group { store, batch, tails: BTreeMap::new(), epochs: HashMap::new(), holders: Vec::new() };
    let mut accepted = Vec::with_capacity(jobs.len());
    for Job { work, answer } in jobs {
        let outcome = match work {
            Work::Claim { id } => group.claim(epochs, id).map(Answer::Claimed),
            Work::Write { records, positions, holder } => match &full {
                Err(LogError::Full(why)) => Err(LogError::Full(why.clone())),
                _ => group.add(epochs, records, positions, holder).map(Answer::Written),
            },
        };
        match outcome {
            Ok(outcome) => accepted.push((outcome, answer)),
            // The caller may have gone; then nobody needs the answer.
            Err(error) => drop(answer.send(Err(error))),
        }
    }
    let committed = group.commit(epochs);
    for (outcome, answer) in accepted {
        let outcome = match &committed {
            Ok(()) => Ok(outcome),
            Err(error) => Err(LogError::Fatal(error.to_string())),
        };
        drop(answer.send(outcome));
    }
}

impl Group<'_> {
    fn claim(&mut self, epochs: &HashMap<String, u64>, id: String) -> Result<u64, LogError> {
        let epoch = match self.epochs.get(&id).or_else(|| epochs.get(&id)) {
            Some(epoch) => *epoch,
            None => match self.store.meta.get(format::epoch_key(&id)).map_err(storage)? {
                Some(bytes) => format::number(&bytes, "a committer's epoch")?,
                None => 0,
            },
        } + 1;
        self.batch.insert(&self.store.meta, format::epoch_key(&id), epoch.to_be_bytes());
        self.epochs.insert(id, epoch);
        Ok(epoch)
    }

    fn add(
        &mut self,
        epochs: &HashMap<String, u64>,
        records: Vec<Prepared>,
        positions: Vec<(Vec<u8>, u64)>,
        holder: Option<Holder>,
    ) -> Result<Places, LogError> {
        if let Some(Holder { id, epoch }) = holder {
            let current = self.epochs.get(&id).or_else(|| epochs.get(&id));
            if current != Some(&epoch) {
                return Err(LogError::Fenced(id));
            }
            self.holders.push(id);
        }
        let mut places = Vec::with_capacity(records.len());
        for record in records {
            let offset = self.put(&record);
            places.push((TopicPartition::new(record.topic.name.clone(), record.partition), offset));
        }
        for (key, offset) in positions {
            self.batch.insert(&self.store.positions, key, offset.to_be_bytes());
        }
        Ok(places)
    }

    fn put(&mut self, record: &Prepared) -> u64 {
        let Prepared { topic, partition, timestamp_ms, bytes } = record;
        let at = &topic.partitions[*partition as usize];
        let (_, tail) =
            self.tails.entry((topic.id, *partition)).or_insert_with(|| (topic.clone(), *at.tail.lock()));
        let offset = tail.end;
        tail.end += 1;
        tail.latest_ms = tail.latest_ms.max(*timestamp_ms);
        tail.unindexed += 1;
        if tail.unindexed >= TIME_INDEX_RECORDS {
            tail.unindexed = 0;
            let key = format::time_key(topic.id, *partition, tail.latest_ms);
            self.batch.insert(&self.store.times, key, tail.end.to_be_bytes());
        }
        self.batch.insert(&at.records, offset.to_be_bytes(), bytes.as_slice());
        offset
    }

    /// After a failure nothing in memory has changed; the store refuses every
    /// later write, so the offsets given here cannot be given to others.
    fn commit(self, epochs: &mut HashMap<String, u64>) -> Result<(), LogError> {
        self.holders.iter().for_each(|id| failpoint::pass("commit.positioned", id));
        self.batch.commit().map_err(storage)?;
        epochs.extend(self.epochs);
        for ((_, partition), (topic, tail)) in self.tails {
            let at = &topic.partitions[partition as usize];
            *at.tail.lock() = tail;
            at.end.store(tail.end, Ordering::Release);
        }
        self.store.arrivals.announce();
        Ok(())
    }
}
