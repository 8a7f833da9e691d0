"""Claims of others: how long a worker watches a holder that is neither well nor silent."""

import time

import pytest

from services.silver import claim as claims
from services.silver.claim import claim
from services.silver.state import lock_key
from tests.pipeline import Pipeline

USERS = b'[{"id": 1, "name": "Ann"}]'


def test_a_holder_that_is_late_all_the_time_is_watched_no_longer_than_silence_would_count(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's own messages wait for so long, and no longer; the object stays the holder's, and the sweep's."""
    eager = pipeline.settings.model_copy(update={"heartbeat_interval_seconds": 0.1, "heartbeat_silence_seconds": 1.5})
    monkeypatch.setattr(claims, "_END_SECONDS_MAX", 0.5)
    object_id = pipeline.drop("users/watched.json", USERS).object_id
    with pipeline.warehouse.session("holder") as holder, pipeline.warehouse.session("watcher") as watcher:
        holder.rows("SELECT pg_advisory_lock(%s)", (lock_key(f"object:{object_id}"),))
        holder.commit()

        def beat_late() -> None:
            pipeline.session.execute(
                "INSERT INTO bronze.workers (worker_id, service, host, pid, backend_pid)"
                " VALUES ('late', 'silver', '', 1, %s)"
                " ON CONFLICT (worker_id) DO UPDATE SET heartbeat_at = clock_timestamp() - interval '0.5 s'",
                (holder.backend_pid,),
            )
            pipeline.session.commit()

        sleep, looks = time.sleep, []

        def look_again(seconds: float) -> None:
            looks.append(seconds)
            sleep(seconds)
            beat_late()

        beat_late()
        sleep(0.3)
        monkeypatch.setattr(claims.time, "sleep", look_again)
        started = time.monotonic()
        assert claim(watcher, eager, object_id, "watcher") is None
        assert looks, "it was not watched"
        assert time.monotonic() - started < 1.5 + 0.5 + 1
        assert holder.rows("SELECT 1") == [(1,)], "a holder that gives signs of life keeps its session"
    assert pipeline.process(object_id) == ["done"]
