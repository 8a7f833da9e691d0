"""A silver worker that is measured: reads object ids from its input, answers each with one line of JSON."""

import json
import logging
import resource
import sys
import time
import uuid
from collections.abc import Mapping, Sequence

from services.silver.service import SilverService
from shared.adapters.kafka import KafkaBus
from shared.adapters.postgres import Postgres
from shared.adapters.s3 import open_s3
from shared.catalog import load_catalog
from shared.heartbeat import Heartbeat
from shared.models import load_models, models_depending_on
from shared.settings import load_settings


class CommitClock:
    """The event bus, noting when it is first used: right after the commit, before anything is sent."""

    def __init__(self, bus: KafkaBus) -> None:
        self._bus = bus
        self.committed: float | None = None

    def ensure_topics(self, partitions_by_topic: Mapping[str, int]) -> None:
        """Create the topics that are missing."""
        self._bus.ensure_topics(partitions_by_topic)

    def publish(self, topic: str, key: str, value: bytes) -> None:
        """Note the moment and send the event."""
        self.committed = self.committed or time.monotonic()
        self._bus.publish(topic, key, value)

    def publish_all(self, topic: str, events: Sequence[tuple[str, bytes]]) -> None:
        """Note the moment and send the events."""
        self.committed = self.committed or time.monotonic()
        self._bus.publish_all(topic, events)

    def close(self) -> None:
        """Give the connection back."""
        self._bus.close()


def rss_peak_mb() -> float:
    """Return the most memory that this process ever had resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Process objects until the input ends."""
    logging.disable(logging.WARNING)
    settings = load_settings().require_stack()
    catalog = load_catalog(settings.dataset_dir)
    models = load_models(settings.sql_dir, catalog.datasets)
    assert settings.database_url is not None
    warehouse = Postgres(settings.database_url.get_secret_value())
    clock = CommitClock(KafkaBus(settings.kafka_bootstrap_servers))
    heartbeat = Heartbeat(warehouse, settings, "silver")
    service = SilverService(
        warehouse, open_s3(settings), clock, catalog, settings, heartbeat,
        lambda dataset: models_depending_on(models, dataset),
    )  # fmt: skip
    heartbeat.start()
    print("ready", flush=True)
    with warehouse.session("bench-silver") as session:
        for line in sys.stdin:
            clock.committed = None
            began = time.monotonic()
            status = service.process(session, uuid.UUID(line.strip()))
            committed = clock.committed or time.monotonic()
            answer = {"status": status, "began": began, "committed": committed, "rss_peak_mb": rss_peak_mb()}
            print(json.dumps(answer), flush=True)
    heartbeat.stop()
    clock.close()


if __name__ == "__main__":
    main()
