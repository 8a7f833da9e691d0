"""A database session that is kept from one event to the next and replaced after any failure."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from shared.ports import Session, Warehouse

# Put before a statement whose effect may be lost with a crash of the database server, since it is found or said again:
# its commit does not wait for the disk. Whatever is committed after it, and waits, takes it along.
UNSYNCED = "SET LOCAL synchronous_commit TO off; "


class KeptSession:
    """One session for one thread at a time: a new one for every event costs as much as a small file or a refresh."""

    def __init__(self, warehouse: Warehouse, name: str, tell: Callable[[int | None], None] = lambda _: None) -> None:
        self._warehouse, self._name = warehouse, name
        self._tell = tell  # told the backend's process id, so that a frozen worker's session can be ended
        self._stack = ExitStack()
        self._session: Session | None = None

    @contextmanager
    def use(self) -> Iterator[Session]:
        """Lend the session; an exception closes it, whatever state it is in. Raises Unavailable."""
        if self._session is None:
            self._session = self._stack.enter_context(self._warehouse.session(self._name))
            self._tell(self._session.backend_pid)
        try:
            yield self._session
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the session back; the next use opens another."""
        self._session = None
        self._tell(None)
        self._stack.close()
