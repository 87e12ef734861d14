"""Reads a topic of Tidings: committed records only, one `key value` line each.

    python read_committed.py tidings.results.volume [--until-end]

A value of None is a tombstone: the key has left the topic.
"""

import os
import sys

from confluent_kafka import Consumer, KafkaError, KafkaException

topic = sys.argv[1]
until_end = "--until-end" in sys.argv[2:]

consumer = Consumer(
    {
        "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        "group.id": f"example.{os.getpid()}",
        "isolation.level": "read_committed",  # Without it aborted results are read too.
        "auto.offset.reset": "earliest",
        "enable.partition.eof": True,
    }
)
consumer.subscribe([topic])
partitions = len(consumer.list_topics(topic).topics[topic].partitions)
at_end = set()
while not (until_end and len(at_end) == partitions):
    message = consumer.poll(1.0)
    if message is None:
        continue
    if error := message.error():
        if error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        at_end.add(message.partition())
        continue
    value = message.value()
    print(message.key().decode(), "(tombstone)" if value is None else value.decode(), flush=not until_end)
consumer.close()
