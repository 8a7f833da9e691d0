"""Announcing an object: the event that makes silver look now, and the note in the ledger that it was sent."""

from shared.events import ObjectRef, bronze_ready
from shared.landing import database_now
from shared.ports import EventBus, Session
from shared.settings import BRONZE_READY


def announce(session: Session, bus: EventBus, ref: ObjectRef) -> None:
    """Publish bronze-ready for an object version and note it; commits.

    Raises Unavailable when the broker does not take it: then nothing is noted, and the next sweep announces it.
    """
    bus.publish(BRONZE_READY, ref.key, bronze_ready(ref, database_now(session)))
    session.execute(
        "UPDATE bronze.ingestion_metadata SET announced_at = clock_timestamp()"
        " WHERE bucket = %s AND object_key = %s AND version_id = %s",
        (ref.bucket, ref.key, ref.version_id),
    )
    session.commit()
