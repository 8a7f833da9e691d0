"""A worker fails between any two steps, in every way a process can; others finish, and nothing shows of it.

Workers are real processes, forked from a server that has the modules loaded; the one that fails has its failpoint armed,
the one that finishes has none.
"""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, BinaryIO

import psutil
import pytest

from services.gold.service import Gold
from services.gold.upkeep import Upkeep
from services.ingestor.service import Ingestor
from services.silver import load
from services.silver.service import SilverService
from services.stack import settings_environment
from shared import failpoints
from shared.adapters.kafka import KafkaBus, topics
from shared.adapters.postgres import Postgres
from shared.adapters.s3 import open_s3
from shared.catalog import load_catalog
from shared.described import LANDED_AT, WRITE_DISPOSITION
from shared.errors import Unavailable
from shared.events import ObjectRef, SilverChange, bronze_ready, silver_ready
from shared.heartbeat import Heartbeat
from shared.ledger import register
from shared.models import load_models, models_depending_on
from shared.requests import try_again
from shared.session import KeptSession
from shared.settings import BRONZE_BUCKET, BRONZE_READY, Settings
from tests.chaos.endstate import EndState, read_end_state
from tests.invariants import broken_invariants
from tests.pipeline import DAY_ZERO, ListBus, Pipeline
from tests.stacks import Stacks

SILENCE_SECONDS = 1.0
WAIT_SECONDS = 30.0
ACTIONS = ("raise", "exit", "stop")
DEADLY = b"whoever reads this"
SILVER = [name for name in failpoints.POINTS if name.startswith("silver.")]
GOLD = [name for name in failpoints.POINTS if name.startswith("gold.")]
INGESTOR = [name for name in failpoints.POINTS if name.startswith("ingestor.")]


POLLED = """
dataset: {name}
format: {{type: csv}}
source: {{url: "{url}", poll_interval_seconds: 60}}
primary_key: [id]
columns:
  - {{name: id, type: integer}}
  - {{name: name, type: text}}
"""


def person(number: int, **changed: object) -> dict[str, object]:
    mail = f"p{number}@mail.example"
    return {
        "id": number,
        "name": f"Person {number}",
        "email": mail,
        "phone": "1",
        "company": {"name": "Acme"},
        **changed,
    }


BEFORE = [person(number) for number in range(1, 41)]
# Restated, bad (the last good row stays), removed, new, and a duplicate.
AFTER = [
    person(1, name="Somebody Else"),
    person(2, address={"geo": {"lat": "north"}}),
    *BEFORE[3:],
    person(41),
    person(41),
]


def silver_process(settings: Settings, spec: str, *events: bytes) -> None:
    """Be a silver worker that gets messages, all at once."""
    failpoints.arm(spec)
    worker = _heartbeat(settings, "silver")
    models = load_models(settings.sql_dir)
    service = SilverService(
        _warehouse(settings), open_s3(settings), ListBus(), load_catalog(settings.dataset_dir), settings, worker,
        lambda dataset: models_depending_on(models, dataset),
    )  # fmt: skip
    with suppress(Unavailable):
        while events:
            events = events[service.handle(events) :]
    worker.stop()


def reader_that_dies(settings: Settings, spec: str, *events: bytes) -> None:
    """Be a silver worker whose process ends when it reads a file that says so."""
    read_records = load.read_records

    def read(file: BinaryIO, *others: Any) -> Any:
        if DEADLY in file.read():
            os._exit(failpoints.EXIT_STATUS)
        file.seek(0)
        return read_records(file, *others)

    load.read_records = read
    silver_process(settings, spec, *events)


def gold_process(settings: Settings, spec: str, event: bytes) -> None:
    """Be a gold worker that gets one message and then sees to views and snapshots."""
    failpoints.arm(spec)
    warehouse, models = _warehouse(settings), load_models(settings.sql_dir)
    worker = _heartbeat(settings, "gold")
    session = KeptSession(warehouse, "gold", lambda pid: worker.working_on(None, pid))
    gold = Gold(session, ListBus(), load_catalog(settings.dataset_dir), models, settings)
    upkeep = Upkeep(session, open_s3(settings), ListBus(), models, settings)
    with suppress(Unavailable, failpoints.FailpointHit):
        gold.handle([event])
        upkeep.step()
    worker.stop()


def ingestor_process(settings: Settings, spec: str, dataset: bytes) -> None:
    """Be an ingestor that polls one source once."""
    failpoints.arm(spec)
    with suppress(failpoints.FailpointHit):
        ingestor = _ingestor(settings)
        ingestor.poll_once(ingestor.catalog[dataset.decode()])


def _ingestor(settings: Settings) -> Ingestor:
    return Ingestor(settings, load_catalog(settings.dataset_dir), _warehouse(settings), open_s3(settings), ListBus())


def _warehouse(settings: Settings) -> Postgres:
    assert settings.database_url is not None
    return Postgres(settings.database_url.get_secret_value())


def _heartbeat(settings: Settings, service: str) -> Heartbeat:
    worker = Heartbeat(_warehouse(settings), settings, service)
    worker.start()
    return worker


@dataclass
class Scene:
    """One database with a snapshot in it and another one landed, and what the pipeline must look like in the end."""

    pipeline: Pipeline
    settings: Settings
    events: tuple[bytes, ...] = ()
    expected: EndState | None = None
    counts: tuple[int, ...] = ()

    def prepare(self) -> None:
        """Empty everything, load the first snapshot into silver and gold, land the second and register it."""
        self.begin()
        ref = self.put("after", AFTER, "replace")
        register(self.pipeline.session, self.pipeline.store, self.pipeline.catalog, ref, "event")
        self.events = (bronze_ready(ref, DAY_ZERO),)

    def prepare_group(self) -> None:
        """As `prepare`, but with small files that nobody has registered in place of the second snapshot."""
        self.begin()
        # Restated, rejected, new. Each key in one file: what a superseded one leaves depends on who comes first.
        rows = [AFTER[0], AFTER[1], person(41), person(42), person(43), person(3, name="Newest")]
        refs = [self.put(f"small-{n}", [row], "merge", seconds=n) for n, row in enumerate(rows)]
        self.events = tuple(bronze_ready(ref, DAY_ZERO) for ref in refs)

    def begin(self) -> None:
        """Empty everything and load the first snapshot into silver and gold."""
        self.pipeline.reset()
        tables = ", ".join(["bronze.workers", *(model.table for model in self.pipeline.models.tables)])
        self.pipeline.session.execute(f"TRUNCATE gold.refreshes, bronze.dead_letters, bronze.stops, {tables}")
        self.pipeline.session.commit()
        self.pipeline.load("users", json.dumps(BEFORE).encode())
        self.gold()

    def put(self, name: str, rows: Sequence[object], disposition: str, seconds: float = 0) -> ObjectRef:
        """Put a file of users, landed a day and so many seconds after the first."""
        landed_at = DAY_ZERO + timedelta(days=1, seconds=seconds)
        metadata = {LANDED_AT: landed_at.isoformat(), WRITE_DISPOSITION: disposition}
        content = json.dumps(rows).encode()
        info = self.pipeline.store.put_bytes(BRONZE_BUCKET, f"users/{name}.json", content, metadata)
        return ObjectRef(bucket=info.bucket, key=info.key, version_id=info.version_id)

    def silver(self) -> None:
        """Handle the events with a worker that nothing happens to, as often as it takes to get the objects."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            failed = self.pipeline.rows("SELECT object_id FROM bronze.ingestion_metadata WHERE status = 'failed'")
            try_again(self.pipeline.session, [row[0] for row in failed])
            self.pipeline.handle(*self.events)
            if not self.unfinished() and not self.unsaid():
                return
            time.sleep(0.05)
        raise AssertionError("nobody could take the object over")

    def unsaid(self) -> int:
        """Return how many change sets gold was not told of, or are not in the lake."""
        query = "SELECT count(*) FROM silver.change_sets WHERE announced_at IS NULL OR exported_at IS NULL"
        return int(self.pipeline.rows(query)[0][0])

    def unfinished(self) -> int:
        """Return how many objects have not come to their end."""
        count: int = self.pipeline.rows(
            "SELECT count(*) FROM bronze.ingestion_metadata WHERE status IN ('registered', 'processing', 'failed')"
        )[0][0]
        return count

    def gold(self) -> None:
        """Take in what is pending with a worker that nothing happens to."""
        settings = self.settings
        session = KeptSession(_warehouse(settings), "test-gold")
        Gold(session, ListBus(), self.pipeline.catalog, self.pipeline.models, settings).start()
        Upkeep(session, self.pipeline.store, ListBus(), self.pipeline.models, settings).step()
        session.close()

    def note_expected(self) -> None:
        """Let nothing happen to what was prepared, and note the outcome."""
        self.silver()
        self.gold()
        self.expected, self.counts = self.state()

    def state(self) -> tuple[EndState, tuple[int, ...]]:
        """Return the end state, and how many raw rows, change sets and quarantined rows there are."""
        counts = self.pipeline.rows(
            "SELECT (SELECT count(*) FROM bronze.raw_users), (SELECT count(*) FROM silver.change_sets),"
            " (SELECT count(*) FROM silver.quarantine), (SELECT count(*) FROM gold.pending)"
        )[0]
        return read_end_state(self.pipeline.session, self.pipeline.catalog, self.pipeline.models), counts

    def assert_nothing_shows(self) -> None:
        """Hold the end state against the undisturbed one."""
        state, counts = self.state()
        assert self.expected is not None
        assert self.expected.differences(state) == []
        assert counts == self.counts
        assert broken_invariants(self.pipeline.session, self.pipeline.catalog) == []
        assert self.unsaid() == 0


@pytest.fixture(scope="module")
def processes() -> Iterator[multiprocessing.context.ForkServerContext]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.integration.test_between_steps"])
    yield context
    for process in multiprocessing.active_children():
        process.kill()


@pytest.fixture
def scene(settings: Settings) -> Iterator[Scene]:
    chosen = settings.model_copy(
        update={
            "heartbeat_interval_seconds": 0.2, "heartbeat_silence_seconds": SILENCE_SECONDS,
            "retry_total_seconds": 3.0, "view_refresh_interval_seconds": 0.0, "snapshot_order_wait_seconds": 0.0,
            "failed_pause_seconds": 0.1,
        }
    )  # fmt: skip
    made = Scene(Pipeline(chosen), chosen)
    made.settings.data_dir.mkdir(parents=True, exist_ok=True)
    # Snapshots in the lake say which refresh they show; those of other tests' databases must not seem newer.
    made.pipeline.rows("SELECT setval(pg_get_serial_sequence('gold.refreshes', 'refresh_id'), %s)", (time.time_ns(),))
    yield made
    made.pipeline.close()


def run_into(
    processes: multiprocessing.context.ForkServerContext,
    work: Callable[..., None],
    settings: Settings,
    spec: str,
    *events: bytes,
) -> BaseProcess:
    """Start a worker with its failpoint armed; return once it has ended or stands still."""
    process = processes.Process(target=work, args=(settings, spec, *events))
    process.start()
    deadline = time.monotonic() + WAIT_SECONDS
    while process.is_alive() and not _is_stopped(process):
        assert time.monotonic() < deadline, f"{spec}: the worker neither ended nor stopped"
        process.join(0.02)
    return process


def _is_stopped(process: BaseProcess) -> bool:
    try:
        return bool(psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


def assert_failed_as_told(process: BaseProcess, point: str, action: str) -> None:
    if action == "stop":
        assert _is_stopped(process), f"{point} was not hit"
    elif action == "exit":
        assert process.exitcode == failpoints.EXIT_STATUS, f"{point} was not hit"
    else:
        assert process.exitcode == 0, f"{point} let an exception out of the worker"


def wake(process: BaseProcess) -> None:
    """Let a stopped worker go on to its end: whatever it still does must not show."""
    if process.is_alive():
        assert process.pid is not None
        os.kill(process.pid, signal.SIGCONT)
        process.join(WAIT_SECONDS)
        assert process.exitcode is not None, "the woken worker did not end"


def assert_silver_survives(
    scene: Scene, processes: multiprocessing.context.ForkServerContext, point: str, action: str, time_by: int = 0
) -> None:
    """Let a worker fail at a point (every time or the n-th that it comes by), and see others finish what was prepared."""
    spec = f"{point}:{action}" + (f"*{time_by}" if time_by else "")
    process = run_into(processes, silver_process, scene.settings, spec, *scene.events)
    assert_failed_as_told(process, point, action)
    scene.silver()
    wake(process)
    scene.silver()  # announces what was committed and not announced
    scene.gold()
    scene.assert_nothing_shows()


@pytest.mark.parametrize("action", ACTIONS)
def test_silver_fails_between_any_two_steps(
    scene: Scene, processes: multiprocessing.context.ForkServerContext, action: str
) -> None:
    scene.prepare()
    scene.note_expected()
    for point in SILVER:
        scene.prepare()
        assert_silver_survives(scene, processes, point, action)


@pytest.mark.parametrize("action", ["exit", "stop"])
def test_silver_fails_in_the_middle_of_a_group(
    scene: Scene, processes: multiprocessing.context.ForkServerContext, action: str
) -> None:
    scene.prepare_group()
    scene.note_expected()
    for point in SILVER:
        scene.prepare_group()
        time_by = 1 if point == "silver.published" else 3  # gold is told of all at once
        assert_silver_survives(scene, processes, point, action, time_by)


def test_a_file_that_kills_whoever_reads_it_ahead_fails_and_the_others_are_loaded(
    scene: Scene, processes: multiprocessing.context.ForkServerContext
) -> None:
    scene.prepare_group()
    deadly = bronze_ready(scene.put("deadly", [{"id": 44, "name": DEADLY.decode()}], "merge", seconds=9), DAY_ZERO)
    events, deaths = (*scene.events[:3], deadly, *scene.events[3:]), 0
    attempts = "SELECT status, attempts FROM bronze.ingestion_metadata WHERE object_key = 'users/deadly.json'"
    while True:
        worker = run_into(processes, reader_that_dies, scene.settings, "", *events)
        if worker.exitcode == 0:
            break
        deaths += 1
        assert deaths <= 1 + scene.settings.attempts_max, "the file goes on killing"
        if deaths == 1:
            assert scene.pipeline.rows(attempts) in ([], [("registered", 0)]), "it was not read ahead"
    assert scene.pipeline.rows(attempts) == [("failed", scene.settings.attempts_max)]
    assert deaths == 1 + scene.settings.attempts_max
    others = scene.pipeline.rows(
        "SELECT status, count(*) FROM bronze.ingestion_metadata WHERE object_key LIKE '%small-%' GROUP BY status"
    )
    assert sorted(others) == [("done", 5), ("rejected", 1)]
    assert scene.pipeline.rows("SELECT count(*) FROM bronze.dead_letters") == [(1,)]


@pytest.mark.parametrize("action", ACTIONS)
def test_gold_fails_between_any_two_steps(
    scene: Scene, processes: multiprocessing.context.ForkServerContext, action: str
) -> None:
    scene.prepare()
    scene.note_expected()
    for point in GOLD:
        scene.prepare()
        scene.silver()
        change_set = scene.pipeline.rows("SELECT change_set_id::text FROM silver.change_sets ORDER BY created_at DESC")[
            0
        ][0]
        event = silver_ready(SilverChange(dataset="users", change_set_id=change_set), DAY_ZERO)
        process = run_into(processes, gold_process, scene.settings, f"{point}:{action}", event)
        assert_failed_as_told(process, point, action)
        scene.gold()
        wake(process)
        scene.gold()
        scene.assert_nothing_shows()


@pytest.mark.parametrize("action", ACTIONS)
def test_the_ingestor_fails_between_any_two_steps(
    pipeline_with: Callable[..., Pipeline],
    processes: multiprocessing.context.ForkServerContext,
    tmp_path: Path,
    action: str,
) -> None:
    name, source = f"polled_{uuid.uuid4().hex[:12]}", tmp_path / "source.csv"  # others' objects are in the bucket, too
    pipeline = pipeline_with({name: POLLED.format(name=name, url=source.as_uri())})
    ingestor = _ingestor(pipeline.settings)
    for number, point in enumerate(INGESTOR, start=1):
        source.write_text(f"id,name\n1,{point}\n2,{point}\n")
        process = run_into(processes, ingestor_process, pipeline.settings, f"{point}:{action}", name.encode())
        assert_failed_as_told(process, point, action)
        ingestor.poll_once(ingestor.catalog[name])
        wake(process)
        ingestor.sweep_once()
        assert ingestor.poll_once(ingestor.catalog[name]).outcome == "unchanged"
        found = pipeline.rows(
            "SELECT object_id, announced_at IS NOT NULL FROM bronze.ingestion_metadata"
            " WHERE status = 'registered' ORDER BY version"
        )
        assert all(is_announced for _, is_announced in found)
        pipeline.process(*(object_id for object_id, _ in found))
        assert pipeline.rows(f"SELECT id, name FROM silver.clean_{name} ORDER BY id") == [(1, point), (2, point)]
        assert pipeline.rows(f"SELECT count(*) FROM bronze.raw_{name}") == [(2 * number,)]
        assert broken_invariants(pipeline.session, pipeline.catalog) == []


def test_a_worker_frozen_in_the_middle_of_a_copy_is_replaced_within_thirty_seconds(
    scene: Scene, processes: multiprocessing.context.ForkServerContext
) -> None:
    """The zombie, with the intervals that users have: it holds the claim and the dataset's lock."""
    defaults = Settings.model_fields
    patient = scene.settings.model_copy(
        update={name: defaults[name].default for name in ("heartbeat_interval_seconds", "heartbeat_silence_seconds")}
    )
    scene.prepare()
    scene.note_expected()
    scene.prepare()
    zombie = run_into(processes, silver_process, patient, "silver.copying:stop", *scene.events)
    assert_failed_as_told(zombie, "silver.copying", "stop")
    frozen_at = time.monotonic()
    other = scene.pipeline.worker("other", patient)
    while scene.unfinished():
        assert time.monotonic() - frozen_at < 30, "nobody took over within 30 s"
        other.handle(scene.events)
        time.sleep(0.2)
    assert time.monotonic() - frozen_at > patient.heartbeat_silence_seconds / 2, "it was not waited for"
    before = scene.state()
    wake(zombie)
    assert scene.state() == before, "the woken worker changed something"
    scene.silver()
    scene.gold()
    scene.assert_nothing_shows()


def test_an_object_that_takes_longer_than_a_consumer_may_be_silent_is_loaded_once(
    stacks: Stacks, scene: Scene, tmp_path: Path
) -> None:
    settings = scene.settings.model_copy(
        update={
            "consumer_session_timeout_seconds": stacks.session_seconds(2.0),
            "data_dir": tmp_path / "worker",
            "log_format": "json",
        }
    )
    scene.prepare()
    scene.note_expected()
    scene.prepare()
    environment = {**os.environ, **settings_environment(settings), "MEDALLION_FAILPOINTS": "silver.read:sleep=9"}
    log = tmp_path / "silver.log"
    with log.open("wb") as file, subprocess.Popen(
        (sys.executable, "-m", "services.silver"), env=environment, stderr=file
    ) as process:  # fmt: skip
        bus = KafkaBus(settings.kafka_bootstrap_servers)
        bus.ensure_topics(topics(settings))
        for _ in range(3):
            bus.publish(BRONZE_READY, "users/after.json", *scene.events)
        deadline = time.monotonic() + 2 * WAIT_SECONDS
        while scene.unfinished() or bus.lag("silver", BRONZE_READY, range(settings.bronze_ready_partitions)):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        process.terminate()
        assert process.wait(WAIT_SECONDS) == 0
        bus.close()
    runs = scene.pipeline.rows(
        "SELECT attempts, count(*) FROM bronze.processing_runs JOIN bronze.ingestion_metadata USING (object_id)"
        " WHERE object_key = 'users/after.json' GROUP BY attempts"
    )
    assert runs == [(1, 1)]
    scene.gold()
    scene.assert_nothing_shows()
