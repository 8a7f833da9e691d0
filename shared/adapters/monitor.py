"""What every service shows of itself: its metrics and its health, measured, checked and served."""

import json
import logging
from collections.abc import Callable, Sequence

from shared.adapters.endpoint import Endpoint, Page
from shared.adapters.probes import server_checks
from shared.adapters.prometheus import CONTENT_TYPE, Prometheus
from shared.health import Health, as_json
from shared.metrics import MESSAGES, SERVER_UP, STOPPED, Sample
from shared.ports import ObjectStore, Warehouse
from shared.settings import Settings

log = logging.getLogger(__name__)

METRICS_PATH, LIVE_PATH, READY_PATH = "/metrics", "/health/live", "/health/ready"


class Monitor:
    """A service's metrics and health, and the HTTP server that shows them where `metrics_port` asks for one."""

    def __init__(self, settings: Settings, service: str, warehouse: Warehouse, store: ObjectStore) -> None:
        self._settings = settings
        self.metrics = Prometheus()
        self.health = Health(service, server_checks(settings, warehouse, store))
        self.metrics.ask(self._state)
        self._endpoint: Endpoint | None = None

    def start(self) -> None:
        """Check the servers and answer. A port that is taken costs the pages, not the service."""
        self.health.start()
        port, host = self._settings.metrics_port, self._settings.bind_host
        if not port:
            return
        pages = {METRICS_PATH: self._metrics, LIVE_PATH: self._live, READY_PATH: self._ready, "/health": self._ready}
        try:
            self._endpoint = Endpoint(host, port, pages)
        except OSError as error:
            fields = {"action": "metrics_not_served", "address": f"{host}:{port}", "reason": str(error)}
            log.error("Metrics and health cannot be served; set MEDALLION_METRICS_PORT to a free port.", extra=fields)
            return
        self._endpoint.start()

    def stop(self) -> None:
        """Answer no more."""
        self.health.stop()
        if self._endpoint is not None:
            self._endpoint.stop()

    def following(self, topic: str, handle: Callable[[Sequence[bytes]], int]) -> Callable[[Sequence[bytes]], int]:
        """Return a handler of messages whose successes are seen here."""

        def handled(messages: Sequence[bytes]) -> int:
            count = handle(messages)
            self.metrics.count(MESSAGES, topic, amount=count)
            self.health.progressed()
            return count

        return handled

    def _state(self) -> list[Sample]:
        report = self.health.report()
        servers = [Sample(SERVER_UP, float(one.away_since is None), (one.name,)) for one in report.servers]
        return [*servers, Sample(STOPPED, float(report.stopped is not None))]

    def _metrics(self) -> Page:
        return Page(self.metrics.page(), CONTENT_TYPE)

    def _live(self) -> Page:
        return _json({"status": "alive"}, 200)

    def _ready(self) -> Page:
        report = self.health.report()
        return _json(as_json(report), 200 if report.is_ready else 503)


def _json(body: object, status: int) -> Page:
    return Page(json.dumps(body, ensure_ascii=False, indent=2).encode() + b"\n", "application/json", status)
