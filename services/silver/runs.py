"""The history of passes over objects."""

from dataclasses import dataclass
from datetime import datetime

from services.silver.job import Counts, ObjectVersion
from shared.metrics import MERGE_SECONDS, READ_SECONDS, ROWS, Metrics
from shared.ports import Prepared, Session

VERDICTS = ("inserted", "updated", "unchanged", "deleted", "quarantined", "duplicate", "superseded", "discarded")


_RECORD = Prepared(
    """
    INSERT INTO bronze.processing_runs (object_id, dataset, kind, worker_id, outcome, error_message,
        rows_read, rows_inserted, rows_updated, rows_unchanged, rows_deleted, rows_quarantined, rows_duplicate,
        rows_superseded, rows_discarded, rows_rewritten, read_seconds, merge_seconds, started_at, finished_at)
    VALUES (%(object_id)s, %(dataset)s, %(kind)s, %(worker_id)s, %(outcome)s, %(error)s,
        %(read)s, %(inserted)s, %(updated)s, %(unchanged)s, %(deleted)s, %(quarantined)s, %(duplicate)s,
        %(superseded)s, %(discarded)s, %(rewritten)s, %(read_seconds)s, %(merge_seconds)s, %(started_at)s,
        clock_timestamp())
    """
)


@dataclass(frozen=True)
class Run:
    """One pass over an object."""

    obj: ObjectVersion
    worker_id: str
    outcome: str
    error_message: str | None
    counts: Counts | None
    read_seconds: float | None
    merge_seconds: float | None
    started_at: datetime


def record_run(session: Session, run: Run) -> None:
    """Write one row of history in the session's transaction."""
    counts = vars(run.counts) if run.counts else dict.fromkeys(vars(Counts()))
    session.later(
        _RECORD,
        {
            **counts,
            "object_id": run.obj.object_id,
            "dataset": run.obj.dataset,
            "kind": run.obj.request or ("first" if run.obj.attempts == 1 else "retry"),
            "worker_id": run.worker_id,
            "outcome": run.outcome,
            "error": run.error_message,
            "read_seconds": run.read_seconds,
            "merge_seconds": run.merge_seconds,
            "started_at": run.started_at,
        },
    )


def rows_said(run: Run) -> dict[str, int]:
    """Return the counts worth a place in a line of the log."""
    counts = run.counts or Counts()
    return {
        "rows": counts.read,
        "inserted": counts.inserted,
        "updated": counts.updated,
        "deleted": counts.deleted,
        "quarantined": counts.quarantined,
    }


def measure_run(metrics: Metrics, run: Run) -> None:
    """Tell the metrics what a pass that loaded its object did, and how long it took."""
    counts = vars(run.counts) if run.counts else {}
    for verdict in VERDICTS:
        if counts.get(verdict):
            metrics.count(ROWS, run.obj.dataset, verdict, amount=counts[verdict])
    for metric, seconds in ((READ_SECONDS, run.read_seconds), (MERGE_SECONDS, run.merge_seconds)):
        if seconds is not None:
            metrics.observe(metric, run.obj.dataset, seconds=seconds)
