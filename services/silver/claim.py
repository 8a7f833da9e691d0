"""Claims: one worker an object at a time, and none that a dead or frozen worker could keep.

A claim is an advisory lock on the worker's own database session, so that it ends with the session, and a raised
`epoch` in the ledger, so that a holder who was thought dead cannot finish what another has taken over.
"""

import time
import uuid
from dataclasses import dataclass
from datetime import datetime

from services.silver.deaths import WorkersDied, died, is_death
from services.silver.job import Counts, FileRead, ObjectVersion
from services.silver.state import lock_key
from shared.errors import ClaimLost
from shared.locks import end_silent_holder, holder_silence_seconds
from shared.ports import Prepared, Row, Session
from shared.session import UNSYNCED
from shared.settings import Settings

CLAIMABLE = ("registered", "processing", "failed")

# Its commit need not wait for the disk: what loses it is a crash of the server, which ends the claim's session with it.
_CLAIM = """
    UPDATE bronze.ingestion_metadata
    SET status = 'processing', attempts = attempts + %(attempts)s, epoch = epoch + 1, worker_id = %(worker_id)s,
        started_at = clock_timestamp(), finished_at = NULL
    WHERE object_id = %(object_id)s
    """
_CLAIMED = """
    object_id, dataset, bucket, object_key, version_id, etag, size_bytes, content_sha256, landed_at, version,
    write_disposition, attempts, epoch, is_approved, request, is_withdrawn, started_at
    """
# Nearly always an object waits for whoever comes first; then lock and claim are one statement.
_CLAIM_WAITING = Prepared(f"""
    WITH lock AS MATERIALIZED (SELECT pg_try_advisory_lock(%(lock)s) AS is_taken),
    claimed AS (
        {_CLAIM} AND (SELECT is_taken FROM lock) AND status = 'registered'
            AND (is_approved OR landed_at <= clock_timestamp() + make_interval(secs => %(tolerance)s))
        RETURNING {_CLAIMED})
    SELECT lock.is_taken, claimed.* FROM lock LEFT JOIN claimed ON true
    """)

_FINISH = Prepared(
    """
    UPDATE bronze.ingestion_metadata SET
        status = coalesce(completed_as, %(status)s), completed_as = coalesce(completed_as, %(status)s),
        request = NULL, is_withdrawn = false, error_message = NULL, finished_at = clock_timestamp(),
        content_sha256 = coalesce(content_sha256, %(sha256)s), file_header = coalesce(file_header, %(header)s),
        rows_read = coalesce(rows_read, %(read)s), rows_inserted = coalesce(rows_inserted, %(inserted)s),
        rows_updated = coalesce(rows_updated, %(updated)s), rows_unchanged = coalesce(rows_unchanged, %(unchanged)s),
        rows_deleted = coalesce(rows_deleted, %(deleted)s),
        rows_quarantined = coalesce(rows_quarantined, %(quarantined)s),
        rows_duplicate = coalesce(rows_duplicate, %(duplicate)s),
        rows_superseded = coalesce(rows_superseded, %(superseded)s),
        rows_discarded = coalesce(rows_discarded, %(discarded)s),
        data_quality_score = coalesce(data_quality_score, %(score)s)
    WHERE object_id = %(object_id)s AND epoch = %(epoch)s AND status = 'processing'
    """
)

_LOOK_SECONDS = 0.2  # between two looks at a holder whose heartbeat is late
_END_SECONDS_MAX = 5.0  # for the server to end the session of one that is silent


@dataclass(frozen=True)
class Claim:
    """The right to process one object version."""

    obj: ObjectVersion
    lock: int
    started_at: datetime  # by the database's clock


def claim(session: Session, settings: Settings, object_id: uuid.UUID, worker_id: str) -> Claim | None:
    """Claim an object and commit; None when it is finished, held, failed for good, or another worker's.

    `attempts` is committed before any work, so that a worker's death counts. An object whose worker died
    `attempts_max` times becomes failed: raises WorkersDied, and the caller commits that with the evidence.
    """
    lock = lock_key(f"object:{object_id}")
    session.later(UNSYNCED)
    is_taken, *claimed = session.at_once(
        _CLAIM_WAITING,
        {
            "lock": lock,
            "attempts": 1,
            "worker_id": worker_id,
            "object_id": object_id,
            "tolerance": settings.future_tolerance_seconds,
        },
    )[0]
    if not is_taken and not _is_taken_over(session, settings, lock):
        return None
    if claimed[0] is None:
        try:
            found = _claim_other(session, settings, object_id, worker_id)
        except WorkersDied:
            session.execute("SELECT pg_advisory_unlock(%s)", (lock,))
            raise
        session.commit()
        if found is None:
            _unlock(session, lock)
            return None
        claimed = list(found)
    *columns, started_at = claimed
    return Claim(ObjectVersion(*columns), lock, started_at)


def _is_taken(session: Session, lock: int) -> bool:
    return bool(session.rows("SELECT pg_try_advisory_lock(%s)", (lock,))[0][0])


def _is_taken_over(session: Session, settings: Settings, lock: int) -> bool:
    """Take a lock from a holder that has fallen silent; one whose heartbeat is late is watched until it comes.

    The broker brings the message of a frozen worker to another one well before its silence counts. Given away then, the
    object would wait for the sweep.
    """
    deadline = time.monotonic() + settings.heartbeat_silence_seconds + _END_SECONDS_MAX
    while time.monotonic() < deadline:
        silence = holder_silence_seconds(session, lock)
        end_silent_holder(session, settings.heartbeat_silence_seconds, lock)
        if _is_taken(session, lock):
            return True
        session.commit()
        if silence < settings.heartbeat_interval_seconds:
            return False
        time.sleep(_LOOK_SECONDS)
    return False


def _claim_other(session: Session, settings: Settings, object_id: uuid.UUID, worker_id: str) -> Row | None:
    found = session.rows(
        "SELECT status, attempts,"
        " landed_at > clock_timestamp() + make_interval(secs => %s) AND NOT is_approved, landed_at"
        " FROM bronze.ingestion_metadata WHERE object_id = %s FOR UPDATE",
        (settings.future_tolerance_seconds, object_id),
    )
    if not found or found[0][0] not in CLAIMABLE:
        return None
    status, attempts, is_future, landed_at = found[0]
    is_given_back = status == "processing" and not is_death(session, object_id)
    if status == "processing" and attempts - is_given_back >= settings.attempts_max:
        _mark(
            session, object_id, "failed",
            f"its worker died {attempts} times while processing it; `medallion dead-letters list` leads to the evidence",
        )  # fmt: skip
        raise died(session, object_id)
    if is_future:
        _mark(
            session, object_id, "held",
            f"it is dated {landed_at:%Y-%m-%d %H:%M:%S} UTC, in the future: check the clock of whoever landed it; "
            f"`medallion approve {object_id}` lets it through",
        )  # fmt: skip
        return None
    parameters = {"attempts": 0 if is_given_back else 1, "worker_id": worker_id, "object_id": object_id}
    return session.rows(f"{UNSYNCED}{_CLAIM} RETURNING {_CLAIMED}", parameters)[0]


def _mark(session: Session, object_id: uuid.UUID, status: str, reason: str) -> None:
    session.execute(
        "UPDATE bronze.ingestion_metadata SET status = %s, error_message = %s, finished_at = clock_timestamp()"
        " WHERE object_id = %s",
        (status, reason, object_id),
    )


def finish(
    session: Session, obj: ObjectVersion, status: str, counts: Counts, score: float | None, file: FileRead
) -> None:
    """Write the object's final state in the transaction of its effects; raises ClaimLost when the epoch moved on.

    Status and row counts are those of the first completion; later passes have their rows in processing_runs.
    """
    touched = session.execute(
        _FINISH,
        {
            **vars(counts),
            "status": status,
            "score": score,
            "sha256": file.sha256,
            "header": list(file.header) or None,
            "object_id": obj.object_id,
            "epoch": obj.epoch,
        },
    )
    if touched != 1:
        raise ClaimLost(f"object {obj.object_id} was taken over by another worker while this one processed it")


def conclude(session: Session, obj: ObjectVersion, status: str, reason: str) -> None:
    """Record a verdict that changes no data (rejected, held, ignored; failed or registered again to be retried); commits.

    An object that once came to its end keeps that status when a later pass is refused, and a withdrawn one that was to be
    taken in again stays withdrawn. What was asked of it stays asked until a pass comes to a verdict: a bug is none.
    """
    given_back = 1 if status == "registered" else 0
    is_open = status in ("registered", "failed")
    if not is_open:
        # Its orphans cannot be freed by another pass like this one; a backfill by hand finds them again.
        session.execute("DELETE FROM silver.orphans WHERE object_id = %s", (obj.object_id,))
    session.execute(
        """
        UPDATE bronze.ingestion_metadata
        SET status = CASE WHEN %s THEN %s WHEN is_withdrawn THEN 'ignored' ELSE coalesce(completed_as, %s) END,
            error_message = %s, attempts = attempts - %s,
            request = CASE WHEN %s THEN request END,
            finished_at = CASE WHEN %s = 'registered' THEN NULL ELSE clock_timestamp() END
        WHERE object_id = %s AND epoch = %s AND status = 'processing'
        """,
        (is_open, status, status, reason, given_back, is_open, status, obj.object_id, obj.epoch),
    )
    session.commit()


def release(session: Session, held: Claim) -> None:
    """Give the lock back; the state was written before, and what an interruption left half done is undone."""
    session.rollback()
    _unlock(session, held.lock)


def _unlock(session: Session, lock: int) -> None:
    session.at_once("SELECT pg_advisory_unlock(%s)", (lock,))
