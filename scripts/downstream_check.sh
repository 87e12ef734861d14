#!/usr/bin/env bash
# Runs what docs/downstream.md shows, with kcat and with Python, against a real
# broker: both must read exactly the committed records, and none of a transaction
# that was aborted or is still open. Code 0 if they do.
#
#   KAFKA_BOOTSTRAP_SERVERS=$(scripts/kafka.sh up) scripts/downstream_check.sh
#
# Installs kcat (Debian package) if it is missing, and confluent-kafka into a
# virtual environment under the cache folder.
set -euo pipefail
cd "$(dirname "$0")/.."

CLIENT_VERSION=2.12.1
ENVIRONMENT="${TIDINGS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tidings}/downstream-$CLIENT_VERSION"
PYTHON="$ENVIRONMENT/bin/python"

die() { echo "downstream: $*" >&2; exit 1; }

[ -n "${KAFKA_BOOTSTRAP_SERVERS:-}" ] ||
  die "needs a broker: run scripts/kafka.sh up and set KAFKA_BOOTSTRAP_SERVERS to the address it prints"

install_kcat() {
  command -v kcat >/dev/null && return
  local as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo)
  { "${as_root[@]}" apt-get install -y -q kcat ||
    { "${as_root[@]}" apt-get update -q && "${as_root[@]}" apt-get install -y -q kcat; }; } >&2 ||
    die "cannot install kcat"
}

install_client() {
  "$PYTHON" -c "import confluent_kafka" 2>/dev/null && return
  python3 -m venv "$ENVIRONMENT" || die "cannot make a virtual environment (Debian: apt-get install python3-venv)"
  "$PYTHON" -m pip install -q --disable-pip-version-check "confluent-kafka==$CLIENT_VERSION" >&2 ||
    die "cannot install confluent-kafka"
}

install_kcat
install_client

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
topic="downstream-check-$$-$(date +%s).results.volume"

# Committed, then aborted, then left open until the readers are done.
"$PYTHON" scripts/downstream_producer.py "$topic" "$work/expected" "$work/ready" "$work/done" &
producer=$!
for _ in $(seq 300); do
  [ -e "$work/ready" ] && break
  kill -0 "$producer" 2>/dev/null || die "the producer failed"
  sleep 0.1
done
[ -e "$work/ready" ] || die "the producer did not get ready"

# The two ways of docs/downstream.md, to the end and out.
kcat -b "$KAFKA_BOOTSTRAP_SERVERS" -C -t "$topic" -o beginning -e -q \
  -X isolation.level=read_committed -f '%k %s\n' >"$work/kcat"
"$PYTHON" docs/downstream/read_committed.py "$topic" --until-end >"$work/python"

touch "$work/done"
wait "$producer" || die "the producer failed"

for way in kcat python; do
  sort "$work/$way" >"$work/$way.sorted"
  diff -u "$work/expected" "$work/$way.sorted" >&2 || die "$way read other records than were committed"
done
echo "downstream: kcat and Python read the $(wc -l <"$work/expected") committed records and nothing else"
