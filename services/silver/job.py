"""What the steps of one merge share: the object, what was read of it, and the dataset's state under the lock."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from services.silver.batchsql import BatchSql
from services.silver.check import Tally
from services.silver.diff import Action
from services.silver.profile import Profile
from services.silver.spool import Spool
from shared.dataset import Dataset, Disposition
from shared.errors import MedallionError
from shared.ports import ObjectInfo, Session
from shared.settings import Settings
from shared.version import micros


class Held(MedallionError):
    """The object waits for a person's `approve`."""


@dataclass(frozen=True)
class Stored:
    """Bytes in the object store, and what they must be."""

    info: ObjectInfo
    content_sha256: str | None  # as declared by whoever landed them


@dataclass(frozen=True)
class ObjectVersion:
    """The ledger's row of the object at hand, as claimed."""

    object_id: uuid.UUID
    dataset: str
    bucket: str
    object_key: str
    version_id: str
    etag: str
    size_bytes: int
    content_sha256: str | None
    landed_at: datetime
    version: uuid.UUID
    write_disposition: Disposition
    attempts: int
    epoch: int
    is_approved: bool
    request: str | None  # backfill, replay or withdraw; None for the first load and its retries
    is_withdrawn: bool = False  # a person took it back; the pass at hand takes it in again

    @property
    def stored(self) -> Stored:
        """The object's bytes."""
        info = ObjectInfo(self.bucket, self.object_key, self.version_id, self.etag, self.size_bytes, self.landed_at)
        return Stored(info, self.content_sha256)

    @property
    def is_snapshot(self) -> bool:
        """Whether the object says which keys exist."""
        return self.write_disposition == "replace"


@dataclass(frozen=True)
class FileRead:
    """An object read, cast and checked: its good rows, its bad rows and what was counted."""

    raw_of: Callable[[set[int]], dict[int, str]]  # texts of given lines as delivered
    good: Spool
    bad: Spool
    tally: Tally
    sha256: str
    cleanup: ExitStack  # closed when the rows are needed no more; spools that replace these belong to it
    header: tuple[str, ...] = ()  # of a CSV file
    profile: Profile | None = None  # where something is expected of the dataset's deliveries
    is_repeat: bool = False  # equal to the snapshot that is applied, and therefore not read


@dataclass(frozen=True)
class State:
    """What silver knows of a dataset as a whole, read under its lock; versions compare as (landed, order, id)."""

    now: datetime
    snapshot_version: uuid.UUID | None
    snapshot_rows: int | None
    latest_snapshot: uuid.UUID | None
    rows_live: int
    contract_fingerprint: str | None
    newest_landed_at: datetime | None
    has_facts: bool
    has_open_quarantine: bool
    has_orphans: bool  # rows of other datasets wait for rows of this one
    evolved: tuple[str, ...] = ()  # columns of the clean table that files brought; see columns.py


@dataclass
class Counts:
    """Where the records of an object went; for a finished object they add up to `read`."""

    read: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    quarantined: int = 0
    duplicate: int = 0
    superseded: int = 0
    discarded: int = 0
    rewritten: int = 0

    def assert_complete(self) -> None:
        """Raise AssertionError unless every record is in exactly one place."""
        placed = self.inserted + self.updated + self.unchanged + self.quarantined
        placed += self.duplicate + self.superseded + self.discarded
        if placed != self.read:
            raise AssertionError(f"{self.read} records were read but {placed} are accounted for: {self}")


@dataclass
class Job:
    """One object on its way into silver, under its dataset's lock."""

    session: Session
    dataset: Dataset
    obj: ObjectVersion
    file: FileRead
    state: State
    settings: Settings
    sql: BatchSql
    counts: Counts = field(default_factory=Counts)
    actions: Any = None  # what became of each good row, once decided
    removed_keys: list[tuple[Any, ...]] = field(default_factory=list)  # primary keys of removed rows, for the lake
    is_refold: bool = False  # one of many merged again in one transaction
    new_columns: tuple[str, ...] = ()  # which the file brings and the tables lacked

    @property
    def evolved(self) -> tuple[str, ...]:
        """The columns beyond the contract that the file has values of."""
        return tuple(sorted(self.file.tally.evolved))

    @property
    def is_clean_snapshot(self) -> bool:
        """Whether the object is a snapshot all of whose keys could be read, so that absence means removal."""
        return self.obj.is_snapshot and self.file.tally.rows_keyless == 0

    @property
    def version(self) -> str:
        """The object's version as a SQL literal; it is computed, never typed by anyone."""
        return f"'{self.obj.version}'::uuid"

    @property
    def loaded_at_micros(self) -> int:
        """The transaction's time in microseconds since 1970."""
        return micros(self.state.now)

    def good_batches(self, actions: Any) -> Iterator[tuple[pa.RecordBatch, Any]]:
        """Yield each batch of good rows with its slice of the actions."""
        start = 0
        for batch in self.file.good.batches():
            yield batch, actions[start : start + batch.num_rows]
            start += batch.num_rows
        if start != len(actions):
            raise AssertionError(f"{start} rows were read back where {len(actions)} were decided on")

    def selected(self, actions: Any, *wanted: Action) -> Iterator[pa.RecordBatch]:
        """Yield the good rows whose action is one of `wanted`, batch by batch."""
        for batch, part in self.good_batches(actions):
            mask = part == wanted[0]
            for action in wanted[1:]:
                mask |= part == action
            if mask.all():
                yield batch
            elif mask.any():
                yield batch.filter(pa.array(mask))
