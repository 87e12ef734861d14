#!/usr/bin/env bash
# Installs the tools that `make check` runs (scripts/tools.txt: pinned, with hashes) into
# a virtual environment under the cache folder, and prints its bin folder.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${TIDINGS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tidings}
tools=$cache/tools
stamp=$tools/installed-$(sha256sum scripts/tools.txt | cut -c1-16)
if [ ! -e "$stamp" ]; then
  echo "installing the check tools into $tools" >&2
  rm -rf "$tools"
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --require-hashes -r scripts/tools.txt >&2
  touch "$stamp"
fi
echo "$tools/bin"
