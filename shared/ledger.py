"""The ledger: one row per object version, and the only truth about what was done with it.

States: registered → processing → done | superseded | rejected | ignored; held waits for `approve`;
failed is tried again alone at growing intervals.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from shared.catalog import Catalog
from shared.errors import ObjectGone
from shared.events import ObjectRef
from shared.ports import ObjectInfo, ObjectStore, Session
from shared.session import UNSYNCED
from shared.version import drop_landed_at, object_id, version_of

Discovery = Literal["event", "sweep", "poll", "cli"]

FIRST_YEAR = 1970  # versions count microseconds from its beginning

FINISHED = ("done", "superseded", "rejected", "ignored")
DELETED = "deleted before it was read"

# User metadata that the ingestor and `land` write; an object without it is a drop.
LANDED_AT, WRITE_DISPOSITION, CONTENT_SHA256, SOURCE_URL = (
    "landed-at",
    "write-disposition",
    "content-sha256",
    "source-url",
)


@dataclass(frozen=True)
class Registration:
    """What the ledger says of an object version after it was registered."""

    object_id: uuid.UUID
    dataset: str | None
    status: str
    is_new: bool


def register(
    session: Session, store: ObjectStore, catalog: Catalog, ref: ObjectRef, discovered_by: Discovery
) -> Registration | None:
    """Enter an object version into the ledger, once, whoever finds it first; commits.

    Returns None when the version is gone (deleted before anyone looked), is a delete marker, or the empty object that
    consoles put for a folder. A version that is known already is not asked for again: events come more than once.
    Objects that no dataset claims are entered as ignored; objects dated too far ahead as held.
    """
    if known := _known(session, ref):
        return known
    try:
        info = store.stat(ref.bucket, ref.key, ref.version_id)
    except ObjectGone:
        return None
    return register_known(session, store, catalog, info, discovered_by)


def _known(session: Session, ref: ObjectRef) -> Registration | None:
    """Return what the ledger says of a version that the store names uniquely; commits."""
    if not ref.version_id:
        return None
    found = session.rows(
        "SELECT object_id, dataset, status FROM bronze.ingestion_metadata"
        " WHERE bucket = %s AND object_key = %s AND version_id = %s",
        (ref.bucket, ref.key, ref.version_id),
    )
    session.commit()
    if not found:
        return None
    object_id, dataset, status = found[0]
    return Registration(object_id, dataset, status, is_new=False)


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
    if info.is_delete_marker or info.key.endswith("/"):
        return None
    landed_at, precise, order = _landed(store, info)
    identity = object_id(info.bucket, info.key, info.version_id, info.etag, precise)
    dataset = catalog.for_key(info.key)
    disposition = dataset.disposition_of(info.metadata.get(WRITE_DISPOSITION)) if dataset else "merge"
    status, reason = ("registered", None) if dataset else ("ignored", _unclaimed(info.key, catalog))
    known = "SELECT status FROM bronze.ingestion_metadata WHERE object_id = %s"
    # Looked for before it is inserted: an insertion waits for whoever has the row under change, frozen or not.
    if found := session.rows(known, (identity,)):
        session.commit()
        return Registration(identity, dataset.name if dataset else None, found[0][0], is_new=False)
    is_new = session.execute(
        UNSYNCED
        + """
        INSERT INTO bronze.ingestion_metadata
            (object_id, dataset, bucket, object_key, version_id, etag, size_bytes, content_sha256, source_url,
             landed_at, version, write_disposition, discovered_by, status, error_message, finished_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s,
                CASE WHEN %s = 'ignored' THEN clock_timestamp() END)
        ON CONFLICT (object_id) DO NOTHING
        """,
        (
            identity, dataset.name if dataset else None, info.bucket, info.key, info.version_id, info.etag,
            info.size_bytes, info.metadata.get(CONTENT_SHA256), info.metadata.get(SOURCE_URL),
            landed_at, version_of(landed_at, order, identity), disposition, discovered_by, status, reason, status,
        ),
    )  # fmt: skip
    if not is_new:  # somebody else was faster
        status = str(session.rows(known, (identity,))[0][0])
    session.commit()
    return Registration(identity, dataset.name if dataset else None, status, bool(is_new))


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


def _landed(store: ObjectStore, info: ObjectInfo) -> tuple[datetime, datetime, int]:
    """Return (landed_at, modification time as the listing gives it, order among the key's versions).

    A listing is needed for drops only: `stat` gives whole seconds on every server, listings give more on some,
    and versions of one key that share a second are told apart by their place in it.
    """
    declared = declared_landing(info.metadata.get(LANDED_AT, ""))
    if declared is not None:
        return declared, info.last_modified, 0
    versions = [v for v in _of_key(store.versions(info.bucket, info.key), info.key) if not v.is_delete_marker]
    for age, listed in enumerate(versions):
        if listed.version_id == info.version_id:
            at = drop_landed_at(listed.last_modified, listed.is_exact)
            return at, listed.last_modified, len(versions) - 1 - age
    return drop_landed_at(info.last_modified, is_exact=False), info.last_modified, 0


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


def _of_key(versions: Iterable[ObjectInfo], key: str) -> Iterable[ObjectInfo]:
    """Yield the versions of exactly this key from a listing by prefix; the key itself sorts first."""
    for info in versions:
        if info.key != key:
            return
        yield info
