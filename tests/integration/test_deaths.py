"""Attempts without an end: workers that die on an object make it failed, with the evidence; a lost session does not."""

import os
import socket
import uuid
from collections.abc import Callable

import pytest

from services.silver.claim import claim
from services.stack import Stack
from shared.errors import Unavailable
from shared.events import ObjectRef, bronze_ready
from shared.heartbeat import Heartbeat
from shared.settings import DEAD_LETTERS
from tests.pipeline import DAY_ZERO, Pipeline
from tests.servers import EmbeddedServers

USERS = b'[{"id": 1, "name": "Ann", "email": "ann@example.org"}]'
OUTAGES = 6


def die_on(pipeline: Pipeline, object_id: uuid.UUID, worker_id: str) -> None:
    """Claim an object and be gone."""
    with pipeline.warehouse.session("dying") as session:
        assert claim(session, pipeline.settings, object_id, worker_id) is not None


def test_an_object_whose_worker_died_five_times_fails_and_a_dead_letter_keeps_the_evidence(pipeline: Pipeline) -> None:
    object_id = pipeline.land("users", USERS)
    known = Heartbeat(pipeline.warehouse, pipeline.settings, "silver")
    known.start()
    die_on(pipeline, object_id, known.worker_id)
    known.stop()
    for number in range(2, 6):
        die_on(pipeline, object_id, f"dead-{number}")
    assert pipeline.silver.process(pipeline.session, object_id) == "failed"
    row = pipeline.ledger(object_id)
    assert (row["status"], row["attempts"]) == ("failed", 5)
    assert "its worker died 5 times" in row["error_message"]
    ((letter, payload, reason, evidence, attempts),) = pipeline.rows(
        "SELECT dead_letter_id, payload, reason, traceback, attempts FROM bronze.dead_letters WHERE object_id = %s",
        (object_id,),
    )
    assert ObjectRef.model_validate_json(payload).key == row["object_key"]
    assert reason == "WorkersDied: one worker after the other died while processing the object"
    lines = evidence.splitlines()
    assert f"{len(USERS)} bytes" in lines[0]
    assert lines[1].startswith(f"claim 1: by {known.worker_id} (host {socket.gethostname()}, pid {os.getpid()}) at 20")
    assert "last sign of life 20" in lines[1]
    assert [line.split(" at ")[0] for line in lines[2:]] == [f"claim {n}: by dead-{n}" for n in range(2, 6)]
    assert all("last sign of life unknown, found dead 20" in line for line in lines[2:])
    assert [topic for topic, _, value in pipeline.bus.published if str(letter).encode() in value] == [DEAD_LETTERS]

    # Tried again after its pause, it kills once more: the letter says so, and there is no second one.
    die_on(pipeline, object_id, "dead-6")
    assert pipeline.silver.process(pipeline.session, object_id) == "failed"
    ((evidence, attempts),) = pipeline.rows("SELECT traceback, attempts FROM bronze.dead_letters")
    assert (attempts, evidence.splitlines()[-1].split(" at ")[0]) == (2, "claim 6: by dead-6")
    # And once it passes, it is done.
    assert pipeline.silver.process(pipeline.session, object_id) == "done"


def break_off(monkeypatch: pytest.MonkeyPatch, outage: Callable[[], None]) -> None:
    """Let an outage come in the middle of each of the next merges."""
    left = iter(range(OUTAGES))

    def hit(name: str) -> None:
        if name == "silver.locked" and next(left, None) is not None:
            outage()

    monkeypatch.setattr("services.silver.load.hit", hit)


def handled_after_outages(pipeline: Pipeline, object_id: uuid.UUID) -> int:
    """Handle the object's event as a worker does, again and again; return how often the server was away."""
    row = pipeline.ledger(object_id)
    event = bronze_ready(ObjectRef(bucket=row["bucket"], key=row["object_key"], version_id=row["version_id"]), DAY_ZERO)
    for outages in range(OUTAGES + 1):
        try:
            pipeline.handle(event)
        except Unavailable:
            continue
        return outages
    raise AssertionError("it never came through")


def test_an_object_under_which_postgres_is_killed_six_times_is_done_in_the_end(
    pipeline: Pipeline, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = EmbeddedServers(stack)

    def outage() -> None:
        servers.kill("postgres")
        servers.start("postgres")

    object_id = pipeline.land("users", USERS)
    break_off(monkeypatch, outage)
    assert handled_after_outages(pipeline, object_id) == OUTAGES
    pipeline.session = pipeline.warehouse.connect("test")
    row = pipeline.ledger(object_id)
    assert (row["status"], row["attempts"]) == ("done", 1)
    assert pipeline.rows("SELECT count(*) FROM bronze.deaths") == [(0,)]
    assert pipeline.rows("SELECT count(*) FROM bronze.dead_letters") == [(0,)]


def test_a_worker_that_loses_its_session_again_and_again_gives_each_attempt_back(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    object_id = pipeline.land("users", USERS)

    def outage() -> None:
        pipeline.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ^@ 'silver-'")

    break_off(monkeypatch, outage)
    assert handled_after_outages(pipeline, object_id) == OUTAGES
    row = pipeline.ledger(object_id)
    assert (row["status"], row["attempts"]) == ("done", 1)
    assert pipeline.rows("SELECT count(*) FROM bronze.deaths") == [(0,)]


def test_an_attempt_that_another_worker_has_taken_over_is_not_given_back(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    object_id = pipeline.land("users", USERS)

    def outage() -> None:
        pipeline.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ^@ 'silver-'")
        raise Unavailable("PostgreSQL", "the session was ended")

    break_off(monkeypatch, outage)
    with pytest.raises(Unavailable), pipeline.warehouse.session("silver-one") as session:
        pipeline.silver.process(session, object_id)
    with pipeline.warehouse.session("two") as session:
        assert claim(session, pipeline.settings, object_id, "two") is not None
        assert pipeline.silver.process(pipeline.session, object_id) is None
    row = pipeline.ledger(object_id)
    assert (row["status"], row["worker_id"], row["attempts"]) == ("processing", "two", 2)
