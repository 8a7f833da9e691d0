"""Dead letters of gold: events that nobody can read and failures that nobody expected."""

import logging
import traceback

from shared.ports import Session
from shared.settings import SILVER_READY

log = logging.getLogger(__name__)


def write_dead_letter(session: Session, raw: bytes, error: Exception, dataset: str | None) -> None:
    """Record an event (empty where none is to blame) and why it failed; the same again is an attempt."""
    payload = raw.decode("utf-8", "backslashreplace").replace("\0", "\\x00")
    reason = f"{type(error).__name__}: {error}"
    again = session.execute(
        """
        UPDATE bronze.dead_letters SET attempts = attempts + 1
        WHERE topic = %s AND payload = %s AND reason = %s AND status = 'open'
        """,
        (SILVER_READY, payload, reason),
    )
    if not again:
        session.execute(
            """
            INSERT INTO bronze.dead_letters (topic, payload, reason, traceback, dataset)
            VALUES (%s, %s, %s, %s, %s)
            """,
            (SILVER_READY, payload, reason, "".join(traceback.format_exception(error)), dataset),
        )
    session.commit()
    log.warning("An event became a dead letter.", extra={"action": "dead_letter", "reason": reason})
