"""What an idle worker takes from the ledger that waits for a busier one."""

import uuid

from services.silver.waiting import Waiting
from shared.events import read_bronze_ready
from tests.pipeline import Pipeline

USERS = b'[{"id": 1, "name": "Ann"}]'


def announced(pipeline: Pipeline, object_id: uuid.UUID, seconds_ago: float) -> None:
    pipeline.session.execute(
        "UPDATE bronze.ingestion_metadata SET announced_at = clock_timestamp() - make_interval(secs => %s)"
        " WHERE object_id = %s",
        (seconds_ago, object_id),
    )
    pipeline.session.commit()


def beats(pipeline: Pipeline, worker_id: str, object_id: uuid.UUID | None, seconds_ago: float = 0) -> None:
    pipeline.session.execute(
        "INSERT INTO bronze.workers (worker_id, service, host, pid, object_id, heartbeat_at)"
        " VALUES (%s, 'silver', '', 1, %s, clock_timestamp() - make_interval(secs => %s))"
        " ON CONFLICT (worker_id) DO UPDATE SET object_id = excluded.object_id, heartbeat_at = excluded.heartbeat_at",
        (worker_id, object_id, seconds_ago),
    )
    pipeline.session.commit()


def offered(pipeline: Pipeline, waiting: Waiting) -> list[uuid.UUID]:
    event = waiting.spare()
    if event is None:
        return []
    keys = [ref.key for ref in read_bronze_ready(event)]
    found = pipeline.rows("SELECT object_id FROM bronze.ingestion_metadata WHERE object_key = ANY(%s)", (keys,))
    return [object_id for (object_id,) in found]


def test_what_waits_for_a_busy_worker_is_offered_oldest_first_and_not_twice_in_a_row(pipeline: Pipeline) -> None:
    busy, first, second = (pipeline.land("users", USERS, "merge", day) for day in range(3))
    for object_id in (busy, first, second):
        announced(pipeline, object_id, 5)
    waiting = Waiting(pipeline.warehouse, pipeline.settings, "idle")
    beats(pipeline, "busy", busy)
    pipeline.session.execute("UPDATE bronze.ingestion_metadata SET status = 'processing' WHERE object_id = %s", (busy,))
    pipeline.session.commit()

    assert offered(pipeline, waiting) == [first]
    assert offered(pipeline, waiting) == [], "whoever is at it needs no help"
    assert pipeline.process(first) == ["done"]
    assert offered(pipeline, waiting) == [second]


def test_nothing_is_offered_that_is_fresh_or_was_tried_or_waits_for_nobody_who_is_busy(pipeline: Pipeline) -> None:
    object_id = pipeline.drop("users/1.json", USERS).object_id
    settings = pipeline.settings

    def is_offered(worker_id: str = "idle") -> bool:
        return bool(offered(pipeline, Waiting(pipeline.warehouse, settings, worker_id)))

    announced(pipeline, object_id, 5)
    assert not is_offered(), "nobody else works"
    beats(pipeline, "other", None)
    assert not is_offered(), "the other is idle: the message is on its way to it"
    beats(pipeline, "other", uuid.uuid4(), seconds_ago=settings.heartbeat_silence_seconds + 1)
    assert not is_offered(), "the other is dead: the broker gives its messages away"
    beats(pipeline, "other", uuid.uuid4())
    assert is_offered()
    assert not is_offered("other"), "it is its own work"
    announced(pipeline, object_id, 0)
    assert not is_offered(), "it has only just been announced"
    announced(pipeline, object_id, 5)
    pipeline.session.execute("UPDATE bronze.ingestion_metadata SET attempts = 1")
    pipeline.session.commit()
    assert not is_offered(), "an attempt at it counts: the sweep brings it again"
