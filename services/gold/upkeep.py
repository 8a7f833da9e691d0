"""What gold does beside the events, in a thread with its own session: materialized views and snapshots."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from services.gold import export, views
from services.gold.announce import announce
from services.gold.deadletter import bury_once
from services.gold.measure import measure
from shared.errors import Unavailable
from shared.metrics import DEAD_LETTERS, NO_METRICS, RETRIES, Metrics
from shared.models import Models
from shared.ports import EventBus, ObjectStore
from shared.session import KeptSession
from shared.settings import SILVER_READY, Settings

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0  # between two looks without a wake-up: what is pending is found even when nobody says so
EXPORT_PAUSE_SECONDS = 5.0  # least pause between two rounds of snapshots: a burst of loads is one snapshot
FAILURE_PAUSE_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 5.0


class Upkeep:
    """Refreshes materialized views and exports snapshots; `wake` it after a refresh of tables."""

    def __init__(
        self,
        session: KeptSession,
        store: ObjectStore,
        bus: EventBus,
        models: Models,
        settings: Settings,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        self._session, self._store, self._bus, self._models = session, store, bus, models
        self._metrics = metrics
        self._interval_seconds = settings.view_refresh_interval_seconds
        self._silence_seconds = settings.heartbeat_silence_seconds
        self._scratch: Path | None = settings.data_dir if settings.data_dir.is_dir() else None
        self._exported: dict[str, int] = {}
        self._next_export = 0.0
        self._failures = 0
        self._wake, self._is_stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """Go to work in the background."""
        self._thread.start()

    def wake(self) -> None:
        """Say that tables have changed; returns at once."""
        self._wake.set()

    def stop(self) -> None:
        """Finish what is under way, export what changed last and stop; pending views wait for a start."""
        self._is_stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS_MAX)

    def _run(self) -> None:
        while not self._is_stopping.is_set():
            self._wake.wait(self._attempt(self.step))
            self._wake.clear()
        self._attempt(self._export_all)
        self._session.close()

    def _attempt(self, work: Callable[[], float]) -> float:
        """Do a piece of work and return the seconds until the next; after a failure, try again later."""
        try:
            pause = work()
            self._failures = 0
            return pause
        except Unavailable as error:
            self._metrics.count(RETRIES, error.server)
            log.warning("A server is away.", extra={"action": "upkeep_postponed", "reason": str(error)})
        except Exception as error:
            log.exception("Views or snapshots failed.", extra={"action": "upkeep_failed"})
            self._metrics.count(DEAD_LETTERS, SILVER_READY)
            with suppress(Unavailable), self._session.use() as session:
                bury_once(session, self._bus, b"", error, None)
        self._failures += 1
        return min(2.0**self._failures, FAILURE_PAUSE_SECONDS_MAX)

    def step(self) -> float:
        """Refresh the views that are due, then export; return the seconds until something is due again."""
        pause = LOOK_SECONDS
        with self._session.use() as session:
            for view in views.waiting(session, self._models, self._interval_seconds):
                if view.wait_seconds > 0:
                    pause = min(pause, view.wait_seconds)
                elif not view.is_overdue and views.has_table_work(session, self._models):
                    pause = min(pause, self._interval_seconds)  # a refresh now would soon be repeated
                elif done := views.refresh_view(session, self._models, view.model, self._silence_seconds):
                    announce(session, self._bus, [done])
                    measure(self._metrics, [done])
                    fields = {
                        "action": "view_refreshed",
                        "model": done.model,
                        "change_sets": len(done.change_sets),
                    }
                    log.info("A materialized view was refreshed.", extra=fields)
        wait_seconds = self._next_export - time.monotonic()
        if wait_seconds > 0:
            return max(min(pause, wait_seconds), 0.01)
        return max(min(pause, self._export_all()), 0.01)

    def _export_all(self) -> float:
        """Export the tables that changed since their snapshot; return the seconds until the next round."""
        pause = LOOK_SECONDS
        with self._session.use() as session:
            for name, refresh_id in export.newest_refreshes(session, self._models).items():
                if self._exported.get(name, 0) < refresh_id:
                    pause = EXPORT_PAUSE_SECONDS
                    self._next_export = time.monotonic() + pause
                    if export.export(session, self._store, self._models[name], refresh_id, self._scratch):
                        self._exported[name] = refresh_id
        return pause
