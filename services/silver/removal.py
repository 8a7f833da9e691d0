"""What the object store tells of removals: what was read stays, what was not is set aside at once."""

import logging
import uuid

from services.silver.claim import CLAIMABLE
from shared.errors import ObjectGone
from shared.events import ObjectRef
from shared.ledger import close_deleted
from shared.ports import ObjectStore, Session

log = logging.getLogger("silver")


def note_removal(session: Session, store: ObjectStore, ref: ObjectRef) -> None:
    """Close an announced removal's object if nobody has read it, rather than leave that to the next sweep; commits.

    A delete marker takes no version away and so changes nothing: the versions under it are still read.
    """
    waiting = session.rows(
        "SELECT object_id FROM bronze.ingestion_metadata WHERE bucket = %s AND object_key = %s AND version_id = %s"
        " AND status IN ('registered', 'held', 'failed')",
        (ref.bucket, ref.key, ref.version_id),
    )
    session.commit()
    closed = 0
    if waiting and _is_gone(store, ref):
        closed = sum(close_deleted(session, object_id) for (object_id,) in waiting)
    fields = {"action": "removal_noted", "key": ref.key, "version_id": ref.version_id, "closed": closed}
    log.info("An object was removed from the bucket.", extra=fields)


def needing_no_bytes(session: Session, ref: ObjectRef) -> list[uuid.UUID]:
    """Return the objects of an unversioned key that wait for what needs no bytes; commits.

    Under the key there may lie another object by now, or none.
    """
    if ref.version_id:
        return []
    found = session.rows(
        "SELECT object_id FROM bronze.ingestion_metadata WHERE bucket = %s AND object_key = %s AND version_id = ''"
        " AND request IN ('withdraw', 'replay') AND status = ANY(%s) ORDER BY version",
        (ref.bucket, ref.key, list(CLAIMABLE)),
    )
    session.commit()
    return [object_id for (object_id,) in found]


def _is_gone(store: ObjectStore, ref: ObjectRef) -> bool:
    try:
        store.stat(ref.bucket, ref.key, ref.version_id)
    except ObjectGone:
        return True
    return False  # another object has the key by now, or the event is wrong
