"""The dataset's lock and its row in silver.datasets."""

import time
import uuid
from collections.abc import Callable, Collection
from dataclasses import replace

from services.silver.job import Counts, Job, ObjectVersion, State
from shared.dataset import Dataset
from shared.errors import Unavailable
from shared.evolving import taken_names
from shared.ports import Prepared, Session

_SNAPSHOT_POLL_SECONDS = 0.05

_STATE = Prepared("""
SELECT now(), snapshot_version, snapshot_rows, latest_snapshot, rows_live, contract_fingerprint, newest_landed_at,
       EXISTS (SELECT FROM silver.key_facts f WHERE f.dataset = d.dataset),
       EXISTS (SELECT FROM silver.quarantine q WHERE q.dataset = d.dataset AND q.status = 'open'),
       EXISTS (SELECT FROM silver.orphans o WHERE o.parent = d.dataset),
       ARRAY(SELECT e.column_name FROM bronze.evolved_columns e
             JOIN pg_attribute a ON a.attrelid = to_regclass(%s) AND a.attname = e.column_name
             WHERE e.dataset = d.dataset AND NOT a.attisdropped ORDER BY e.column_name)
FROM silver.datasets d WHERE d.dataset = %s
""")
_SAVE = Prepared(
    """
    UPDATE silver.datasets SET
        snapshot_version = CASE WHEN %(clean)s THEN %(version)s ELSE snapshot_version END,
        snapshot_object_id = CASE WHEN %(clean)s THEN %(object_id)s ELSE snapshot_object_id END,
        snapshot_rows = CASE WHEN %(clean)s THEN %(rows)s ELSE snapshot_rows END,
        latest_snapshot = CASE WHEN %(snapshot)s THEN greatest(latest_snapshot, %(version)s) ELSE latest_snapshot END,
        contract_fingerprint = CASE WHEN %(clean)s OR contract_fingerprint IS NULL THEN %(fingerprint)s
                                    ELSE contract_fingerprint END,
        rows_live = rows_live + %(inserted)s - %(deleted)s,
        newest_landed_at = greatest(newest_landed_at, %(landed_at)s),
        updated_at = now()
    WHERE dataset = %(dataset)s
    """
)
_LOCK = Prepared("SELECT silver.lock_dataset(%s, %s)")


def lock_datasets(
    session: Session,
    dataset: str,
    referred: Collection[str],
    timeout_seconds: float,
    end_silent_holder: Callable[[int], None],
) -> None:
    """Take the dataset's lock for the rest of the transaction, and those of datasets it refers to, shared.

    They are taken in the order of their names, so that no two merges wait for each other. Whoever holds one silently
    loses its session. Raises Unavailable when a live holder keeps one for longer than the timeout.
    """
    deadline = time.monotonic() + timeout_seconds
    for name in sorted({dataset, *referred}):
        _lock(session, name, name != dataset, deadline, timeout_seconds, end_silent_holder)


def _lock(
    session: Session,
    dataset: str,
    is_shared: bool,
    deadline: float,
    timeout_seconds: float,
    end_silent_holder: Callable[[int], None],
) -> None:
    key = lock_key(f"dataset:{dataset}")
    while not session.rows(_LOCK, (key, is_shared))[0][0]:
        if time.monotonic() > deadline:
            raise Unavailable(
                f"the lock of dataset {dataset}", f"another worker has held it for {timeout_seconds:.0f} s"
            )
        end_silent_holder(key)


def lock_key(name: str) -> int:
    """Return the 64-bit advisory lock key of a name."""
    return int.from_bytes(uuid.uuid5(uuid.NAMESPACE_OID, name).bytes[:8], "big", signed=True)


def load_state(session: Session, dataset: Dataset) -> State:
    """Read what silver knows of the dataset; the caller holds its lock."""
    found = session.rows(_STATE, (dataset.clean_table, dataset.name))
    if not found:
        session.execute("INSERT INTO silver.datasets (dataset) VALUES (%s)", (dataset.name,))
        found = session.rows(_STATE, (dataset.clean_table, dataset.name))
    state = State(*found[0])
    return replace(state, evolved=tuple(name for name in state.evolved if name not in taken_names(dataset)))


def save_state(job: Job, is_late: bool) -> None:
    """Write what silver knows after the merge."""
    applied_snapshot = job.obj.is_snapshot and not is_late
    is_clean = applied_snapshot and job.is_clean_snapshot
    obj = job.obj
    job.session.later(
        _SAVE,
        {
            "clean": is_clean,
            "snapshot": applied_snapshot,
            "version": obj.version,
            "object_id": obj.object_id,
            "rows": snapshot_rows(job.counts),
            "fingerprint": job.dataset.fingerprint,
            "inserted": job.counts.inserted,
            "deleted": job.counts.deleted,
            "landed_at": obj.landed_at,
            "dataset": obj.dataset,
        },
    )


def snapshot_rows(counts: Counts) -> int:
    """Return how many keys a snapshot holds in good rows."""
    return counts.inserted + counts.updated + counts.unchanged + counts.superseded


def has_new_day(job: Job) -> bool:
    """Say whether the object is the dataset's first of a UTC day, which models of a day must notice."""
    before, now = job.state.newest_landed_at, job.obj.landed_at
    return before is None or now.date() > before.date()


def wait_for_older_snapshots(session: Session, obj: ObjectVersion, wait_seconds: float) -> None:
    """Wait a while for older snapshots that other workers hold, so that history is written in order; commits.

    The end state does not depend on it: a snapshot that comes late is superseded with the same result.
    """
    deadline = time.monotonic() + wait_seconds
    while time.monotonic() < deadline:
        older = older_unfinished_snapshot(session, obj)
        session.commit()
        if older is None or older[1] == "registered":
            return
        time.sleep(_SNAPSHOT_POLL_SECONDS)


def older_unfinished_snapshot(session: Session, obj: ObjectVersion) -> tuple[uuid.UUID, str] | None:
    """Return the oldest unfinished snapshot of the dataset that is older than the object, with its status."""
    rows = session.rows(
        """
        SELECT object_id, status FROM bronze.ingestion_metadata
        WHERE dataset = %s AND write_disposition = 'replace' AND version < %s AND status IN ('registered', 'processing')
        ORDER BY version LIMIT 1
        """,
        (obj.dataset, obj.version),
    )
    return (rows[0][0], rows[0][1]) if rows else None


def older_registered_snapshots(session: Session, object_id: uuid.UUID, skips_superseded: bool) -> list[uuid.UUID]:
    """Return the known snapshots of an object's dataset that are older and wait, oldest first.

    They go first, so that history is written in order. With `skips_superseded` a snapshot does not wait for any.
    """
    rows = session.rows(
        """
        SELECT older.object_id FROM bronze.ingestion_metadata o
        JOIN bronze.ingestion_metadata older ON older.dataset = o.dataset AND older.version < o.version
        WHERE o.object_id = %s AND older.write_disposition = 'replace' AND older.status = 'registered'
          AND NOT (%s AND o.write_disposition = 'replace')
        ORDER BY older.version
        """,
        (object_id, skips_superseded),
    )
    session.commit()
    return [row[0] for row in rows]


def waiting_snapshots(session: Session, datasets: Collection[str]) -> set[str]:
    """Return those of the datasets of which a snapshot waits to be read; commits."""
    rows = session.rows(
        "SELECT DISTINCT dataset FROM bronze.ingestion_metadata"
        " WHERE dataset = ANY(%s) AND write_disposition = 'replace' AND status = 'registered'",
        (list(datasets),),
    )
    session.commit()
    return {row[0] for row in rows}


def is_superseded(session: Session, obj: ObjectVersion) -> bool:
    """Say whether a newer snapshot with readable keys is applied already."""
    rows = session.rows("SELECT snapshot_version FROM silver.datasets WHERE dataset = %s", (obj.dataset,))
    return bool(rows) and rows[0][0] is not None and bool(obj.version < rows[0][0])
