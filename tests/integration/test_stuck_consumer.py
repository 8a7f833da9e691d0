"""The watchdog on the real broker and database: it ends a consumer that stands still, and no other."""

import os
import queue
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.stack import Stack
from shared.adapters.kafka import KafkaBus
from shared.queries import load_query
from tests.pipeline import Pipeline
from tests.stacks import Stacks

LIMIT_SECONDS = 2
EXPECTED_SECONDS = 60  # a group that lost a member takes its time on a loaded machine
# A consumer whose client falls silent on demand: it stays in the group, and its fetches never come back.
_CONSUMER = """
import asyncio, os, sys, time
from shared.adapters import faustapp, stream
from shared.settings import load_settings
from shared.telemetry import configure_logging

faustapp.POLL_INTERVAL_SECONDS_MAX = float(os.environ.get("POLL_SECONDS", faustapp.POLL_INTERVAL_SECONDS_MAX))
faustapp.STREAM_BUFFER_MAX = int(os.environ.get("BUFFERED", faustapp.STREAM_BUFFER_MAX))
stream.WAITING_MAX = int(os.environ.get("BUFFERED", stream.WAITING_MAX))
apps = []
new_app = stream.new_app
def kept_app(*arguments):
    apps.append(new_app(*arguments))
    return apps[-1]
stream.new_app = kept_app

def handle(values):
    value = values[0]
    word, _, seconds = value.decode().partition(" ")
    print(value.decode(), flush=True)
    if word == "sleep":
        time.sleep(float(seconds))
    if word == "stall":
        apps[0].consumer._getmany = lambda **asked: asyncio.Event().wait()
        time.sleep(1.2)  # the fetch under way ends
    print("done", value.decode(), flush=True)
    return 1

configure_logging("test", "text")
overdue = lambda idle_seconds: int(len(sys.argv) > 3)
sys.exit(stream.consume(
    load_settings(), group=sys.argv[1], topic=sys.argv[2], handle=handle, service="test", overdue=overdue
))
"""


class Consumer:
    """A consumer process, the lines it prints and what it logs."""

    def __init__(self, stack: Stack, session_seconds: float, topic: str, *arguments: str, **variables: str) -> None:
        environment = {
            **os.environ,
            **stack.endpoints,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "MEDALLION_CONSUMER_SESSION_TIMEOUT_SECONDS": f"{session_seconds}",
            "MEDALLION_WATCHDOG_SECONDS": str(LIMIT_SECONDS),
            **variables,
        }
        command = [sys.executable, "-c", _CONSUMER, f"group-{topic}", topic, *arguments]
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines: queue.Queue[str] = queue.Queue()
        self.log: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._read_log, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.lines.put(line.strip())

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            self.log.extend(lines)

    def expect(self, *lines: str) -> None:
        assert [self.lines.get(timeout=EXPECTED_SECONDS) for _ in lines] == list(lines), self.log

    def until(self, last: str) -> list[str]:
        """Return what it prints up to a line."""
        return [*iter(lambda: self.lines.get(timeout=EXPECTED_SECONDS), last), last]


@pytest.fixture
def topic() -> str:
    return f"watchdog-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def publish(stack: Stack, topic: str) -> Iterator[Callable[[str], None]]:
    bus = KafkaBus(stack.settings.kafka_bootstrap_servers)
    bus.ensure_topics({topic: 2})
    yield lambda text: bus.publish(topic, "key", text.encode())
    bus.close()


@pytest.fixture
def start(stacks: Stacks, stack: Stack, topic: str) -> Iterator[Callable[..., Consumer]]:
    started: list[Consumer] = []

    def begin(*arguments: str, **variables: str) -> Consumer:
        started.append(Consumer(stack, stacks.session_seconds(3), topic, *arguments, **variables))
        return started[-1]

    yield begin
    for consumer in started:
        consumer.process.kill()
        consumer.process.wait()


def test_a_consumer_whose_fetches_stall_ends_itself_and_its_successor_takes_up_the_work(
    publish: Callable[[str], None], start: Callable[..., Consumer]
) -> None:
    publish("stall")
    silent = start()
    silent.expect("stall", "done stall")
    publish("next")
    assert silent.process.wait(20) == 1
    assert silent.lines.empty()
    assert any("stands still although there is work (1 unacknowledged message(s)" in line for line in silent.log)

    start().expect("next", "done next")


def test_work_in_the_ledger_that_no_message_brings_ends_an_idle_consumer(
    publish: Callable[[str], None], start: Callable[..., Consumer]
) -> None:
    publish("first")
    idle = start("overdue")
    idle.expect("first", "done first")
    assert idle.process.wait(20) == 1
    assert any("1 overdue in the ledger" in line for line in idle.log)


def test_a_consumer_that_is_busy_or_has_nothing_to_do_is_left_alone(
    publish: Callable[[str], None], start: Callable[..., Consumer]
) -> None:
    publish(f"sleep {2 * LIMIT_SECONDS}")
    consumer = start()
    consumer.expect(f"sleep {2 * LIMIT_SECONDS}")
    publish("next")  # a backlog, while it is busy
    consumer.expect(f"done sleep {2 * LIMIT_SECONDS}", "next", "done next")
    with pytest.raises(subprocess.TimeoutExpired):
        consumer.process.wait(2 * LIMIT_SECONDS)


def test_a_consumer_that_the_broker_gave_up_for_not_polling_is_replaced_and_no_message_is_lost(
    publish: Callable[[str], None], start: Callable[..., Consumer]
) -> None:
    # A client whose buffer is full fetches no more, which is what counts as a poll.
    texts = ["sleep 6", "1", "2", "3", "4"]
    for text in texts:
        publish(text)
    slow = start(POLL_SECONDS="2", BUFFERED="1")
    slow.expect("sleep 6", "done sleep 6")
    assert slow.process.wait(30) == 1
    assert any("stands still although there is work" in line for line in slow.log)

    # What it could not acknowledge comes again; Apache Kafka takes the acknowledgement of a group that nobody is in.
    lines = [line for text in texts for line in (text, f"done {text}")]
    done = 1 + sum(line.startswith("done") for line in slow.lines.queue)  # it may have gone on with what it held
    assert start().until("done 4") in [lines[2 * number :] for number in range(done + 1)]


def overdue(pipeline: Pipeline, service: str, after: float, idle: float) -> int:
    query = load_query(pipeline.settings.sql_dir, f"overdue_{service}")
    tables = [model.name for model in pipeline.models.tables]
    found = pipeline.session.rows(query, {"after": after, "idle": idle, "silence": 15, "tables": tables})
    pipeline.session.commit()
    return int(found[0][0])


def test_silver_owes_what_was_announced_to_it_unless_somebody_is_at_work(pipeline: Pipeline) -> None:
    waiting = pipeline.land("users", b"[]")
    pipeline.session.execute(
        "UPDATE bronze.ingestion_metadata SET registered_at = now() - interval '9 s', announced_at = now() - interval '3 s'"
    )
    owed = [overdue(pipeline, "silver", after, idle) for after, idle in ((5, 5), (15, 5), (5, 2))]
    assert owed == [1, 0, 0]  # long enough there and announced; too young; not announced while idle

    pipeline.session.execute(
        "INSERT INTO bronze.workers (worker_id, service, host, pid, object_id) VALUES ('w', 'silver', 'h', 1, %s)",
        (waiting,),
    )
    assert overdue(pipeline, "silver", 5, 5) == 0

    pipeline.session.execute("UPDATE bronze.workers SET object_id = NULL")
    assert overdue(pipeline, "silver", 5, 5) == 1
    pipeline.session.execute("INSERT INTO bronze.stops (worker_id, service, reason) VALUES ('w', 'silver', 'bugs')")
    assert overdue(pipeline, "silver", 5, 5) == 0


def test_gold_owes_what_is_pending_unless_somebody_is_refreshing(pipeline: Pipeline) -> None:
    pipeline.load("users", b'[{"id": 1, "name": "Ann", "username": "ann", "email": "ann@example.org"}]')
    pipeline.session.execute(
        "UPDATE gold.pending SET created_at = now() - interval '9 s';"
        "UPDATE silver.change_sets SET announced_at = now() - interval '3 s'"
    )
    owed = [overdue(pipeline, "gold", after, idle) for after, idle in ((5, 5), (15, 5), (5, 2))]
    assert owed == [1, 0, 0]

    other = pipeline.warehouse.connect("other")
    for (model,) in pipeline.rows("SELECT DISTINCT model FROM gold.pending"):
        other.rows("SELECT pg_advisory_lock(hashtextextended('gold.' || %s, 0))", (model,))
    assert overdue(pipeline, "gold", 5, 5) == 0
    other.close()
