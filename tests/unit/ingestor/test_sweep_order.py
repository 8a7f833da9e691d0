"""The sweep's pure parts: identities of listed versions, and the order in which unknown ones are entered."""

from datetime import UTC, datetime, timedelta

from services.ingestor.schedule import pause_seconds
from services.ingestor.sweep import identities, oldest_first
from shared.ports import ObjectInfo
from shared.version import object_id

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def info(key: str, version: str, at: datetime = NOON, etag: str = "e") -> ObjectInfo:
    return ObjectInfo("bronze-layer", key, version, etag, 1, at)


def test_versions_are_entered_oldest_first_also_within_a_second() -> None:
    later = NOON + timedelta(seconds=1)
    listing = [info("a", "3", later), info("a", "2"), info("a", "1"), info("b", "9", later), info("b", "8")]

    ordered = [(found.key, found.version_id) for found in oldest_first(listing)]

    assert [pair for pair in ordered if pair[0] == "a"] == [("a", "1"), ("a", "2"), ("a", "3")]
    assert [pair for pair in ordered if pair[0] == "b"] == [("b", "8"), ("b", "9")]
    assert {ordered[-1], ordered[-2]} == {("a", "3"), ("b", "9")}


def test_a_versioned_object_has_one_identity() -> None:
    assert identities(info("a", "1")) == (object_id("bronze-layer", "a", "1", "e", NOON),)


def test_an_unversioned_object_is_known_by_its_time_with_and_without_fraction() -> None:
    precise = NOON + timedelta(microseconds=123_000)

    assert set(identities(info("a", "", precise))) == {
        object_id("bronze-layer", "a", "", "e", precise),
        object_id("bronze-layer", "a", "", "e", NOON),
    }


def test_pauses_grow_after_failures_but_never_beyond_the_interval() -> None:
    assert [pause_seconds(300, failures, 0) for failures in (0, 1, 2, 3, 9)] == [300, 1, 2, 4, 30]
    assert pause_seconds(2, 5, 0) == 2
    assert (pause_seconds(100, 0, -1), pause_seconds(100, 0, 1)) == (90, 110.00000000000001)
