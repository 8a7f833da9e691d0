"""A worker's sign of life in bronze.workers: whoever is silent for too long loses its database session."""

import contextlib
import logging
import os
import secrets
import socket
import threading
import time
import uuid

from shared.errors import Unavailable
from shared.metrics import HEARTBEAT, NO_METRICS, Metrics
from shared.ports import Session, Warehouse
from shared.session import UNSYNCED
from shared.settings import Settings

log = logging.getLogger(__name__)

STOP_SECONDS_MAX = 1.0
PAUSE_SECONDS = 0.1  # between two beats: small files come faster, and each would cost two

_BEAT = """
INSERT INTO bronze.workers (worker_id, service, host, pid, backend_pid, object_id)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (worker_id) DO UPDATE
SET heartbeat_at = clock_timestamp(), backend_pid = excluded.backend_pid, object_id = excluded.object_id
"""
_STOPPED = """
UPDATE bronze.workers SET heartbeat_at = clock_timestamp(), stopped_at = clock_timestamp(), object_id = NULL,
    backend_pid = NULL
WHERE worker_id = %s
"""


class Heartbeat:
    """A thread that writes this process's row at every interval, on a connection of its own."""

    def __init__(self, warehouse: Warehouse, settings: Settings, service: str, metrics: Metrics = NO_METRICS) -> None:
        self._warehouse, self._metrics = warehouse, metrics
        self._interval_seconds = settings.heartbeat_interval_seconds
        self._service = service
        self._host = socket.gethostname()
        # Process ids come back; the random end makes the name unique to this start of the process.
        self._worker_id = f"{service}-{self._host}-{os.getpid()}-{secrets.token_hex(3)}"
        self._task: tuple[uuid.UUID | None, int | None] = (None, None)
        self._wake, self._is_stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    @property
    def worker_id(self) -> str:
        """The worker's name, unique to this start of the process."""
        return self._worker_id

    def start(self) -> None:
        """Write the first heartbeat, as far as the database takes it, and go on in the background."""
        try:
            with self._warehouse.session("heartbeat") as session:
                self._beat(session)
        except Unavailable as error:
            self._missed(error)
        self._thread.start()

    def working_on(self, object_id: uuid.UUID | None, backend_pid: int | None = None) -> None:
        """Say which object the worker is at (None: none) and whose database session holds its claim."""
        self._task = (object_id, backend_pid)
        self._wake.set()

    def stop(self) -> None:
        """Stop and record a clean end; a database that is away is not waited for."""
        self._is_stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS_MAX)

    def _run(self) -> None:
        while not self._is_stopping.is_set():
            try:
                with self._warehouse.session("heartbeat") as session:
                    self._beat_until_stopped(session)
            except Unavailable as error:
                self._missed(error)
            except Exception:  # a worker without heartbeat would be taken for dead: log it and try again
                log.exception("A heartbeat failed.", extra={"action": "heartbeat_failed", "worker_id": self._worker_id})
            self._is_stopping.wait(0 if self._is_stopping.is_set() else self._interval_seconds)

    def _beat_until_stopped(self, session: Session) -> None:
        while not self._is_stopping.is_set():
            self._beat(session)
            self._is_stopping.wait(PAUSE_SECONDS)
            self._wake.wait(self._interval_seconds)
            self._wake.clear()
        with contextlib.suppress(Unavailable):
            session.execute(_STOPPED, (self._worker_id,))
            session.commit()

    def _beat(self, session: Session) -> None:
        object_id, backend_pid = self._task
        row = (self._worker_id, self._service, self._host, os.getpid(), backend_pid, object_id)
        session.execute(UNSYNCED + _BEAT, row)
        session.commit()
        self._metrics.note(HEARTBEAT, self._service, value=time.time())

    def _missed(self, error: Unavailable) -> None:
        fields = {"action": "heartbeat_missed", "worker_id": self._worker_id, "reason": str(error)}
        log.warning("A heartbeat could not be written.", extra=fields)
