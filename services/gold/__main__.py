"""The gold worker: `python -m services.gold`. Everything it needs is chosen here."""

import logging
import sys
from functools import partial

from services.gold.service import Gold
from services.gold.upkeep import Upkeep
from shared.adapters.kafka import KafkaBus
from shared.adapters.monitor import Monitor
from shared.adapters.postgres import Postgres
from shared.adapters.s3 import open_s3
from shared.adapters.stream import consume
from shared.catalog import load_catalog
from shared.errors import ConfigurationError, Unavailable
from shared.events import SilverChange, silver_ready
from shared.heartbeat import Heartbeat
from shared.landing import database_now
from shared.models import load_models
from shared.queries import load_query
from shared.session import KeptSession
from shared.settings import SILVER_READY, Settings, load_settings
from shared.telemetry import configure_logging

log = logging.getLogger(__name__)

GROUP = "medallion-gold"


def main() -> int:
    """Run a gold worker until SIGTERM; return 0 done, 1 failed, 2 wrong configuration, 3 a server is away."""
    try:
        settings = load_settings().require_stack()
        configure_logging("gold", settings.log_format, settings.log_level)
        return _serve(settings)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    except Unavailable as error:
        log.error("A server stays away; leaving it to a restart.", extra={"action": "stopped", "reason": str(error)})
        return 3


def _serve(settings: Settings) -> int:
    catalog = load_catalog(settings.dataset_dir)
    models = load_models(settings.sql_dir, catalog.datasets)
    warehouse = Postgres(settings.database_url.get_secret_value() if settings.database_url else "")
    bus, store = KafkaBus(settings.kafka_bootstrap_servers), open_s3(settings)
    monitor = Monitor(settings, "gold", warehouse, store)
    metrics = monitor.metrics
    # Two threads hold sessions with locks, so two hearts beat: whichever falls silent loses its session.
    events, beside = (Heartbeat(warehouse, settings, name, metrics) for name in ("gold", "gold-views"))
    upkeep_session = KeptSession(warehouse, "gold-views", partial(beside.working_on, None))
    upkeep = Upkeep(upkeep_session, store, bus, models, settings, metrics)
    session = KeptSession(warehouse, "gold", partial(events.working_on, None))
    gold = Gold(session, bus, catalog, models, settings, refreshed=upkeep.wake, metrics=metrics)

    def start() -> None:
        events.start()
        beside.start()
        gold.start()
        upkeep.start()

    def stop() -> None:
        upkeep.stop()
        beside.stop()
        events.stop()
        bus.close()
        monitor.stop()

    query, tables = load_query(settings.sql_dir, "overdue_gold"), [model.name for model in models.tables]

    def overdue(idle_seconds: float) -> int:
        parameters = {"after": settings.watchdog_seconds, "idle": idle_seconds, "tables": tables}
        with warehouse.session("gold-watchdog") as session:
            return int(session.rows(query, parameters)[0][0])

    standing_query = load_query(settings.sql_dir, "standing_gold")

    def standing(idle_seconds: float) -> list[bytes]:
        with warehouse.session("gold-standing") as session:
            found = session.rows(standing_query, {"idle": idle_seconds, "tables": tables})
            now = database_now(session)
        changes = (SilverChange(dataset=row[0], change_set_id=row[1], object_id=row[2]) for row in found)
        return [silver_ready(change, now) for change in changes]

    monitor.start()
    return consume(
        settings,
        group=GROUP,
        topic=SILVER_READY,
        handle=monitor.following(SILVER_READY, gold.handle),
        service="gold",
        on_start=start,
        on_stop=stop,
        overdue=overdue,
        standing=standing,
    )


if __name__ == "__main__":
    sys.exit(main())
