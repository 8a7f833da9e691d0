"""What the store says of an object version, and with it the version's place in time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock

from shared.errors import ObjectGone
from shared.events import ObjectRef
from shared.ports import ObjectInfo, ObjectStore
from shared.version import drop_landed_at

FIRST_YEAR = 1970  # versions count microseconds from its beginning

# User metadata that the ingestor and `land` write; an object without it is a drop.
LANDED_AT, WRITE_DISPOSITION, CONTENT_SHA256, SOURCE_URL = (
    "landed-at",
    "write-disposition",
    "content-sha256",
    "source-url",
)


@dataclass(frozen=True)
class Described:
    """An object version as the store describes it, with its place in time."""

    info: ObjectInfo
    landed_at: datetime
    listed_at: datetime  # modification time as precise as the store's listing gives it
    order: int  # among versions of the key that share a time


def describe(store: ObjectStore, ref: ObjectRef, listed: "ListedTogether | None" = None) -> Described | None:
    """Ask the store for a version; None for what is no file to load: one that is gone, a delete marker, a folder."""
    # Without a version id the object may be another one by the time that it is described.
    versions = listed.versions(ref) if listed and ref.version_id else None
    named = next((one for one in versions or () if one.version_id == ref.version_id), None)
    try:
        info = named if named and named.is_whole else store.stat(ref.bucket, ref.key, ref.version_id)
    except ObjectGone:
        return None
    return place(store, info, versions if named else None)


def place(store: ObjectStore, info: ObjectInfo, versions: Sequence[ObjectInfo] | None = None) -> Described | None:
    """Give a described version its place in time; None for what is no file: see `describe`.

    A listing is needed for drops only: `stat` gives whole seconds on every server, listings give more on some,
    and versions of one key that share a second are told apart by their place in it.
    """
    if info.is_delete_marker or info.key.endswith("/"):
        return None
    declared = declared_landing(info.metadata.get(LANDED_AT, ""))
    if declared is not None:
        return Described(info, declared, info.last_modified, 0)
    of_key = _of_key(store, info.bucket, info.key) if versions is None else versions
    standing = [one for one in of_key if not one.is_delete_marker]
    for age, listed in enumerate(standing):
        if listed.version_id == info.version_id:
            at = drop_landed_at(listed.last_modified, listed.is_exact)
            return Described(info, at, listed.last_modified, len(standing) - 1 - age)
    return Described(info, drop_landed_at(info.last_modified, is_exact=False), info.last_modified, 0)


def declared_landing(text: str) -> datetime | None:
    """Read a landed-at time, UTC where it names no zone; None for what is no time from 1970 on.

    Such metadata is someone else's: the object counts as a drop.
    """
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if moment.year >= FIRST_YEAR else None


class ListedTogether:
    """The versions of several objects, listed together as soon as the first of them is asked for; shared between threads.

    A listing of one key costs nearly what one of a hundred does, and on some servers more the more its folder holds.
    """

    def __init__(self, store: ObjectStore, refs: Iterable[ObjectRef]) -> None:
        self._store, self._lock = store, Lock()
        self._keys: dict[str, set[str]] = {}
        for ref in refs:
            self._keys.setdefault(ref.bucket, set()).add(ref.key)
        self._listed: dict[str, Mapping[str, Sequence[ObjectInfo]]] = {}

    def versions(self, ref: ObjectRef) -> Sequence[ObjectInfo] | None:
        """Return all versions of an object's key, newest first; None where they are not listed here. Raises Unavailable."""
        with self._lock:
            if ref.bucket not in self._listed:
                self._listed[ref.bucket] = self._store.versions_of(ref.bucket, sorted(self._keys.get(ref.bucket, ())))
        return self._listed[ref.bucket].get(ref.key)


def _of_key(store: ObjectStore, bucket: str, key: str) -> Iterable[ObjectInfo]:
    """Yield the versions of exactly this key from a listing by prefix; the key itself sorts first."""
    for info in store.versions(bucket, key):
        if info.key != key:
            return
        yield info
