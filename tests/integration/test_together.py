"""Messages that wait together: registered, fetched and read ahead of their turn, and still each with its own verdict."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from services.silver import ahead, announce, service
from services.silver.ahead import CAREFUL_MESSAGES
from shared import failpoints
from shared.adapters import stream
from shared.errors import Unavailable
from shared.events import ObjectRef, bronze_ready
from shared.settings import BRONZE_BUCKET, SILVER_BUCKET, SILVER_READY
from tests.pipeline import DAY_ZERO, Pipeline

FILES = 12


def user(number: int) -> bytes:
    return json.dumps([{"id": number, "name": f"user {number}"}]).encode()


def dropped(pipeline: Pipeline, key: str, content: bytes) -> bytes:
    """Put an object, and return the event that announces it; nobody has registered it."""
    info = pipeline.store.put_bytes(BRONZE_BUCKET, key, content, {})
    return bronze_ready(ObjectRef(bucket=BRONZE_BUCKET, key=key, version_id=info.version_id), DAY_ZERO)


def statuses(pipeline: Pipeline) -> dict[str, str]:
    return dict(pipeline.rows("SELECT object_key, status FROM bronze.ingestion_metadata"))


def handle_with_retries(pipeline: Pipeline, events: list[bytes]) -> None:
    """Handle messages as a worker does that meets servers away, two times at most."""
    for is_last in (False, False, True):
        try:
            pipeline.handle(*events)
            return
        except Unavailable:
            assert not is_last


@pytest.fixture
def armed() -> Iterator[Any]:
    yield failpoints.arm
    failpoints.arm("")


@pytest.fixture(autouse=True)
def _not_careful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "CAREFUL_MESSAGES", 0)


@pytest.fixture
def read_in_turn(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of files that were not read ahead."""
    keys: list[str] = []
    fetch = pipeline.store.fetch

    def counted(info: Any, target: Any) -> str:
        if not target.name.startswith("ahead-"):
            keys.append(info.key)
        return fetch(info, target)

    monkeypatch.setattr(pipeline.store, "fetch", counted)
    return keys


def test_small_files_are_read_ahead_and_announced_once(pipeline: Pipeline, read_in_turn: list[str]) -> None:
    events = [dropped(pipeline, f"users/{n:02}.json", user(n)) for n in range(FILES)]
    pipeline.handle(*events, *events)
    pipeline.handle(*events)
    rows = pipeline.rows("SELECT status, attempts, rows_inserted, discovered_by FROM bronze.ingestion_metadata")
    assert rows == [("done", 1, 1, "event")] * FILES
    assert read_in_turn == []
    assert [topic for topic, *_ in pipeline.bus.published] == [SILVER_READY] * FILES
    changes = pipeline.rows("SELECT change_set_id, announced_at, exported_at FROM silver.change_sets")
    assert all(announced and exported for _, announced, exported in changes)
    in_lake = {info.key for info in pipeline.store.versions(SILVER_BUCKET, "users/")}
    assert {f"users/change_set={change_set_id}.parquet" for change_set_id, *_ in changes} <= in_lake
    pipeline.assert_invariants()


def test_each_file_has_its_own_verdict(pipeline: Pipeline) -> None:
    events = [dropped(pipeline, f"users/{n:02}.json", user(n)) for n in range(FILES)]
    odd = [
        dropped(pipeline, "users/broken.json", b"[{"),
        dropped(pipeline, "nobody/file.csv", b"a\n1\n"),
        b"\xff not json",
    ]
    gone = dropped(pipeline, "users/gone.json", user(99))
    pipeline.store.remove(BRONZE_BUCKET, "users/gone.json", ObjectRef(**json.loads(gone)["data"]).version_id)
    pipeline.handle(*events[:4], *odd, gone, *events[4:])
    found = statuses(pipeline)
    assert found.pop("users/broken.json") == "rejected"
    assert found.pop("nobody/file.csv") == "ignored"
    assert found == {f"users/{n:02}.json": "done" for n in range(FILES)}
    assert pipeline.rows("SELECT topic FROM bronze.dead_letters") == [("bronze-ready",)]
    pipeline.assert_invariants()


def test_versions_of_one_key_are_applied_in_their_order(pipeline: Pipeline) -> None:
    names = [f"name {n}" for n in range(FILES)]
    events = [dropped(pipeline, "users/one.json", json.dumps([{"id": 1, "name": name}]).encode()) for name in names]
    pipeline.handle(*reversed(events))
    assert pipeline.rows("SELECT full_name FROM silver.clean_users") == [(names[-1],)]
    pipeline.assert_invariants()


def test_snapshots_that_wait_go_first_and_are_not_read_ahead(pipeline: Pipeline, read_in_turn: list[str]) -> None:
    both = json.dumps([{"id": n, "name": f"user {n}"} for n in (0, 1)]).encode()
    old, new = pipeline.land("users", user(0)), pipeline.land("users", both, day=1)
    refs = pipeline.rows("SELECT bucket, object_key, version_id FROM bronze.ingestion_metadata ORDER BY version DESC")
    pipeline.handle(*(bronze_ready(ObjectRef(bucket=b, key=k, version_id=v), DAY_ZERO) for b, k, v in refs))
    order = pipeline.rows("SELECT object_id, status FROM bronze.ingestion_metadata ORDER BY started_at")
    assert order == [(old, "done"), (new, "done")]
    assert len(read_in_turn) == 2


def test_what_waits_longer_than_a_moment_comes_again(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MOMENT_SECONDS", 0.0)
    events = [dropped(pipeline, f"users/{n:02}.json", user(n)) for n in range(3)]
    assert pipeline.silver.handle(events) == 1
    assert "done" in statuses(pipeline).values()
    assert pipeline.silver.handle(events[1:]) == 1
    pipeline.handle(*events[2:])
    assert list(statuses(pipeline).values()) == ["done"] * 3


@pytest.mark.parametrize(
    "point", ["silver.fetched", "silver.read", "silver.merged", "silver.published", "silver.exported"]
)
def test_a_server_away_in_the_middle_costs_nothing(pipeline: Pipeline, armed: Any, point: str) -> None:
    events = [dropped(pipeline, f"users/{n:02}.json", user(n)) for n in range(FILES)]
    armed(f"{point}:unavailable*{1 if point == 'silver.published' else 5}")
    handle_with_retries(pipeline, events)
    assert set(statuses(pipeline).values()) == {"done"}
    assert pipeline.rows(
        "SELECT count(*) FROM silver.change_sets WHERE announced_at IS NULL OR exported_at IS NULL"
    ) == [(0,)]
    exported = pipeline.rows("SELECT count(*) FROM silver.change_sets")
    assert exported == [(FILES,)]
    pipeline.assert_invariants()


def test_a_worker_begins_without_reading_ahead_so_that_a_deadly_file_has_its_attempts(
    pipeline: Pipeline, read_in_turn: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stream.WAITING_MAX <= CAREFUL_MESSAGES
    monkeypatch.setattr(ahead, "CAREFUL_MESSAGES", 6)
    events = [dropped(pipeline, f"users/{n:02}.json", user(n)) for n in range(FILES)]
    pipeline.handle(*events[:6])
    assert len(read_in_turn) == 6
    pipeline.handle(*events[6:])
    assert len(read_in_turn) == 6
    assert list(statuses(pipeline).values()) == ["done"] * FILES


@pytest.mark.parametrize(
    ("seconds_ago", "is_stopped", "is_careful"),
    [(1, False, True), (1, True, False), (-1, False, False), (7200, False, False)],
    ids=["died", "stopped", "lives", "died long ago"],
)
def test_only_a_worker_that_follows_a_death_is_careful(
    pipeline: Pipeline,
    read_in_turn: list[str],
    monkeypatch: pytest.MonkeyPatch,
    seconds_ago: float,
    is_stopped: bool,
    is_careful: bool,
) -> None:
    monkeypatch.setattr(ahead, "CAREFUL_MESSAGES", 100)
    pipeline.session.execute(
        "INSERT INTO bronze.workers (worker_id, service, host, pid, heartbeat_at, stopped_at) VALUES"
        " ('test-worker', 'silver', 'here', 1, clock_timestamp(), NULL),"
        " ('other', 'silver', 'there', 1, clock_timestamp() - make_interval(secs => %s),"
        " CASE WHEN %s THEN clock_timestamp() END), ('gold', 'gold', 'there', 2, clock_timestamp(), NULL)",
        (seconds_ago, is_stopped),
    )
    pipeline.session.commit()
    pipeline.handle(*(dropped(pipeline, f"users/{n:02}.json", user(n)) for n in range(FILES)))
    assert len(read_in_turn) == (FILES if is_careful else 0)
    assert list(statuses(pipeline).values()) == ["done"] * FILES


def test_files_beyond_the_room_are_read_in_their_turn(
    pipeline: Pipeline, read_in_turn: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "AHEAD_BYTES_MAX", 2 * len(user(0)))
    events = [dropped(pipeline, f"users/{n}.json", user(n)) for n in range(6)]
    pipeline.handle(*events)
    assert list(statuses(pipeline).values()) == ["done"] * 6
    assert 0 < len(read_in_turn) < 6


def test_an_event_that_no_ledger_can_be_asked_about_does_not_hide_the_others(pipeline: Pipeline) -> None:
    odd = bronze_ready(ObjectRef(bucket=BRONZE_BUCKET, key="users/\x00.json", version_id="1"), DAY_ZERO)
    events = [dropped(pipeline, f"users/{n:02}.json", user(n)) for n in range(FILES)]
    pipeline.handle(*events[:3], odd, *events[3:])
    assert list(statuses(pipeline).values()) == ["done"] * FILES
    assert pipeline.rows("SELECT topic FROM bronze.dead_letters") == [("bronze-ready",)]


def test_what_was_merged_does_not_wait_for_a_large_file_behind_it(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "READ_BYTES_MAX", 1_000)
    monkeypatch.setattr(ahead, "READ_BYTES_MAX", 1_000)
    small = [dropped(pipeline, f"users/{n:02}.json", user(n)) for n in range(3)]
    many = json.dumps([{"id": n, "name": f"user {n}"} for n in range(100, 200)]).encode()
    told: list[int] = []
    fetch = pipeline.store.fetch

    def noted(info: Any, target: Any) -> str:
        if info.key == "users/large.json":
            told.append(len(pipeline.bus.published))
        return fetch(info, target)

    monkeypatch.setattr(pipeline.store, "fetch", noted)
    pipeline.handle(*small, dropped(pipeline, "users/large.json", many))
    assert told == [3]
    assert len(pipeline.bus.published) == 4


def test_exports_that_failed_together_are_tried_again_together(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [dropped(pipeline, f"users/{n:02}.json", user(n)) for n in range(FILES)]
    upload, is_away = pipeline.store.upload, [True]

    def away(*arguments: Any) -> None:
        if is_away:
            raise Unavailable("object store", "switched off")
        upload(*arguments)

    monkeypatch.setattr(pipeline.store, "upload", away)
    with pytest.raises(Unavailable):
        pipeline.handle(*events)
    is_away.clear()
    handle_with_retries(pipeline, events)
    assert pipeline.rows("SELECT count(*) FROM silver.change_sets WHERE exported_at IS NULL") == [(0,)]


def test_rows_that_wait_hold_no_more_memory_than_allowed(
    pipeline: Pipeline, read_in_turn: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "HELD_BYTES_MAX", 0)
    pipeline.handle(*(dropped(pipeline, f"users/{n:02}.json", user(n)) for n in range(FILES)))
    assert list(statuses(pipeline).values()) == ["done"] * FILES
    assert 0 < len(read_in_turn) < FILES
    assert [path.name for path in pipeline.silver._scratch.iterdir()] == []


def test_a_broker_away_while_a_large_change_set_is_announced_costs_no_export(
    pipeline: Pipeline, armed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announce, "WRITTEN_BESIDE_ROWS_MAX", 0)
    event = dropped(pipeline, "users/one.json", user(1))
    armed("silver.published:unavailable*1")
    with pytest.raises(Unavailable):
        pipeline.handle(event)
    pipeline.handle(event)
    assert pipeline.rows("SELECT count(*) FROM silver.change_sets WHERE exported_at IS NOT NULL") == [(1,)]


@pytest.mark.parametrize(
    "late",
    [
        "bronze.workers SET heartbeat_at = heartbeat_at - interval '1 day'",
        "silver.change_sets SET created_at = created_at - interval '1 hour'",
    ],
)
def test_the_change_file_of_a_worker_that_lives_is_left_to_it_for_a_while(pipeline: Pipeline, late: str) -> None:
    event = dropped(pipeline, "users/one.json", user(1))
    pipeline.handle(event)
    pipeline.session.execute(
        "UPDATE bronze.ingestion_metadata SET worker_id = 'other';"
        " UPDATE silver.change_sets SET announced_at = NULL, exported_at = NULL;"
        " INSERT INTO bronze.workers (worker_id, service, host, pid) VALUES ('other', 'silver', 'there', 1)"
    )
    pipeline.session.commit()
    said = "SELECT announced_at IS NOT NULL, exported_at IS NOT NULL FROM silver.change_sets"
    pipeline.handle(event)
    assert pipeline.rows(said) == [(True, False)]
    pipeline.session.execute(f"UPDATE {late}")
    pipeline.session.commit()
    pipeline.handle(event)
    assert pipeline.rows(said) == [(True, True)]


def test_nothing_is_left_in_the_scratch_folder(pipeline: Pipeline) -> None:
    events = [dropped(pipeline, f"users/{n:02}.json", user(n)) for n in range(FILES)]
    taken = bronze_ready(ObjectRef(bucket=BRONZE_BUCKET, key="users/none.json", version_id="x"), DAY_ZERO)
    pipeline.handle(*events, taken)
    pipeline.handle(*events[:2])
    assert [path.name for path in pipeline.silver._scratch.iterdir()] == []
