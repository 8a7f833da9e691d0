"""Silver workers that are not dead: one frozen in the middle of a COPY, and one that takes longer than the broker waits.

Real processes on servers of their own: what other tests announce would come to these workers, too.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from services.stack import FRUGAL_MEMORY, Stack
from shared.adapters.kafka import KafkaBus
from shared.events import ObjectRef, bronze_ready
from shared.landing import database_now
from shared.ledger import Registration
from shared.settings import BRONZE_BUCKET, BRONZE_READY, load_settings
from tests.invariants import broken_invariants
from tests.pipeline import Pipeline
from tests.stacks import Stacks

ROOT = Path(__file__).resolve().parents[2]
ROWS = 60_000  # four slices of a COPY: the third is not sent any more
TAKEOVER_SECONDS_MAX = 30.0
WAIT_SECONDS = 60.0
POLL_SECONDS = 4.0
SILVER = ("-m", "services.silver")
IMPATIENT = (
    "-c",
    f"""
from shared.adapters import faustapp, stream
faustapp.POLL_INTERVAL_SECONDS_MAX = {POLL_SECONDS}
faustapp.STREAM_BUFFER_MAX = 1  # with room for more a client goes on fetching, and never seems to have stopped
stream.WAITING_MAX = 1
from services.silver.__main__ import main
main()
""",
)


def eventually(is_so: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


class Workers:
    """Two silver processes whose failpoints are in one file, and the servers they work on."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.pipeline, self._bus = Pipeline(stack.settings), KafkaBus(stack.settings.kafka_bootstrap_servers)
        self._stack, self._folder = stack, folder
        self._failpoints = folder / "failpoints"
        self.processes: list[psutil.Popen] = []

    def start(self, failpoints: str, program: Sequence[str] = SILVER, **settings: object) -> None:
        """Start the workers and wait until they consume."""
        self._failpoints.write_text(failpoints)
        chosen = {f"MEDALLION_{name.upper()}": str(value) for name, value in settings.items()}
        environment = {
            **os.environ, **FRUGAL_MEMORY, **self._stack.endpoints, **chosen, "PYTHONPATH": str(ROOT),
            "MEDALLION_DATA_DIR": str(self._folder), "MEDALLION_FAILPOINTS": f"@{self._failpoints}",
        }  # fmt: skip
        for number in range(2):
            with self._log(number).open("w") as log:
                self.processes.append(psutil.Popen((sys.executable, *program), env=environment, stderr=log))
        eventually(lambda: all("Consuming." in self.said(n) for n in range(2)), "the workers do not start")

    def said(self, number: int) -> str:
        """Return what a worker has logged."""
        return self._log(number).read_text()

    def _log(self, number: int) -> Path:
        return self._folder / f"silver-{number}.log"

    def nothing_fails_any_more(self) -> None:
        """Disarm the failpoints of both."""
        self._failpoints.write_text("")

    def drop(self, key: str, content: bytes) -> Registration:
        """Put an object and announce it over the broker."""
        found = self.pipeline.drop(key, content)
        row = self.pipeline.ledger(found.object_id)
        ref = ObjectRef(bucket=BRONZE_BUCKET, key=key, version_id=row["version_id"])
        self._bus.publish(BRONZE_READY, key, bronze_ready(ref, database_now(self.pipeline.session)))
        self.pipeline.session.commit()
        return found

    def beating(self, pid: int) -> bool:
        """Say whether a worker is at no object and has sent a heartbeat just now."""
        return bool(
            self.pipeline.rows(
                "SELECT FROM bronze.workers WHERE pid = %s AND object_id IS NULL"
                " AND heartbeat_at > clock_timestamp() - interval '1 s'",
                (pid,),
            )
        )

    def end(self) -> None:
        """Kill the workers and give the connections back."""
        for process in self.processes:
            process.kill()
            process.wait()
        self._bus.close()
        self.pipeline.close()


@pytest.fixture(scope="module")
def own_stack(stacks: Stacks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stacks.open(tmp_path_factory.mktemp("takeover") / "data", load_settings()) as opened:
        yield opened.stack


@pytest.fixture
def workers(own_stack: Stack, tmp_path: Path) -> Iterator[Workers]:
    made = Workers(own_stack, tmp_path)
    yield made
    made.end()


def users(rows: int) -> bytes:
    return b"[%s]" % b",".join(b'{"id": %d, "name": "User %d"}' % (number, number) for number in range(rows))


def test_a_worker_frozen_in_a_copy_loses_the_object_within_thirty_seconds_and_its_late_commit(workers: Workers) -> None:
    workers.start("silver.copying:stop")  # every limit is the default
    pipeline = workers.pipeline
    dropped = workers.drop("users/zombie.json", users(ROWS))
    zombie = eventually(
        lambda: next((p for p in workers.processes if p.status() == psutil.STATUS_STOPPED), None), "nobody froze"
    )
    frozen_at = time.monotonic()
    workers.nothing_fails_any_more()
    copying = pipeline.rows("SELECT relid::regclass::text, tuples_processed > 0 FROM pg_stat_progress_copy")
    assert copying == [("bronze.raw_users", True)]
    locks = pipeline.rows("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted GROUP BY pid")
    assert locks == [(2,)]  # the object's and the dataset's

    eventually(lambda: pipeline.ledger(dropped.object_id)["status"] == "done", "nobody took the object over")
    taken_over_seconds = time.monotonic() - frozen_at
    assert taken_over_seconds < TAKEOVER_SECONDS_MAX

    def state() -> list[Any]:
        return pipeline.rows(
            "SELECT (SELECT count(*) FROM silver.clean_users), (SELECT count(*) FROM bronze.raw_users),"
            " (SELECT count(*) FROM silver.change_sets), (SELECT count(*) FROM bronze.processing_runs),"
            " (SELECT max(attempts) FROM bronze.ingestion_metadata), (SELECT count(*) FROM bronze.dead_letters)"
        )

    assert state() == [(ROWS, ROWS, 1, 1, 2, 0)]
    zombie.send_signal(signal.SIGCONT)
    eventually(lambda: workers.beating(zombie.pid), "the woken worker did not give up its object")
    said = workers.said(workers.processes.index(zombie))
    assert "terminating connection due to administrator command" in said
    assert "An object was loaded." not in said
    assert state() == [(ROWS, ROWS, 1, 1, 2, 0)]
    assert broken_invariants(pipeline.session, pipeline.catalog) == []


def test_an_object_that_takes_longer_than_the_broker_waits_for_a_poll_is_loaded_once(
    stacks: Stacks, workers: Workers
) -> None:
    session_seconds = stacks.session_seconds(3)
    workers.start(f"silver.read:sleep={5 * POLL_SECONDS}", IMPATIENT, consumer_session_timeout_seconds=session_seconds)
    pipeline, key = workers.pipeline, "posts/slow.json"
    # Versions of one key share a partition. A client with messages in hand fetches no more, which is what counts as a poll.
    slow, *others = [
        workers.drop(key, b'[{"id": %d, "userId": 1, "title": "t", "body": "b"}]' % number).object_id
        for number in range(6)
    ]
    is_slow = (
        "SELECT FROM bronze.ingestion_metadata WHERE object_id = %s AND status = 'processing'"
        " AND started_at < clock_timestamp() - interval '1 s'"
    )
    eventually(lambda: pipeline.rows(is_slow, (slow,)), "nobody took it up")
    workers.nothing_fails_any_more()

    def runs() -> dict[Any, str]:
        found = pipeline.rows(
            "SELECT object_id, worker_id, outcome FROM bronze.processing_runs WHERE dataset = 'posts'"
        )
        assert len({row[0] for row in found}) == len(found)
        assert {row[2] for row in found} <= {"done"}
        return {row[0]: row[1] for row in found}

    eventually(lambda: set(runs()) == {slow, *others}, "not all were loaded")
    # The broker took the partition from the one worker, so the other got the slow object, too, before these.
    assert runs()[slow] not in {runs()[one] for one in others}
    last = workers.drop(key, b'[{"id": 99, "userId": 1, "title": "t", "body": "b"}]').object_id
    eventually(lambda: set(runs()) == {slow, *others, last}, "the partition's next message was not handled")
    attempts = pipeline.rows("SELECT DISTINCT attempts FROM bronze.ingestion_metadata WHERE dataset = 'posts'")
    assert attempts == [(1,)]
    orphans = "SELECT count(*) FROM silver.quarantine WHERE dataset = 'posts'"  # where no test has brought their user
    assert pipeline.rows(f"SELECT count(*) + ({orphans}) FROM bronze.raw_posts") == [(len(runs()),)]
