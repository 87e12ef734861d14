//! The models: what there is, where its files lie, and the one that embeds.
//!
//! Nothing here fetches by itself: `tidings models fetch` does. A model that is
//! absent is a state with a reason, in which searches answer by words alone.

mod catalog;
mod fetch;
mod graph;
mod onnx;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataflows::vector::Vector;
use parking_lot::{Condvar, Mutex};
use serde::Deserialize;

pub use catalog::{BUNDLES, Bundle, Presence, presence};
pub use fetch::{fetch, list};

/// Table `[models]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub dir: PathBuf,
    pub embedding_sha256: String,
    pub connect_timeout_s: u64,
    pub stalled_timeout_s: u64,
    pub recheck_interval_s: u64,
    pub threads: usize,
    pub tokens_max: usize,
    pub batch_texts_max: usize,
}

impl Settings {
    /// With the folder that an empty `dir` stands for: outside of the data folder,
    /// so that the demonstration and the live system share it.
    #[must_use]
    pub fn in_cache(mut self, cache_dir: &Path) -> Self {
        if self.dir.as_os_str().is_empty() {
            self.dir = cache_dir.join("models");
        }
        self
    }
}

/// Turns texts into vectors of length 1. Any thread, several at once.
pub trait Embedder: Send + Sync {
    /// Name and version; vectors of different ids are not comparable.
    fn model(&self) -> &str;

    /// How many texts to give at once. 1 for a model whose vector of a text depends
    /// on the other texts of the batch.
    fn batch_max(&self) -> usize;

    /// One vector for each text.
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vector>, String>;
}

/// The embedding model as the process has it: absent, loading or ready.
pub struct Model {
    settings: Option<Settings>,
    state: Mutex<State>,
    changed: Condvar,
}

enum State {
    /// Not looked for yet, or worth another look at that time.
    Absent {
        reason: String,
        look_again: Option<Instant>,
    },
    Loading,
    Ready(Arc<dyn Embedder>),
}

const NOT_LOOKED: &str = "the model was not looked for yet";
const LOADING: &str = "the model is still loading";

impl Model {
    /// The model of the settings; loaded in the background by whoever needs it first.
    pub fn new(settings: &Settings) -> Arc<Self> {
        let state = State::Absent { reason: NOT_LOOKED.into(), look_again: Some(Instant::now()) };
        Arc::new(Self { settings: Some(settings.clone()), state: Mutex::new(state), changed: Condvar::new() })
    }

    /// This embedder and no other.
    pub fn of(embedder: Arc<dyn Embedder>) -> Arc<Self> {
        let state = Mutex::new(State::Ready(embedder));
        Arc::new(Self { settings: None, state, changed: Condvar::new() })
    }

    /// No model, for this reason.
    pub fn none(reason: &str) -> Arc<Self> {
        let state = State::Absent { reason: reason.into(), look_again: None };
        Arc::new(Self { settings: None, state: Mutex::new(state), changed: Condvar::new() })
    }

    /// The embedder, or why there is none now. Starts loading; never waits.
    pub fn ready(self: &Arc<Self>) -> Result<Arc<dyn Embedder>, String> {
        let mut state = self.state.lock();
        match &*state {
            State::Ready(embedder) => return Ok(embedder.clone()),
            State::Loading => return Err(LOADING.into()),
            State::Absent { reason, look_again } => {
                if look_again.is_none_or(|at| at > Instant::now()) {
                    return Err(reason.clone());
                }
            }
        }
        let Some(settings) = self.settings.clone() else { return Err(NOT_LOOKED.into()) };
        *state = State::Loading;
        drop(state);
        let model = self.clone();
        std::thread::spawn(move || model.load(&settings));
        Err(LOADING.into())
    }

    /// As [`Model::ready`], but waits while the model loads.
    pub fn wait(self: &Arc<Self>, timeout: Duration) -> Result<Arc<dyn Embedder>, String> {
        let deadline = Instant::now() + timeout;
        loop {
            let answer = self.ready();
            let mut state = self.state.lock();
            match &*state {
                State::Loading => {
                    if self.changed.wait_until(&mut state, deadline).timed_out() {
                        return Err(LOADING.into());
                    }
                }
                State::Ready(embedder) => return Ok(embedder.clone()),
                State::Absent { .. } => return answer.map_err(|_| absent_reason(&state)),
            }
        }
    }

    fn load(&self, settings: &Settings) {
        let started = Instant::now();
        let loaded = std::panic::catch_unwind(|| onnx::Onnx::load(settings))
            .unwrap_or_else(|_| Err("the model panicked while it was loaded".into()));
        *self.state.lock() = match loaded {
            Ok(embedder) => {
                let elapsed_s = started.elapsed().as_secs_f64();
                tracing::info!(model = embedder.model(), elapsed_s, "the embedding model is ready");
                State::Ready(Arc::new(embedder))
            }
            Err(reason) => {
                let again = Instant::now() + Duration::from_secs(settings.recheck_interval_s);
                State::Absent { reason, look_again: Some(again) }
            }
        };
        self.changed.notify_all();
    }

    /// The question's vector with the model's id, or why there is none.
    pub fn embed_query(self: &Arc<Self>, text: &str) -> Result<(String, Vector), String> {
        let embedder = self.ready()?;
        let embed = || embedder.embed(&[text]);
        let vectors = std::panic::catch_unwind(std::panic::AssertUnwindSafe(embed))
            .unwrap_or_else(|_| Err("the model panicked over the question".into()))?;
        let vector = vectors.into_iter().next().ok_or("the model gave no vector")?;
        Ok((embedder.model().to_string(), vector))
    }
}

fn absent_reason(state: &State) -> String {
    match state {
        State::Absent { reason, .. } => reason.clone(),
        State::Loading | State::Ready(_) => LOADING.into(),
    }
}
