"""Gold: what is touched → refresh → audit → announce."""

import logging
from collections.abc import Callable, Sequence

from services.gold.announce import announce, announce_forgotten
from services.gold.deadletter import bury_once
from services.gold.measure import measure
from services.gold.refresh import forget_unknown, rebuild_new, refresh_tables
from services.gold.transaction import Refreshed
from shared.catalog import Catalog
from shared.deadletters import bury
from shared.errors import Unavailable, UndecodableEvent
from shared.events import SilverChange, read_silver_ready
from shared.metrics import DEAD_LETTERS, NO_METRICS, Metrics
from shared.models import Models
from shared.ports import EventBus, Session
from shared.retry import patiently
from shared.session import KeptSession
from shared.settings import SILVER_READY, Settings

log = logging.getLogger(__name__)


class Gold:
    """Brings gold up to date with silver. Events are hints to look: gold.pending says what is to be done."""

    def __init__(
        self,
        session: KeptSession,
        bus: EventBus,
        catalog: Catalog,
        models: Models,
        settings: Settings,
        refreshed: Callable[[], None] = lambda: None,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        self._session, self._bus, self._catalog, self._models = session, bus, catalog, models
        self._retry_seconds, self._metrics = settings.retry_total_seconds, metrics
        self._silence_seconds = settings.heartbeat_silence_seconds
        self._refreshed = refreshed  # called after tables changed: views and snapshots follow
        self._unsaid: list[list[Refreshed]] = []  # committed, but the broker was away

    def start(self) -> None:
        """Take up what was left while nobody listened. Raises Unavailable after retrying, and nothing else."""
        self._guarded(self._take_up, b"", None)

    def handle(self, messages: Sequence[bytes]) -> int:
        """Bring gold up to date after events, by one refresh; return their number.

        Raises Unavailable after retrying, and nothing else.
        """
        changes = [(raw, change.dataset) for raw in messages if (change := self._read(raw))]
        if changes:
            self._guarded(self._refresh, *changes[0])
        return len(messages)

    def _read(self, raw: bytes) -> SilverChange | None:
        """Read an event; one that cannot be read becomes a dead letter."""
        try:
            return read_silver_ready(raw)
        except UndecodableEvent as error:
            with self._session.use() as session:
                bury(session, self._bus, SILVER_READY, raw, error)
            self._metrics.count(DEAD_LETTERS, SILVER_READY)
            return None

    def _guarded(self, work: Callable[[], object], raw: bytes, dataset: str | None) -> None:
        """Do the work, waiting for servers that are away; what else fails becomes a dead letter."""
        try:
            patiently(self._retry_seconds, work, self._metrics)
        except Unavailable:
            raise
        except Exception as error:
            fields = {"action": "refresh_failed", "dataset": dataset}
            log.exception("Gold could not be refreshed; its change sets stay pending.", extra=fields)
            with self._session.use() as session:
                bury_once(session, self._bus, raw, error, dataset)
            self._metrics.count(DEAD_LETTERS, SILVER_READY)

    def _take_up(self) -> None:
        with self._session.use() as session:
            if forgotten := forget_unknown(session, self._models, self._catalog):
                fields = {"action": "pending_forgotten", "rows": forgotten}
                log.warning("Change sets waited for models that no file declares; they were dropped.", extra=fields)
        while self._refresh():
            pass
        with self._session.use() as session:
            for done in rebuild_new(session, self._models, self._catalog):
                self._say(session, [done])
            announce_forgotten(session, self._bus, self._models)

    def _refresh(self) -> bool:
        """Take in what is pending and announce it; say whether there was anything."""
        with self._session.use() as session:
            done = refresh_tables(session, self._models, self._catalog, self._silence_seconds)
            self._say(session, done)
        return bool(done)

    def _say(self, session: Session, done: list[Refreshed]) -> None:
        """Announce a refresh, and before it what could not be announced when the broker was away."""
        if done:
            self._unsaid.append(done)
            measure(self._metrics, done)
            fields = {
                "action": "refreshed",
                **{one.model: one.rows_written + one.rows_deleted for one in done},
            }
            log.info("Gold was refreshed.", extra=fields)
        self._refreshed()
        while self._unsaid:
            announce(session, self._bus, self._unsaid[0])
            del self._unsaid[0]
