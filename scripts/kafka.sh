#!/usr/bin/env bash
# A real Apache Kafka for tests and benchmarks: one node, on loopback, in memory's
# reach, gone without a trace after `down`.
#
#   scripts/kafka.sh up      starts it if needed, prints its address on stdout
#   scripts/kafka.sh status  prints the address, code 0 while it answers, 1 otherwise
#   scripts/kafka.sh down    stops it and removes its data
#
#   export KAFKA_BOOTSTRAP_SERVERS=$(scripts/kafka.sh up)
#
# Where it comes from: KAFKA_BOOTSTRAP_SERVERS if that is set (then nothing is
# started or stopped); otherwise a container if an engine answers; otherwise the
# jars of Maven Central, run with Java 17 or later.
set -euo pipefail

VERSION=4.3.1
CACHE="${TIDINGS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tidings}/kafka/$VERSION"
# One broker for each user; TIDINGS_KAFKA_NAME tells several apart.
NAME="tidings-kafka-$(id -u)${TIDINGS_KAFKA_NAME:+-$TIDINGS_KAFKA_NAME}"
HOME_DIR="${TMPDIR:-/tmp}/$NAME"
IMAGE="apache/kafka:$VERSION"
HEAP_MB=512
START_SECONDS_MAX=60

say() { echo "kafka: $*" >&2; }
die() { say "$*"; exit 1; }

answers() { # host:port
  local host=${1%:*} port=${1##*:}
  (exec 3<>"/dev/tcp/$host/$port") 2>/dev/null
}

address() { cat "$HOME_DIR/address" 2>/dev/null; }

alive() {
  local at
  at=$(address) || return 1
  answers "$at"
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# As Kafka's own generator does, never one that begins with a dash: the tool that
# formats the folder would take it for an option.
cluster_id() {
  python3 -c '
import base64, uuid
while True:
    name = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    if not name.startswith("-"):
        break
print(name)'
}

have_engine() { command -v docker >/dev/null && timeout 10 docker info >/dev/null 2>&1; }

# What one node needs, and what lets tests see compaction within seconds.
properties() { # port controller_port folder
  cat <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$2
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$1,CONTROLLER://127.0.0.1:$2
advertised.listeners=PLAINTEXT://127.0.0.1:$1
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$3
auto.create.topics.enable=false
delete.topic.enable=true
num.partitions=1
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
log.cleaner.backoff.ms=200
log.cleaner.dedupe.buffer.size=16777216
log.retention.check.interval.ms=1000
log.initial.task.delay.ms=1000
message.max.bytes=2097152
num.network.threads=2
num.io.threads=2
background.threads=2
PROPERTIES
}

fetch_jars() {
  [ -f "$CACHE/complete" ] && return
  command -v java >/dev/null || die "needs Java 17 or later (Debian: apt-get install openjdk-17-jre-headless)"
  command -v mvn >/dev/null || die "needs Maven to fetch Kafka (Debian: apt-get install maven)"
  say "fetching Apache Kafka $VERSION (45 jars, 44 MB) into $CACHE"
  mkdir -p "$CACHE"
  cat >"$CACHE/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tidings</groupId><artifactId>kafka</artifactId><version>1</version>
  <dependencies><dependency>
    <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$VERSION</version>
  </dependency></dependencies>
</project>
POM
  mvn -q -B -f "$CACHE/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
    -DoutputDirectory="$CACHE/libs" >&2 || die "Maven could not fetch Apache Kafka $VERSION"
  touch "$CACHE/complete"
}

start_jars() { # port
  local port=$1 controller
  fetch_jars
  controller=$(free_port)
  mkdir -p "$HOME_DIR/data"
  properties "$port" "$controller" "$HOME_DIR/data" >"$HOME_DIR/server.properties"
  # Errors only: a healthy broker writes a screen a second.
  cat >"$HOME_DIR/log4j2.xml" <<'LOG'
<Configuration status="ERROR"><Appenders><Console name="out" target="SYSTEM_OUT">
<PatternLayout pattern="%d %p %m (%c)%n"/></Console></Appenders>
<Loggers><Root level="WARN"><AppenderRef ref="out"/></Root></Loggers></Configuration>
LOG
  local java=(java "-Xmx${HEAP_MB}m" -Xms128m -XX:+UseSerialGC -XX:TieredStopAtLevel=4 -Xshare:auto
    -Djava.awt.headless=true "-Dlog4j2.configurationFile=$HOME_DIR/log4j2.xml" -cp "$CACHE/libs/*")
  "${java[@]}" -Xmx128m -XX:TieredStopAtLevel=1 kafka.tools.StorageTool format \
    -t "$(cluster_id)" \
    -c "$HOME_DIR/server.properties" >"$HOME_DIR/broker.log" 2>&1 ||
    die "cannot format: $(tail -n 5 "$HOME_DIR/broker.log")"
  nohup setsid "${java[@]}" kafka.Kafka "$HOME_DIR/server.properties" >>"$HOME_DIR/broker.log" 2>&1 </dev/null &
  echo $! >"$HOME_DIR/pid"
}

start_container() { # port
  mkdir -p "$HOME_DIR"
  properties "$1" 29093 /tmp/kafka-data |
    sed "s/^listeners=.*/listeners=PLAINTEXT:\/\/:$1,CONTROLLER:\/\/127.0.0.1:29093/" >"$HOME_DIR/server.properties"
  chmod -R a+rX "$HOME_DIR"
  docker run -d --rm --name "$NAME" -p "127.0.0.1:$1:$1" -e "KAFKA_HEAP_OPTS=-Xmx${HEAP_MB}m" \
    -v "$HOME_DIR/server.properties:/mnt/shared/config/server.properties:ro" "$IMAGE" >/dev/null
  echo "$NAME" >"$HOME_DIR/container"
}

running() {
  if [ -f "$HOME_DIR/container" ]; then
    docker inspect "$NAME" >/dev/null 2>&1
  else
    kill -0 "$(cat "$HOME_DIR/pid" 2>/dev/null || echo 0)" 2>/dev/null
  fi
}

up() {
  if [ -n "${KAFKA_BOOTSTRAP_SERVERS:-}" ]; then
    answers "${KAFKA_BOOTSTRAP_SERVERS%%,*}" || die "no broker answers at $KAFKA_BOOTSTRAP_SERVERS"
    echo "$KAFKA_BOOTSTRAP_SERVERS"
    return
  fi
  # Two at once start one.
  exec 9>"$HOME_DIR.lock"
  flock 9
  if alive; then
    address
    return
  fi
  stop
  local port
  port=$(free_port)
  if have_engine; then start_container "$port"; else start_jars "$port" 9>&-; fi
  local deadline=$((SECONDS + START_SECONDS_MAX))
  until answers "127.0.0.1:$port"; do
    running || die "the broker ended: $(tail -n 5 "$HOME_DIR/broker.log" 2>/dev/null)"
    [ $SECONDS -lt $deadline ] || die "the broker does not answer after $START_SECONDS_MAX s: see $HOME_DIR/broker.log"
    sleep 0.2
  done
  echo "127.0.0.1:$port" >"$HOME_DIR/address"
  address
}

stop() {
  if [ -f "$HOME_DIR/container" ]; then
    docker rm -f "$NAME" >/dev/null 2>&1 || true
  elif [ -f "$HOME_DIR/pid" ]; then
    local pid
    pid=$(cat "$HOME_DIR/pid")
    # Only what we started: the process must be this broker of this folder.
    if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q "$HOME_DIR/server.properties"; then
      # Its data goes with it: there is nothing to stop in order.
      kill -9 "$pid" 2>/dev/null || true
      for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    fi
  fi
  rm -rf "$HOME_DIR"
}

case "${1:-}" in
  up) up ;;
  down)
    exec 9>"$HOME_DIR.lock"
    flock 9
    stop
    rm -f "$HOME_DIR.lock"
    ;;
  status)
    if [ -n "${KAFKA_BOOTSTRAP_SERVERS:-}" ] && answers "${KAFKA_BOOTSTRAP_SERVERS%%,*}"; then
      echo "$KAFKA_BOOTSTRAP_SERVERS"
    elif alive; then
      address
    else
      say "no broker"
      exit 1
    fi
    ;;
  *)
    sed -n '2,14p' "$0" | sed 's/^# \{0,1\}//' >&2
    exit 2
    ;;
esac
