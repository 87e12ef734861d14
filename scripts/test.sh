#!/usr/bin/env bash
# All tests, with what they need: packages, the reference implementation of VADER, the
# models and a real Apache Kafka, which is stopped at the end if this started it.
#   scripts/test.sh          the everyday form
#   scripts/test.sh --long   the long forms: TIDINGS_TEST_LONG=1 for the tests
# Anything missing fails; nothing is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/steps.sh
. scripts/steps.sh

export TIDINGS_CACHE=${TIDINGS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tidings}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$TIDINGS_CACHE/target}
case "${1:-}" in
  "") ;;
  --long) export TIDINGS_TEST_LONG=1 ;;
  *) echo "usage: scripts/test.sh [--long]" >&2; exit 2 ;;
esac

broker_is_ours=0
stop_broker() {
  if [ "$broker_is_ours" = 1 ]; then
    echo "stopping the Kafka that the tests used"
    # With an address given, it takes the broker for somebody else's.
    env -u KAFKA_BOOTSTRAP_SERVERS scripts/kafka.sh down
  fi
}
trap stop_broker EXIT

# Exported, not printed: the tests after it read the address.
start_broker() {
  if ! scripts/kafka.sh status >/dev/null 2>&1; then
    broker_is_ours=1
  fi
  KAFKA_BOOTSTRAP_SERVERS=$(scripts/kafka.sh up) || return 1
  export KAFKA_BOOTSTRAP_SERVERS
  echo "Kafka answers at $KAFKA_BOOTSTRAP_SERVERS"
}

steps_total=7
step "packages" scripts/install.sh --tests
step "compile" cargo test --workspace --no-run
step "VADER's reference implementation" scripts/vader_reference.sh
step "models" "$CARGO_TARGET_DIR/debug/tidings" models fetch --no-env-file
step "start Kafka" start_broker
step "tests${TIDINGS_TEST_LONG:+, long forms}" cargo test --workspace --no-fail-fast
step "consumers as docs/downstream.md shows them" scripts/downstream_check.sh
steps_summary
