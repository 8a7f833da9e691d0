"""In-memory stand-ins for the ports: a few lines each, held to the contract by tests/contract."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from shared.errors import ObjectDamaged, ObjectGone, Unavailable
from shared.ports import Folder, ObjectInfo


class FakeStore:
    """An object store in a list, newest last; its clock has whole seconds, as SeaweedFS's."""

    def __init__(self) -> None:
        self.entries: list[tuple[ObjectInfo, bytes]] = []
        self.versioned: dict[str, bool] = {}
        self.is_away = False
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self._puts = count()

    def empty(self) -> None:
        """Be as new, with the buckets that there are."""
        self.entries, self._puts = [], count()

    def _check(self) -> None:
        if self.is_away:
            raise Unavailable("object store", "switched off")

    def ensure_bucket(self, bucket: str, *, versioned: bool) -> None:
        self._check()
        self.versioned[bucket] = self.versioned.get(bucket, False) or versioned

    def ensure_notification(self, bucket: str, arns: Sequence[str]) -> None:
        self._check()

    def upload(self, bucket: str, key: str, path: Path, metadata: Mapping[str, str]) -> None:
        self.put_file(bucket, key, path, metadata)

    def put_file(self, bucket: str, key: str, path: Path, metadata: Mapping[str, str]) -> ObjectInfo:
        return self.put_bytes(bucket, key, path.read_bytes(), metadata)

    def put_bytes(self, bucket: str, key: str, data: bytes, metadata: Mapping[str, str]) -> ObjectInfo:
        self._check()
        self.now += timedelta(seconds=1)
        version = f"{next(self._puts):08x}" if self.versioned[bucket] else ""
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        kept = {name.lower(): value for name, value in metadata.items() if value}
        info = ObjectInfo(bucket, key, version, etag, len(data), self.now, kept)
        if not version:
            self.entries = [e for e in self.entries if (e[0].bucket, e[0].key) != (bucket, key)]
        self.entries.append((info, data))
        return info

    def remove(self, bucket: str, key: str, version_id: str = "") -> None:
        """Remove a version, or leave a delete marker where the bucket is versioned and none is named."""
        if self.versioned[bucket] and not version_id:
            marker = ObjectInfo(bucket, key, f"{next(self._puts):08x}", "", 0, self.now, is_delete_marker=True)
            self.entries.append((marker, b""))
        else:
            named = (bucket, key, version_id)
            self.entries = [e for e in self.entries if (e[0].bucket, e[0].key, e[0].version_id) != named]

    def _find(self, bucket: str, key: str, version_id: str) -> tuple[ObjectInfo, bytes]:
        self._check()
        for info, data in reversed(self.entries):
            if (info.bucket, info.key) == (bucket, key) and version_id in ("", info.version_id):
                if info.is_delete_marker:
                    break
                return info, data
        raise ObjectGone(f"{bucket}/{key} is not in the object store")

    def stat(self, bucket: str, key: str, version_id: str = "") -> ObjectInfo:
        return self._find(bucket, key, version_id)[0]

    def fetch(self, info: ObjectInfo, target: Path) -> str:
        found, data = self._find(info.bucket, info.key, info.version_id)
        if found.etag != info.etag:
            raise ObjectGone(f"{info.bucket}/{info.key} is another object by now")
        target.write_bytes(data)
        if len(data) != info.size_bytes:
            raise ObjectDamaged(f"{len(data)} bytes arrived, {info.size_bytes} were stored")
        return hashlib.sha256(data).hexdigest()

    def versions(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        self._check()
        found = [i for i, _ in reversed(self.entries) if i.bucket == bucket and i.key.startswith(prefix)]
        for info in sorted(found, key=lambda info: info.key):
            yield replace(info, metadata={})

    def versions_of(self, bucket: str, keys: Sequence[str]) -> Mapping[str, Sequence[ObjectInfo]]:
        listed: dict[str, list[ObjectInfo]] = {}
        for info in self.versions(bucket):
            if info.key in keys:
                listed.setdefault(info.key, []).append(info)
        return listed

    def level(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo | Folder]:
        folders: set[str] = set()
        for info in self.versions(bucket, prefix):
            name, slash, _ = info.key.removeprefix(prefix).partition("/")
            if not slash:
                yield info
            folders |= {f"{prefix}{name}/"} if slash else set()
        yield from (Folder(name) for name in sorted(folders))


class FakeBus:
    """A broker in a list."""

    def __init__(self) -> None:
        self.topics: dict[str, int] = {}
        self.published: list[tuple[str, str, bytes]] = []
        self.is_away = False

    def ensure_topics(self, partitions_by_topic: Mapping[str, int]) -> None:
        if self.is_away:
            raise Unavailable("Kafka", "switched off")
        self.topics = {**partitions_by_topic, **self.topics}

    def publish_all(self, topic: str, events: Sequence[tuple[str, bytes]]) -> None:
        """Keep the events."""
        for key, value in events:
            self.publish(topic, key, value)

    def publish(self, topic: str, key: str, value: bytes) -> None:
        if self.is_away:
            raise Unavailable("Kafka", "switched off")
        self.published.append((topic, key, value))

    def close(self) -> None:
        pass
