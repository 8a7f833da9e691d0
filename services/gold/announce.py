"""GoldReady: say which models a refresh brought up to date. The event's id follows from what it says."""

from collections.abc import Sequence
from datetime import datetime

from services.gold.transaction import Refreshed
from shared.events import GoldRefresh, gold_ready
from shared.failpoints import hit
from shared.models import Models
from shared.ports import EventBus, Session
from shared.settings import GOLD_READY

# What another worker committed a moment ago, it announces itself.
FORGOTTEN_AFTER_SECONDS = 10


def announce(session: Session, bus: EventBus, done: Sequence[Refreshed]) -> None:
    """Publish one gold-ready event for the models of one refresh and note that it went out.

    Raises Unavailable when the broker or PostgreSQL is away; the refresh stands, and may be said twice.
    """
    if not done or done[0].finished_at is None:
        return
    event = GoldRefresh(
        models=[one.model for one in done],
        change_set_ids=sorted({change_set for one in done for change_set in one.change_sets}),
        rows_written={one.model: one.rows_written for one in done},
    )
    bus.publish(GOLD_READY, done[0].model, gold_ready(event, done[0].finished_at))
    hit("gold.published")
    session.execute(
        "UPDATE gold.refreshes SET announced_at = clock_timestamp() WHERE refresh_id = ANY(%s)",
        ([one.refresh_id for one in done],),
    )
    session.commit()


def announce_forgotten(session: Session, bus: EventBus, models: Models) -> int:
    """Publish the events that a crash between commit and announcement left unsaid; return how many."""
    rows = session.rows(
        """
        SELECT model, rows_written, rows_deleted, seconds, change_sets::text[], is_rebuild, refresh_id,
            finished_at
        FROM gold.refreshes
        WHERE model = ANY(%s) AND announced_at IS NULL
            AND finished_at > clock_timestamp() - interval '1 day'
            AND finished_at < clock_timestamp() - make_interval(secs => %s)
        ORDER BY refresh_id
        """,
        ([m.name for m in models], FORGOTTEN_AFTER_SECONDS),
    )
    session.rollback()
    by_moment: dict[datetime, list[Refreshed]] = {}
    for model, written, deleted, seconds, change_sets, is_rebuild, refresh_id, finished_at in rows:
        one = Refreshed(model, written, deleted, seconds, tuple(change_sets), is_rebuild, refresh_id, finished_at)
        by_moment.setdefault(finished_at, []).append(one)
    for done in by_moment.values():
        announce(session, bus, done)
    return len(by_moment)
