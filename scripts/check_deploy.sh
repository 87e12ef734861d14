#!/usr/bin/env bash
# Validates the files that deploy and watch Tidings, with the tools that define them:
# Kubernetes' schemas, the Compose specification, promtool. The validators come from PyPI
# (scripts/tools-deploy.txt) and, for promtool, out of Debian's prometheus package, into
# the cache folder. What it cannot show is that a container or a cluster runs them.
set -euo pipefail
cd "$(dirname "$0")/.."

cache=${TIDINGS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tidings}
tools=$cache/tools-deploy
stamp=$tools/installed-$(sha256sum scripts/tools-deploy.txt | cut -c1-16)
if [ ! -e "$stamp" ]; then
  echo "installing the validators into $tools"
  rm -rf "$tools"
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check --no-deps -r scripts/tools-deploy.txt
  touch "$stamp"
fi

promtool=$(command -v promtool || echo "$tools/prometheus/usr/bin/promtool")
if [ ! -x "$promtool" ]; then
  echo "fetching promtool out of Debian's prometheus package"
  mkdir -p "$tools/prometheus"
  if ! (cd "$tools/prometheus" && apt-get download -q prometheus); then
    sudo=()
    [ "$(id -u)" -eq 0 ] || sudo=(sudo)
    "${sudo[@]}" apt-get update -q
    (cd "$tools/prometheus" && apt-get download -q prometheus)
  fi
  (cd "$tools/prometheus" && dpkg -x prometheus_*.deb . && rm prometheus_*.deb)
fi

echo "Kubernetes:"
mapfile -t manifests < <(find k8s -name '*.yaml' ! -name kustomization.yaml | sort)
"$tools/bin/kubernetes-validate" --strict --kubernetes-version 1.32 "${manifests[@]}"

echo "Compose:"
"$tools/bin/python" - <<'PYTHON'
import compose_spec, yaml
with open("docker-compose.yml") as file:
    model = compose_spec.ComposeSpecification.model_validate(yaml.safe_load(file))
print("docker-compose.yml:", len(model.services), "services")
PYTHON

echo "Prometheus:"
"$promtool" check config config/prometheus/prometheus.yml
"$promtool" test rules config/prometheus/alerts_test.yml
