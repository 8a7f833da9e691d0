"""Dead letters of gold's failures: one row each, however often the sweep announces the change sets."""

import logging

from shared.deadletters import bury
from shared.ports import EventBus, Session
from shared.settings import SILVER_READY

log = logging.getLogger(__name__)


def bury_once(session: Session, bus: EventBus, raw: bytes, error: Exception, dataset: str | None) -> None:
    """Keep an event and the error that it met; the same error again on the dataset is an attempt."""
    log.warning("An event became a dead letter.", extra={"action": "dead_letter", "reason": str(error)})
    again = session.execute(
        """
        UPDATE bronze.dead_letters SET attempts = attempts + 1
        WHERE topic = %s AND dataset IS NOT DISTINCT FROM %s AND status = 'open' AND split_part(reason, chr(10), 1) = %s
        """,
        # The first line says what went wrong; PostgreSQL's next ones quote the row with its time.
        (SILVER_READY, dataset, f"{type(error).__name__}: {error}".split("\n", 1)[0]),
    )
    session.commit()
    if not again:
        bury(session, bus, SILVER_READY, raw, error, dataset)
