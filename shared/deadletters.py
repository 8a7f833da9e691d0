"""Dead letters: what could not be understood or met a bug, kept whole with the reason, and announced."""

import logging
import traceback
import uuid

from shared.errors import Unavailable
from shared.events import DeadLetter, dead_letter
from shared.ports import EventBus, Session
from shared.settings import DEAD_LETTERS

log = logging.getLogger(__name__)


def bury(
    session: Session,
    bus: EventBus,
    topic: str,
    payload: bytes,
    error: BaseException,
    dataset: str | None = None,
    object_id: uuid.UUID | None = None,
    evidence: str | None = None,
) -> None:
    """Keep a payload with the error that it met; commits, then says so on the topic of dead letters.

    `evidence` stands in for a traceback where there is none.

    The table is the truth: a broker that is away costs the event, not the letter. An object that meets the same
    error again has one letter with one more attempt, and is not announced again.
    """
    reason = f"{type(error).__name__}: {error}".replace("\x00", "\\x00")
    if object_id is not None and _met_again(session, object_id, reason, evidence):
        return
    dead_letter_id, created_at = session.rows(
        """
        INSERT INTO bronze.dead_letters (topic, payload, reason, traceback, dataset, object_id)
        VALUES (%s, %s, %s, %s, %s, %s)
        RETURNING dead_letter_id, created_at
        """,
        (
            topic,
            payload.decode("utf-8", "backslashreplace").replace("\x00", "\\x00"),
            reason,
            evidence or "".join(traceback.format_exception(error)).replace("\x00", "\\x00"),
            dataset,
            object_id,
        ),
    )[0]
    session.commit()
    letter = DeadLetter(
        dead_letter_id=dead_letter_id,
        topic=topic,
        reason=reason,
        dataset=dataset,
        object_id=str(object_id) if object_id else None,
    )
    try:
        bus.publish(DEAD_LETTERS, topic, dead_letter(letter, created_at))
    except Unavailable as away:
        fields = {"action": "dead_letter_unsaid", "dead_letter_id": dead_letter_id, "reason": str(away)}
        log.warning("A dead letter is kept, but could not be announced.", extra=fields)


def _met_again(session: Session, object_id: uuid.UUID, reason: str, evidence: str | None) -> bool:
    """Count one more attempt on an object's open letter with this error; say whether there was one; commits."""
    again = session.execute(
        """
        UPDATE bronze.dead_letters SET attempts = attempts + 1, traceback = coalesce(%s, traceback)
        WHERE object_id = %s AND status = 'open' AND split_part(reason, chr(10), 1) = %s
        """,
        # The first line says what went wrong; PostgreSQL's next ones may quote a row with its time.
        (evidence, object_id, reason.split("\n", 1)[0]),
    )
    session.commit()
    return bool(again)
