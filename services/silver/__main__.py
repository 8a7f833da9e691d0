"""Start one silver worker: read the settings, connect the adapters, consume bronze-ready."""

import sys
from collections.abc import Sequence
from functools import cache, partial

from services.silver.service import SilverService
from services.silver.waiting import Waiting
from shared.adapters.kafka import KafkaBus
from shared.adapters.monitor import Monitor
from shared.adapters.postgres import Postgres
from shared.adapters.s3 import open_s3
from shared.adapters.stream import consume
from shared.catalog import load_catalog
from shared.errors import ConfigurationError
from shared.heartbeat import Heartbeat
from shared.models import load_models, models_depending_on
from shared.retry import patiently
from shared.settings import BRONZE_READY, load_settings
from shared.telemetry import configure_logging


def main() -> int:
    """Run until SIGTERM; 2 when the configuration is wrong, 3 when a server stays away."""
    try:
        settings = load_settings().require_stack()
        catalog, models = load_catalog(settings.dataset_dir), load_models(settings.sql_dir)
    except ConfigurationError as error:
        print(f"silver: {error}", file=sys.stderr)
        return 2
    configure_logging("silver", settings.log_format, settings.log_level)
    assert settings.database_url is not None
    warehouse = Postgres(settings.database_url.get_secret_value())
    store, bus = open_s3(settings), KafkaBus(settings.kafka_bootstrap_servers)
    monitor = Monitor(settings, "silver", warehouse, store)
    worker = Heartbeat(warehouse, settings, "silver", monitor.metrics)
    service = SilverService(
        warehouse, store, bus, catalog, settings, worker,
        cache(partial(models_depending_on, models)), monitor.metrics,
        monitor.health.say_stopped,
    )  # fmt: skip

    def handle(messages: Sequence[bytes]) -> int:
        return patiently(settings.retry_total_seconds, lambda: service.handle(messages), monitor.metrics)

    def stop() -> None:
        worker.stop()
        monitor.stop()

    waiting = Waiting(warehouse, settings, worker.worker_id)
    monitor.start()
    status = consume(
        settings,
        group="silver",
        topic=BRONZE_READY,
        handle=monitor.following(BRONZE_READY, handle),
        service="silver",
        on_start=worker.start,
        on_stop=stop,
        overdue=waiting.overdue,
        standing=waiting.standing,
        spare=waiting.spare,
    )
    service.close()
    return status


if __name__ == "__main__":
    sys.exit(main())
