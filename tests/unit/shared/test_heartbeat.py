"""A worker's sign of life: written at once, kept up through outages, ended cleanly."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from shared.errors import Unavailable
from shared.heartbeat import Heartbeat
from shared.session import UNSYNCED
from shared.settings import load_settings


class FakeWarehouse:
    """Takes statements down, unless it is away."""

    def __init__(self) -> None:
        self.statements: list[tuple[str, tuple[Any, ...]]] = []
        self.is_away = threading.Event()
        self.backend_pid = 1

    @contextmanager
    def session(self, name: str) -> Iterator["FakeWarehouse"]:
        self._check()
        yield self

    def _check(self) -> None:
        if self.is_away.is_set():
            raise Unavailable("PostgreSQL", "switched off")

    def execute(self, sql: str, params: tuple[Any, ...] = ()) -> int:
        self._check()
        self.statements.append((sql.removeprefix(UNSYNCED).split()[0], params))
        return 1

    def commit(self) -> None:
        pass


def heartbeat_on(warehouse: FakeWarehouse) -> Heartbeat:
    settings = load_settings().model_copy(update={"heartbeat_interval_seconds": 0.02})
    return Heartbeat(warehouse, settings, "silver")  # type: ignore[arg-type]


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_first_beat_is_written_before_start_returns_and_the_last_says_stopped() -> None:
    warehouse = FakeWarehouse()
    heartbeat = heartbeat_on(warehouse)

    heartbeat.start()
    first = list(warehouse.statements)
    heartbeat.stop()

    assert first[0][0] == "INSERT"
    assert first[0][1][:2] == (heartbeat.worker_id, "silver")
    assert warehouse.statements[-1] == ("UPDATE", (heartbeat.worker_id,))


def test_what_the_worker_is_at_shows_in_the_next_beat() -> None:
    warehouse, object_id = FakeWarehouse(), uuid.uuid4()
    heartbeat = heartbeat_on(warehouse)
    heartbeat.start()

    heartbeat.working_on(object_id, 4711)
    eventually(lambda: warehouse.statements[-1][1][4:] == (4711, object_id))
    heartbeat.working_on(None)
    eventually(lambda: warehouse.statements[-1][1][4:] == (None, None))
    heartbeat.stop()


def test_an_outage_is_outlived() -> None:
    warehouse = FakeWarehouse()
    warehouse.is_away.set()
    heartbeat = heartbeat_on(warehouse)

    heartbeat.start()
    assert warehouse.statements == []
    warehouse.is_away.clear()
    eventually(lambda: len(warehouse.statements) > 2)
    warehouse.is_away.set()
    heartbeat.stop()


def test_every_start_of_a_process_is_another_worker() -> None:
    assert heartbeat_on(FakeWarehouse()).worker_id != heartbeat_on(FakeWarehouse()).worker_id
