"""Hostile cells and objects: one odd value costs one row, one odd object costs itself, and the worker goes on."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from services.ingestor.sweep import sweep_once
from shared.events import ObjectRef, bronze_ready
from shared.migrate import migrate
from shared.settings import BRONZE_BUCKET
from tests.pipeline import Pipeline

HEADER = b"Date,Country/Region,Province/State,Confirmed,Recovered,Deaths\n"
GOOD = b"".join(b"2020-05-%02d,Peru,,%d,0,0\n" % (day, day) for day in range(1, 31))


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b"2020-06-01," + b"x" * 4000 + b",,1,1,1", "key_length"),
        (b"2020-06-01,X,,9223372036854775807,-5,1", "unprocessable"),
        (b"2020-06-01,X,,99999999999999999999,5,1", "type"),
    ],
)
def test_a_cell_that_nothing_can_hold_costs_its_row(pipeline: Pipeline, line: bytes, rule: str) -> None:
    row = pipeline.load("covid", HEADER + GOOD + line + b"\n")
    assert (row["status"], row["rows_inserted"], row["rows_quarantined"]) == ("done", 30, 1)
    assert pipeline.rows("SELECT line_number, reasons->0->>'rule' FROM silver.quarantine") == [(32, rule)]
    pipeline.assert_invariants()


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_the_ends_of_the_calendar_are_days_like_others(pipeline: Pipeline, day: str) -> None:
    pipeline.load("covid", HEADER + GOOD, day=0)
    row = pipeline.load("covid", HEADER + f"{day},Peru,,1,1,1\n".encode(), "merge", day=1)
    assert (row["status"], row["rows_inserted"]) == ("done", 1)


@pytest.mark.parametrize(
    ("field", "rule"),
    [
        ('"body": NaN', "number"),
        ('"zz": 1e400', "number"),
        ('"zz": 1e999999', "number"),
        (f'"zz": {"9" * 5000}', "number"),
        ('"body": "a\\u0000b"', "nul"),
        ('"body": "\\ud800"', "encoding"),
    ],
)
def test_json_that_a_database_does_not_take_costs_its_element(pipeline: Pipeline, field: str, rule: str) -> None:
    good = [{"id": n, "userId": 1, "title": "t", "body": "a\\u0000b, NaN and 1e400 as text"} for n in range(1, 40)]
    text = json.dumps(good)[:-1] + ', {"id": 99, "userId": 1, ' + field + "}]"
    pipeline.load("users", b'[{"id": 1, "name": "the author", "email": "a@mail.example", "phone": "1"}]')
    row = pipeline.load("posts", text.encode())
    assert (row["status"], row["rows_inserted"], row["rows_quarantined"]) == ("done", 39, 1), row["error_message"]
    assert pipeline.rows("SELECT reasons->0->>'rule' FROM silver.quarantine") == [(rule,)]


READINGS = """
dataset: readings
format: {type: csv}
columns:
  - {name: id, type: integer}
  - {name: at, type: timestamp, nullable: true}
  - {name: level, type: double, nullable: true}
  - {name: more, type: json, nullable: true}
primary_key: [id]
limits: {bad_rows_max_share: 1}
"""


def test_values_at_the_edge_of_their_types(pipeline_with: Callable[..., Pipeline]) -> None:
    pipeline = pipeline_with({"readings": READINGS})
    cells = [
        "0001-01-01T00:00:00+05:00,,", "9999-12-31T23:59:59-05:00,,", ",1e999,", ",-0,", ',,NaN', ',,"""\\u0000"""',
        ",,[1]", ",," + "[" * 50_000, "2020-01-01T00:00:00Z,0.1,",
    ]  # fmt: skip
    content = "id,at,level,more\n" + "".join(f"{n},{cell}\n" for n, cell in enumerate(cells))
    row = pipeline.load("readings", content.encode(), "merge")
    assert row["status"] == "done", row["error_message"]
    assert pipeline.rows("SELECT id, level, more FROM silver.clean_readings ORDER BY id") == [
        (3, 0.0, None), (6, None, [1]), (8, 0.1, None),
    ]  # fmt: skip
    assert row["rows_quarantined"] == 6


COUNTS = """
dataset: counts
format: {type: csv}
columns: [{name: day, type: date}, {name: series, type: text}, {name: total, type: integer}]
primary_key: [day, series]
windowed:
  partition_by: [series]
  order_by: day
  columns:
    - {name: change, function: daily_change, of: total}
    - {name: pace, function: trailing_mean, of: total, days: 3}
"""


def test_sums_beyond_64_bits_are_exact_or_unknown(pipeline_with: Callable[..., Pipeline]) -> None:
    pipeline = pipeline_with({"counts": COUNTS})
    big = 9_000_000_000_000_000_000
    content = f"day,series,total\n2020-01-01,a,{big}\n2020-01-02,a,-{big}\n2020-01-03,a,-{big}\n"
    pipeline.load("counts", content.encode(), "merge")
    found = pipeline.rows("SELECT change, pace::text FROM silver.clean_counts ORDER BY day")
    assert found == [(None, None), (None, None), (0, "-3000000000000000000.0000")]


def test_an_object_with_odd_metadata_is_a_drop_and_hides_no_other(pipeline: Pipeline) -> None:
    for name, landed_at in (("a", "1960-01-01T00:00:00+00:00"), ("b", "2026-01-01T00:00:00"), ("c", "soon")):
        pipeline.store.put_bytes(BRONZE_BUCKET, f"covid/{name}.csv", HEADER + GOOD, {"landed-at": landed_at})
    sweep_once(pipeline.settings, pipeline.catalog, pipeline.warehouse, pipeline.store, pipeline.bus)
    rows = pipeline.rows(
        "SELECT object_key, extract(year FROM landed_at)::int FROM bronze.ingestion_metadata"
        " WHERE object_key IN ('covid/a.csv', 'covid/b.csv', 'covid/c.csv') ORDER BY 1"
    )
    now = datetime.now(UTC).year
    assert rows == [("covid/a.csv", now), ("covid/b.csv", 2026), ("covid/c.csv", now)]


@pytest.mark.parametrize("raw", [b"[" * 100_000, b'{"Records": [{"s3": 1}]}', b"{}", b"null"])
def test_an_event_that_nobody_can_act_on_is_a_dead_letter(pipeline: Pipeline, raw: bytes) -> None:
    pipeline.handle(raw)
    assert pipeline.rows("SELECT count(*) FROM bronze.dead_letters") == [(1,)]


@pytest.mark.parametrize("key", ["d/../x", "", "covid/\x00", "covid/nothing there.csv"])
def test_an_event_of_an_object_that_cannot_be_is_no_trouble(pipeline: Pipeline, key: str) -> None:
    ref = ObjectRef(bucket=BRONZE_BUCKET, key=key)
    pipeline.handle(bronze_ready(ref, datetime.now(UTC)))
    assert pipeline.rows("SELECT count(*) FROM bronze.ingestion_metadata") == [(0,)]


def test_an_ignored_object_is_loaded_once_its_dataset_is_declared(pipeline_with: Callable[..., Pipeline]) -> None:
    before = pipeline_with({"readings": READINGS})
    found = before.drop("counts/late.csv", b"day,series,total\n2020-01-01,a,1\n")
    assert found.status == "ignored"
    after = pipeline_with({"readings": READINGS, "counts": COUNTS})
    sweep_once(after.settings, after.catalog, after.warehouse, after.store, after.bus)
    assert after.process(found.object_id) == ["done"]
    without = pipeline_with({"readings": READINGS, "counts": COUNTS})
    object_id = without.land("counts", b"day,series,total\n2020-01-02,a,1\n", "merge")
    del without.catalog.datasets["counts"]  # type: ignore[attr-defined]
    assert without.process(object_id) == ["ignored"]
    assert "no dataset is called 'counts' any more" in without.ledger(object_id)["error_message"]


def test_a_changed_key_is_a_decision_for_a_person(pipeline_with: Callable[..., Pipeline]) -> None:
    pipeline_with({"readings": READINGS})
    changed = pipeline_with(
        {
            "readings": READINGS.replace("[id]", "[at]").replace(
                "at, type: timestamp, nullable: true", "at, type: timestamp"
            )
        }
    )
    done: Any = migrate(changed.session, changed.settings.sql_dir, changed.catalog, changed.models)
    assert [text.split(":")[0] for text in done.undecided] == [
        "silver.clean_readings has the key (id), the contract says (at)"
    ]


def test_append_settles_quarantine_in_any_order(pipeline_with: Callable[..., Pipeline]) -> None:
    contract = READINGS.replace("primary_key: [id]", "drops: {write_disposition: append}")
    outcomes = []
    for order in ((0, 1), (1, 0)):
        pipeline = pipeline_with({"readings": contract})
        pipeline.reset()
        bodies = (b"id,at,level,more\n1,,,\nbad,,,\n", b"id,at,level,more\n5,,,\n")
        ids = [pipeline.drop(f"readings/{order}.csv", body).object_id for body in bodies]
        for position in order:
            pipeline.process(ids[position])
        rows = pipeline.rows("SELECT id FROM silver.clean_readings")
        outcomes.append((rows, pipeline.rows("SELECT line_number, status FROM silver.quarantine")))
    assert outcomes == [([(5,)], [(3, "superseded")])] * 2
