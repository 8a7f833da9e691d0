"""Start one silver worker: read the settings, connect the adapters, consume bronze-ready."""

import sys

from services.silver.service import SilverService
from shared.adapters.kafka import KafkaBus
from shared.adapters.monitor import Monitor
from shared.adapters.postgres import Postgres
from shared.adapters.s3 import open_s3
from shared.adapters.stream import consume
from shared.catalog import load_catalog
from shared.errors import ConfigurationError
from shared.events import ObjectRef, bronze_ready
from shared.heartbeat import Heartbeat
from shared.landing import database_now
from shared.models import load_models, models_depending_on
from shared.queries import load_query
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
        lambda dataset: models_depending_on(models, dataset), monitor.metrics,
        monitor.health.say_stopped,
    )  # fmt: skip

    def handle(raw: bytes) -> None:
        patiently(settings.retry_total_seconds, lambda: service.handle(raw), monitor.metrics)

    def stop() -> None:
        worker.stop()
        monitor.stop()

    query = load_query(settings.sql_dir, "overdue_silver")

    def overdue(idle_seconds: float) -> int:
        after, silence = settings.watchdog_seconds, settings.heartbeat_silence_seconds
        with warehouse.session("silver-watchdog") as session:
            return int(session.rows(query, {"after": after, "idle": idle_seconds, "silence": silence})[0][0])

    standing_query = load_query(settings.sql_dir, "standing_silver")

    def standing(idle_seconds: float) -> list[bytes]:
        parameters = {"idle": idle_seconds, "silence": settings.heartbeat_silence_seconds}
        with warehouse.session("silver-standing") as session:
            found = session.rows(standing_query, parameters)
            now = database_now(session)
        refs = (ObjectRef(bucket=row[0], key=row[1], version_id=row[2]) for row in found)
        return [bronze_ready(ref, now) for ref in refs]

    monitor.start()
    return consume(
        settings,
        group="silver",
        topic=BRONZE_READY,
        handle=monitor.following(BRONZE_READY, handle),
        service="silver",
        on_start=worker.start,
        on_stop=stop,
        overdue=overdue,
        standing=standing,
    )


if __name__ == "__main__":
    sys.exit(main())
