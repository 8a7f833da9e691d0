"""The sweep: bucket against ledger, ledger against events. It heals whatever notifications lose.

It lists the whole bucket in pages and holds only what the ledger does not know, so that it can later be given
a narrower listing (a prefix, a time) without another change.
"""

import logging
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from services.ingestor import unfinished
from shared.announce import announce
from shared.catalog import Catalog
from shared.errors import ObjectGone
from shared.events import ObjectRef, bronze_ready, silver_ready
from shared.landing import database_now
from shared.ledger import close_deleted, register, release_unclaimed
from shared.ports import EventBus, ObjectInfo, ObjectStore, Session, Warehouse
from shared.settings import BRONZE_BUCKET, BRONZE_READY, SILVER_READY, Settings
from shared.version import object_id

log = logging.getLogger(__name__)

CHUNK_VERSIONS = 1000


@dataclass(frozen=True)
class SweepResult:
    """What one sweep found and did."""

    listed: int  # object versions in the bucket
    registered: int  # of those, new to the ledger
    announced_again: int  # unfinished objects
    gone: int  # unfinished objects that are no longer in the bucket
    changes_announced_again: int  # change sets that gold has not consumed or nobody has exported

    @property
    def found_anything(self) -> bool:
        """Whether the sweep had anything to heal."""
        return bool(self.registered or self.announced_again or self.gone or self.changes_announced_again)


def sweep_once(
    settings: Settings, catalog: Catalog, warehouse: Warehouse, store: ObjectStore, bus: EventBus
) -> SweepResult:
    """Register and announce what the ledger lacks, announce the unfinished again; raises Unavailable."""
    with warehouse.session("ingestor-sweep") as session:
        release_unclaimed(session, catalog)
        missing = unfinished.waiting_objects(session, BRONZE_BUCKET)
        listed, unknown = _compare(session, store.versions(BRONZE_BUCKET), missing)
        registered = sum(_enter(session, catalog, store, bus, info) for info in oldest_first(unknown))
        gone = sum(_forget(session, store, identity, ref) for identity, ref in missing.items())
        announced = _announce_objects(session, bus, unfinished.overdue_objects(session, settings))
        changes = _announce_changes(session, bus, unfinished.overdue_changes(session, settings))
    result = SweepResult(listed, registered, announced, gone, changes)
    if result.found_anything:
        log.info("The sweep found work.", extra={"action": "sweep_found", **vars(result)})
    return result


def identities(info: ObjectInfo) -> Sequence[uuid.UUID]:
    """Return the ids under which the ledger may know a listed version.

    An unversioned object is identified by its modification time, which some servers list with a fraction of a
    second that `stat` does not give.
    """
    exact = object_id(info.bucket, info.key, info.version_id, info.etag, info.last_modified)
    if info.version_id or not info.last_modified.microsecond:
        return (exact,)
    whole_second = info.last_modified.replace(microsecond=0)
    return (exact, object_id(info.bucket, info.key, "", info.etag, whole_second))


def oldest_first(newest_first_by_key: Iterable[ObjectInfo]) -> list[ObjectInfo]:
    """Order a listing by modification time; versions of a key that share a second by their place in it."""
    # The sort is stable: what shares a second stays in the turned order.
    turned = list(newest_first_by_key)[::-1]
    return sorted(turned, key=lambda info: info.last_modified)


def _compare(
    session: Session, listing: Iterator[ObjectInfo], missing: dict[uuid.UUID, ObjectRef]
) -> tuple[int, list[ObjectInfo]]:
    """Return how many versions are listed and which the ledger lacks; strike the others from `missing`."""
    listed, unknown = 0, []
    versions = (info for info in listing if not info.is_delete_marker and not info.key.endswith("/"))
    while chunk := list(islice(versions, CHUNK_VERSIONS)):
        listed += len(chunk)
        ids_of = {id(info): identities(info) for info in chunk}
        known = _known(session, [identity for ids in ids_of.values() for identity in ids])
        unknown += [info for info in chunk if known.isdisjoint(ids_of[id(info)])]
        for identity in known:
            missing.pop(identity, None)
    return listed, unknown


def _known(session: Session, ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    found = session.rows("SELECT object_id FROM bronze.ingestion_metadata WHERE object_id = ANY(%s)", (list(ids),))
    session.commit()  # a listing may take minutes, a transaction must not
    return {row[0] for row in found}


def _enter(session: Session, catalog: Catalog, store: ObjectStore, bus: EventBus, info: ObjectInfo) -> bool:
    ref = ObjectRef(bucket=info.bucket, key=info.key, version_id=info.version_id)
    try:
        found = register(session, store, catalog, ref, "sweep")
    except (ValueError, TypeError, OverflowError) as error:  # one odd object must not hide the others
        session.rollback()
        fields = {"action": "register_failed", "object_key": info.key, "reason": str(error)}
        log.exception("An object cannot be registered.", extra=fields)
        return False
    if found is None or not found.is_new:
        return False
    if found.status == "registered":
        announce(session, bus, ref)
    return True


def _forget(session: Session, store: ObjectStore, identity: uuid.UUID, ref: ObjectRef) -> bool:
    """Close an unfinished object that the listing did not show, once the store confirms that it is gone."""
    try:
        info = store.stat(ref.bucket, ref.key, ref.version_id)
    except ObjectGone:
        return close_deleted(session, identity)
    # In an unversioned bucket the key may hold another object by now.
    return identity not in identities(info) and not ref.version_id and close_deleted(session, identity)


def _announce_objects(session: Session, bus: EventBus, refs: Sequence[ObjectRef]) -> int:
    now = database_now(session)
    for ref in refs:
        bus.publish(BRONZE_READY, ref.key, bronze_ready(ref, now))
    return len(refs)


def _announce_changes(session: Session, bus: EventBus, overdue: Sequence[unfinished.OverdueChange]) -> int:
    """Announce change sets to gold; where the lake lacks one, its object to silver, which writes it there."""
    now = database_now(session)
    for one in overdue:
        bus.publish(SILVER_READY, one.change.dataset, silver_ready(one.change, now))
        if one.unexported:
            bus.publish(BRONZE_READY, one.unexported.key, bronze_ready(one.unexported, now))
    return len(overdue)
