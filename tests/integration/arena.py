"""Workers that can die or be overtaken between any two steps, in one thread and so that it can be played again."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from services.ingestor.sweep import Sweeper
from services.silver.service import SilverService
from shared import failpoints
from shared.adapters.postgres import Postgres, PostgresSession
from shared.errors import Unavailable
from shared.settings import BRONZE_READY, SILVER_READY
from tests.pipeline import ListBus, NamedWorker, Pipeline

POINTS = [point for point in failpoints.POINTS if point.startswith("silver.") and point != "silver.copying"]
# Where a worker holds no lock but its claim, so that another one comes to do something.
OPEN_POINTS = ["silver.claimed", "silver.fetched", "silver.read", "silver.committed", "silver.published"]
GOLD_MODELS = ["mirror"]


class Died(BaseException):
    """What no handler catches: the worker is gone."""


class Happening(failpoints.Failpoints):
    """Something that happens once, where a worker comes by a failpoint."""

    def __init__(self, point: str, act: Callable[[], None]) -> None:
        super().__init__("")
        self._point, self._act = point, act

    def action(self, name: str) -> tuple[str, float]:
        """Let it happen."""
        if name == self._point:
            failpoints._armed = None
            self._act()
        return "", 0.0


class Mortal(Postgres):
    """A warehouse whose sessions end with the one who opened them."""

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        self.opened: list[PostgresSession] = []

    @contextmanager
    def session(self, name: str) -> Iterator[PostgresSession]:
        """Open a session, as Postgres does."""
        with super().session(name) as session:
            self.opened.append(session)
            try:
                yield session
            finally:
                self.opened.remove(session)


class Bus(ListBus):
    """Events that nobody has taken yet, and the change sets that gold was told of."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[bytes] = []
        self.told: list[bytes] = []

    def publish(self, topic: str, key: str, value: bytes) -> None:
        """Keep the event."""
        {BRONZE_READY: self.waiting, SILVER_READY: self.told}.get(topic, []).append(value)

    def empty(self) -> None:
        """Forget all events."""
        self.waiting, self.told = [], []


class Arena:
    """One pipeline with two workers, a sweeper and a bus."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline, self.bus = pipeline, Bus()
        self._lives = 0
        self._workers = [self._new_worker(), self._new_worker()]

    def _new_worker(self) -> tuple[SilverService, Mortal, NamedWorker]:
        settings, name = self.pipeline.settings, NamedWorker()
        assert settings.database_url is not None
        mortal = Mortal(settings.database_url.get_secret_value())
        service = SilverService(
            mortal, self.pipeline.store, self.bus, self.pipeline.catalog, settings, name, lambda _: GOLD_MODELS,
        )  # fmt: skip
        self._rename(name)
        return service, mortal, name

    def _rename(self, worker: NamedWorker) -> None:
        self._lives += 1
        worker.worker_id = f"worker-{self._lives}"

    def new_sweeper(self) -> Sweeper:
        """Return a sweeper that remembers nothing."""
        pipeline = self.pipeline
        return Sweeper(pipeline.settings, pipeline.catalog, pipeline.warehouse, pipeline.store, self.bus)

    def handle(self, event: bytes) -> None:
        """Let the worker whose turn it is have an event."""
        self._workers[0][0].handle([event])

    def handle_until(self, event: bytes, point: str, act: Callable[[], None]) -> None:
        """Let something happen when the worker comes by a point, if it does; then it goes on."""
        failpoints._armed = Happening(point, act)
        try:
            self.handle(event)
        finally:
            failpoints._armed = None

    def in_turn(self, act: Callable[[], None]) -> None:
        """Let the other worker have the turn meanwhile."""
        self._workers.reverse()
        try:
            act()
        finally:
            self._workers.reverse()

    def fail(self, point: str, how: str) -> None:
        """Do what befalls a worker: it dies, finds a server away, or meets a bug."""
        if how == "dies":
            self.die()
        raise Unavailable(point, "its failpoint was hit") if how == "server away" else failpoints.FailpointHit(point)

    def die(self) -> None:
        """End the worker whose turn it is like kill -9 does: its sessions are cut, and nothing after this is run."""
        _, mortal, name = self._workers[0]
        pids = [session.backend_pid for session in mortal.opened]
        for session in mortal.opened:
            session.close()
        self._await_end(pids)
        self._rename(name)
        self._workers.reverse()
        raise Died

    def _await_end(self, pids: Sequence[int]) -> None:
        deadline = time.monotonic() + 10
        query = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)"
        while self.pipeline.rows(query, (list(pids),)) != [(0,)]:
            assert time.monotonic() < deadline, "the server keeps sessions whose client is gone"
            time.sleep(0.005)
