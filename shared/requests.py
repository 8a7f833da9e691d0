"""What people ask of objects in the ledger; silver executes it like any other work.

A request puts finished or held objects back to `registered`. Announcing them is the caller's, and the sweep's.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime

from shared.errors import ConfigurationError
from shared.events import ObjectRef
from shared.ports import Session

WITHDRAWN_UNREAD = "withdrawn while it had no part in silver; `medallion withdraw --undo` takes it in again"


def backfill(session: Session, dataset: str, since: datetime | None = None) -> list[ObjectRef]:
    """Ask for every object of a dataset that took effect, landed at `since` or later, to be run again; commits.

    History is kept and the end state is the same, unless the contract has changed. Returns the objects, oldest first.
    """
    return _requested(
        session,
        """
        UPDATE bronze.ingestion_metadata SET status = 'registered', request = 'backfill', attempts = 0, epoch = epoch + 1
        WHERE dataset = %s AND status IN ('done', 'superseded') AND landed_at >= coalesce(%s, '-infinity'::timestamptz)
        RETURNING version, bucket, object_key, version_id
        """,
        (dataset, since),
    )


def approve(session: Session, object_id: uuid.UUID) -> list[ObjectRef]:
    """Let a held object through; commits. Raises ConfigurationError when it is not held."""
    refs = _requested(
        session,
        """
        UPDATE bronze.ingestion_metadata SET status = 'registered', is_approved = true, error_message = NULL
        WHERE object_id = %s AND status = 'held'
        RETURNING version, bucket, object_key, version_id
        """,
        (object_id,),
    )
    if not refs:
        found = session.rows("SELECT status FROM bronze.ingestion_metadata WHERE object_id = %s", (object_id,))
        state = f"it is {found[0][0]}" if found else "the ledger does not know it"
        raise ConfigurationError(f"object {object_id} is not held: {state}. `medallion status` lists the held ones")
    return refs


def withdraw(session: Session, object_id: uuid.UUID) -> list[ObjectRef]:
    """Take an object back; commits. Returns it if silver has to rebuild what it had a part in, else nothing is left to do.

    Raises ConfigurationError when a worker is at it, or nobody knows it.
    """
    found = session.rows(
        """
        UPDATE bronze.ingestion_metadata
        SET status = CASE WHEN has_part THEN 'registered' ELSE 'ignored' END,
            request = CASE WHEN has_part THEN 'withdraw' END,
            is_withdrawn = NOT has_part, attempts = 0, epoch = epoch + 1,
            error_message = CASE WHEN NOT has_part THEN %s END,
            finished_at = CASE WHEN NOT has_part THEN clock_timestamp() END
        FROM (SELECT object_id AS id, completed_as IS NOT NULL AND NOT is_withdrawn AS has_part
              FROM bronze.ingestion_metadata WHERE object_id = %s FOR UPDATE) AS found
        WHERE object_id = found.id AND dataset IS NOT NULL
          AND status IN ('done', 'superseded', 'registered', 'held', 'failed', 'rejected')
        RETURNING bucket, object_key, version_id, request
        """,
        (WITHDRAWN_UNREAD, object_id),
    )
    session.commit()
    if not found:
        raise ConfigurationError(f"object {object_id} cannot be withdrawn: {_state_of(session, object_id)}")
    return [ObjectRef(bucket=row[0], key=row[1], version_id=row[2]) for row in found if row[3]]


def take_in_again(session: Session, object_id: uuid.UUID) -> list[ObjectRef]:
    """Undo a withdrawal: the object is loaded again, by its own version; commits. Raises ConfigurationError.

    One that took effect before stays withdrawn until that pass has committed.
    """
    refs = _requested(
        session,
        """
        UPDATE bronze.ingestion_metadata
        SET status = 'registered', request = CASE WHEN completed_as IS NOT NULL THEN 'backfill' END,
            is_withdrawn = completed_as IS NOT NULL, is_approved = true, attempts = 0, epoch = epoch + 1,
            error_message = NULL, finished_at = NULL
        WHERE object_id = %s AND is_withdrawn AND status = 'ignored'
        RETURNING version, bucket, object_key, version_id
        """,
        (object_id,),
    )
    if not refs:
        raise ConfigurationError(f"object {object_id} is not withdrawn: {_state_of(session, object_id)}")
    return refs


def _state_of(session: Session, object_id: uuid.UUID) -> str:
    found = session.rows(
        "SELECT status, is_withdrawn FROM bronze.ingestion_metadata WHERE object_id = %s", (object_id,)
    )
    session.commit()
    if not found:
        return "the ledger does not know it"
    status, is_withdrawn = found[0]
    return "it is withdrawn already" if is_withdrawn and status == "ignored" else f"it is {status}"


def try_again(session: Session, object_ids: Sequence[uuid.UUID]) -> list[ObjectRef]:
    """Let failed objects be tried again at once instead of after their pause; commits; return them, oldest first."""
    return _requested(
        session,
        """
        UPDATE bronze.ingestion_metadata SET status = 'registered', finished_at = NULL
        WHERE object_id = ANY(%s) AND status = 'failed'
        RETURNING version, bucket, object_key, version_id
        """,
        (list(object_ids),),
    )


# What cannot be replayed from its kept text: bytes that text cannot hold, cut records, and rows that a later line beat.
NOT_REPLAYABLE = ("encoding", "nul", "too_long", "duplicate_key")


def replay(
    session: Session, dataset: str | None = None, rule: str | None = None, object_id: uuid.UUID | None = None
) -> tuple[int, list[ObjectRef]]:
    """Ask for open quarantined rows to be cast and checked again with today's contract; commits.

    Returns how many rows are asked for, and their objects, oldest first.
    """
    rows = session.execute(
        """
        UPDATE silver.quarantine SET is_requested = true
        WHERE status = 'open' AND dataset = coalesce(%s, dataset) AND object_id = coalesce(%s, object_id)
          AND (%s::text IS NULL OR reasons @> jsonb_build_array(jsonb_build_object('rule', %s::text)))
          AND NOT EXISTS (SELECT FROM jsonb_array_elements(reasons) r WHERE r->>'rule' = ANY(%s))
        """,
        (dataset, object_id, rule, rule, list(NOT_REPLAYABLE)),
    )
    refs = _requested(
        session,
        """
        UPDATE bronze.ingestion_metadata m SET status = 'registered', attempts = 0, epoch = epoch + 1,
            request = CASE WHEN EXISTS (SELECT FROM silver.orphans o WHERE o.object_id = m.object_id)
                           THEN 'backfill' ELSE 'replay' END
        WHERE status IN ('done', 'superseded')
          AND EXISTS (SELECT FROM silver.quarantine q WHERE q.object_id = m.object_id AND q.is_requested)
        RETURNING version, bucket, object_key, version_id
        """,
        (),
    )
    return rows, refs


def discard(session: Session, quarantine_ids: Sequence[int]) -> int:
    """Set open quarantined rows aside for good; commits; return how many."""
    discarded = session.execute(
        "UPDATE silver.quarantine SET status = 'discarded', closed_at = clock_timestamp()"
        " WHERE status = 'open' AND quarantine_id = ANY(%s)",
        (list(quarantine_ids),),
    )
    session.commit()
    return discarded


def _requested(session: Session, statement: str, params: Sequence[object]) -> list[ObjectRef]:
    rows = sorted(session.rows(statement, params))
    session.commit()
    return [ObjectRef(bucket=bucket, key=key, version_id=version_id) for _, bucket, key, version_id in rows]
