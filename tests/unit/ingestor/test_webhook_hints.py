"""Reading what SeaweedFS posts: objects, and all that is not one."""

import json

import pytest

from services.ingestor.webhook import read_hint
from shared.events import ObjectRef

BRONZE = "bronze-layer"


def posted(key: str, kind: str = "create", **entry: object) -> bytes:
    return json.dumps({"event_type": kind, "key": key, "message": {"new_entry": entry}}).encode()


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (
            "/buckets/bronze-layer/covid/a b+ü.csv.versions/v_671547a54ce2",
            ObjectRef(bucket=BRONZE, key="covid/a b+ü.csv", version_id="671547a54ce2"),
        ),
        ("/buckets/bronze-layer/covid/x.csv", ObjectRef(bucket=BRONZE, key="covid/x.csv")),
        ("/buckets/bronze-layer/covid/x.csv.versions", None),
        ("/buckets/bronze-layer/.uploads/1234/0001.part", None),
        ("/buckets/silver-layer/covid/x.parquet", None),
        ("/elsewhere", "sweep"),
    ],
)
def test_a_path_names_an_object_or_nothing(key: str, expected: object) -> None:
    assert read_hint(posted(key), BRONZE) == expected


def test_folders_and_removals_ask_for_nothing() -> None:
    assert read_hint(posted("/buckets/bronze-layer/covid", is_directory=True), BRONZE) is None
    assert read_hint(posted("/buckets/bronze-layer/covid/x.csv", kind="delete"), BRONZE) is None


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"{}", b'{"key": null}', b'{"key": 1}'])
def test_what_nobody_understands_asks_for_a_sweep(body: bytes) -> None:
    assert read_hint(body, BRONZE) == "sweep"
