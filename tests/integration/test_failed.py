"""Objects that met a bug: tried again until they come to their end, as what they were asked for."""

from collections.abc import Iterator
from typing import Any

import pytest

from services.ingestor.unfinished import overdue_objects
from services.silver import load
from shared import requests
from tests.pipeline import Pipeline

USERS = b'[{"id": 1, "name": "Ann"}]'


def explode(*_: Any) -> Iterator[Any]:
    raise ZeroDivisionError("a bug")


def test_an_object_that_failed_before_anybody_announced_it_is_tried_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the store itself tells of it, the ledger knows of no announcement."""
    object_id = pipeline.drop("users/told by the store.json", USERS).object_id
    with monkeypatch.context() as patch:
        patch.setattr(load, "read_records", explode)
        assert pipeline.silver.process(pipeline.session, object_id) == "failed"
    at_once = pipeline.settings.model_copy(update={"failed_pause_seconds": 1e-6})
    assert overdue_objects(pipeline.session, pipeline.settings) == [], "it has a pause first"
    assert [one.ref.key for one in overdue_objects(pipeline.session, at_once)] == ["users/told by the store.json"]


def test_a_later_pass_that_meets_a_bug_is_tried_again_as_what_was_asked_for(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    object_id = pipeline.drop("users/again.json", USERS).object_id
    pipeline.process(object_id)
    requests.backfill(pipeline.session, "users")
    with monkeypatch.context() as patch:
        patch.setattr(load, "read_records", explode)
        assert pipeline.silver.process(pipeline.session, object_id) == "failed"
    row = pipeline.ledger(object_id)
    assert (row["status"], row["completed_as"], row["request"]) == ("failed", "done", "backfill")
    assert [ref.key for ref in requests.try_again(pipeline.session, [object_id])] == ["users/again.json"]
    assert pipeline.silver.process(pipeline.session, object_id) == "done"
    row = pipeline.ledger(object_id)
    assert (row["status"], row["request"], row["rows_read"]) == ("done", None, 1)
    kinds = pipeline.rows("SELECT kind, outcome FROM bronze.processing_runs ORDER BY run_id")
    assert kinds == [("first", "done"), ("backfill", "failed"), ("backfill", "done")]
