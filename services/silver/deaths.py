"""Attempts that came to no end: a worker that died on its object, or one that lives and only lost its session.

`attempts` is committed before the work starts. Whoever claims an object that is still `processing` finds such an attempt,
and keeps what is known of it. An attempt that ended because PostgreSQL went away is no death, and is given back.
"""

import uuid
from collections.abc import Collection
from datetime import datetime

from shared.errors import MedallionError
from shared.events import ObjectRef
from shared.ports import Session

DEATHS_SHOWN_MAX = 20
DEATHS_REMEMBERED_SECONDS = 3600.0  # by workers that start; whoever restarts them waits less


class WorkersDied(MedallionError):
    """One worker after the other died while it processed the object."""

    def __init__(self, ref: ObjectRef, dataset: str, object_id: uuid.UUID, evidence: str) -> None:
        super().__init__("one worker after the other died while processing the object")
        self.ref, self.dataset, self.object_id, self.evidence = ref, dataset, object_id, evidence


def is_death(session: Session, object_id: uuid.UUID) -> bool:
    """Say whether an unfinished attempt ended with its worker; a server that was started since then ended it itself.

    The caller has the object's row of the ledger locked. Of a death it keeps what is known in bronze.deaths.
    """
    return bool(
        session.execute(
            """
            INSERT INTO bronze.deaths (object_id, epoch, worker_id, host, pid, heartbeat_at, claimed_at)
            SELECT m.object_id, m.epoch, m.worker_id, w.host, w.pid, w.heartbeat_at, m.started_at
            FROM bronze.ingestion_metadata m LEFT JOIN bronze.workers w USING (worker_id)
            WHERE m.object_id = %s AND m.started_at >= pg_postmaster_start_time()
            ON CONFLICT DO NOTHING
            """,
            (object_id,),
        )
    )


def died(session: Session, object_id: uuid.UUID) -> WorkersDied:
    """Return the error that tells of all deaths on an object that are known, oldest first."""
    dataset, bucket, key, version_id, size_bytes = session.rows(
        "SELECT dataset, bucket, object_key, version_id, size_bytes FROM bronze.ingestion_metadata WHERE object_id = %s",
        (object_id,),
    )[0]
    deaths = session.rows(
        "SELECT epoch, worker_id, host, pid, claimed_at, heartbeat_at, found_at FROM bronze.deaths"
        " WHERE object_id = %s ORDER BY epoch DESC LIMIT %s",
        (object_id, DEATHS_SHOWN_MAX),
    )
    lines = [f"The object has {size_bytes:,} bytes. Its claims that ended with the death or silence of their worker:"]
    lines += [_line(*death) for death in reversed(deaths)]
    return WorkersDied(ObjectRef(bucket=bucket, key=key, version_id=version_id), dataset, object_id, "\n".join(lines))


def may_follow_a_death(session: Session, worker_id: str) -> bool:
    """Say whether another silver worker may have died not long before this one started; commits.

    One that lives gives a sign of it soon after; one that was stopped has said so.
    """
    found = session.rows(
        """
        SELECT EXISTS (
            SELECT FROM bronze.workers other
            WHERE other.service = me.service AND other.worker_id <> me.worker_id AND other.stopped_at IS NULL
              AND other.heartbeat_at BETWEEN me.started_at - make_interval(secs => %s) AND me.started_at)
        FROM bronze.workers me WHERE me.worker_id = %s
        """,
        (DEATHS_REMEMBERED_SECONDS, worker_id),
    )
    session.commit()
    return not found or bool(found[0][0])


def _line(
    epoch: int,
    worker_id: str | None,
    host: str | None,
    pid: int | None,
    claimed_at: datetime | None,
    heartbeat_at: datetime | None,
    found_at: datetime,
) -> str:
    place = f" (host {host}, pid {pid})" if pid else ""
    return (
        f"claim {epoch}: by {worker_id}{place} at {_moment(claimed_at)}, last sign of life {_moment(heartbeat_at)}, "
        f"found dead {_moment(found_at)}"
    )


def _moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "unknown"


def give_back(session: Session, object_ids: Collection[uuid.UUID], worker_id: str) -> None:
    """Undo the attempts of a worker that lost its session and lives: PostgreSQL went away, not the worker; commits.

    An object that another worker has claimed since is left alone.
    """
    session.execute(
        """
        UPDATE bronze.ingestion_metadata
        SET status = 'registered', attempts = attempts - 1,
            error_message = 'PostgreSQL went away while it was processed; it will be tried again'
        WHERE object_id = ANY(%s) AND worker_id = %s AND status = 'processing'
        """,
        (list(object_ids), worker_id),
    )
    session.commit()
