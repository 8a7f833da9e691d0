"""Events as they travel: ours, the object store's own, and what nobody can read."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import UndecodableEvent
from shared.events import (
    ObjectRef,
    SilverChange,
    bronze_ready,
    read_bronze_ready,
    read_silver_ready,
    silver_ready,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@given(st.text(min_size=1), st.text())
def test_an_object_reference_survives_the_journey(key: str, version_id: str) -> None:
    ref = ObjectRef(bucket="bronze-layer", key=key, version_id=version_id)

    assert read_bronze_ready(bronze_ready(ref, NOW)) == [ref]


def test_a_change_set_survives_the_journey() -> None:
    change = SilverChange(dataset="covid", change_set_id="c", object_id="o")

    assert read_silver_ready(silver_ready(change, NOW)) == change


def test_the_id_of_an_event_depends_on_its_object_alone() -> None:
    ref = ObjectRef(bucket="b", key="k", version_id="1")
    first, later = (json.loads(bronze_ready(ref, NOW + timedelta(hours=n))) for n in range(2))
    other = json.loads(bronze_ready(ref.model_copy(update={"version_id": "2"}), NOW))

    assert first["id"] == later["id"] != other["id"]
    assert (first["specversion"], first["type"]) == ("1.0", "medallion.bronze.ready")


def test_an_s3_notification_is_read_with_all_its_records() -> None:
    def record(key: str, name: str, **more: str) -> dict[str, object]:
        return {"eventName": name, "s3": {"bucket": {"name": "b"}, "object": {"key": key, **more}}}

    records = [
        record("covid/a+b%2B%C3%BC.csv", "s3:ObjectCreated:Put", versionId="7"),
        record("covid/gone.csv", "s3:ObjectRemoved:Delete"),
    ]

    assert read_bronze_ready(json.dumps({"EventName": "s3:…", "Records": records}).encode()) == [
        ObjectRef(bucket="b", key="covid/a b+ü.csv", version_id="7"),
        ObjectRef(bucket="b", key="covid/gone.csv", is_removal=True),
    ]


@pytest.mark.parametrize("name", ["Put", "Post", "Copy", "CompleteMultipartUpload"])
def test_whichever_way_an_object_came_its_notification_is_the_same(name: str) -> None:
    # As MinIO sends it, shortened.
    told = {
        "EventName": f"s3:ObjectCreated:{name}",
        "Key": "bronze-layer/covid/Zürich 100% a+b.csv",
        "Records": [
            {
                "eventVersion": "2.0",
                "eventSource": "minio:s3",
                "eventName": f"s3:ObjectCreated:{name}",
                "s3": {
                    "bucket": {"name": "bronze-layer", "arn": "arn:aws:s3:::bronze-layer"},
                    "object": {
                        "key": "covid%2FZ%C3%BCrich+100%25+a%2Bb.csv",
                        "size": 5,
                        "eTag": "0cc1",
                        "versionId": "51c2",
                        "sequencer": "18A",
                    },
                },
            }
        ],
    }

    assert read_bronze_ready(json.dumps(told).encode()) == [
        ObjectRef(bucket="bronze-layer", key="covid/Zürich 100% a+b.csv", version_id="51c2")
    ]


def test_an_object_from_before_versioning_has_no_version() -> None:
    told = {"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": "k", "versionId": "null"}}}]}

    assert read_bronze_ready(json.dumps(told).encode()) == [ObjectRef(bucket="b", key="k")]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"7",
        b"{}",
        b'{"Records": [{}]}',
        b'{"Records": 1}',
        b'{"specversion": "1.0"}',
    ],
)
def test_what_nobody_can_read_is_undecodable(raw: bytes) -> None:
    with pytest.raises(UndecodableEvent):
        read_bronze_ready(raw)
    with pytest.raises(UndecodableEvent):
        read_silver_ready(raw)


def test_an_event_of_another_topic_is_undecodable() -> None:
    with pytest.raises(UndecodableEvent, match="does not belong on bronze-ready"):
        read_bronze_ready(silver_ready(SilverChange(dataset="x", change_set_id="c"), NOW))
