"""What the refreshes of tables and of materialized views share: the locked transaction and its record."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from shared.locks import end_silent_holder
from shared.ports import Session

# Sorts and hashes of a rebuild stay in memory; compiling queries would take longer than running them; the
# pages of a few days are in memory, where an index costs no seek (a restated day of COVID: 40 ms, not 65).
_SETTINGS = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "SET LOCAL jit = off",
    "SET LOCAL work_mem = '64MB'",
    "SET LOCAL random_page_cost = 1.1",
)

_KEY = "hashtextextended('gold.' || model, 0)"
_LOCK_POLL_SECONDS = 0.05
SILENCE_SECONDS = 15.0  # the default of MEDALLION_HEARTBEAT_SILENCE_SECONDS, for those who run no worker


@dataclass(frozen=True)
class Refreshed:
    """What one refresh of one model did."""

    model: str
    rows_written: int
    rows_deleted: int
    seconds: float
    change_sets: tuple[str, ...]
    is_rebuild: bool
    refresh_id: int = 0
    finished_at: datetime | None = None  # the database's clock; the same for all tables of one transaction


@contextmanager
def locked(session: Session, names: Sequence[str], silence_seconds: float = SILENCE_SECONDS) -> Iterator[None]:
    """Hold the models' locks around one transaction that sees all that was committed before they came.

    They are taken in the order of names, so that workers cannot deadlock, and by the session, not inside the
    transaction: a REPEATABLE READ transaction that waits would go on with a picture from before its wait. Whoever
    holds one and has been silent for too long loses its session.
    """
    try:
        for name in sorted(names):
            _lock(session, name, silence_seconds)
        for setting in _SETTINGS:
            session.execute(setting)
        yield
    finally:
        session.rollback()
        session.rows(f"SELECT pg_advisory_unlock({_KEY}) FROM unnest(%s) AS model", (list(names),))
        session.commit()


def _lock(session: Session, name: str, silence_seconds: float) -> None:
    """Wait for a model's lock, however long a live worker holds it."""
    attempt = f"SELECT pg_try_advisory_lock({_KEY}), {_KEY} FROM (SELECT %s::text AS model) AS one"
    while True:
        is_ours, key = session.rows(attempt, (name,))[0]
        session.commit()
        if is_ours:
            return
        end_silent_holder(session, silence_seconds, key)
        session.commit()
        time.sleep(_LOCK_POLL_SECONDS)


def recorded(session: Session, done: Sequence[Refreshed]) -> list[Refreshed]:
    """Write gold.refreshes, with one moment for all, by which an announcement finds them after a crash."""
    moment: datetime = session.rows("SELECT clock_timestamp()")[0][0]
    kept = []
    for one in done:
        refresh_id = session.rows(
            """
            INSERT INTO gold.refreshes
                (model, is_rebuild, change_sets, rows_written, rows_deleted, seconds, finished_at)
            VALUES (%s, %s, %s::uuid[], %s, %s, %s, %s)
            RETURNING refresh_id
            """,
            (
                one.model,
                one.is_rebuild,
                list(one.change_sets),
                one.rows_written,
                one.rows_deleted,
                one.seconds,
                moment,
            ),
        )[0][0]
        kept.append(replace(one, refresh_id=refresh_id, finished_at=moment))
    return kept
