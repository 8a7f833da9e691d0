"""The few doors to the outside world, as Protocols; each has one adapter, and a fake in tests where that makes sense."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

Row = tuple[Any, ...]


@dataclass(frozen=True)
class ObjectInfo:
    """One version of one object, as the store describes it."""

    bucket: str
    key: str
    version_id: str  # '' where the bucket is not versioned
    etag: str
    size_bytes: int
    last_modified: datetime  # timezone-aware; whole seconds on some servers
    metadata: Mapping[str, str] = field(default_factory=dict)  # user metadata, lower-case names without x-amz-meta-
    is_delete_marker: bool = False
    is_exact: bool = False  # last_modified would show fractions of a second, so that none means none
    is_whole: bool = False  # from a listing that tells user metadata too, so that `stat` would add nothing


@dataclass(frozen=True)
class Folder:
    """What keys of a bucket have in common up to a slash."""

    prefix: str  # with the slash


class ObjectStore(Protocol):
    """An S3-compatible object store. Every method raises Unavailable when the server cannot be reached."""

    def ensure_bucket(self, bucket: str, *, versioned: bool) -> None:
        """Create the bucket when it is missing and switch versioning on where asked."""
        ...

    def ensure_notification(self, bucket: str, arns: Sequence[str]) -> None:
        """Have the store announce what is created and removed in a bucket to targets of its own configuration.

        Notifications that others configured stay. Raises ConfigurationError where the store does not know a target.
        """
        ...

    def upload(self, bucket: str, key: str, path: Path, metadata: Mapping[str, str]) -> None:
        """Store a file as one object, as `put_file` does, without asking how the store describes it."""
        ...

    def put_file(self, bucket: str, key: str, path: Path, metadata: Mapping[str, str]) -> ObjectInfo:
        """Store a file as one object (metadata: ASCII, or text that the adapter encodes) and describe what was stored."""
        ...

    def put_bytes(self, bucket: str, key: str, data: bytes, metadata: Mapping[str, str]) -> ObjectInfo:
        """Store bytes as one object and describe what was stored."""
        ...

    def stat(self, bucket: str, key: str, version_id: str = "") -> ObjectInfo:
        """Describe a version (default: the newest) with its user metadata; raises ObjectGone."""
        ...

    def fetch(self, info: ObjectInfo, target: Path) -> str:
        """Write exactly the version `info` names into `target` and return its sha256 as hex.

        Reads by version id, or with If-Match on an unversioned bucket.
        Raises ObjectGone when the version is no longer there, ObjectDamaged when fewer or more bytes than
        `size_bytes` arrive.
        """
        ...

    def remove(self, bucket: str, key: str, version_id: str = "") -> None:
        """Remove a version, or what an unversioned bucket has under the key; one that is gone already is no error."""
        ...

    def versions(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """List all versions under a prefix by key, newest first within a key, delete markers among them.

        Listings carry no user metadata; `metadata` is empty.
        """
        ...

    def versions_of(self, bucket: str, keys: Sequence[str]) -> Mapping[str, Sequence[ObjectInfo]]:
        """List all versions of several keys by few questions, newest first within a key, delete markers among them.

        `keys` are in order. Those that are not worth it or not to be trusted are left out; `versions` lists them.
        Some servers tell the user metadata as well: see `ObjectInfo.is_whole`.
        """
        ...

    def level(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo | Folder]:
        """List the versions right under a prefix that ends with a slash (or is empty), and the folders below it.

        Of thousands of entries on one level a server may leave some out (SeaweedFS); `versions` leaves none out.
        """
        ...


class EventBus(Protocol):
    """A producer of events. Raises Unavailable when the broker does not take the event."""

    def ensure_topics(self, partitions_by_topic: Mapping[str, int]) -> None:
        """Create the topics that are missing."""
        ...

    def publish(self, topic: str, key: str, value: bytes) -> None:
        """Send one event and wait until the broker has it."""
        ...

    def publish_all(self, topic: str, events: Sequence[tuple[str, bytes]]) -> None:
        """Send several events, each a key and a value, and wait until the broker has them all."""
        ...

    def close(self) -> None:
        """Give the connection back."""
        ...


class Prepared(str):
    """A statement that comes often: a session plans it once, for whatever its parameters are.

    Its text is the same each time (it has a place in the session's memory), and each parameter is of one type.
    """


class Session(Protocol):
    """One connection to the warehouse: statements on it share one transaction until commit or rollback.

    Driver errors arrive as Unavailable (connection lost, server shutting down) or as the driver's own error.
    """

    @property
    def backend_pid(self) -> int:
        """Process id of the server's session."""
        ...

    def execute(self, sql: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> int:
        """Run a statement and return how many rows it touched."""
        ...

    def rows(self, sql: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> list[Row]:
        """Run a query and return its rows."""
        ...

    def later(self, sql: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> None:
        """Run a statement before the next one or before the commit, in the same round trip.

        What it meets is raised there; a rollback forgets it.
        """
        ...

    def at_once(self, sql: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> list[Row]:
        """Run a query as a transaction of its own, in one round trip; whatever is open is committed with it."""
        ...

    def copy_in(self, statement: str, chunks: Iterable[bytes]) -> int:
        """Stream chunks into a COPY … FROM STDIN statement and return how many rows the server took."""
        ...

    def copy_out(self, statement: str, write: Any) -> None:
        """Stream a COPY … TO STDOUT statement into `write`, an object with a write(bytes) method."""
        ...

    def commit(self) -> None:
        """End the transaction, keeping its effects."""
        ...

    def rollback(self) -> None:
        """End the transaction, undoing its effects."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Warehouse(Protocol):
    """PostgreSQL, as a maker of sessions."""

    def session(self, name: str) -> AbstractContextManager[Session]:
        """Open a session named `name` (as application_name); it is rolled back and closed on the way out."""
        ...
