"""Removals as the object store tells of them, and notifications that do not belong here."""

import json
import uuid

from shared import requests
from shared.adapters.s3 import S3
from shared.settings import BRONZE_BUCKET
from tests.pipeline import Pipeline

USERS = b'[{"id": 1, "name": "Ann"}]'


def told(key: str, version_id: str, event: str = "s3:ObjectRemoved:Delete", bucket: str = BRONZE_BUCKET) -> bytes:
    there = {"bucket": {"name": bucket}, "object": {"key": key, "versionId": version_id}}
    return json.dumps({"Records": [{"eventName": event, "s3": there}]}).encode()


def states(pipeline: Pipeline) -> list[tuple[str, str | None]]:
    return pipeline.rows("SELECT status, error_message FROM bronze.ingestion_metadata ORDER BY registered_at")


def remove(pipeline: Pipeline, key: str, version_id: str | None = None) -> None:
    assert isinstance(pipeline.store, S3)
    pipeline.store._client.remove_object(BRONZE_BUCKET, key, version_id=version_id)


def test_an_object_removed_before_it_was_read_is_set_aside_at_once(pipeline: Pipeline) -> None:
    key = "users/removed early.json"
    pipeline.drop(key, USERS)
    version_id = pipeline.rows("SELECT version_id FROM bronze.ingestion_metadata")[0][0]

    pipeline.handle(told(key, version_id))
    assert states(pipeline) == [("registered", None)], "the store still has it: the event is not believed"

    remove(pipeline, key, version_id)
    pipeline.handle(told(key, version_id))
    assert states(pipeline) == [("ignored", "deleted before it was read")]


def test_an_object_that_was_to_be_gone_through_again_keeps_its_end(pipeline: Pipeline) -> None:
    row = pipeline.load("users", b"[" + b'{"id": 1, "name": "Ann"},' * 30 + b'{"id": 2}]', "merge")
    key, version_id, object_id = row["object_key"], row["version_id"], uuid.UUID(row["object_id"])
    remove(pipeline, key, version_id)
    requests.backfill(pipeline.session, "users")
    pipeline.handle(told(key, version_id))
    assert states(pipeline) == [("done", "deleted before it was read")]

    requests.replay(pipeline.session, "users")
    pipeline.handle(told(key, version_id))
    assert pipeline.ledger(object_id)["status"] == "registered", "the rows' text is kept"
    assert pipeline.process(object_id) == ["done"]


def test_a_delete_marker_takes_nothing_away(pipeline: Pipeline) -> None:
    key = "users/marked.json"
    found = pipeline.drop(key, USERS)
    remove(pipeline, key)

    pipeline.handle(told(key, "the-marker", "s3:ObjectRemoved:DeleteMarkerCreated"))

    assert pipeline.process(found.object_id) == ["done"]
    pipeline.handle(told(key, "the-marker", "s3:ObjectRemoved:DeleteMarkerCreated"))
    assert states(pipeline) == [("done", None)]


def test_a_folder_of_a_console_is_no_object(pipeline: Pipeline) -> None:
    put = pipeline.store.put_bytes(BRONZE_BUCKET, "users/new folder/", b"", {})

    pipeline.handle(told("users%2Fnew+folder%2F", put.version_id, "s3:ObjectCreated:Put"))

    assert states(pipeline) == []


def test_a_notification_of_another_bucket_becomes_a_dead_letter(pipeline: Pipeline) -> None:
    pipeline.handle(told("users/x.json", "1", "s3:ObjectCreated:Put", bucket="silver-layer"))

    assert states(pipeline) == []
    reasons = pipeline.rows("SELECT reason FROM bronze.dead_letters")
    assert len(reasons) == 1
    assert "bucket silver-layer holds no files to load" in reasons[0][0]
