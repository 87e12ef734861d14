#!/usr/bin/env bash
# Validates the files that deploy and watch Tidings, with the tools that define them:
# Kubernetes' schemas, the Compose specification, promtool, systemd-analyze. The validators
# come from PyPI (scripts/tools-deploy.txt) and, for promtool, out of Debian's prometheus
# package, into the cache folder; systemd-analyze with Debian's systemd package, which is
# installed where it is missing. What it cannot show is that a container, a cluster or
# systemd runs them.
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

# apt-get as root or through sudo.
debian_packages() {
  local sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "$@"
}

promtool=$(command -v promtool || echo "$tools/prometheus/usr/bin/promtool")
if [ ! -x "$promtool" ]; then
  echo "fetching promtool out of Debian's prometheus package"
  mkdir -p "$tools/prometheus"
  if ! (cd "$tools/prometheus" && apt-get download -q prometheus); then
    debian_packages update -q
    (cd "$tools/prometheus" && apt-get download -q prometheus)
  fi
  (cd "$tools/prometheus" && dpkg -x prometheus_*.deb . && rm prometheus_*.deb)
fi

if ! command -v systemd-analyze >/dev/null; then
  echo "installing Debian's systemd package for systemd-analyze"
  debian_packages install -qy --no-install-recommends systemd || {
    debian_packages update -q
    debian_packages install -qy --no-install-recommends systemd
  }
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

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

# Every expression of the dashboard as a recording rule, which promtool parses.
echo "Grafana:"
"$tools/bin/python" - "$scratch/dashboard.yml" <<'PYTHON'
import json, sys, yaml
with open("config/grafana/dashboard.json") as file:
    dashboard = json.load(file)
asked = [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
asked += [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
for name in ("datasource.yml", "dashboards.yml"):
    with open("config/grafana/" + name) as file:
        yaml.safe_load(file)
# Grafana puts its own interval here.
asked = [expression.replace("$__rate_interval", "5m") for expression in asked]
rules = [{"record": f"dashboard:{n}", "expr": expression} for n, expression in enumerate(asked)]
with open(sys.argv[1], "w") as file:
    yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
PYTHON
"$promtool" check rules --lint=none "$scratch/dashboard.yml"

# The binary need not be installed here, so another one stands in for it. An unknown
# setting is only a warning to systemd-analyze: here every word of it is a fault.
echo "systemd:"
sed 's#^ExecStart=/usr/local/bin/tidings #ExecStart=/bin/true #' config/systemd/tidings.service >"$scratch/tidings.service"
code=0
said=$(systemd-analyze verify --man=no --recursive-errors=no "$scratch/tidings.service" 2>&1) || code=$?
if [ "$code" -ne 0 ] || [ -n "$said" ]; then
  printf '%s\n' "$said" >&2
  echo "error: systemd-analyze verify finds fault with config/systemd/tidings.service (exit code $code)" >&2
  exit 1
fi
systemd-analyze security --no-pager --offline=true --threshold=20 "$scratch/tidings.service" | tail -n 1
