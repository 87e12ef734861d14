#!/usr/bin/env bash
# Installs what building and running Tidings needs and this machine lacks.
#   scripts/install.sh           to build, run and demonstrate
#   scripts/install.sh --tests   also what the tests need: Java, Maven, kcat and Chromium
# Debian's packages come by apt (as root or through sudo), Rust by its own installer
# when there is none. Nothing is installed twice, and a second run takes a second.
set -euo pipefail
cd "$(dirname "$0")/.."

rust_least=1.92
tests=0
case "${1:-}" in
  "") ;;
  --tests) tests=1 ;;
  *) echo "usage: scripts/install.sh [--tests]" >&2; exit 2 ;;
esac
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"

missing=()
# want PACKAGE COMMAND…: the package is needed unless the command succeeds. Asking for
# what is used, not for the package, accepts what came by another way.
want() {
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}
has() { command -v "$1"; }

want build-essential eval 'command -v cc && command -v c++ && command -v make'
want pkg-config has pkg-config
want libssl-dev eval 'command -v pkg-config && pkg-config --exists openssl'
want zlib1g-dev eval 'command -v pkg-config && pkg-config --exists zlib'
want ca-certificates test -s /etc/ssl/certs/ca-certificates.crt
want curl has curl
want git has git
want python3 has python3
want python3-venv python3 -c 'import venv, ensurepip'
want python3-pip python3 -m pip --version
if [ "$tests" = 1 ]; then
  want default-jre-headless eval 'java -version 2>&1 | grep -Eq "version \"(1[7-9]|[2-9][0-9])"'
  want maven has mvn
  want kcat has kcat
  want chromium has chromium
  want chromium-driver has chromedriver
fi

if [ "${#missing[@]}" -gt 0 ]; then
  echo "installing packages: ${missing[*]}"
  if ! command -v apt-get >/dev/null; then
    echo "error: this machine has no apt-get. Install by its own package manager what these Debian packages hold: ${missing[*]}" >&2
    exit 1
  fi
  sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "error: installing packages needs root or sudo. As root: apt-get install ${missing[*]}" >&2
      exit 1
    fi
    sudo=(sudo)
  fi
  "${sudo[@]}" apt-get update -q
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"
else
  echo "system packages: nothing missing"
fi

rust_new_enough() {
  local version
  version=$(cargo --version 2>/dev/null | cut -d' ' -f2) || return 1
  [ -n "$version" ] && [ "$(printf '%s\n%s\n' "$rust_least" "$version" | sort -V | head -n 1)" = "$rust_least" ]
}

if rust_new_enough; then
  echo "Rust: $(cargo --version)"
elif command -v rustup >/dev/null; then
  echo "Rust: installing the toolchain that rust-toolchain.toml names"
  rustup toolchain install
else
  echo "Rust: installing with the official installer (rustup)"
  installer=$(mktemp)
  trap 'rm -f "$installer"' EXIT
  if ! curl --proto '=https' --tlsv1.2 -fsS --retry 3 -o "$installer" https://sh.rustup.rs; then
    echo "error: Rust $rust_least or newer is needed, and https://sh.rustup.rs cannot be reached from here." >&2
    echo "       Install Rust some other way, so that 'cargo --version' says $rust_least or more, and run this again." >&2
    exit 1
  fi
  sh "$installer" -y --profile minimal --default-toolchain none --no-modify-path
  rustup toolchain install
fi
if ! rust_new_enough; then
  echo "error: Rust $rust_least or newer is needed; 'cargo --version' says: $(cargo --version 2>&1 | head -n 1)" >&2
  exit 1
fi
