"""What silver does with the objects that messages speak of: claim → pass (`passes.py`) → verdict.

An event is a hint that an object may need work. What is done with the object is decided and recorded in the ledger;
announcing comes after the commit and may be repeated, by this worker or by the sweep.
"""

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Protocol

from services.silver.ahead import READ_BYTES_MAX, Ahead
from services.silver.announce import Announcer
from services.silver.claim import Claim, claim, conclude, release
from services.silver.columns import NoTable
from services.silver.deaths import WorkersDied, give_back
from services.silver.evidence import Evidence
from services.silver.job import Held, ObjectVersion
from services.silver.passes import Passes, Unclaimed
from services.silver.removal import needing_no_bytes, note_removal
from services.silver.runs import Run, record_run
from services.silver.scratch import Scratch
from services.silver.state import older_registered_snapshots
from services.silver.withdraw import NotWithdrawn
from shared.catalog import Catalog
from shared.errors import (
    ClaimLost,
    ObjectDamaged,
    ObjectGone,
    Rejected,
    Unavailable,
    UndecodableEvent,
)
from shared.events import ObjectRef, read_bronze_ready
from shared.failpoints import hit
from shared.landing import database_now
from shared.ledger import FINISHED, register
from shared.metrics import NO_METRICS, OBJECTS, Metrics
from shared.ports import EventBus, ObjectStore, Session, Warehouse
from shared.session import KeptSession
from shared.settings import BRONZE_BUCKET, Settings
from shared.stops import Brake

log = logging.getLogger("silver")

MOMENT_SECONDS = 1.0  # after which messages are acknowledged before more are begun


class Worker(Protocol):
    """Who works, as the heartbeat tells the others."""

    @property
    def worker_id(self) -> str:
        """The worker's name, unique to this start of the process."""
        ...

    def working_on(self, object_id: uuid.UUID | None, backend_pid: int | None = None) -> None:
        """Say which object is being worked on, and on which database session."""
        ...


class SilverService:
    """One silver worker: its session, its engine, its way through an object."""

    def __init__(
        self,
        warehouse: Warehouse,
        store: ObjectStore,
        bus: EventBus,
        catalog: Catalog,
        settings: Settings,
        worker: Worker,
        gold_models: Callable[[str], Sequence[str]],
        metrics: Metrics = NO_METRICS,
        say_stopped: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self._store, self._catalog, self._settings = store, catalog, settings
        self._worker, self._metrics = worker, metrics
        self._kept = KeptSession(warehouse, f"silver-{worker.worker_id}")
        self._brake = Brake(warehouse, settings, "silver", worker.worker_id, say_stopped)
        self._evidence = Evidence(bus, self._brake, metrics)
        self._broken_off: set[uuid.UUID] = set()  # objects whose attempt ended with the session, and not with us
        self._seen: set[ObjectRef] = set()  # by the messages at hand
        self._finished: list[uuid.UUID] = []  # objects that they speak of and that were done before
        self._own = Scratch(settings.data_dir / "scratch")
        self._scratch = self._own.folder
        self._ahead = Ahead(store, catalog, settings, self._scratch, worker.worker_id)
        silence_seconds = settings.heartbeat_silence_seconds
        self._announcer = Announcer(store, bus, catalog, self._scratch, worker.worker_id, silence_seconds)
        self._passes = Passes(
            store, bus, catalog, settings, worker.worker_id, gold_models, metrics, self._scratch, self._ahead,
            self._announcer,
        )  # fmt: skip

    def handle(self, messages: Sequence[bytes]) -> int:
        """Deal with the first of the messages of bronze-ready that have come, for a moment; return how many they were.

        Raises Unavailable only, when a server is away.
        """
        self._brake.wait()
        until, handled = time.monotonic() + MOMENT_SECONDS, 0
        self._seen, self._finished = set(), []
        try:
            with self._kept.use() as session:
                self._ahead.look(session, messages)
                for raw in messages:
                    goes_on = self._act_on(session, raw)
                    handled += 1
                    if not goes_on or time.monotonic() > until:
                        break
            self._ahead.dealt_with(handled)
            with self._kept.use() as session:
                self._announcer.repeat(session, self._finished)
                self._settle(session)
        except Unavailable:
            self._ahead.give_up()
            raise
        return handled

    def _act_on(self, session: Session, raw: bytes) -> bool:
        """Deal with one message; say whether the next one can be dealt with on the same session."""
        try:
            for ref in read_bronze_ready(raw):
                self._look_at(session, ref)
            session.rollback()  # nothing is open any more, were it only for reading
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  an event that nobody can act on must not stop the others
            self._evidence.keep_event(session, raw, error)
            self._kept.close()  # who knows what it still holds
            return False
        return not self._brake.is_on

    def _look_at(self, session: Session, ref: ObjectRef) -> None:
        """Register the object an event speaks of, and process it unless that is done."""
        if ref.bucket != BRONZE_BUCKET:
            raise UndecodableEvent(f"bucket {ref.bucket} holds no files to load; correct its notification")

        if ref.is_removal:
            note_removal(session, self._store, ref)
            return
        if ref.version_id and ref in self._seen:
            return  # announced twice, as it was before a moment
        self._seen.add(ref)
        for waiting in needing_no_bytes(session, ref):
            self._process(session, waiting)
        found = self._ahead.found(session, ref) or register(session, self._store, self._catalog, ref, "event")
        if found is None:
            log.info("Under an announced key there is nothing to load.", extra={"action": "gone", "key": ref.key})
        elif found.status not in FINISHED:
            if self._ahead.may_have_snapshots(found.dataset):
                for older in older_registered_snapshots(
                    session, found.object_id, self._skips_superseded(found.dataset)
                ):
                    self._process(session, older)
            self._process(session, found.object_id)
        else:
            self._finished.append(found.object_id)

    def _skips_superseded(self, dataset: str | None) -> bool:
        declared = self._catalog.datasets.get(dataset or "")
        return declared is not None and declared.skip_superseded

    def close(self) -> None:
        """Begin nothing more beside the messages, so that the process can end."""
        self._ahead.close()
        self._announcer.close()

    def process(self, session: Session, object_id: uuid.UUID) -> str | None:
        """Take one object through silver; return its status, None if it is finished or another worker's."""
        status = self._process(session, object_id)
        self._settle(session)
        return status

    def _process(self, session: Session, object_id: uuid.UUID) -> str | None:
        if self._broken_off:
            give_back(session, self._broken_off, self._worker.worker_id)
            self._broken_off.clear()
        # Said before the claim: a worker frozen right after it must be known as the lock's holder.
        self._worker.working_on(object_id, session.backend_pid)
        try:
            held = claim(session, self._settings, object_id, self._worker.worker_id)
            if held is None:
                return None
            status = self._load(session, held)
            self._metrics.count(OBJECTS, held.obj.dataset, status)
            if status in ("done", "superseded"):
                self._brake.succeeded()
            return status
        except WorkersDied as death:
            self._evidence.keep_deaths(session, death)
            self._metrics.count(OBJECTS, death.dataset, "failed")
            return "failed"
        except Unavailable:
            session.rollback()
            self._broken_off.add(object_id)
            raise
        finally:
            self._worker.working_on(None, session.backend_pid)  # named on: the next claim may be a moment away

    def _load(self, session: Session, held: Claim) -> str:
        """Load a claimed object; whatever happens to it is in the ledger before this returns."""
        obj = held.obj
        try:
            hit("silver.claimed")
            if obj.size_bytes > READ_BYTES_MAX or obj.request:
                self._settle(session)  # what was merged before does not wait for it
            return self._passes.over(session, held)
        except (Rejected, Held, ObjectGone, ObjectDamaged, Unclaimed, NoTable, NotWithdrawn) as verdict:
            session.rollback()
            status = {Held: "held", ObjectGone: "ignored", Unclaimed: "ignored", NoTable: "ignored"}.get(
                type(verdict), "rejected"
            )
            reason = "deleted before it was read" if isinstance(verdict, ObjectGone) else str(verdict)
            record_run(session, Run(obj, self._worker.worker_id, status, reason, None, None, None, held.started_at))
            conclude(session, obj, status, reason)
            fields = {"action": status, "dataset": obj.dataset, "object_id": obj.object_id, "reason": reason}
            log.warning("An object was not loaded.", extra=fields)
            return status
        except ClaimLost as error:
            session.rollback()
            log.warning("A claim was lost.", extra={"action": "claim_lost", "reason": str(error)})
            return "registered"
        except Unavailable:
            session.rollback()
            conclude(session, obj, "registered", "a server was not available; it will be tried again")
            raise
        except Exception as error:  # noqa: BLE001  a bug of ours: keep the evidence, and let the other objects go on
            session.rollback()
            self._fail(session, obj, error)
            return "failed"
        finally:
            release(session, held)

    def _fail(self, session: Session, obj: ObjectVersion, error: Exception) -> None:
        """Mark an object failed, with a dead letter."""
        self._evidence.keep_failure(session, obj, error)
        reason = f"unexpected {type(error).__name__}: {error}"
        record_run(session, Run(obj, self._worker.worker_id, "failed", reason, None, None, None, database_now(session)))
        conclude(session, obj, "failed", reason)

    def _settle(self, session: Session) -> None:
        """Wait until gold knows and the lake has what was merged; what met an error becomes a dead letter."""
        for sending, error in self._announcer.settle(session):
            self._evidence.keep_unannounced(session, sending, error)
