#!/usr/bin/env bash
# Fetches the source package of vaderSentiment 3.3.2 (MIT) from PyPI into the cache
# folder, checks its digest, and prints its path. It holds the human-rated texts that the
# demonstration plays and the tests score.
set -euo pipefail

folder=${TIDINGS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tidings}/vader-3.3.2
package=$folder/vaderSentiment-3.3.2.tar.gz
sha256=5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9

mkdir -p "$folder"
if [ ! -s "$package" ]; then
  # Its setup.py is run to read its name: in a folder of its own, without building anything.
  python3 -m pip --disable-pip-version-check --quiet download --no-deps --no-binary :all: \
    --dest "$folder" vaderSentiment==3.3.2 >&2
fi
echo "$sha256  $package" | sha256sum --check --quiet >&2
echo "$package"
