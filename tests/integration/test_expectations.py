"""Expectations on the published deliveries, landed on the days on which they were published, and on ordinary days."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration import published
from tests.integration.published import FINAL, delivery
from tests.pipeline import DAY_ZERO, Pipeline

READINGS = """
dataset: readings
description: Meter readings.
source: {url: "https://example.org/readings.csv", poll_interval_seconds: 60}
format: {type: csv}
columns:
  - {name: meter, type: integer}
  - {name: day, type: date}
  - {name: used, type: decimal, nullable: true}
primary_key: [meter, day]
expectations:
  - {volume: {rows_min: 2, change_share_max: 0.5}}
  - {removed: {share_max: 0.25}}
  - {restated: {share_max: 0.25}, severity: error}
  - {name: known, unknown: {of: used, share_max: 0.2}}
  - {drift: {of: used, distance_max: 0.4}}
  - {columns: kept}
"""


STOPPED = "recovered stops: its sum was 129,493,090 on 2021-08-04, and nothing for the {} day(s) since"


def drifted(distances: dict[str, float], earlier: int) -> dict[str, str]:
    return {
        f"drift_{name}": f"the values of {name} are {far:.3f} away from those of the last {earlier} (0 alike, 1 apart)"
        for name, far in distances.items()
    }


def published_on(path: Path) -> date:
    return date.fromisoformat(path.stem.rpartition("_")[2] if path == FINAL else path.stem.split("_")[1])


def load(pipeline: Pipeline, path: Path, landed_on: date) -> dict[str, Any]:
    moment = datetime(landed_on.year, landed_on.month, landed_on.day, 6, tzinfo=UTC)
    return pipeline.load("covid", path, day=(moment - DAY_ZERO) / timedelta(days=1))


def failed(pipeline: Pipeline, object_id: str) -> dict[str, str]:
    """Return what is not as expected of an object: check and message."""
    return dict(
        pipeline.rows(
            "SELECT quality_check, details ->> 'message' FROM silver.data_quality_logs"
            " WHERE object_id = %s AND kind = 'expectation' AND NOT passed ORDER BY log_id",
            (object_id,),
        )
    )


@pytest.mark.real_data
@pytest.mark.skipif(not published.DATA.is_dir(), reason="the published data is not there: ../shared/data is absent")
def test_the_published_deliveries_show_what_happened_to_them(pipeline: Pipeline) -> None:
    found = {}
    for path in (*(delivery(number) for number in ("001", "009", "048", "049", "192")), FINAL):
        row = load(pipeline, path, published_on(path))
        found[path.name[:3]] = row["error_message"] or failed(pipeline, row["object_id"])

    # Of 193 deliveries five are at hand: what says "at once", and how far rows and values are from those before, is
    # the distance between them. Restated and stopped are the publisher's doing, as are the columns.
    assert found == {
        "001": "36,974 of 59,318 rows (62.3%) cannot be used, more than the 5% that limits.bad_rows_max_share allows: "
        "36,974 × type of record_date, first line 2: '2020-22-01' is not a date written as %Y-%m-%d. Correct the file at "
        "its source, or the contract in config/datasets/covid.yaml",
        "009": {},
        "048": {
            "volume": "70,224 rows, +17.3% from the median 59,850 of the last 1",
            "gap_record_date": "39 days at once: the newest record_date was 2020-09-02 and is 2020-10-11",
        },
        "049": {
            "volume": "73,425 rows, +12.9% from the median 65,037 of the last 2",
            "gap_record_date": "11 days at once: the newest record_date was 2020-10-11 and is 2020-10-22",
            "columns": "columns lost: Lat, Long",
        },
        "192": {
            "volume": "114,806 rows, +63.5% from the median 70,224 of the last 3",
            **drifted({"confirmed": 0.127, "deaths": 0.116, "recovered": 0.139}, 3),
            "gap_record_date": "144 days at once: the newest record_date was 2020-10-22 and is 2021-03-15",
        },
        "tim": {
            "volume": "231,744 rows, +222.7% from the median 71,824 of the last 4",
            "restated": "8,262 rows restated of 114,806 (7.20%)",
            **drifted({"confirmed": 0.252, "deaths": 0.222, "recovered": 0.212}, 4),
            "gap_record_date": "397 days at once: the newest record_date was 2021-03-15 and is 2022-04-16",
            "stops_recovered": STOPPED.format("255"),
        },
    }
    last = pipeline.rows(
        "SELECT quality_check, severity, passed, failing_since IS NULL, object_id::text FROM silver.expectations"
        " WHERE dataset = 'covid' AND quality_check IN ('columns', 'stops_recovered') ORDER BY 1"
    )
    assert last == [
        ("columns", "warn", True, True, row["object_id"]),
        ("stops_recovered", "error", False, False, row["object_id"]),
    ]


def ordinary_days(first: date, days: int) -> list[tuple[bytes, date]]:
    """Cut the final file as it would have been published day by day: all rows up to the day before each delivery."""
    header, rows = published.records(FINAL)
    cuts = []
    for number in range(days):
        last = first + timedelta(days=number)
        kept = [record for (day, *_), record in rows.items() if day <= last.isoformat()]
        cuts.append((published.csv_bytes(header, kept), last + timedelta(days=1)))
    return cuts


@pytest.mark.real_data
@pytest.mark.skipif(not published.DATA.is_dir(), reason="the published data is not there: ../shared/data is absent")
def test_on_ordinary_days_nothing_is_flagged_until_the_day_on_which_recoveries_stop(pipeline: Pipeline) -> None:
    found = []
    for content, landed_on in ordinary_days(date(2021, 8, 3), 4):
        moment = datetime(landed_on.year, landed_on.month, landed_on.day, 6, tzinfo=UTC)
        row = pipeline.load("covid", content, day=(moment - DAY_ZERO) / timedelta(days=1))
        found.append(failed(pipeline, row["object_id"]))
    assert found == [{}, {}, {"stops_recovered": STOPPED.format("1")}, {"stops_recovered": STOPPED.format("2")}]


def meters(rows: dict[int, str], header: str = "meter,day,used", rest: str = "") -> bytes:
    return "\n".join([header, *(f"{meter},2026-01-01,{used}{rest}" for meter, used in rows.items()), ""]).encode()


ALL = {number: str(10 + number) for number in range(10)}


@pytest.fixture
def readings(pipeline_with: Callable[..., Pipeline]) -> Pipeline:
    return pipeline_with({"readings": READINGS})


def test_each_delivery_is_judged_beside_those_before_it_and_corrections_are_not(readings: Pipeline) -> None:
    def landed(content: bytes, day: int, disposition: str = "replace") -> dict[str, str]:
        return failed(readings, readings.load("readings", content, disposition, day)["object_id"])

    found = [
        landed(meters(ALL, "meter,day,used,note", ",x"), 0),
        landed(meters(ALL | {11: "20"}), 1),  # the note is gone
        landed(meters(ALL | {0: "500", 1: "900", 2: "700", 11: "20"}), 2),
        landed(meters({1: "77"}), 3, "merge"),  # one row, as expected of nothing
        landed(meters(ALL | {0: "", 1: "", 2: "", 11: "20"}), 4),
    ]

    assert found == [
        {},
        {"columns": "columns lost: note"},
        {"restated": "3 rows restated of 11 (27.27%)"},
        {},
        {"restated": "3 rows restated of 11 (27.27%)", "known": "3 rows without used of 11 (27.27%)"},
    ]
    seen = readings.rows(
        "SELECT quality_check, passed, severity FROM silver.expectations WHERE dataset = 'readings' ORDER BY 1"
    )
    assert seen == [
        ("columns", True, "warn"), ("drift_used", True, "warn"), ("known", False, "warn"), ("removed", True, "warn"),
        ("restated", False, "error"), ("volume", True, "warn"),
    ]  # fmt: skip


def test_what_is_found_never_depends_on_the_order_for_rows_and_an_older_delivery_is_not_judged(
    readings: Pipeline,
) -> None:
    newer = readings.load("readings", meters(ALL), day=5)
    older = readings.load("readings", meters({0: "1"}), day=1)
    assert (newer["status"], older["status"]) == ("done", "superseded")
    assert failed(readings, older["object_id"]) == {}
    assert readings.rows("SELECT object_id::text FROM silver.profiles") == [(newer["object_id"],)]


def test_the_same_bytes_again_are_judged_without_being_read(readings: Pipeline) -> None:
    first = readings.load("readings", meters(ALL | {0: "", 1: "", 2: ""}), day=0)
    again = readings.load("readings", meters(ALL | {0: "", 1: "", 2: ""}), day=1)
    assert again["rows_unchanged"] == 10
    assert failed(readings, again["object_id"]) == failed(readings, first["object_id"]) == {
        "known": "3 rows without used of 10 (30.00%)"
    }  # fmt: skip


def test_a_rejected_delivery_leaves_no_result_and_no_profile(readings: Pipeline) -> None:
    row = readings.load("readings", b"meter,day,used\nx,2026-01-01,1\n")
    assert row["status"] == "rejected"
    assert readings.rows("SELECT count(*) FROM silver.profiles") == [(0,)]
    assert readings.rows("SELECT count(*) FROM silver.data_quality_logs") == [(0,)]
