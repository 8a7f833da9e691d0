"""What the object store tells of removals: what was read stays, what was not is set aside at once."""

import logging

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


def _is_gone(store: ObjectStore, ref: ObjectRef) -> bool:
    try:
        store.stat(ref.bucket, ref.key, ref.version_id)
    except ObjectGone:
        return True
    return False  # another object has the key by now, or the event is wrong
