"""The ledger: one row per object version, and the only truth about what was done with it.

States: registered → processing → done | superseded | rejected | ignored; held waits for `approve`;
failed is tried again alone at growing intervals.
"""

import uuid
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

from shared.catalog import Catalog
from shared.dataset import Disposition
from shared.described import CONTENT_SHA256, SOURCE_URL, WRITE_DISPOSITION, Described, describe, place
from shared.events import ObjectRef
from shared.ports import ObjectInfo, ObjectStore, Session
from shared.session import UNSYNCED
from shared.version import object_id, version_of

Discovery = Literal["event", "sweep", "poll", "cli"]

FINISHED = ("done", "superseded", "rejected", "ignored")
DELETED = "deleted before it was read"


@dataclass(frozen=True)
class Registration:
    """What the ledger says of an object version after it was registered."""

    object_id: uuid.UUID
    dataset: str | None
    status: str
    is_new: bool
    write_disposition: Disposition
    info: ObjectInfo
    content_sha256: str | None  # as declared when it was landed


def register(
    session: Session, store: ObjectStore, catalog: Catalog, ref: ObjectRef, discovered_by: Discovery
) -> Registration | None:
    """Enter an object version into the ledger, once, whoever finds it first; commits.

    Returns None when the version is gone (deleted before anyone looked), is a delete marker, or the empty object that
    consoles put for a folder. A version that is known already is not asked for again: events come more than once.
    Objects that no dataset claims are entered as ignored; objects dated too far ahead as held.
    """
    if found := known(session, [ref]):
        return found[ref]
    described = describe(store, ref)
    return enter(session, catalog, [described], discovered_by)[0] if described else None


def known(session: Session, refs: Sequence[ObjectRef]) -> Mapping[ObjectRef, Registration]:
    """Return what the ledger says of versions that the store names uniquely, of those that it has; commits."""
    named = [ref for ref in refs if ref.version_id]
    if not named:
        return {}
    found = session.rows(
        "SELECT bucket, object_key, version_id, etag, size_bytes, landed_at, object_id, dataset, status,"
        " write_disposition, content_sha256"
        " FROM unnest(%s::text[], %s::text[], %s::text[]) AS asked (bucket, object_key, version_id)"
        " JOIN bronze.ingestion_metadata USING (bucket, object_key, version_id)",
        ([ref.bucket for ref in named], [ref.key for ref in named], [ref.version_id for ref in named]),
    )
    session.commit()
    by_name = {
        tuple(row[:3]): Registration(row[6], row[7], row[8], False, row[9], ObjectInfo(*row[:6]), row[10])
        for row in found
    }
    return {ref: by_name[name] for ref in named if (name := (ref.bucket, ref.key, ref.version_id)) in by_name}


def release_unclaimed(session: Session, catalog: Catalog) -> int:
    """Forget ignored objects whose key a dataset claims by now, so that the sweep finds them as new; commits."""
    ignored = session.rows(
        "SELECT object_id, object_key FROM bronze.ingestion_metadata WHERE status = 'ignored' AND dataset IS NULL"
    )
    claimed = [object_id for object_id, key in ignored if catalog.for_key(key)]
    if claimed:
        session.execute("DELETE FROM bronze.ingestion_metadata WHERE object_id = ANY(%s)", (claimed,))
    session.commit()
    return len(claimed)


def register_known(
    session: Session, store: ObjectStore, catalog: Catalog, info: ObjectInfo, discovered_by: Discovery
) -> Registration | None:
    """Enter an object version that was already described by `stat`; see `register`."""
    placed = place(store, info)
    return enter(session, catalog, [placed], discovered_by)[0] if placed else None


_STATUSES = "SELECT object_id, status FROM bronze.ingestion_metadata WHERE object_id = ANY(%s)"


def enter(
    session: Session, catalog: Catalog, described: Sequence[Described], discovered_by: Discovery
) -> list[Registration]:
    """Enter object versions into the ledger by one statement; commits; returns what it says of them, in their order."""
    rows = {_identity(one): _row(catalog, one, discovered_by) for one in described}
    # Looked for before they are inserted: an insertion waits for whoever has the row under change, frozen or not.
    statuses: dict[uuid.UUID, str] = dict(session.rows(_STATUSES, (list(rows),)))
    missing = sorted(rows.keys() - statuses.keys())  # in one order, so that no two insertions wait for each other
    new: set[uuid.UUID] = set()
    if missing:
        values = ", ".join([_VALUES] * len(missing))
        inserted = session.rows(
            f"{_INSERT} VALUES {values} ON CONFLICT (object_id) DO NOTHING RETURNING object_id, status",
            [value for identity in missing for value in rows[identity]],
        )
        new.update(identity for identity, _ in inserted)
        statuses.update(inserted)
        if len(new) < len(missing):  # somebody else was faster
            statuses.update(session.rows(_STATUSES, (missing,)))
    session.commit()
    return [_registration(one, rows[_identity(one)], statuses[_identity(one)], new) for one in described]


def _registration(one: Described, row: tuple[Any, ...], status: str, new: Set[uuid.UUID]) -> Registration:
    return Registration(row[0], row[1], status, row[0] in new, row[11], one.info, row[7])


_INSERT = (
    UNSYNCED
    + """
    INSERT INTO bronze.ingestion_metadata
        (object_id, dataset, bucket, object_key, version_id, etag, size_bytes, content_sha256, source_url,
         landed_at, version, write_disposition, discovered_by, status, error_message, finished_at)
    """
)
_VALUES = f"({', '.join(['%s'] * 15)}, CASE WHEN %s = 'ignored' THEN clock_timestamp() END)"


def _identity(one: Described) -> uuid.UUID:
    return object_id(one.info.bucket, one.info.key, one.info.version_id, one.info.etag, one.listed_at)


def _row(catalog: Catalog, one: Described, discovered_by: Discovery) -> tuple[Any, ...]:
    """Return the values of an object's row, as `_VALUES` takes them."""
    info, identity, dataset = one.info, _identity(one), catalog.for_key(one.info.key)
    disposition = dataset.disposition_of(info.metadata.get(WRITE_DISPOSITION)) if dataset else "merge"
    status, reason = ("registered", None) if dataset else ("ignored", _unclaimed(info.key, catalog))
    return (
        identity, dataset.name if dataset else None, info.bucket, info.key, info.version_id, info.etag,
        info.size_bytes, info.metadata.get(CONTENT_SHA256), info.metadata.get(SOURCE_URL),
        one.landed_at, version_of(one.landed_at, one.order, identity), disposition, discovered_by, status, reason,
        status,
    )  # fmt: skip


def close_deleted(session: Session, object_id: uuid.UUID) -> bool:
    """Set an object aside whose bytes are gone; returns whether it was still waiting.

    One that came to its end before and was to be gone through again keeps that end, and a withdrawn one that was to be taken
    in again stays withdrawn. A replay needs no bytes, nor does a withdrawal.
    """
    closed = session.execute(
        """
        UPDATE bronze.ingestion_metadata
        SET status = CASE WHEN is_withdrawn THEN 'ignored' ELSE coalesce(completed_as, 'ignored') END,
            request = NULL, error_message = %s, finished_at = clock_timestamp()
        WHERE object_id = %s AND status IN ('registered', 'held', 'failed')
          AND coalesce(request, 'backfill') = 'backfill'
        """,
        (DELETED, object_id),
    )
    session.commit()
    return bool(closed)


def _unclaimed(key: str, catalog: Catalog) -> str:
    prefix = key.split("/", 1)[0] if "/" in key else "(no folder)"
    return (
        f"no dataset claims {key!r}: {prefix} is none of {', '.join(sorted(catalog.datasets))}. "
        "Add config/datasets/<name>.yaml, or drop the file under <dataset>/"
    )
