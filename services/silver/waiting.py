"""What waits according to the ledger, asked while no message comes: see `shared.adapters.stream.consume`."""

from shared.events import ObjectRef, bronze_ready
from shared.landing import database_now
from shared.ports import Row, Session, Warehouse
from shared.queries import load_query
from shared.session import KeptSession
from shared.settings import Settings


class Waiting:
    """The questions of one silver worker to the ledger; each raises Unavailable while PostgreSQL is away."""

    def __init__(self, warehouse: Warehouse, settings: Settings, worker_id: str) -> None:
        self._warehouse, self._worker_id = warehouse, worker_id
        self._after_seconds, self._silence_seconds = settings.watchdog_seconds, settings.heartbeat_silence_seconds
        self._overdue, self._standing, self._spare = (
            load_query(settings.sql_dir, f"{name}_silver") for name in ("overdue", "standing", "spare")
        )
        self._kept = KeptSession(warehouse, "silver-spare")  # asked every second
        self._last: Row | None = None

    def overdue(self, idle_seconds: float) -> int:
        """Return how many objects are at a standstill, of those announced while this worker was idle."""
        parameters = {"after": self._after_seconds, "idle": idle_seconds, "silence": self._silence_seconds}
        with self._warehouse.session("silver-watchdog") as session:
            return int(session.rows(self._overdue, parameters)[0][0])

    def standing(self, idle_seconds: float) -> list[bytes]:
        """Return events of objects that were announced while this worker was idle, and that nobody is at."""
        with self._warehouse.session("silver-standing") as session:
            found = session.rows(self._standing, {"idle": idle_seconds, "silence": self._silence_seconds})
            return [_event(session, one) for one in found]

    def spare(self) -> bytes | None:
        """Return the event of an object that waits for a busier worker; not the same one twice in a row."""
        with self._kept.use() as session:
            found = session.rows(self._spare, {"worker": self._worker_id, "silence": self._silence_seconds})
            one = found[0] if found and found[0] != self._last else None
            self._last = one
            event = _event(session, one) if one else None
            session.commit()
        return event


def _event(session: Session, row: Row) -> bytes:
    bucket, key, version_id = row
    return bronze_ready(ObjectRef(bucket=bucket, key=key, version_id=version_id), database_now(session))
