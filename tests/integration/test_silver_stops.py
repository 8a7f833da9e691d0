"""A worker that meets bug after bug stops, visibly, and goes on when somebody says so; dead letters are announced."""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from services.silver import load
from shared import stops
from shared.errors import Unavailable
from shared.events import ObjectRef, bronze_ready
from shared.landing import database_now
from shared.settings import DEAD_LETTERS
from shared.stops import resume
from tests.pipeline import Pipeline

COVID = b"Date,Country/Region,Province/State,Confirmed,Recovered,Deaths\n2020-01-22,France,,2,0,0\n"
USERS = b'[{"id": 1, "name": "Ada"}]'
WAIT_SECONDS = 20.0


def explode(*_: Any) -> Iterator[Any]:
    raise ZeroDivisionError("a bug")


def event(pipeline: Pipeline, object_id: uuid.UUID) -> bytes:
    row = pipeline.ledger(object_id)
    ref = ObjectRef(bucket=row["bucket"], key=row["object_key"], version_id=row["version_id"])
    return bronze_ready(ref, database_now(pipeline.session))


def open_stops(pipeline: Pipeline) -> list[tuple[Any, ...]]:
    return pipeline.rows("SELECT worker_id, service, reason FROM bronze.stops WHERE resumed_at IS NULL")


def eventually(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_a_worker_stops_and_processes_its_message_once_it_is_told_to_go_on(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stops, "LOOK_SECONDS", 0.02)
    with monkeypatch.context() as patch:
        patch.setattr(load, "read_records", explode)
        for day, (dataset, content) in enumerate((("covid", COVID), ("users", USERS), ("covid", COVID))):
            pipeline.handle(event(pipeline, pipeline.land(dataset, content, day=day)))
    assert open_stops(pipeline) == [
        (
            "test-worker", "silver",
            "3 objects or events of 2 datasets (covid, users) failed in a row, the last one with "
            "ZeroDivisionError: a bug",
        )
    ]  # fmt: skip

    waiting = pipeline.land("users", USERS, day=3)
    consumer = threading.Thread(target=pipeline.handle, args=[event(pipeline, waiting)], daemon=True)
    consumer.start()
    consumer.join(0.3)
    assert (consumer.is_alive(), pipeline.ledger(waiting)["status"]) == (True, "registered")

    assert resume(pipeline.session) == 1
    consumer.join(WAIT_SECONDS)
    assert (consumer.is_alive(), pipeline.ledger(waiting)["status"]) == (False, "done")
    assert (open_stops(pipeline), resume(pipeline.session)) == ([], 0)


def test_a_success_in_between_and_verdicts_of_a_contract_stop_nobody(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meets_a_bug(dataset: str, content: bytes, day: int) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(load, "read_records", explode)
            pipeline.handle(event(pipeline, pipeline.land(dataset, content, day=day)))

    meets_a_bug("covid", COVID, 0)
    meets_a_bug("users", USERS, 1)
    pipeline.handle(event(pipeline, pipeline.land("users", USERS, day=2)))
    meets_a_bug("covid", COVID, 3)
    for day in range(4, 8):
        broken = pipeline.land("users" if day % 2 else "covid", b"", day=day)
        pipeline.handle(event(pipeline, broken))
        assert pipeline.ledger(broken)["status"] == "rejected"
    pipeline.handle(b"not an event")
    pipeline.handle(b"neither is this")
    assert open_stops(pipeline) == []
    meets_a_bug("users", USERS.replace(b"Ada", b"Eve"), 8)
    assert len(open_stops(pipeline)) == 1


def test_a_dead_letter_is_announced_after_it_is_kept(pipeline: Pipeline) -> None:
    pipeline.handle(b"\xff not json")
    (topic, key, value), (letter,) = (
        pipeline.bus.published[0],
        pipeline.rows("SELECT dead_letter_id, reason FROM bronze.dead_letters"),
    )
    told = json.loads(value)
    assert (topic, key, told["type"], told["subject"]) == (
        DEAD_LETTERS, "bronze-ready", "medallion.dead.letter", "bronze-ready",
    )  # fmt: skip
    assert told["data"] == {
        "schema_version": 1, "dead_letter_id": letter[0], "topic": "bronze-ready", "reason": letter[1],
        "dataset": None, "object_id": None,
    }  # fmt: skip


def test_an_object_that_meets_the_same_bug_again_has_one_dead_letter(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "read_records", explode)
    announced = event(pipeline, pipeline.land("covid", COVID))
    for _ in range(3):
        pipeline.handle(announced)
    assert pipeline.rows("SELECT dataset, attempts FROM bronze.dead_letters") == [("covid", 3)]
    assert [topic for topic, *_ in pipeline.bus.published] == [DEAD_LETTERS]


def test_a_broker_that_is_away_does_not_keep_a_dead_letter_from_being_kept(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise Unavailable("Kafka", "switched off")

    monkeypatch.setattr(pipeline.bus, "publish", away)
    pipeline.handle(b"\xff not json")
    assert pipeline.rows("SELECT payload, status FROM bronze.dead_letters") == [("\\xff not json", "open")]
