"""Materialized views: refreshed after their tables, once for many change sets, without blocking readers."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from services.gold.transaction import SILENCE_SECONDS, Refreshed, locked, recorded
from shared.failpoints import hit
from shared.modelfile import Model
from shared.models import Models
from shared.ports import Session

# A view yields to tables that are waiting for this many of its intervals, and no longer: no load starves it.
PATIENCE_INTERVALS = 10


@dataclass(frozen=True)
class Waiting:
    """A materialized view with pending change sets."""

    model: str
    wait_seconds: float  # until the pause since its last refresh is over; 0 when it is due
    is_overdue: bool  # has yielded to tables for long enough


def waiting(session: Session, models: Models, interval_seconds: float) -> list[Waiting]:
    """Return the views that have something to take in, in dependency order; ends the transaction."""
    rows = session.rows(
        """
        SELECT
            pending.model,
            extract(epoch FROM refreshed.finished_at - clock_timestamp())::float8 + %(interval)s,
            extract(epoch FROM clock_timestamp() - pending.since)::float8 > %(patience)s * %(interval)s
        FROM (
            SELECT model, min(created_at) AS since
            FROM gold.pending
            WHERE model = ANY(%(views)s)
            GROUP BY model
        ) AS pending
        LEFT JOIN LATERAL (
            SELECT finished_at
            FROM gold.refreshes
            WHERE model = pending.model
            ORDER BY finished_at DESC
            LIMIT 1
        ) AS refreshed ON true
        """,
        {
            "interval": interval_seconds,
            "patience": PATIENCE_INTERVALS,
            "views": [m.name for m in models.materialized_views],
        },
    )
    session.rollback()
    found = {name: Waiting(name, max(0.0, seconds or 0.0), overdue) for name, seconds, overdue in rows}
    return [found[m.name] for m in models.materialized_views if m.name in found]


def has_table_work(session: Session, models: Models) -> bool:
    """Say whether tables have change sets to take in; ends the transaction."""
    names = [m.name for m in models.tables]
    found = session.rows("SELECT EXISTS (SELECT FROM gold.pending WHERE model = ANY(%s))", (names,))
    session.rollback()
    return bool(found[0][0])


def refresh_view(
    session: Session, models: Models, name: str, silence_seconds: float = SILENCE_SECONDS
) -> Refreshed | None:
    """Refresh a view once for all change sets that its tables have taken in; None where there are none.

    Raises Unavailable when PostgreSQL broke off.
    """
    upstream = [m for m in models.upstream(name) if models[m].kind != "view"]
    with locked(session, [name], silence_seconds):
        taken = session.rows(
            """
            DELETE FROM gold.pending AS view
            WHERE view.model = %s AND NOT EXISTS (
                SELECT FROM gold.pending AS upstream
                WHERE upstream.change_set_id = view.change_set_id AND upstream.model = ANY(%s)
            )
            RETURNING view.change_set_id
            """,
            (name, upstream),
        )
        if not taken:
            return None
        (done,) = recorded(session, [populate(session, models[name], sorted(str(row[0]) for row in taken))])
        hit("gold.view_refreshed")
        session.commit()
    hit("gold.view_committed")
    return done


def populate(session: Session, model: Model, change_sets: Sequence[str]) -> Refreshed:
    """Compute the view within the session's transaction."""
    began = time.monotonic()
    is_populated = session.rows("SELECT relispopulated FROM pg_class WHERE oid = %s::regclass", (model.table,))[0][0]
    how = "CONCURRENTLY " if is_populated else ""  # refused for a view that never held anything
    session.execute(f"REFRESH MATERIALIZED VIEW {how}{model.table}")
    seconds = time.monotonic() - began
    return Refreshed(model.name, 0, 0, seconds, tuple(change_sets), is_rebuild=not change_sets)
