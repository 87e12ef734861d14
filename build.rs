//! Tells the binary which commit it was built from; `unknown` outside of a checkout.

use std::path::Path;
use std::process::Command;

#[expect(clippy::disallowed_methods, reason = "a build script has no Config; the rule is for the program")]
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=TIDINGS_COMMIT");
    // Given by builds that have no checkout, such as a container image.
    let given = std::env::var("TIDINGS_COMMIT").ok().filter(|c| !c.is_empty());
    let commit = given.or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    println!("cargo:rustc-env=TIDINGS_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    // The reflog changes with every commit and checkout, HEAD only with a checkout.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name])
            && Path::new(&path).exists()
        {
            println!("cargo:rerun-if-changed={path}");
        }
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_string())
}
