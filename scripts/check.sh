#!/usr/bin/env bash
# What must hold of the source before the tests run. Every check runs, whatever the one
# before it said; a check whose tool cannot be installed fails.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/steps.sh
. scripts/steps.sh

export TIDINGS_CACHE=${TIDINGS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tidings}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$TIDINGS_CACHE/target}

shell_scripts() {
  shellcheck --external-sources .ci/run scripts/*.sh
}

docs() {
  RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
}

dependencies() {
  cargo fetch --locked --quiet &&
    cargo deny --offline --locked check bans licenses sources
}

steps_total=6
step "packages and tools" eval 'scripts/install.sh && scripts/tools.sh'
export PATH="$TIDINGS_CACHE/tools/bin:$PATH"
steps_keep_going=1
step "formatting" cargo fmt --all --check
step "shell scripts" shell_scripts
step "dependencies" dependencies
step "clippy" cargo clippy --workspace --all-targets --quiet -- -D warnings
step "documentation" docs
steps_summary
