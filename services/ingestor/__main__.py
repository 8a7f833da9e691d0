"""Compose and run the ingestor: `python -m services.ingestor`."""

import logging
import signal
import sys
import threading
import time
from functools import partial

from services.ingestor.alerting import Alerter
from services.ingestor.measure import backlog_samples, measure_poll, measure_sweep, read_waiting
from services.ingestor.schedule import Loop
from services.ingestor.service import Ingestor
from services.ingestor.webhook import Receiver, Webhook
from shared.adapters.channels import open_channels
from shared.adapters.kafka import KafkaBus, topics
from shared.adapters.monitor import Monitor
from shared.adapters.postgres import Postgres
from shared.adapters.probes import POSTGRESQL
from shared.adapters.s3 import open_s3
from shared.catalog import load_catalog
from shared.dataset import Dataset
from shared.errors import ConfigurationError
from shared.events import ObjectRef
from shared.heartbeat import Heartbeat
from shared.metrics import Sample
from shared.queries import load_query
from shared.settings import BRONZE_BUCKET, Settings, load_settings
from shared.telemetry import configure_logging

log = logging.getLogger(__name__)

JOIN_SECONDS = 0.2


def build(settings: Settings) -> Ingestor:
    """Return an ingestor on the servers that the settings name; nothing is connected yet."""
    assert settings.database_url is not None  # require_stack has seen to it
    return Ingestor(
        settings,
        load_catalog(settings.dataset_dir),
        Postgres(settings.database_url.get_secret_value()),
        open_s3(settings),
        KafkaBus(settings.kafka_bootstrap_servers),
    )


def run(settings: Settings, stop: threading.Event) -> None:
    """Poll, sweep and listen until `stop` is set."""
    ingestor = build(settings)
    monitor = Monitor(settings, "ingestor", ingestor.warehouse, ingestor.store)
    monitor.metrics.ask(partial(_backlog, ingestor, monitor, load_query(settings.sql_dir, "backlog")))
    heartbeat = Heartbeat(ingestor.warehouse, settings, "ingestor", monitor.metrics)
    monitor.start()
    heartbeat.start()
    sweep = Loop("sweep", settings.sweep_interval_seconds, partial(_sweep, ingestor, monitor), monitor.metrics)
    loops = [sweep, *_polls(ingestor, monitor), _alerts(ingestor, monitor)]
    webhook = _webhook(ingestor, sweep)
    for loop in loops:
        loop.start()
    log.info("The ingestor is running.", extra={"action": "ingestor_started", "worker_id": heartbeat.worker_id})
    stop.wait()
    if webhook is not None:
        webhook.stop()
    for loop in loops:
        loop.stop(JOIN_SECONDS / len(loops))
    heartbeat.stop()
    monitor.stop()
    log.info("The ingestor has stopped.", extra={"action": "ingestor_stopped"})


def _sweep(ingestor: Ingestor, monitor: Monitor) -> None:
    ingestor.bus.ensure_topics(topics(ingestor.settings))  # a broker without memory may have lost them
    began = time.monotonic()
    result = ingestor.sweep_once()
    measure_sweep(monitor.metrics, result, time.monotonic() - began)
    monitor.health.progressed()


def _poll(ingestor: Ingestor, monitor: Monitor, dataset: Dataset) -> None:
    measure_poll(monitor.metrics, ingestor.poll_once(dataset))
    monitor.health.progressed()


def _backlog(ingestor: Ingestor, monitor: Monitor, query: str) -> list[Sample]:
    """Return what is waiting; nothing while the database is away, whose absence is a metric of its own."""
    if not monitor.health.is_reachable(POSTGRESQL):
        return []
    try:
        with ingestor.warehouse.session("ingestor-metrics") as session:
            return backlog_samples(read_waiting(session, query))
    except Exception as error:  # noqa: BLE001 - a page without the backlog is better than none
        log.warning("The backlog could not be read.", extra={"action": "backlog_unread", "reason": str(error)})
        return []


def _polls(ingestor: Ingestor, monitor: Monitor) -> list[Loop]:
    if not ingestor.settings.poll_enabled:
        return []
    return [
        Loop(
            f"poll {dataset.name}",
            dataset.source.poll_interval_seconds,
            partial(_poll, ingestor, monitor, dataset),
            monitor.metrics,
        )
        for dataset in ingestor.catalog.datasets.values()
        if dataset.source is not None
    ]


def _alerts(ingestor: Ingestor, monitor: Monitor) -> Loop:
    """Return the loop that tells people what is wrong: a thread of its own, so that no channel holds anything up."""
    settings = ingestor.settings

    def servers_away() -> list[tuple[str, str]]:
        servers = monitor.health.report().servers
        return [(one.name, one.reason) for one in servers if one.away_since is not None and one.name != POSTGRESQL]

    alerter = Alerter(
        ingestor.warehouse, settings, ingestor.catalog, open_channels(settings), servers_away, monitor.metrics
    )
    return Loop("alerts", settings.alert_interval_seconds, alerter.round, monitor.metrics)


def _webhook(ingestor: Ingestor, sweep: Loop) -> Webhook | None:
    settings = ingestor.settings
    if not settings.webhook_port:
        return None

    def discover(ref: ObjectRef) -> None:
        ingestor.discover(ref, "event")

    try:
        webhook = Webhook(settings.bind_host, settings.webhook_port, BRONZE_BUCKET, Receiver(discover, sweep.nudge))
    except OSError as error:
        log.warning(
            "The webhook cannot listen; dropped files are found by the sweep. Free MEDALLION_WEBHOOK_PORT or change it.",
            extra={"action": "no_webhook", "port": settings.webhook_port, "reason": str(error)},
        )
        return None
    webhook.start()
    return webhook


def main() -> int:
    """Run until SIGTERM or SIGINT; return the exit status."""
    try:
        settings = load_settings().require_stack()
        configure_logging("ingestor", settings.log_format, settings.log_level)
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        run(settings, stop)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
