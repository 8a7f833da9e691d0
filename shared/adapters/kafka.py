"""Kafka through kafka-python: producer and topics (see shared.ports.EventBus), and a reader for people."""

import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Lock

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewPartitions, NewTopic, OffsetSpec
from kafka.errors import (
    IncompatibleBrokerVersion,
    InvalidPartitionsError,
    KafkaError,
    TopicAlreadyExistsError,
)

from shared.errors import Unavailable
from shared.failpoints import copies
from shared.settings import BRONZE_READY, DEAD_LETTERS, GOLD_READY, SILVER_READY, Settings

# A broker that is away has to show within seconds: the sweep announces again what could not be sent.
TIMEOUT_MS = 5_000
TOGETHER_MAX = 500  # events that wait for the broker at once: each has the timeout to get there
BOOTSTRAP_TIMEOUT_MS = 3_000


def topics(settings: Settings) -> dict[str, int]:
    """Return the pipeline's topics with their numbers of partitions."""
    return {
        BRONZE_READY: settings.bronze_ready_partitions,
        SILVER_READY: settings.silver_ready_partitions,
        GOLD_READY: 1,
        DEAD_LETTERS: 1,
    }


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (KafkaError, OSError) as error:
        raise Unavailable("Kafka", str(error) or type(error).__name__) from error


class KafkaBus:
    """A producer that connects when first used and again after a failure; safe to share between threads."""

    def __init__(self, bootstrap_servers: str) -> None:
        # Its complaints come thirty a second while a broker is away; callers learn of it by Unavailable.
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        self._servers = bootstrap_servers.split(",")
        self._producer: KafkaProducer | None = None
        self._admin: KafkaAdminClient | None = None
        self._wanted: dict[str, int] = {}
        self._lock = Lock()

    def ensure_topics(self, partitions_by_topic: Mapping[str, int]) -> None:
        """Create the topics that are missing and add partitions where there are too few."""
        self._wanted.update(partitions_by_topic)
        with self._lock, self._kept_admin() as admin:
            existing = set(admin.list_topics())
            for name, partitions in partitions_by_topic.items():
                if name in existing:
                    _widen(admin, name, partitions)
                else:
                    with suppress(TopicAlreadyExistsError):  # another process was faster
                        admin.create_topics([NewTopic(name, partitions, 1)], timeout_ms=TIMEOUT_MS)

    def topic_identity(self, topic: str) -> str:
        """Return the broker's id of a topic, '' if there is none; one that forgot it gives it a new id."""
        with self._lock, self._kept_admin() as admin:
            if topic not in admin.list_topics():  # asking for a missing topic by name could create it
                return ""
            found = admin.describe_topics([topic])
            return str(found[0].get("topic_id") or "") if found else ""

    def lag(self, group: str, topic: str, partitions: Collection[int]) -> int:
        """Return how many messages of these partitions a group has not acknowledged yet."""
        wanted = [TopicPartition(topic, number) for number in partitions]
        if not wanted:
            return 0
        with self._lock, self._kept_admin() as admin:
            acknowledged = admin.list_group_offsets({group: wanted}).get(group, {})
            first = admin.list_partition_offsets(dict.fromkeys(wanted, OffsetSpec.EARLIEST))
            last = admin.list_partition_offsets(dict.fromkeys(wanted, OffsetSpec.LATEST))
        starts = {one: acknowledged[one].offset if one in acknowledged else -1 for one in wanted}
        return sum(max(last[one].offset - max(starts[one], first[one].offset), 0) for one in wanted)

    def publish(self, topic: str, key: str, value: bytes) -> None:
        """Send one event and wait until the broker has it."""
        self.publish_all(topic, [(key, value)])

    def publish_all(self, topic: str, events: Sequence[tuple[str, bytes]]) -> None:
        """Send several events, each a key and a value, and wait until the broker has them all."""
        if not events:
            return
        was_connected = self._producer is not None
        wanted = [event for event in events for _ in range(copies("bus.publish"))]
        try:
            self._send(topic, wanted)
        except Unavailable:
            if not was_connected:
                raise
            # A broker that came back empty knows neither topic nor producer: start afresh, once.
            self._drop_producer()
            if self._wanted:
                self.ensure_topics(self._wanted)
            self._send(topic, wanted)

    def close(self) -> None:
        """Give the connections back."""
        self._drop_producer()
        with self._lock:
            self._drop_admin()

    def _send(self, topic: str, events: Sequence[tuple[str, bytes]]) -> None:
        with _translated():
            producer = self._kept_producer()
            for start in range(0, len(events), TOGETHER_MAX):
                part = events[start : start + TOGETHER_MAX]
                for sent in [producer.send(topic, key=key.encode(), value=value) for key, value in part]:
                    sent.get(timeout=TIMEOUT_MS / 1000)

    def _kept_producer(self) -> KafkaProducer:
        with self._lock:
            if self._producer is None:
                self._producer = KafkaProducer(
                    bootstrap_servers=self._servers,
                    acks="all",
                    # Created by others on demand, a topic would have the wrong number of partitions.
                    allow_auto_create_topics=False,
                    bootstrap_timeout_ms=BOOTSTRAP_TIMEOUT_MS,
                    max_block_ms=TIMEOUT_MS,
                    request_timeout_ms=TIMEOUT_MS,
                    delivery_timeout_ms=TIMEOUT_MS,
                    reconnect_backoff_max_ms=1_000,
                    metrics_enabled=False,
                )
            return self._producer

    def _drop_producer(self) -> None:
        with self._lock:
            producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            producer.close(timeout=0.5)
        except (KafkaError, OSError):
            # kafka-python 3.0.12 raises where something still waits to be sent, before it ends its own thread.
            producer._sender.force_close()

    @contextmanager
    def _kept_admin(self) -> Iterator[KafkaAdminClient]:
        """Yield the admin client (under the lock); it is thrown away when it fails."""
        try:
            with _translated():
                if self._admin is None:
                    self._admin = KafkaAdminClient(
                        bootstrap_servers=self._servers,
                        bootstrap_timeout_ms=BOOTSTRAP_TIMEOUT_MS,
                        request_timeout_ms=TIMEOUT_MS,
                        reconnect_backoff_max_ms=1_000,
                    )
                yield self._admin
        except Unavailable:
            self._drop_admin()
            raise

    def _drop_admin(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            with suppress(KafkaError, OSError):
                admin.close()


def _widen(admin: KafkaAdminClient, topic: str, partitions: int) -> None:
    """Add partitions to a topic that has too few (made on demand by some client); one with more stays."""
    if len(admin.describe_topics([topic])[0]["partitions"]) >= partitions:
        return
    # Another process was faster; or the broker cannot do it (Tansu 0.6): fewer workers share the topic then.
    with suppress(InvalidPartitionsError, IncompatibleBrokerVersion):
        admin.create_partitions({topic: NewPartitions(partitions)}, timeout_ms=TIMEOUT_MS)


@dataclass(frozen=True)
class Message:
    """One message as it lies on a topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes


def tail(bootstrap_servers: str, topic: str, *, from_start: bool, idle_seconds: float) -> Iterator[Message]:
    """Yield a topic's messages, without a consumer group, until nothing came for `idle_seconds`."""
    with _translated():
        consumer = KafkaConsumer(
            bootstrap_servers=bootstrap_servers.split(","),
            group_id=None,
            enable_auto_commit=False,
            allow_auto_create_topics=False,
            # Tansu looks for new messages at half this time, instead of answering when they come.
            fetch_max_wait_ms=50,
            bootstrap_timeout_ms=BOOTSTRAP_TIMEOUT_MS,
            request_timeout_ms=TIMEOUT_MS,
        )
    try:
        with _translated():
            partitions = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic) or ())]
            if not partitions:
                return
            consumer.assign(partitions)
            (consumer.seek_to_beginning if from_start else consumer.seek_to_end)(*partitions)
            idle_since = time.monotonic()
            while time.monotonic() - idle_since < idle_seconds:
                for batch in consumer.poll(timeout_ms=100).values():
                    for record in batch:
                        yield Message(record.topic, record.partition, record.offset, record.key, record.value)
                        idle_since = time.monotonic()
    finally:
        consumer.close(autocommit=False)
