"""Silver's sentence, one pass over a claimed object: read → cast → check → diff → merge → announce."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

from services.silver.ahead import Ahead
from services.silver.announce import Announcer
from services.silver.batchsql import BatchSql
from services.silver.claim import Claim, conclude
from services.silver.columns import expect_tables
from services.silver.job import FileRead, ObjectVersion
from services.silver.load import merge_object, read_object
from services.silver.repeat import NoRepeat, can_repeat
from services.silver.replay import as_merge, read_kept
from services.silver.runs import Run, measure_run, record_run, rows_said
from services.silver.state import is_superseded, wait_for_older_snapshots
from services.silver.withdraw import withdraw
from services.silver.write import keep_statistics
from shared.announce import announce
from shared.catalog import Catalog
from shared.dataset import Dataset
from shared.errors import MedallionError
from shared.failpoints import hit
from shared.metrics import Metrics
from shared.ports import EventBus, ObjectStore, Session
from shared.settings import Settings

log = logging.getLogger("silver")


class Unclaimed(MedallionError):
    """The object's dataset is not declared any more."""


class Passes:
    """What one worker's passes have in common."""

    def __init__(
        self,
        store: ObjectStore,
        bus: EventBus,
        catalog: Catalog,
        settings: Settings,
        worker_id: str,
        gold_models: Callable[[str], Sequence[str]],
        metrics: Metrics,
        scratch: Path,
        ahead: Ahead,
        announcer: Announcer,
    ) -> None:
        self._store, self._bus, self._catalog, self._settings = store, bus, catalog, settings
        self._worker_id, self._gold_models, self._metrics = worker_id, gold_models, metrics
        self._scratch, self._ahead, self._announcer = scratch, ahead, announcer
        self._sql = BatchSql()

    def over(self, session: Session, held: Claim) -> str:
        """Take a claimed object to its end; return its status.

        Raises what speaks against it (see `SilverService._load`), and Unavailable.
        """
        obj, dataset = held.obj, self._catalog.datasets.get(held.obj.dataset)
        if dataset is None:
            raise Unclaimed(
                f"no dataset is called {obj.dataset!r} any more; restore config/datasets/{obj.dataset}.yaml"
            )
        started_at, clock = held.started_at, time.perf_counter()
        expect_tables(session, dataset, obj)
        if obj.request == "withdraw":
            session.commit()
            return self._withdraw(session, dataset, obj, started_at)
        if dataset.skip_superseded and not obj.is_withdrawn and is_superseded(session, obj):
            reason = "a newer snapshot is applied, and skip_superseded says not to read older ones"
            record_run(session, Run(obj, self._worker_id, "superseded", reason, None, None, None, started_at))
            conclude(session, obj, "superseded", reason)
            return "superseded"
        session.commit()
        try:
            run = self._pass(session, dataset, obj, started_at, clock, may_repeat=True)
        except NoRepeat:
            session.rollback()
            run = self._pass(session, dataset, obj, started_at, clock, may_repeat=False)
        measure_run(self._metrics, run)
        log.info(
            "An object was loaded.",
            extra={
                "action": run.outcome, "dataset": obj.dataset, **rows_said(run),
                "seconds": round((run.read_seconds or 0) + (run.merge_seconds or 0), 3),
            },
        )  # fmt: skip
        return run.outcome

    def _withdraw(self, session: Session, dataset: Dataset, obj: ObjectVersion, started_at: datetime) -> str:
        """Rebuild the dataset without an object, commit, announce."""
        models = self._gold_models
        due = withdraw(session, self._store, dataset, obj, self._settings, self._sql, self._scratch, models)
        record_run(session, Run(obj, self._worker_id, "withdrawn", None, None, None, None, started_at))
        session.commit()
        for ref in due:
            announce(session, self._bus, ref)
        self._announcer.repeat(session, [obj.object_id])
        return "ignored"

    def _pass(
        self,
        session: Session,
        dataset: Dataset,
        obj: ObjectVersion,
        started_at: datetime,
        clock: float,
        may_repeat: bool,
    ) -> Run:
        """Read, merge, commit, announce: one pass over an object."""
        with self._reading(session, dataset, obj, may_repeat) as file:
            read_seconds = time.perf_counter() - clock
            hit("silver.read")
            self._let_older_snapshots_go_first(session, obj)
            applied = as_merge(obj) if obj.request == "replay" else obj
            merged = merge_object(session, dataset, applied, file, self._settings, self._sql, self._gold_models)
            seconds = time.perf_counter() - clock - read_seconds
            run = Run(obj, self._worker_id, merged.status, None, merged.counts, read_seconds, seconds, started_at)
            record_run(session, run)
            hit("silver.finished")
            session.commit()
            hit("silver.committed")
            self._announcer.announce(session, obj, merged)
            keep_statistics(merged.job)
        return run

    def _reading(
        self, session: Session, dataset: Dataset, obj: ObjectVersion, may_repeat: bool
    ) -> AbstractContextManager[FileRead]:
        """Open the object as rows: kept ones for a replay, else the file's."""
        if obj.request == "replay":
            return read_kept(session, dataset, as_merge(obj), self._settings, self._sql, self._scratch)

        if (read := self._ahead.read(obj)) is not None:
            return read

        def repeats(sha256: str) -> bool:
            return may_repeat and can_repeat(session, dataset, obj, sha256)

        path = self._scratch / f"{obj.object_id}-{obj.epoch}"
        return read_object(self._store.fetch, dataset, obj.stored, path, self._settings, self._sql, repeats)

    def _let_older_snapshots_go_first(self, session: Session, obj: ObjectVersion) -> None:
        if obj.is_snapshot:
            wait_for_older_snapshots(session, obj, self._settings.snapshot_order_wait_seconds)
