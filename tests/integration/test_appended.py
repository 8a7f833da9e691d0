"""Appended files: of the versions under one key the newest counts, whatever is gone through again or away by now."""

from collections.abc import Callable

import pytest

from shared import requests
from shared.adapters.s3 import S3
from tests.pipeline import Pipeline

READINGS = """
dataset: readings
drops: {write_disposition: append}
format: {type: csv}
columns:
  - {name: at, type: date}
  - {name: value, type: integer}
"""


@pytest.fixture
def readings(pipeline_with: Callable[..., Pipeline]) -> Pipeline:
    return pipeline_with({"readings": READINGS})


def values(pipeline: Pipeline) -> list[int]:
    return [value for (value,) in pipeline.rows("SELECT value FROM silver.clean_readings ORDER BY value")]


def test_an_older_version_gone_through_again_never_replaces_the_newest(readings: Pipeline) -> None:
    """Not even while the newest is to be gone through again itself, as it is when its bytes are away by then."""
    old = readings.drop("readings/again.csv", b"at,value\n2026-01-01,1\n").object_id
    new = readings.drop("readings/again.csv", b"at,value\n2026-01-01,2\n").object_id
    readings.process(old, new)
    row = readings.ledger(new)
    assert isinstance(readings.store, S3)
    readings.store._client.remove_object(row["bucket"], row["object_key"], version_id=row["version_id"])
    requests.backfill(readings.session, "readings")
    readings.process(old)
    assert values(readings) == [2]
    assert readings.process(new) == ["ignored"]
    assert readings.ledger(new)["status"] == "done"
    assert values(readings) == [2]
    readings.assert_invariants()


def test_going_through_all_versions_again_leaves_the_newest_its_quarantine(readings: Pipeline) -> None:
    ids = [
        readings.drop("readings/bad rows.csv", b"at,value\n" + b"2026-01-01,1\n" * 30 + b"2026-01-01,x\n").object_id
        for _ in range(2)
    ]
    readings.process(*ids)
    requests.backfill(readings.session, "readings")
    readings.process(*ids)
    found = readings.rows("SELECT object_id, status FROM silver.quarantine ORDER BY version")
    assert found == [(ids[0], "superseded"), (ids[1], "open")]
