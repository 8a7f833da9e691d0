"""Locks that outlive the patience of others: a frozen process keeps what it holds, whatever timeouts the server has."""

from shared.ports import Session


def end_silent_holder(session: Session, silence_seconds: float, lock: int) -> None:
    """End the database session of whoever holds an advisory lock but has not sent a heartbeat for too long.

    `lock` is the 64-bit key. Only ending the backend frees the locks of a process that stands still. A session that no
    heartbeat names (its process was frozen before it could say so) is ended once the server has waited for so long for
    its next word: a live worker would have named it by then, and whoever runs a statement is not waited for.
    """
    session.rows(
        """
        SELECT pg_terminate_backend(l.pid)
        FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
          AND ((l.classid::bigint << 32) | l.objid::bigint) = %(lock)s
          AND NOT EXISTS (
              SELECT FROM bronze.workers w
              WHERE w.backend_pid = l.pid AND w.heartbeat_at >= clock_timestamp() - make_interval(secs => %(silence)s))
          AND (
              EXISTS (  -- process ids come back: an old row may carry a new session's
                  SELECT FROM bronze.workers w WHERE w.backend_pid = l.pid AND w.heartbeat_at > a.backend_start)
              OR a.wait_event_type = 'Client' AND a.state_change < clock_timestamp() - make_interval(secs => %(silence)s))
        """,
        {"lock": lock, "silence": silence_seconds},
    )


def holder_silence_seconds(session: Session, lock: int) -> float:
    """Return how long ago the holder of an advisory lock gave a sign of life; 0 where nobody holds it.

    That is its last heartbeat, or for a session that no heartbeat names the last word that the server waits to follow.
    """
    found = session.rows(
        """
        SELECT extract(epoch FROM clock_timestamp() - coalesce(
            max(w.heartbeat_at), max(a.state_change) FILTER (WHERE a.wait_event_type = 'Client')))::float8
        FROM pg_locks l
        JOIN pg_stat_activity a ON a.pid = l.pid
        LEFT JOIN bronze.workers w ON w.backend_pid = l.pid AND w.heartbeat_at > a.backend_start
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
          AND ((l.classid::bigint << 32) | l.objid::bigint) = %s
        """,
        (lock,),
    )
    return float(found[0][0] or 0)
