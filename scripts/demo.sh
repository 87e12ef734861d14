#!/usr/bin/env bash
# The demonstration, from a machine that may be new: installs what is missing, builds,
# fetches the texts and the models, and hands over to `tidings demo`.
#   scripts/demo.sh          shows everything, then stays up for you to look around
#   scripts/demo.sh --exit   ends by itself with code 0 if every check of it holds
#   scripts/demo.sh --live   follows the default sources instead
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/steps.sh
. scripts/steps.sh

export TIDINGS_CACHE=${TIDINGS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tidings}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$TIDINGS_CACHE/target}
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
tidings=$CARGO_TARGET_DIR/debug/tidings

build() {
  echo "the first time this compiles some 500 crates: 5 to 15 minutes on two cores"
  cargo build --locked --bin tidings
}

steps_total=4
step "packages" scripts/install.sh
step "build" build
step "texts" scripts/vader_source.sh
step "models" "$tidings" models fetch --no-env-file
steps_summary
echo
# The demonstration has settings and a folder of its own: nothing of yours is read.
exec "$tidings" demo --no-env-file --texts "$(scripts/vader_source.sh)" --folder "$TIDINGS_CACHE/demo" "$@"
