"""Writes a topic as Tidings does, for scripts/downstream_check.sh.

Three transactions: one committed, one aborted after the broker has it, one open
until the readers are done. The committed records, as `key value` lines in order,
are what readers must see.
"""

import json
import os
import pathlib
import sys
import time

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

TIMEOUT_S = 30
COMMITTED = 200
UNSEEN = 50


def wait_for(path: pathlib.Path) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        if time.monotonic() > deadline:
            sys.exit("the readers did not finish")
        time.sleep(0.1)


def records(kind: str, count: int) -> list[tuple[str, str]]:
    return [(f"{kind}-{n}", json.dumps({"cell": kind, "count": n}, separators=(",", ":"))) for n in range(count)]


def main() -> None:
    topic, expected, ready, done = sys.argv[1], *map(pathlib.Path, sys.argv[2:5])
    servers = os.environ["KAFKA_BOOTSTRAP_SERVERS"]
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(TIMEOUT_S)

    def begin(name: str) -> Producer:
        producer = Producer({"bootstrap.servers": servers, "transactional.id": f"{topic}.{name}"})
        producer.init_transactions(TIMEOUT_S)
        producer.begin_transaction()
        return producer

    def send(producer: Producer, some: list[tuple[str, str]]) -> None:
        for key, value in some:
            producer.produce(topic, key=key, value=value)
        producer.flush(TIMEOUT_S)

    try:
        kept = records("committed", COMMITTED)
        producer = begin("one")
        send(producer, kept)
        producer.commit_transaction(TIMEOUT_S)
        # The next transaction of a producer waits until the last is visible.
        producer.begin_transaction()
        send(producer, records("aborted", UNSEEN))
        producer.abort_transaction(TIMEOUT_S)
        still_open = begin("two")
        send(still_open, records("open", UNSEEN))
        expected.write_text("".join(sorted(f"{key} {value}\n" for key, value in kept)))
        ready.touch()
        wait_for(done)
        still_open.abort_transaction(TIMEOUT_S)
    finally:
        admin.delete_topics([topic])[topic].result(TIMEOUT_S)


main()
