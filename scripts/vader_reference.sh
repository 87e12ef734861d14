#!/usr/bin/env bash
# Fetches the reference implementation of VADER (vaderSentiment 3.3.2, MIT) with its four
# human-rated sets of texts from PyPI, and scores them and some 20 000 made-up texts with it,
# so that `cargo test --test text` can compare ours with it.
#
#   scripts/vader_reference.sh [--seed N] [--force]
#
# Everything lies under ${TIDINGS_CACHE:-${XDG_CACHE_HOME:-~/.cache}/tidings}/vader-3.3.2, outside the clone;
# a second run with the same seed has nothing to do. Needs Python 3 with venv.
set -euo pipefail

seed=20140601
force=false
while [ $# -gt 0 ]; do
  case "$1" in
    --seed) seed=${2:?--seed needs a number}; shift 2 ;;
    --force) force=true; shift ;;
    *) echo "usage: $0 [--seed N] [--force]" >&2; exit 2 ;;
  esac
done

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${TIDINGS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tidings}/vader-3.3.2
mkdir -p "$out"
exec 9>"$out/lock"
flock 9

stamp="$seed $(sha256sum "$here/vader_reference.py" | cut -d' ' -f1)"
if ! $force && [ -s "$out/reference.tsv" ] && [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ]; then
  echo "vader reference: up to date in $out (seed $seed)"
  exit 0
fi

if [ ! -x "$out/venv/bin/python" ]; then
  rm -rf "$out/venv"
  python3 -m venv "$out/venv" || {
    echo "vader reference: python3 -m venv failed; on Debian: apt-get install python3-venv" >&2; exit 1; }
fi
sdist=$("$here/vader_source.sh")
"$out/venv/bin/pip" --disable-pip-version-check --quiet install --no-deps "$sdist"

rm -rf "$out/sdist" "$out/ground_truth"
mkdir -p "$out/sdist" "$out/ground_truth"
tar -xzf "$sdist" -C "$out/sdist" --strip-components 1
tar -xzf "$out/sdist/additional_resources/hutto_ICWSM_2014.tar.gz" -C "$out/ground_truth" --strip-components 1

echo "vader reference: scoring with seed $seed"
"$out/venv/bin/python" "$here/vader_reference.py" "$out/ground_truth" "$out" "$seed"
echo "$stamp" > "$out/stamp"
