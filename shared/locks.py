"""Locks that outlive the patience of others: a frozen process keeps what it holds, whatever timeouts the server has."""

from shared.ports import Session


def end_silent_holder(session: Session, silence_seconds: float, lock: int) -> None:
    """End the database session of whoever holds an advisory lock but has not sent a heartbeat for too long.

    `lock` is the 64-bit key. Only ending the backend frees the locks of a process that stands still.
    """
    session.rows(
        """
        SELECT pg_terminate_backend(l.pid)
        FROM pg_locks l JOIN bronze.workers w ON w.backend_pid = l.pid JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
          AND ((l.classid::bigint << 32) | l.objid::bigint) = %s
          AND w.heartbeat_at < clock_timestamp() - make_interval(secs => %s)
          AND w.heartbeat_at > a.backend_start  -- process ids come back: an old row may carry a new session's
        """,
        (lock, silence_seconds),
    )
