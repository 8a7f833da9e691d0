"""Stops: many failures in a row, over several objects of several datasets, mean that the deployment is broken.

A worker that went on would make every object `failed` and every event a dead letter. It stands still instead, alive
and with its message unacknowledged, until somebody has looked and says `medallion dead-letters resume`.
A worker that is started again begins afresh.
"""

import hashlib
import logging
import re
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from shared.errors import Unavailable
from shared.ports import Session, Warehouse
from shared.settings import BRONZE_BUCKET, Settings

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # between two looks whether somebody said to go on
REMEMBERED_MAX = 100  # failures in a row; more say nothing new
_DATASET = re.compile(rb"%s(?:/|%%2[Ff])([a-z][a-z0-9_]*)" % BRONZE_BUCKET.encode())


@dataclass(frozen=True)
class Failure:
    """An unexpected exception, or an event nobody can read; never the verdict of a contract."""

    identity: str  # of the object, or of the event's bytes: the same one again counts once
    dataset: str  # '' where nothing tells; then it counts as an object, not as a dataset
    reason: str


def of_object(object_id: uuid.UUID, dataset: str, error: BaseException) -> Failure:
    """Return the failure of an object that met an unexpected exception."""
    return Failure(str(object_id), dataset, _first_line(f"{type(error).__name__}: {error}"))


def of_event(raw: bytes, error: BaseException) -> Failure:
    """Return the failure of an event that cannot be decoded; its text may still tell the dataset."""
    found = _DATASET.search(raw)
    return Failure(hashlib.sha256(raw).hexdigest(), found[1].decode() if found else "", _first_line(str(error)))


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0]


def reason_to_stop(failures: Sequence[Failure], objects_min: int, datasets_min: int) -> str | None:
    """Say why a worker must stop after these failures without a success in between; None: it goes on."""
    objects, datasets = {one.identity for one in failures}, {one.dataset for one in failures if one.dataset}
    if len(objects) < objects_min or len(datasets) < datasets_min:
        return None
    return (
        f"{len(objects)} objects or events of {len(datasets)} datasets ({', '.join(sorted(datasets))}) failed in a row, "
        f"the last one with {failures[-1].reason}"
    )


class Brake:
    """What stops one worker: told of each outcome, asked before each message."""

    def __init__(
        self,
        warehouse: Warehouse,
        settings: Settings,
        service: str,
        worker_id: str,
        say_stopped: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self._warehouse, self._settings = warehouse, settings
        self._service, self._worker_id = service, worker_id
        self._say_stopped = say_stopped  # tells the worker's health
        self._failures: list[Failure] = []
        self._reason: str | None = None
        self._stop_id: int | None = None

    @property
    def is_on(self) -> bool:
        """Whether the worker is stopped."""
        return self._reason is not None

    def succeeded(self) -> None:
        """Note that an object took effect: what failed before it was not the deployment."""
        self._failures.clear()

    def failed(self, session: Session, failure: Failure) -> None:
        """Note a failure; from a certain number of them on the worker is stopped and the table says so."""
        self._failures = [*self._failures, failure][-REMEMBERED_MAX:]
        if self._reason is not None:
            return
        self._reason = reason_to_stop(self._failures, self._settings.stop_objects_min, self._settings.stop_datasets_min)
        if self._reason is None:
            return
        self._say_stopped(self._reason)
        log.critical(
            "This worker has stopped. Mend the deployment, then say `medallion dead-letters resume`.",
            extra={"action": "stopped", "worker_id": self._worker_id, "reason": self._reason},
        )
        with suppress(Unavailable):  # then it is written while waiting
            self._record(session)

    def wait(self) -> None:
        """Return at once while the worker is not stopped, else when somebody lets it go on."""
        while self._reason is not None:
            with suppress(Unavailable), self._warehouse.session(f"stopped-{self._worker_id}") as session:
                self._wait_on(session)
            if self._reason is not None:
                time.sleep(LOOK_SECONDS)

    def _wait_on(self, session: Session) -> None:
        if self._stop_id is None:
            self._record(session)
        while not self._is_resumed(session):
            time.sleep(LOOK_SECONDS)
        self._failures, self._reason, self._stop_id = [], None, None
        self._say_stopped(None)
        log.warning("This worker goes on.", extra={"action": "resumed", "worker_id": self._worker_id})

    def _is_resumed(self, session: Session) -> bool:
        is_open = session.rows("SELECT FROM bronze.stops WHERE stop_id = %s AND resumed_at IS NULL", (self._stop_id,))
        session.commit()
        return not is_open

    def _record(self, session: Session) -> None:
        stop_id = session.rows(
            "INSERT INTO bronze.stops (worker_id, service, reason) VALUES (%s, %s, %s) RETURNING stop_id",
            (self._worker_id, self._service, self._reason),
        )[0][0]
        session.commit()
        self._stop_id = stop_id


def resume(session: Session) -> int:
    """Let all stopped workers go on; commits; returns how many stops were lifted."""
    lifted = session.execute("UPDATE bronze.stops SET resumed_at = clock_timestamp() WHERE resumed_at IS NULL")
    session.commit()
    return lifted
