"""Tell silver of objects that it should look at; the sweep does it when the broker is away."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.cli.output import remark
from shared.errors import Unavailable

if TYPE_CHECKING:
    from services.cli.connect import Stack
    from shared.events import ObjectRef
    from shared.ports import EventBus, Session


def announce_one(session: "Session", bus: "EventBus", ref: "ObjectRef") -> bool:
    """Send the event; False when the broker is away, which the sweep makes good."""
    from shared.events import bronze_ready
    from shared.landing import database_now
    from shared.settings import BRONZE_READY

    try:
        bus.publish(BRONZE_READY, ref.key, bronze_ready(ref, database_now(session)))
    except Unavailable:
        return False
    return True


def announce(stack: "Stack", session: "Session", refs: Sequence["ObjectRef"]) -> None:
    """Send an event for each object, and say so when the broker is away."""
    from shared.adapters.kafka import KafkaBus

    bus = KafkaBus(stack.settings.kafka_bootstrap_servers)
    try:
        if not all(announce_one(session, bus, ref) for ref in refs):  # ends at the first that fails
            remark("Kafka is away: the request is on record, and the next sweep announces it.")
    finally:
        bus.close()
