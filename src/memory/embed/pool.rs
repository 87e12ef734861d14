//! The threads that embed: plans in, one vector for each of a plan's chunks out.
//!
//! Invariants:
//! - A text that is cached, or already waiting for the model, is not given to it
//!   again: everyone who needs it shares the one answer.
//! - Every plan is answered once: with all its vectors, or with the first failure.
//!   A text whose batch failed or hung is tried alone, so that it fails only itself.
//! - A thread whose model hangs is given up after `timeout_s` and replaced, at most
//!   `stuck_threads_max` times at once; its texts are answered [`Failure::Timeout`].
//!   Beyond that the pool is [`Broken`] and the process has to start again.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dataflows::embed::{Plan, TextHash};
use dataflows::offload::{Answer, Failure, Reply, Stage};
use dataflows::vector::Vector;
use parking_lot::{Condvar, Mutex};

use super::cache::Cache;
use crate::memory::embed::Settings;
use crate::memory::metrics;
use crate::memory::models::Embedder;

/// Answers kept for a while, because the cache has them only after the commit. More
/// texts than one batch of records holds.
const RECENT_MAX: usize = 4_096;
/// Waiting texts among which a batch of similar lengths is sought.
const LOOK_AHEAD: usize = 128;

/// Dropping it stops the threads; what was not answered is answered as lost.
pub struct Pool {
    shared: Arc<Shared>,
}

/// Set when the model hung too often: nothing will be answered any more.
pub type Broken = Arc<AtomicBool>;

struct Shared {
    embedder: Arc<dyn Embedder>,
    cache: Arc<Cache>,
    settings: Settings,
    broken: Broken,
    state: Mutex<State>,
    /// Something waits, or the pool closes.
    wake: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<TextHash>,
    texts: HashMap<TextHash, Text>,
    recent: HashMap<TextHash, Vector>,
    /// The keys of `recent`, oldest first.
    recent_order: VecDeque<TextHash>,
    requests: HashMap<u64, Request>,
    last_request: u64,
    /// What each thread is at, by the thread's number.
    running: HashMap<u64, Running>,
    last_thread: u64,
    stuck: usize,
    closed: bool,
}

/// A text that the model is to embed, and the chunks that wait for it.
struct Text {
    text: Arc<str>,
    waiters: Vec<(u64, usize)>,
    /// Its batch hung: it is tried by itself.
    alone: bool,
}

struct Request {
    vectors: Vec<Option<Vector>>,
    missing: usize,
    reply: Reply<Vec<Vector>>,
}

impl State {
    fn keep(&mut self, hash: TextHash, vector: &Vector) {
        if self.recent.insert(hash, vector.clone()).is_none() {
            self.recent_order.push_back(hash);
        }
        if self.recent_order.len() > RECENT_MAX
            && let Some(oldest) = self.recent_order.pop_front()
        {
            self.recent.remove(&oldest);
        }
    }
}

struct Running {
    started: Instant,
    texts: Vec<TextHash>,
}

impl Pool {
    pub fn start(embedder: Arc<dyn Embedder>, cache: Arc<Cache>, settings: &Settings) -> Self {
        let shared = Arc::new(Shared {
            embedder,
            cache,
            settings: settings.clone(),
            broken: Broken::default(),
            state: Mutex::default(),
            wake: Condvar::new(),
        });
        for _ in 0..settings.threads.max(1) {
            Shared::add_thread(&shared, &mut shared.state.lock());
        }
        let watched = shared.clone();
        std::thread::spawn(move || watched.watch());
        Self { shared }
    }

    pub fn broken(&self) -> Broken {
        self.shared.broken.clone()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let requests = {
            let mut state = self.shared.state.lock();
            state.closed = true;
            state.waiting.clear();
            std::mem::take(&mut state.requests)
        };
        self.shared.wake.notify_all();
        // Replies answer when they are dropped, outside of the lock.
        drop(requests);
    }
}

impl Stage<Arc<Plan>, Vec<Vector>> for Pool {
    fn submit(&mut self, plan: Arc<Plan>, reply: Reply<Vec<Vector>>) {
        let known: Vec<Option<Vector>> =
            plan.chunks.iter().map(|chunk| self.shared.known(chunk.hash)).collect();
        let missing = known.iter().filter(|vector| vector.is_none()).count();
        metrics::TEXTS.with_label_values(&["reused"]).inc_by((known.len() - missing) as u64);
        if missing == 0 {
            return reply.send(Ok(known.into_iter().flatten().collect()));
        }
        let mut state = self.shared.state.lock();
        let mut known = known;
        for (vector, chunk) in known.iter_mut().zip(&plan.chunks) {
            // Answered since the look above.
            if vector.is_none() {
                *vector = state.recent.get(&chunk.hash).cloned();
            }
        }
        let missing = known.iter().filter(|vector| vector.is_none()).count();
        if missing == 0 {
            drop(state);
            return reply.send(Ok(known.into_iter().flatten().collect()));
        }
        state.last_request += 1;
        let request = state.last_request;
        for (index, chunk) in plan.chunks.iter().enumerate().filter(|(index, _)| known[*index].is_none()) {
            let State { texts, waiting, .. } = &mut *state;
            let text = texts.entry(chunk.hash).or_insert_with(|| {
                waiting.push_back(chunk.hash);
                Text { text: chunk.text.clone(), waiters: Vec::new(), alone: false }
            });
            text.waiters.push((request, index));
        }
        state.requests.insert(request, Request { vectors: known, missing, reply });
        metrics::EMBED_WAITING.set(state.texts.len() as i64);
        drop(state);
        self.shared.wake.notify_all();
    }
}

impl Shared {
    /// The vector of a text that was embedded before.
    fn known(&self, hash: TextHash) -> Option<Vector> {
        let recent = self.state.lock().recent.get(&hash).cloned();
        recent.or_else(|| self.cache.vector(hash))
    }

    fn add_thread(shared: &Arc<Self>, state: &mut State) {
        state.last_thread += 1;
        let number = state.last_thread;
        let shared = shared.clone();
        std::thread::spawn(move || shared.work(number));
    }

    /// One thread: batch after batch, until the pool closes or it was given up.
    fn work(&self, number: u64) {
        while let Some(batch) = self.next_batch(number) {
            let started = Instant::now();
            let answers = self.embed(&batch);
            metrics::EMBED_SECONDS.observe(started.elapsed().as_secs_f64());
            let hashes: Vec<TextHash> = batch.iter().map(|(hash, _)| *hash).collect();
            {
                let mut state = self.state.lock();
                if state.running.remove(&number).is_none() {
                    // Given up meanwhile; another thread took the place.
                    state.stuck = state.stuck.saturating_sub(1);
                    return;
                }
            }
            self.answer(hashes.into_iter().zip(answers));
            self.keep_pace(batch.len(), started);
        }
    }

    /// Texts of similar length, the oldest among them; waits for some.
    fn next_batch(&self, number: u64) -> Option<Vec<(TextHash, Arc<str>)>> {
        let mut state = self.state.lock();
        while state.waiting.is_empty() && !state.closed {
            self.wake.wait(&mut state);
        }
        let first = state.waiting.pop_front().filter(|_| !state.closed)?;
        let length = |state: &State, hash: &TextHash| state.texts.get(hash).map_or(0, |t| t.text.len());
        let target = length(&state, &first);
        let alone = |state: &State, hash: &TextHash| state.texts.get(hash).is_none_or(|text| text.alone);
        let room = if alone(&state, &first) { 0 } else { self.embedder.batch_max().saturating_sub(1) };
        let mut near: Vec<(usize, TextHash)> = state
            .waiting
            .iter()
            .take(LOOK_AHEAD)
            .filter(|hash| !alone(&state, hash))
            .map(|hash| (length(&state, hash).abs_diff(target), *hash))
            .collect();
        near.sort_unstable();
        near.truncate(room);
        state.waiting.retain(|hash| !near.iter().any(|(_, near)| near == hash));
        let hashes: Vec<TextHash> =
            std::iter::once(first).chain(near.into_iter().map(|(_, hash)| hash)).collect();
        let batch: Vec<_> =
            hashes.iter().filter_map(|hash| Some((*hash, state.texts.get(hash)?.text.clone()))).collect();
        state.running.insert(number, Running { started: Instant::now(), texts: hashes });
        Some(batch)
    }

    /// An answer for each text; a batch that fails as a whole is tried text by text.
    fn embed(&self, batch: &[(TextHash, Arc<str>)]) -> Vec<Answer<Vector>> {
        let texts: Vec<&str> = batch.iter().map(|(_, text)| &**text).collect();
        match self.call(&texts) {
            Ok(vectors) => vectors.into_iter().map(Ok).collect(),
            Err(failure) if texts.len() == 1 => vec![Err(failure)],
            Err(_) => texts
                .iter()
                .map(|text| self.call(&[text]).map(|mut vectors| vectors.swap_remove(0)))
                .collect(),
        }
    }

    fn call(&self, texts: &[&str]) -> Answer<Vec<Vector>> {
        match catch_unwind(AssertUnwindSafe(|| self.embedder.embed(texts))) {
            Ok(Ok(vectors)) if vectors.len() == texts.len() => Ok(vectors),
            Ok(Ok(vectors)) => Err(Failure::Error(format!(
                "the model gave {} vectors for {} texts",
                vectors.len(),
                texts.len()
            ))),
            Ok(Err(reason)) => Err(Failure::Error(reason)),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                Err(Failure::Panic(text.unwrap_or("without a message").to_string()))
            }
        }
    }

    /// Hands answers to whoever waits for the texts.
    fn answer(&self, answers: impl Iterator<Item = (TextHash, Answer<Vector>)>) {
        let mut finished = Vec::new();
        let mut state = self.state.lock();
        for (hash, answer) in answers {
            if let Ok(vector) = &answer {
                state.keep(hash, vector);
            }
            metrics::TEXTS.with_label_values(&[outcome(&answer)]).inc();
            let waiters = state.texts.remove(&hash).map(|text| text.waiters).unwrap_or_default();
            for (number, index) in waiters {
                // Absent: another of its texts failed already.
                let Some(request) = state.requests.get_mut(&number) else { continue };
                match &answer {
                    Ok(vector) => {
                        request.vectors[index] = Some(vector.clone());
                        request.missing -= 1;
                        if request.missing == 0 {
                            let request = state.requests.remove(&number).expect("it was just there");
                            finished
                                .push((request.reply, Ok(request.vectors.into_iter().flatten().collect())));
                        }
                    }
                    Err(failure) => {
                        let request = state.requests.remove(&number).expect("it was just there");
                        finished.push((request.reply, Err(failure.clone())));
                    }
                }
            }
        }
        metrics::EMBED_WAITING.set(state.texts.len() as i64);
        drop(state);
        finished.into_iter().for_each(|(reply, answer)| reply.send(answer));
    }

    /// Rests after a batch, so that all threads together stay below the budget.
    fn keep_pace(&self, texts: usize, started: Instant) {
        let budget = self.settings.texts_per_second_max;
        if budget <= 0.0 {
            return;
        }
        let due = started + Duration::from_secs_f64((texts * self.settings.threads.max(1)) as f64 / budget);
        let mut state = self.state.lock();
        while !state.closed && !self.wake.wait_until(&mut state, due).timed_out() {}
    }

    /// Gives up threads whose model hangs.
    fn watch(self: Arc<Self>) {
        let timeout = Duration::from_secs_f64(self.settings.timeout_s.max(0.001));
        let tick = (timeout / 4).clamp(Duration::from_millis(5), Duration::from_secs(1));
        loop {
            let mut late = Vec::new();
            {
                let mut state = self.state.lock();
                // Woken often while texts come in; the loop is cheap.
                self.wake.wait_for(&mut state, tick);
                if state.closed {
                    return;
                }
                let numbers: Vec<u64> = state
                    .running
                    .iter()
                    .filter(|(_, running)| running.started.elapsed() >= timeout)
                    .map(|(number, _)| *number)
                    .collect();
                for number in numbers {
                    if state.stuck >= self.settings.stuck_threads_max {
                        self.broken.store(true, Ordering::Relaxed);
                        return;
                    }
                    let running = state.running.remove(&number).expect("listed above under the same lock");
                    if let [only] = running.texts.as_slice() {
                        late.push(*only);
                    } else {
                        // One of them hangs: each is tried alone, before all others.
                        for hash in running.texts {
                            if let Some(text) = state.texts.get_mut(&hash) {
                                text.alone = true;
                                state.waiting.push_front(hash);
                            }
                        }
                    }
                    state.stuck += 1;
                    tracing::error!(stuck = state.stuck, "the embedding model hangs; a thread was given up");
                    Self::add_thread(&self, &mut state);
                }
            }
            self.answer(late.into_iter().map(|hash| (hash, Err(Failure::Timeout))));
        }
    }
}

fn outcome(answer: &Answer<Vector>) -> &'static str {
    match answer {
        Ok(_) => "embedded",
        Err(Failure::Error(_)) => "failed",
        Err(Failure::Timeout) => "timed_out",
        Err(Failure::Panic(_)) => "panicked",
        Err(Failure::Lost) => "lost",
    }
}
