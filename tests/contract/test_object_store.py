"""What every object store must do: the in-memory fake and the real server, held to one suite."""

import gzip
import hashlib
import io
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fakes import FakeStore

from shared.adapters.s3 import S3
from shared.errors import ConfigurationError, ObjectDamaged, ObjectGone, Unavailable
from shared.ports import Folder, ObjectInfo, ObjectStore

KEY = "covid/a b+ü/Datei (1).csv"


@pytest.fixture(params=["fake", "real"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    if request.param == "fake":
        return FakeStore()
    settings = request.getfixturevalue("stack").settings
    return S3(
        settings.s3_endpoint,
        settings.s3_access_key.get_secret_value(),
        settings.s3_secret_key.get_secret_value(),
    )


@pytest.fixture(params=[True, False], ids=["versioned", "unversioned"])
def bucket(request: pytest.FixtureRequest, store: ObjectStore) -> str:
    name = f"contract-{uuid.uuid4().hex[:12]}"
    store.ensure_bucket(name, versioned=request.param)
    store.ensure_bucket(name, versioned=request.param)
    return name


@pytest.fixture
def versioned(store: ObjectStore) -> str:
    name = f"contract-{uuid.uuid4().hex[:12]}"
    store.ensure_bucket(name, versioned=True)
    return name


def test_what_is_put_is_described_and_fetched(store: ObjectStore, bucket: str, tmp_path: Path) -> None:
    metadata = {
        "Landed-At": "2026-01-01T00:00:00.000001+00:00",
        "source-url": "Grüße  aus ü",
        "note": "=?utf-8?b?eA==?=",
    }

    put = store.put_bytes(bucket, KEY, b"a,b\n1,2\n", metadata)

    assert (put.bucket, put.key, put.size_bytes) == (bucket, KEY, 8)
    assert put.metadata == {name.lower(): value for name, value in metadata.items()}
    assert store.stat(bucket, KEY, put.version_id) == put
    assert store.stat(bucket, KEY) == put
    assert store.fetch(put, tmp_path / "x") == hashlib.sha256(b"a,b\n1,2\n").hexdigest()
    assert (tmp_path / "x").read_bytes() == b"a,b\n1,2\n"


def test_a_file_of_several_parts_arrives_whole(store: ObjectStore, bucket: str, tmp_path: Path) -> None:
    source = tmp_path / "big"
    source.write_bytes(bytes(range(256)) * (20 << 12))

    put = store.put_file(bucket, "covid/big", source, {"name": "value"})

    assert (put.size_bytes, put.metadata) == (20 << 20, {"name": "value"})
    assert store.fetch(put, tmp_path / "copy") == hashlib.sha256(source.read_bytes()).hexdigest()


def test_what_is_removed_is_gone_and_removing_it_again_is_no_error(store: ObjectStore, bucket: str) -> None:
    old = store.put_bytes(bucket, KEY, b"1", {})
    kept = store.put_bytes(bucket, "covid/kept", b"2", {})

    store.remove(bucket, KEY, old.version_id)
    store.remove(bucket, KEY, old.version_id)

    with pytest.raises(ObjectGone):
        store.stat(bucket, KEY, old.version_id)
    assert [info.key for info in store.versions(bucket)] == [kept.key]


def test_an_empty_object_is_an_object(store: ObjectStore, bucket: str, tmp_path: Path) -> None:
    put = store.put_bytes(bucket, "covid/empty", b"", {})

    assert store.fetch(put, tmp_path / "x") == hashlib.sha256(b"").hexdigest()


def test_an_overwritten_version_is_fetched_or_gone_never_mixed_up(
    store: ObjectStore, bucket: str, tmp_path: Path
) -> None:
    first = store.put_bytes(bucket, KEY, b"first", {})
    second = store.put_bytes(bucket, KEY, b"second", {})

    assert store.fetch(second, tmp_path / "x") == hashlib.sha256(b"second").hexdigest()
    if first.version_id:
        assert store.fetch(first, tmp_path / "x") == hashlib.sha256(b"first").hexdigest()
    else:
        with pytest.raises(ObjectGone):
            store.fetch(first, tmp_path / "x")


def test_a_wrong_length_is_damage(store: ObjectStore, bucket: str, tmp_path: Path) -> None:
    put = store.put_bytes(bucket, KEY, b"12345", {})

    with pytest.raises(ObjectDamaged, match="5 bytes arrived, 6 were stored"):
        store.fetch(replace(put, size_bytes=6), tmp_path / "x")


def test_what_is_not_there_is_gone(store: ObjectStore, bucket: str, tmp_path: Path) -> None:
    put = store.put_bytes(bucket, KEY, b"1", {})

    with pytest.raises(ObjectGone):
        store.stat(bucket, "covid/nothing")
    with pytest.raises(ObjectGone):
        store.fetch(replace(put, key="covid/nothing"), tmp_path / "x")


def test_versions_are_listed_by_key_and_newest_first_over_all_pages(store: ObjectStore, versioned: str) -> None:
    put = [store.put_bytes(versioned, key, bytes([n]), {}) for n in range(4) for key in ("a/1", "a/1.csv", "b/2")]

    listed = [(info.key, info.version_id) for info in store.versions(versioned)]

    expected = [(i.key, i.version_id) for key in ("a/1", "a/1.csv", "b/2") for i in reversed(put) if i.key == key]
    assert listed == expected
    assert [info.key for info in store.versions(versioned, "b/")] == ["b/2"] * 4


def test_a_level_shows_what_lies_on_it_and_the_folders_below(store: ObjectStore, versioned: str) -> None:
    keys = ("covid/a b+ü.csv", "covid/ingest_date=2026-01-01/x.csv", "covid/ingest_date=2026-01-02/y/z.csv", "top.csv")
    put = [store.put_bytes(versioned, key, bytes([n]), {}) for n in range(2) for key in keys]

    def shown(prefix: str) -> tuple[list[tuple[str, str]], list[str]]:
        entries = list(store.level(versioned, prefix))
        versions = [(one.key, one.version_id) for one in entries if isinstance(one, ObjectInfo)]
        return versions, [one.prefix for one in entries if isinstance(one, Folder)]

    def of(key: str) -> list[tuple[str, str]]:
        return [(info.key, info.version_id) for info in reversed(put) if info.key == key]

    assert shown("") == (of("top.csv"), ["covid/"])
    assert shown("covid/") == (
        of("covid/a b+ü.csv"),
        ["covid/ingest_date=2026-01-01/", "covid/ingest_date=2026-01-02/"],
    )
    assert shown("covid/ingest_date=2026-01-01/") == (of("covid/ingest_date=2026-01-01/x.csv"), [])


@pytest.mark.parametrize("page_versions", [2, 3, 7])
def test_a_paged_listing_loses_no_key(request: pytest.FixtureRequest, page_versions: int) -> None:
    settings = request.getfixturevalue("stack").settings
    keys = (settings.s3_access_key.get_secret_value(), settings.s3_secret_key.get_secret_value())
    store = S3(settings.s3_endpoint, *keys, page_versions=page_versions)
    bucket = f"contract-{uuid.uuid4().hex[:12]}"
    store.ensure_bucket(bucket, versioned=True)
    names = ["a/1", "a/1.csv", "a/1.zzz", "a-b", "a/b/c", "a/b-c", "a.b", "b b", "b+", "b.csv", "ü/1", "z"]
    put = {(key, store.put_bytes(bucket, key, b"%d" % n, {}).version_id) for n in range(3) for key in names}

    listed = [(info.key, info.version_id) for info in store.versions(bucket)]

    assert set(listed) == put
    assert len(listed) == len(put)


@pytest.mark.parametrize("page_versions", [3, 8, 1000])
def test_keys_that_are_listed_together_have_all_their_versions(
    request: pytest.FixtureRequest, page_versions: int
) -> None:
    settings = request.getfixturevalue("stack").settings
    store = S3(
        settings.s3_endpoint,
        settings.s3_access_key.get_secret_value(),
        settings.s3_secret_key.get_secret_value(),
        page_versions=page_versions,
    )
    bucket = f"contract-{uuid.uuid4().hex[:12]}"
    store.ensure_bucket(bucket, versioned=True)
    odd = ["a/1", "a/1.csv", "a/1.zzz", "a/1/2", "a/b b", "a/b+", "a/b.csv", "a/ü", "a/Ü.csv", "a/z", "b", "c/1", "c/2"]
    names = sorted([*odd, *(f"d/{n:02}.csv" for n in range(30))])
    for n, key in enumerate(names * 2):
        store.put_bytes(bucket, key, b"%d" % n, {"source-url": f"http://ü/{n}", "landed-at": "x"} if n % 2 else {})
    store.remove(bucket, "d/07.csv")
    wanted = [name for name in names if name != "d/11.csv"]

    listed = store.versions_of(bucket, wanted)

    def one_by_one(key: str) -> list[ObjectInfo]:
        return [info for info in store.versions(bucket, key) if info.key == key]

    def said(infos: Sequence[ObjectInfo]) -> list[tuple[str, str, bool]]:
        return sorted((info.version_id, str(info.last_modified), info.is_delete_marker) for info in infos)

    assert listed.keys() <= set(wanted)
    for key, infos in listed.items():
        assert said(infos) == said(one_by_one(key))
        versions = [info.version_id for info in infos if not info.is_delete_marker]
        assert versions == [info.version_id for info in one_by_one(key) if not info.is_delete_marker]
    for info in (info for infos in listed.values() for info in infos if info.is_whole):
        told = store.stat(bucket, info.key, info.version_id)
        whole_second = info.last_modified.replace(microsecond=0)
        assert replace(info, last_modified=whole_second, is_exact=False, is_whole=False) == told
    if page_versions == 1000:
        assert len([key for key in listed if key.startswith("d/")]) >= 20
    else:
        assert store.versions_of(bucket, wanted[:5]) == {}


def test_an_unversioned_key_is_listed_once(store: ObjectStore) -> None:
    bucket = f"contract-{uuid.uuid4().hex[:12]}"
    store.ensure_bucket(bucket, versioned=False)
    store.put_bytes(bucket, KEY, b"1", {})
    newest = store.put_bytes(bucket, KEY, b"22", {})

    [listed] = store.versions(bucket)

    assert (listed.key, listed.version_id, listed.etag, listed.size_bytes) == (KEY, "", newest.etag, 2)
    assert listed.last_modified.replace(microsecond=0) == newest.last_modified
    assert listed.is_exact or not listed.last_modified.microsecond


def test_a_delete_marker_hides_the_key_and_keeps_its_versions(
    store: ObjectStore, versioned: str, tmp_path: Path
) -> None:
    first = store.put_bytes(versioned, KEY, b"1", {})
    if isinstance(store, FakeStore):
        store.remove(versioned, KEY)
    else:
        store._client.remove_object(versioned, KEY)  # type: ignore[attr-defined]
    last = store.put_bytes(versioned, KEY, b"2", {})

    listed = [(info.version_id, info.is_delete_marker) for info in store.versions(versioned)]

    assert (listed[0], listed[1][1], listed[2]) == ((last.version_id, False), True, (first.version_id, False))
    with pytest.raises(ObjectGone):
        store.stat(versioned, KEY, listed[1][0])
    assert store.fetch(first, tmp_path / "x") == hashlib.sha256(b"1").hexdigest()


def test_a_server_that_is_away_shows_within_seconds() -> None:
    with pytest.raises(Unavailable, match="object store is not available"):
        S3("127.0.0.1:1", "key", "secret").stat("bronze-layer", "covid/x")


@pytest.mark.parametrize(("secret", "bucket"), [("wrong", "bronze-layer"), (None, "no-such-bucket-at-all")])
def test_a_refusal_says_what_to_do(request: pytest.FixtureRequest, secret: str | None, bucket: str) -> None:
    settings = request.getfixturevalue("stack").settings
    secret = secret or settings.s3_secret_key.get_secret_value()
    store = S3(settings.s3_endpoint, settings.s3_access_key.get_secret_value(), secret)

    with pytest.raises(ConfigurationError, match=r"MEDALLION_S3_|migrate"):
        list(store.versions(bucket))


def test_a_store_that_cannot_announce_to_a_target_says_so(request: pytest.FixtureRequest) -> None:
    settings = request.getfixturevalue("stack").settings
    real = S3(
        settings.s3_endpoint,
        settings.s3_access_key.get_secret_value(),
        settings.s3_secret_key.get_secret_value(),
    )
    name = f"contract-{uuid.uuid4().hex[:12]}"
    real.ensure_bucket(name, versioned=False)

    with pytest.raises(ConfigurationError, match="cannot announce bucket"):
        real.ensure_notification(name, ["arn:minio:sqs::NOBODY:kafka"])


@pytest.fixture
def s3(request: pytest.FixtureRequest) -> S3:
    settings = request.getfixturevalue("stack").settings
    return S3(
        settings.s3_endpoint, settings.s3_access_key.get_secret_value(), settings.s3_secret_key.get_secret_value()
    )  # fmt: skip


def test_small_objects_go_the_quick_way_and_it_says_the_same(
    s3: S3, bucket_of_s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = s3.put_bytes(bucket_of_s3, KEY, b"a,b\n", {"landed-at": "x", "note": "ü"})
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"a,b\n")
    assert s3._small.head(bucket_of_s3, KEY, put.version_id) is not None
    assert s3._small.read(put) == b"a,b\n"
    assert s3._small.write(bucket_of_s3, "other", source, {"note": "x"})
    quick = s3.stat(bucket_of_s3, KEY, put.version_id), s3.fetch(put, target)
    monkeypatch.setattr(s3._small, "_rests_until", float("inf"))
    assert s3._small.read(put) is None
    assert (s3.stat(bucket_of_s3, KEY, put.version_id), s3.fetch(put, target)) == quick
    assert s3.stat(bucket_of_s3, "other").metadata == {"note": "x"}


@pytest.mark.parametrize("key", ["folder//file", "folder/", "/file"])
def test_keys_that_the_quick_way_would_change_do_not_go_it(s3: S3, bucket_of_s3: str, key: str) -> None:
    assert s3._small.head(bucket_of_s3, key, "") is None
    assert s3._small._rests_until == 0


def test_a_store_that_is_away_is_not_asked_twice_each_time(tmp_path: Path) -> None:
    store = S3("127.0.0.1:1", "access", "secret")
    info = ObjectInfo("bucket", "key", "1", "etag", 3, datetime.now(UTC))
    with pytest.raises(Unavailable):
        store.fetch(info, tmp_path / "x")
    assert store._small._rests_until > 0


def test_bytes_come_as_they_were_stored_whatever_their_encoding_is_said_to_be(
    s3: S3, bucket_of_s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = gzip.compress(b"a,b\n1,2\n")
    s3._client.put_object(bucket_of_s3, KEY, io.BytesIO(packed), len(packed), metadata={"Content-Encoding": "gzip"})
    info = s3.stat(bucket_of_s3, KEY)
    for rests_until in (0.0, float("inf")):
        monkeypatch.setattr(s3._small, "_rests_until", rests_until)
        s3.fetch(info, tmp_path / "x")
        assert (tmp_path / "x").read_bytes() == packed


@pytest.fixture(params=[True, False], ids=["versioned", "unversioned"])
def bucket_of_s3(request: pytest.FixtureRequest, s3: S3) -> str:
    name = f"contract-{uuid.uuid4().hex[:12]}"
    s3.ensure_bucket(name, versioned=request.param)
    return name


def test_metadata_with_names_that_xml_does_not_take_hides_nothing(store: ObjectStore, versioned: str) -> None:
    for n in range(10):
        store.put_bytes(versioned, f"odd/{n}", b"1", {"1!a": "b"})

    listed = store.versions_of(versioned, [f"odd/{n}" for n in range(10)])

    assert all(len(infos) == 1 for infos in listed.values())
    assert store.stat(versioned, "odd/3").metadata == {"1!a": "b"}
