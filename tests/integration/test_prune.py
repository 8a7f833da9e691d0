"""Old history goes, and nothing that live silver, open quarantine or the next step refers to."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.cli.retention import is_forgettable, prune
from services.ingestor.polls import Poll, previous_poll, record_poll
from services.silver.write import write_raw
from shared import requests
from shared.errors import Unavailable
from shared.ports import ObjectInfo
from shared.settings import GOLD_BUCKET, SILVER_BUCKET
from tests.integration.test_order import BAD, CONTRACT, DAYS, File, state_of
from tests.pipeline import Pipeline

URL = "https://example.org/counts.csv"
OLD = "interval '400 days'"
NOW = datetime(2026, 5, 1, tzinfo=UTC)
TIMES = {
    "bronze.raw_counts": ("ingestion_timestamp",),
    "bronze.processing_runs": ("finished_at",),
    "bronze.polls": ("finished_at",),
    "bronze.dead_letters": ("created_at",),
    "bronze.deaths": ("found_at",),
    "bronze.stops": ("resumed_at",),
    "bronze.workers": ("heartbeat_at",),
    "bronze.alerts": ("opened_at", "closed_at"),
    "bronze.alert_messages": ("created_at",),
    "silver.quarantine": ("created_at", "closed_at"),
    "silver.change_sets": ("created_at",),
    "silver.data_quality_logs": ("check_timestamp",),
    "gold.refreshes": ("finished_at",),
}


@pytest.fixture
def counts(pipeline_with: Callable[..., Pipeline]) -> Pipeline:
    return pipeline_with({"counts": CONTRACT}, prune_batch_rows_max=2)


def age(pipeline: Pipeline) -> None:
    """Let everything that is there be four hundred days old."""
    for table, columns in TIMES.items():
        changes = ", ".join(f"{column} = {column} - {OLD}" for column in columns)
        pipeline.session.execute(f"UPDATE {table} SET {changes}")
    pipeline.session.commit()


def pruned(pipeline: Pipeline, is_dry_run: bool = False, **settings: Any) -> dict[str, int | None]:
    chosen = pipeline.settings.model_copy(update=settings)
    made = prune(pipeline.session, pipeline.store, pipeline.catalog, pipeline.models, chosen, is_dry_run)
    return {one.kind: one.count for one in made}


def with_history(pipeline: Pipeline) -> list[Any]:
    """Load snapshots and a merge that leave something old of every kind behind."""
    files = [
        File("replace", ((DAYS[0], "a", "1"), (DAYS[1], "a", "2"), (DAYS[2], "a", BAD), (DAYS[0], "b", "5"))),
        File("replace", ((DAYS[0], "a", "1"), (DAYS[1], "a", "9"), (DAYS[3], "a", BAD), (DAYS[3], "b", BAD))),
        File("merge", ((DAYS[1], "a", BAD), (DAYS[2], "b", "3"))),
    ]
    ids = [pipeline.land("counts", f.content, f.disposition, day) for day, f in enumerate(files)]
    pipeline.process(*ids)
    (discarded,) = pipeline.rows("SELECT quarantine_id FROM silver.quarantine WHERE status = 'open' ORDER BY 1 LIMIT 1")
    requests.discard(pipeline.session, [discarded[0]])
    for outcome, size_bytes in (
        ("landed", 9),
        ("unchanged", None),
        ("landed", 9),
        ("unchanged", None),
        ("failed", None),
    ):
        record_poll(pipeline.session, Poll("counts", URL, NOW, outcome, 1, etag=outcome, size_bytes=size_bytes))  # type: ignore[arg-type]
    for statement in (
        "INSERT INTO bronze.dead_letters (topic, payload, reason, status) VALUES ('t', '', 'r', 'open'),"
        " ('t', '', 'r', 'replayed')",
        f"INSERT INTO bronze.deaths (object_id, epoch) VALUES ('{ids[0]}', 1)",
        "INSERT INTO bronze.stops (worker_id, service, reason, resumed_at) VALUES ('w', 's', 'r', now()),"
        " ('w', 's', 'r', NULL)",
        "INSERT INTO bronze.workers (worker_id, service, host, pid) VALUES ('w', 's', 'h', 1)",
        "INSERT INTO bronze.alerts (kind, subject, severity, message, closed_at) VALUES ('k', 'a', 'warn', 'm', now()),"
        " ('k', 'b', 'warn', 'm', NULL)",
        "WITH made AS (INSERT INTO bronze.alert_messages (message_id, kind, status, message)"
        " SELECT gen_random_uuid(), 'k', 'open', to_jsonb(n) FROM generate_series(1, 3) n RETURNING message_id, message)"
        " INSERT INTO bronze.alert_deliveries (message_id, channel, delivered_at)"
        " SELECT message_id, 'log', CASE WHEN message::int < 3 THEN now() END FROM made",
        "INSERT INTO gold.refreshes (model, is_rebuild, change_sets, rows_written, rows_deleted, seconds, announced_at)"
        " VALUES ('m', false, '{}', 1, 0, 1, now()), ('m', false, '{}', 1, 0, 1, now()),"
        " ('m', false, '{}', 0, 0, 1, now()), ('m', false, '{}', 0, 0, 1, now())",
        "INSERT INTO gold.pending (model, change_set_id, dataset)"
        " SELECT 'm', change_set_id, dataset FROM silver.change_sets ORDER BY created_at DESC LIMIT 1",
    ):
        pipeline.session.execute(statement)
    pipeline.session.commit()
    return ids


EXPECTED = {
    "raw_counts": 2,  # the 2 that became 9, and what the second snapshot removed
    "closed_quarantine": 1,  # the second snapshot closed the first one's bad line
    "runs": 3,
    "polls": 2,  # those before the newest whole download
    "change_sets": 2,  # gold has not taken in the third
    "dead_letters": 1,
    "deaths": 1,
    "stops": 1,
    "quality_logs": 1,  # the second's are those that silver shows, the third's the newest
    "refreshes": 2,
    "workers": 1,
    "alerts": 1,
    "alert_messages": 2,  # the third has still to be delivered
    "lake_files": 0,
}


def test_what_is_old_goes_and_silver_its_lineage_and_every_decision_stay(counts: Pipeline) -> None:
    ids = with_history(counts)
    assert {kind: n for kind, n in pruned(counts).items() if n} == {}, "nothing is old yet"
    age(counts)
    before, previous = state_of(counts, ids), previous_poll(counts.session, "counts", URL)
    ledger = counts.rows("SELECT * FROM bronze.ingestion_metadata ORDER BY version")
    assert pruned(counts, is_dry_run=True) == EXPECTED
    assert pruned(counts) == EXPECTED
    assert {kind: n for kind, n in pruned(counts).items() if n} == {}
    assert state_of(counts, ids) == before
    assert previous_poll(counts.session, "counts", URL) == previous
    assert counts.rows("SELECT * FROM bronze.ingestion_metadata ORDER BY version") == ledger
    assert counts.rows("SELECT status, count(*) FROM silver.quarantine GROUP BY 1 ORDER BY 1") == [
        ("discarded", 1),
        ("open", 2),
    ]
    counts.assert_invariants()
    counts.session.execute("DELETE FROM bronze.dead_letters")  # or the next step would take it for a bug of its own
    counts.session.commit()
    # What comes later finds all that it needs: another pass, a withdrawal, the same snapshot taken in again.
    for one in ids:
        counts.process_again(one)
    assert state_of(counts, ids) == before
    requests.withdraw(counts.session, ids[1])
    counts.process(ids[1])
    requests.take_in_again(counts.session, ids[1])
    counts.process(ids[1])
    assert state_of(counts, ids) == before
    counts.assert_invariants()


def test_a_retention_of_zero_days_keeps_for_ever(counts: Pipeline) -> None:
    with_history(counts)
    age(counts)
    names = [name for name in type(counts.settings).model_fields if name.startswith("keep_")]
    assert set(pruned(counts, **dict.fromkeys(names, 0)).values()) == {None}
    assert counts.rows("SELECT count(*) FROM bronze.processing_runs") == [(3,)]


def test_raw_rows_stay_while_a_merge_may_refer_to_them_again(counts: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = with_history(counts)
    age(counts)
    counts.session.execute("DELETE FROM bronze.dead_letters")
    requests.withdraw(counts.session, ids[1])
    refused: list[str] = []

    def between(*arguments: Any) -> int:
        written = write_raw(*arguments)
        with counts.warehouse.session("prune") as session:
            hasty = counts.settings.model_copy(update={"retry_total_seconds": 0.1})
            with pytest.raises(Unavailable, match="the lock of dataset counts") as error:
                list(prune(session, counts.store, counts.catalog, counts.models, hasty, False))
            refused.append(str(error.value))
        return written

    with monkeypatch.context() as patched:
        patched.setattr("services.silver.merge.write_raw", between)
        counts.process(ids[1])
    assert refused
    counts.assert_invariants()
    pruned(counts)
    counts.assert_invariants()


def test_files_of_the_lake_go_when_they_are_old_and_show_nothing_present(counts: Pipeline, tmp_path: Path) -> None:
    model = counts.models.tables[0].name
    change = "users/change_set=6715441a-1a6f-d9ab-5134-39e886a634bf.parquet"

    def is_gone(bucket: str, key: str, days: float) -> bool:
        info = ObjectInfo(bucket, key, "", "", 1, NOW - timedelta(days=days))
        return is_forgettable(info, counts.models, NOW - timedelta(days=90))

    assert [
        is_gone(SILVER_BUCKET, change, 91), is_gone(SILVER_BUCKET, change, 89), is_gone(SILVER_BUCKET, "mine.parquet", 91),
        is_gone(GOLD_BUCKET, f"{model}/latest.parquet", 91), is_gone(GOLD_BUCKET, "no_more/latest.parquet", 91),
    ] == [True, False, False, False, True]  # fmt: skip
    counts.load("counts", File("replace", ((DAYS[0], "a", "1"),)).content)
    ((mine,),) = counts.rows("SELECT change_set_id FROM silver.change_sets")
    files = [info.key for info in counts.store.versions(SILVER_BUCKET, "counts/")]
    assert f"counts/change_set={mine}.parquet" in files
    moment_days = 1e-9
    deadline = datetime.now(UTC) + timedelta(seconds=20)
    while not pruned(counts, keep_lake_files_days=moment_days)["lake_files"]:  # the store's times are whole seconds
        assert datetime.now(UTC) < deadline
    assert list(counts.store.versions(SILVER_BUCKET, "counts/")) == []
