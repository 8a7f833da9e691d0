"""The sweep: bucket against ledger, ledger against events. It heals whatever notifications lose.

It lists the bucket in pages and holds one stretch of it at a time. Stretches that the sweep before knew as a whole are not
asked about, and where the bucket is large most sweeps leave past days out (`folders.py`); every so often everything is
listed and asked about, in case the ledger lost something (a restored backup) or somebody added to a past day unannounced.
"""

import logging
import time
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date

from services.ingestor import unfinished
from services.ingestor.folders import PastDays, day_folder, without
from services.ingestor.stretches import Memory, digest, stretches
from shared.catalog import Catalog
from shared.described import ListedTogether, describe
from shared.errors import ObjectGone
from shared.events import ObjectRef, bronze_ready, silver_ready
from shared.landing import database_now
from shared.ledger import close_deleted, enter, release_unclaimed
from shared.ports import EventBus, ObjectInfo, ObjectStore, Session, Warehouse
from shared.settings import BRONZE_BUCKET, BRONZE_READY, SILVER_READY, Settings
from shared.version import object_id

log = logging.getLogger(__name__)

DESCRIBE_THREADS = 6  # they wait for the store, where its listing does not describe objects
ENTER_MAX = 200  # versions that are registered by one statement
_ODD = (ValueError, TypeError, OverflowError)  # what a name or a time that the ledger cannot hold raises


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


class Sweeper:
    """Sweeps again and again, and remembers from one time to the next what needs no second look."""

    def __init__(
        self, settings: Settings, catalog: Catalog, warehouse: Warehouse, store: ObjectStore, bus: EventBus
    ) -> None:
        self._settings, self._catalog, self._warehouse = settings, catalog, warehouse
        self._store, self._bus = store, bus
        self._memory, self._past = Memory(), PastDays()
        self._asked_all_at_seconds = time.monotonic()

    def sweep(self) -> SweepResult:
        """Register and announce what the ledger lacks, announce the unfinished again; raises Unavailable."""
        try:
            return self._sweep()
        finally:
            self._memory.give_up()
            self._past.give_up()

    def _sweep(self) -> SweepResult:
        with self._warehouse.session("ingestor-sweep") as session:
            is_old = time.monotonic() - self._asked_all_at_seconds > self._settings.full_sweep_interval_seconds
            if release_unclaimed(session, self._catalog) or is_old:
                self._memory.clear()
                self._past.clear()
                self._asked_all_at_seconds = time.monotonic()
            missing = unfinished.waiting_objects(session, BRONZE_BUCKET)
            listed, registered = self._list(session, missing)
            gone = sum(_forget(session, self._store, identity, ref) for identity, ref in missing.items())
            announced = _announce_objects(session, self._bus, unfinished.overdue_objects(session, self._settings))
            changes = _announce_changes(session, self._bus, unfinished.overdue_changes(session, self._settings))
        result = SweepResult(listed, registered, announced, gone, changes)
        if result.found_anything:
            log.info("The sweep found work.", extra={"action": "sweep_found", **vars(result)})
        return result

    def _list(self, session: Session, missing: dict[uuid.UUID, ObjectRef]) -> tuple[int, int]:
        """Compare the whole bucket, or what of it may have changed, with the ledger; see _compare."""
        began, today = time.monotonic(), database_now(session).date()
        session.commit()
        if self._past.may_be_left_out(began, self._settings.listing_share_max):
            left_out = self._past.known
            for identity in [one for one, ref in missing.items() if day_folder(ref.key, today) in left_out]:
                del missing[identity]  # whether it is gone, the next listing of the whole bucket shows
            return self._compare(session, missing, without(self._store, BRONZE_BUCKET, left_out), today)
        found = self._compare(session, missing, self._store.versions(BRONZE_BUCKET), today)
        self._memory.finish()
        self._past.finish(began, time.monotonic())
        return found

    def _compare(
        self, session: Session, missing: dict[uuid.UUID, ObjectRef], listing: Iterable[ObjectInfo], today: date
    ) -> tuple[int, int]:
        """Register what the ledger lacks; return how many versions are listed and how many of them were new.

        Strikes what is listed from `missing`.
        """
        listed = registered = 0
        awaited = {ref.key for ref in missing.values()}
        for stretch in stretches(i for i in listing if not i.is_delete_marker and not i.key.endswith("/")):
            listed += len(stretch)
            for identity in (one for info in stretch if info.key in awaited for one in identities(info)):
                missing.pop(identity, None)
            for info in stretch:
                self._past.note(info.key, today)
            name = digest(stretch)
            if self._memory.has(name):
                continue
            unknown = _unknown(session, stretch)
            new = self._enter(oldest_first(unknown))
            registered += new
            if new == len(unknown):
                self._memory.add(name)
            else:  # what cannot be registered is asked about again
                for info in unknown:
                    self._past.spoil(info.key, today)
        return listed, registered

    def _enter(self, infos: Sequence[ObjectInfo]) -> int:
        """Register versions, a group of them at once; return how many the ledger took."""
        if not infos:
            return 0
        listed = ListedTogether(self._store, map(_ref, infos))
        with (
            self._warehouse.session("ingestor-register") as session,
            ThreadPoolExecutor(DESCRIBE_THREADS, "describe") as pool,
        ):
            groups = (infos[start : start + ENTER_MAX] for start in range(0, len(infos), ENTER_MAX))
            return sum(self._enter_group(session, pool, group, listed) for group in groups)

    def _enter_group(
        self, session: Session, pool: ThreadPoolExecutor, infos: Sequence[ObjectInfo], listed: ListedTogether
    ) -> int:
        """Register versions, which are announced with all that is unfinished; return how many are new to the ledger."""
        try:
            found = list(pool.map(lambda info: describe(self._store, _ref(info), listed), infos))
            described = [one for one in found if one]
            return sum(one.is_new for one in enter(session, self._catalog, described, "sweep"))
        except _ODD as error:
            session.rollback()
            if len(infos) > 1:  # one odd object must not hide the others
                return sum(self._enter_group(session, pool, [info], listed) for info in infos)
            fields = {"action": "register_failed", "object_key": infos[0].key, "reason": str(error)}
            log.exception("An object cannot be registered.", extra=fields)
            return 0


def sweep_once(
    settings: Settings, catalog: Catalog, warehouse: Warehouse, store: ObjectStore, bus: EventBus
) -> SweepResult:
    """Sweep without a memory of earlier times; raises Unavailable."""
    return Sweeper(settings, catalog, warehouse, store, bus).sweep()


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


def _unknown(session: Session, stretch: Sequence[ObjectInfo]) -> list[ObjectInfo]:
    ids_of = [identities(info) for info in stretch]
    known = _known(session, [identity for ids in ids_of for identity in ids])
    return [info for info, ids in zip(stretch, ids_of, strict=True) if known.isdisjoint(ids)]


def _known(session: Session, ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    found = session.rows("SELECT object_id FROM bronze.ingestion_metadata WHERE object_id = ANY(%s)", (list(ids),))
    session.commit()  # a listing may take minutes, a transaction must not
    return {row[0] for row in found}


def _ref(info: ObjectInfo) -> ObjectRef:
    return ObjectRef(bucket=info.bucket, key=info.key, version_id=info.version_id)


def _forget(session: Session, store: ObjectStore, identity: uuid.UUID, ref: ObjectRef) -> bool:
    """Close an unfinished object that the listing did not show, once the store confirms that it is gone."""
    try:
        info = store.stat(ref.bucket, ref.key, ref.version_id)
    except ObjectGone:
        return close_deleted(session, identity)
    # In an unversioned bucket the key may hold another object by now.
    return identity not in identities(info) and not ref.version_id and close_deleted(session, identity)


def _announce_objects(session: Session, bus: EventBus, overdue: Sequence[unfinished.OverdueObject]) -> int:
    """Announce objects; return how many of them were announced before."""
    now = database_now(session)
    bus.publish_all(BRONZE_READY, [(one.ref.key, bronze_ready(one.ref, now)) for one in overdue])
    return sum(one.is_repeated for one in overdue)


def _announce_changes(session: Session, bus: EventBus, overdue: Sequence[unfinished.OverdueChange]) -> int:
    """Announce change sets to gold; where the lake lacks one, its object to silver, which writes it there."""
    now = database_now(session)
    bus.publish_all(SILVER_READY, [(one.change.dataset, silver_ready(one.change, now)) for one in overdue])
    unexported = [one.unexported for one in overdue if one.unexported]
    bus.publish_all(BRONZE_READY, [(ref.key, bronze_ready(ref, now)) for ref in unexported])
    return len(overdue)
