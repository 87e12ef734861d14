#!/usr/bin/env bash
# A release build as dist/tidings-VERSION-TARGET.tar.gz with its SHA-256 beside it: the
# binary, its documents, configuration with the unit for systemd, and shell completions.
set -euo pipefail
cd "$(dirname "$0")/.."

echo "building the release (10 to 20 minutes the first time on two cores)"
cargo build --release --locked --bin tidings
version=$(cargo pkgid --package tidings | sed 's/.*[#@]//')
target=$(rustc -vV | sed -n 's/^host: //p')
name=tidings-$version-$target
built=${CARGO_TARGET_DIR:-target}/release/tidings

staging=$(mktemp -d)
trap 'rm -rf "$staging"' EXIT
mkdir -p "$staging/$name" dist
install -m 755 "$built" "$staging/$name/tidings"
strip --strip-debug "$staging/$name/tidings"
cp -r README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE THIRD-PARTY.md .env.example config docs "$staging/$name/"
mkdir "$staging/$name/completions"
for shell in bash zsh fish; do
  "$staging/$name/tidings" completions "$shell" >"$staging/$name/completions/tidings.$shell"
done
tar -C "$staging" --sort=name --owner=0 --group=0 --numeric-owner -czf "dist/$name.tar.gz" "$name"
(cd dist && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
ls -l "dist/$name.tar.gz"
