"""What is kept of failures that nobody foresaw, so that other objects go on: dead letters, and the brake's count of them."""

import logging

from services.silver.announce import Sending
from services.silver.deaths import WorkersDied
from services.silver.job import ObjectVersion
from shared.deadletters import bury
from shared.events import ObjectRef
from shared.metrics import DEAD_LETTERS, Metrics
from shared.ports import EventBus, Session
from shared.settings import BRONZE_READY, SILVER_READY
from shared.stops import Brake, of_event, of_object

log = logging.getLogger("silver")


class Evidence:
    """The way of a worker's unforeseen failures to the dead letters and to its brake; each of its methods commits."""

    def __init__(self, bus: EventBus, brake: Brake, metrics: Metrics) -> None:
        self._bus, self._brake, self._metrics = bus, brake, metrics

    def keep_event(self, session: Session, raw: bytes, error: Exception) -> None:
        """Keep an event that nobody can act on."""
        session.rollback()
        bury(session, self._bus, BRONZE_READY, raw, error)
        self._metrics.count(DEAD_LETTERS, BRONZE_READY)
        self._brake.failed(session, of_event(raw, error))
        log.error("An event cannot be acted on.", extra={"action": "dead_letter", "reason": str(error)})

    def keep_failure(self, session: Session, obj: ObjectVersion, error: Exception) -> None:
        """Keep the exception that an object met; that it failed is the caller's to record."""
        ref = ObjectRef(bucket=obj.bucket, key=obj.object_key, version_id=obj.version_id)
        bury(session, self._bus, BRONZE_READY, ref.model_dump_json().encode(), error, obj.dataset, obj.object_id)
        self._metrics.count(DEAD_LETTERS, BRONZE_READY)
        self._brake.failed(session, of_object(obj.object_id, obj.dataset, error))
        fields = {"action": "failed", "key": obj.object_key}
        log.error("An object met an error that was not foreseen.", extra=fields, exc_info=error)

    def keep_deaths(self, session: Session, death: WorkersDied) -> None:
        """Keep what is known of an object that one worker after the other died on, with the verdict not yet committed."""
        payload = death.ref.model_dump_json().encode()
        bury(session, self._bus, BRONZE_READY, payload, death, death.dataset, death.object_id, death.evidence)
        self._metrics.count(DEAD_LETTERS, BRONZE_READY)
        log.error("An object's workers died.", extra={"action": "failed", "key": death.ref.key})

    def keep_unannounced(self, session: Session, sending: Sending, error: Exception) -> None:
        """Keep the exception that a committed change set met on its way to gold and to the lake."""
        session.rollback()
        bury(session, self._bus, SILVER_READY, sending.event, error, sending.dataset, sending.object_id)
        self._metrics.count(DEAD_LETTERS, SILVER_READY)
        self._brake.failed(session, of_object(sending.object_id, sending.dataset, error))
        fields = {"action": "not_announced", "dataset": sending.dataset, "reason": str(error)}
        log.error("A change set could not be announced or exported; the sweep tries again.", extra=fields)
