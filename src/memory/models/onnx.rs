//! all-MiniLM-L6-v2 on ONNX Runtime: tokens, the network, the mean of the token
//! vectors, length 1.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use dataflows::vector::Vector;
use ort::environment::Environment;
use ort::ep::CPU;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::Tensor;
use parking_lot::{FairMutex, FairMutexGuard, Mutex};
use tokenizers::{Encoding, Tokenizer, TruncationParams};

use super::catalog::{self, EMBEDDING, MODEL_FILE, Presence, RUNTIME, RUNTIME_FILE, TOKENIZER_FILE};
use super::graph::gathered_first;
use super::{Embedder, Settings};
use crate::memory::DIMENSIONS;

/// This export quantises activations over the whole batch, so that a text's vector
/// depends on its neighbours (cosine down to 0.976, measured): one text at a time.
const BATCH_VARIANT_SHA256: &str = "afdb6f1a0e45b715d0bb9b11772f032c399babd23bfc31fed1c170afc848bdb1";

/// Tokens of one run, padding included: what it needs grows with them, and with the square
/// of a text's length. One text of the greatest length; eight took 300 MB.
const RUN_TOKENS_MAX: usize = 256;

pub(super) struct Onnx {
    id: String,
    batch_max: usize,
    tokenizer: Tokenizer,
    takes_types: bool,
    /// As many as threads that embed; questions wait their turn, which is short.
    sessions: Vec<FairMutex<Session>>,
    next: AtomicUsize,
}

impl Onnx {
    /// Checks and loads the files. Errors are sentences that say what to do.
    pub(super) fn load(settings: &Settings) -> Result<Self, String> {
        let sha256 = whole(settings, EMBEDDING, MODEL_FILE)?;
        whole(settings, EMBEDDING, TOKENIZER_FILE)?;
        whole(settings, RUNTIME, RUNTIME_FILE)?;
        let failed = |what: &str, e: &dyn std::fmt::Display| format!("cannot load the {what}: {e}");

        let mut tokenizer = Tokenizer::from_file(catalog::path(settings, EMBEDDING, TOKENIZER_FILE))
            .map_err(|e| failed("tokenizer", &e))?;
        let truncation = TruncationParams { max_length: settings.tokens_max, ..Default::default() };
        tokenizer
            .with_padding(None)
            .with_truncation(Some(truncation))
            .map_err(|e| failed("tokenizer", &e))?;

        let environment = environment(settings)?;
        let model = std::fs::read(catalog::path(settings, EMBEDDING, MODEL_FILE));
        let mut model = model.map_err(|e| failed("model", &e))?;
        if let Some(changed) = gathered_first(&model) {
            model = changed;
        }
        let open = || -> ort::Result<Session> {
            Session::builder(&environment)?
                .with_optimization_level(GraphOptimizationLevel::All)
                .unwrap_or_else(|e| e.recover())
                .with_intra_threads(1)
                .unwrap_or_else(|e| e.recover())
                .with_inter_threads(1)
                .unwrap_or_else(|e| e.recover())
                // An arena keeps what the largest run of all took: twice the model.
                .with_execution_providers([CPU::default().with_arena_allocator(false).build()])
                .unwrap_or_else(|e| e.recover())
                .commit_from_memory(&model)
        };
        let mut sessions = Vec::new();
        for _ in 0..settings.threads.max(1) {
            sessions.push(open().map_err(|e| failed("model", &e))?);
        }
        let takes_types = sessions[0].inputs().iter().any(|input| input.name() == "token_type_ids");
        let batch_max = if sha256 == BATCH_VARIANT_SHA256 { 1 } else { settings.batch_texts_max.max(1) };
        Ok(Self {
            id: format!("{EMBEDDING}-int8@{}", &sha256[..8]),
            batch_max,
            tokenizer,
            takes_types,
            sessions: sessions.into_iter().map(FairMutex::new).collect(),
            next: AtomicUsize::new(0),
        })
    }

    /// A session that is idle, or the turn at one that is not.
    fn session(&self) -> FairMutexGuard<'_, Session> {
        self.sessions.iter().find_map(FairMutex::try_lock).unwrap_or_else(|| {
            let next = self.next.fetch_add(1, Ordering::Relaxed);
            self.sessions[next % self.sessions.len()].lock()
        })
    }

    /// The vectors of texts of about one length.
    fn embed_together(&self, encoded: &[&Encoding]) -> ort::Result<Vec<Vector>> {
        let (rows, width) =
            (encoded.len(), encoded.iter().map(|text| text.get_ids().len()).max().unwrap_or(0));
        let mut ids = vec![0i64; rows * width];
        let mut mask = vec![0i64; rows * width];
        for (row, text) in encoded.iter().enumerate() {
            for (column, id) in text.get_ids().iter().enumerate() {
                ids[row * width + column] = i64::from(*id);
                mask[row * width + column] = 1;
            }
        }
        let lengths: Vec<usize> = encoded.iter().map(|text| text.get_ids().len()).collect();
        self.run(&mut self.session(), [rows, width], ids, mask, &lengths)
    }
}

impl Embedder for Onnx {
    fn model(&self) -> &str {
        &self.id
    }

    fn batch_max(&self) -> usize {
        self.batch_max
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vector>, String> {
        let encoded =
            self.tokenizer.encode_batch_fast(texts.to_vec(), true).map_err(|e| format!("tokenizing: {e}"))?;
        // Of one length together, as many as the memory for their tokens allows.
        let mut order: Vec<usize> = (0..encoded.len()).collect();
        order.sort_by_key(|row| encoded[*row].get_ids().len());
        let mut vectors = vec![Vector(Vec::new()); encoded.len()];
        let mut rest = order.as_slice();
        while !rest.is_empty() {
            let tokens = |rows: usize| rows * encoded[rest[rows - 1]].get_ids().len();
            let rows = (1..=rest.len()).rev().find(|rows| tokens(*rows) <= RUN_TOKENS_MAX).unwrap_or(1);
            let (together, after) = rest.split_at(rows);
            let texts: Vec<&Encoding> = together.iter().map(|row| &encoded[*row]).collect();
            let found = self.embed_together(&texts).map_err(|e| format!("running the model: {e}"))?;
            for (row, vector) in together.iter().zip(found) {
                vectors[*row] = vector;
            }
            rest = after;
        }
        Ok(vectors)
    }
}

impl Onnx {
    fn run(
        &self,
        session: &mut Session,
        shape: [usize; 2],
        ids: Vec<i64>,
        mask: Vec<i64>,
        lengths: &[usize],
    ) -> ort::Result<Vec<Vector>> {
        let types = vec![0i64; ids.len()];
        let mut inputs = ort::inputs![
            "input_ids" => Tensor::from_array((shape, ids))?,
            "attention_mask" => Tensor::from_array((shape, mask))?,
        ];
        if self.takes_types {
            inputs.push(("token_type_ids".into(), Tensor::from_array((shape, types))?.into()));
        }
        let outputs = session.run(inputs)?;
        let (_, states) = outputs[0].try_extract_tensor::<f32>()?;
        let (rows, _) = states.as_chunks::<DIMENSIONS>();
        Ok(lengths
            .iter()
            .enumerate()
            .map(|(row, length)| mean(&rows[row * shape[1]..row * shape[1] + length]).normalized())
            .collect())
    }
}

/// The mean of the token vectors.
fn mean(tokens: &[[f32; DIMENSIONS]]) -> Vector {
    let mut sum = vec![0.0f32; DIMENSIONS];
    for token in tokens {
        sum.iter_mut().zip(token).for_each(|(sum, value)| *sum += value);
    }
    sum.iter_mut().for_each(|sum| *sum /= tokens.len().max(1) as f32);
    Vector(sum)
}

/// The checksum of a file that is there and whole, or what to do.
fn whole(settings: &Settings, bundle: &str, file: &str) -> Result<&'static str, String> {
    let bundle = catalog::bundle(bundle).expect("the catalogue has its own names");
    let known =
        bundle.files.iter().find(|known| known.name == file).expect("the catalogue has its own files");
    match catalog::presence(settings, bundle, known) {
        Presence::Present { sha256 } => Ok(sha256),
        Presence::Absent => {
            Err(format!("{} of {} is not here; `tidings models fetch` gets it", known.name, bundle.name))
        }
        Presence::Unknown => Err(format!(
            "{} of {} has an unknown checksum; `tidings models fetch` gets it again",
            known.name, bundle.name
        )),
    }
}

/// ONNX Runtime is loaded once in a process and stays.
fn environment(settings: &Settings) -> Result<Environment, String> {
    static LOADED: LazyLock<Mutex<Option<Environment>>> = LazyLock::new(Mutex::default);
    let mut loaded = LOADED.lock();
    if let Some(environment) = &*loaded {
        return Ok(environment.clone());
    }
    let path = catalog::path(settings, RUNTIME, RUNTIME_FILE);
    let environment = ort::init_from(&path)
        .map_err(|e| format!("cannot load ONNX Runtime: {e}"))?
        .with_name("tidings")
        .with_telemetry(false)
        .build()
        .map_err(|e| format!("cannot start ONNX Runtime: {e}"))?;
    *loaded = Some(environment.clone());
    Ok(environment)
}
