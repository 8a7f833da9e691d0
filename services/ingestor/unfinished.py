"""What the ledger holds that has not come to its end: what to announce again, and when.

An announcement is repeated at growing intervals while the workers make progress (a long backlog must not
double itself), and at the plain interval when they make none (the events may be lost).
"""

import uuid
from dataclasses import dataclass

from shared.events import ObjectRef, SilverChange
from shared.ports import Session
from shared.settings import Settings

ROWS_MAX = 10_000  # announced by one sweep; the next one goes on
GAP_GROWTH_MAX = 10  # the longest interval, in multiples of reannounce_after_seconds
FAILED_PAUSE_SECONDS_MAX = 3600


def waiting_objects(session: Session, bucket: str) -> dict[uuid.UUID, ObjectRef]:
    """Return the objects that nobody is working on and that have not come to their end."""
    found = session.rows(
        """
        SELECT object_id, bucket, object_key, version_id FROM bronze.ingestion_metadata
        WHERE bucket = %s AND status IN ('registered', 'held', 'failed')
        """,
        (bucket,),
    )
    session.commit()
    return {row[0]: ObjectRef(bucket=row[1], key=row[2], version_id=row[3]) for row in found}


@dataclass(frozen=True)
class OverdueObject:
    """An unfinished object to announce."""

    ref: ObjectRef
    is_repeated: bool  # it was announced before


def overdue_objects(session: Session, settings: Settings) -> list[OverdueObject]:
    """Mark unfinished objects that are to be announced, new or again, and return them, oldest first.

    Left out: those whose worker gives signs of life, and rows that a worker's transaction holds locked.
    """
    found = session.rows(
        """
        WITH progress AS (
            SELECT EXISTS (
                SELECT FROM bronze.ingestion_metadata
                WHERE status NOT IN ('registered', 'held', 'failed')
                  AND coalesce(finished_at, started_at) > clock_timestamp() - %(after)s * interval '1 second'
            ) AS is_made
        ), due AS (
            SELECT object_id, announced_at FROM bronze.ingestion_metadata o, progress
            WHERE (
                o.status IN ('registered', 'processing')
                AND coalesce(o.announced_at, '-infinity') < clock_timestamp() - CASE
                    WHEN is_made THEN least(
                        greatest(%(after)s * interval '1 second', o.announced_at - o.registered_at),
                        %(after)s * %(growth)s * interval '1 second')
                    ELSE %(after)s * interval '1 second' END
                OR o.status = 'failed'
                AND coalesce(o.announced_at, o.finished_at) < clock_timestamp() - interval '1 second'
                    * least(%(pause_max)s,
                            %(pause)s * power(2, least(greatest(o.attempts - %(attempts)s, 0), 20)))
            )
            AND NOT EXISTS (
                SELECT FROM bronze.workers w
                WHERE w.object_id = o.object_id AND w.stopped_at IS NULL
                  AND w.heartbeat_at > clock_timestamp() - %(silence)s * interval '1 second'
            )
            ORDER BY o.version LIMIT %(rows)s
            FOR UPDATE OF o SKIP LOCKED
        ), marked AS (
            UPDATE bronze.ingestion_metadata o SET announced_at = clock_timestamp()
            FROM due WHERE o.object_id = due.object_id
            RETURNING o.version, o.bucket, o.object_key, o.version_id, due.announced_at IS NOT NULL AS is_repeated
        )
        SELECT bucket, object_key, version_id, is_repeated FROM marked ORDER BY version
        """,
        {
            "after": settings.reannounce_after_seconds,
            "growth": GAP_GROWTH_MAX,
            "attempts": settings.attempts_max,
            "pause": settings.failed_pause_seconds,
            "pause_max": FAILED_PAUSE_SECONDS_MAX,
            "silence": settings.heartbeat_silence_seconds,
            "rows": ROWS_MAX,
        },
    )
    session.commit()
    return [OverdueObject(ObjectRef(bucket=row[0], key=row[1], version_id=row[2]), row[3]) for row in found]


@dataclass(frozen=True)
class OverdueChange:
    """A change set to announce again, and the object whose worker has yet to write it to the lake."""

    change: SilverChange
    unexported: ObjectRef | None


def overdue_changes(session: Session, settings: Settings) -> list[OverdueChange]:
    """Mark as announced again the change sets not consumed by gold, or never announced or exported."""
    found = session.rows(
        """
        WITH due AS (
            SELECT change_set_id FROM silver.change_sets c
            WHERE coalesce(c.announced_at, c.created_at) < clock_timestamp() - least(
                    greatest(%(after)s * interval '1 second', c.announced_at - c.created_at),
                    %(after)s * %(growth)s * interval '1 second')
              AND (c.announced_at IS NULL OR c.exported_at IS NULL
                   OR EXISTS (SELECT FROM gold.pending p WHERE p.change_set_id = c.change_set_id))
            ORDER BY c.created_at LIMIT %(rows)s
            FOR UPDATE OF c SKIP LOCKED
        ), marked AS (
            UPDATE silver.change_sets c SET announced_at = clock_timestamp()
            FROM due WHERE c.change_set_id = due.change_set_id
            RETURNING c.created_at, c.dataset, c.change_set_id, c.object_id, c.exported_at
        )
        SELECT m.dataset, m.change_set_id, m.object_id, o.bucket, o.object_key, o.version_id
        FROM marked m
        LEFT JOIN bronze.ingestion_metadata o ON o.object_id = m.object_id AND m.exported_at IS NULL
        ORDER BY m.created_at
        """,
        {"after": settings.reannounce_after_seconds, "growth": GAP_GROWTH_MAX, "rows": ROWS_MAX},
    )
    session.commit()
    return [
        OverdueChange(
            SilverChange(dataset=row[0], change_set_id=str(row[1]), object_id=str(row[2]) if row[2] else None),
            ObjectRef(bucket=row[3], key=row[4], version_id=row[5]) if row[3] else None,
        )
        for row in found
    ]
