"""Dead letters: what could not be understood or met a bug, kept whole with the reason."""

import traceback
import uuid

from shared.ports import Session


def bury(
    session: Session,
    topic: str,
    payload: bytes,
    error: BaseException,
    dataset: str | None = None,
    object_id: uuid.UUID | None = None,
) -> None:
    """Keep a payload with the error that it met; commits."""
    session.execute(
        """
        INSERT INTO bronze.dead_letters (topic, payload, reason, traceback, dataset, object_id)
        VALUES (%s, %s, %s, %s, %s, %s)
        """,
        (
            topic,
            payload.decode("utf-8", "backslashreplace").replace("\x00", "\\x00"),
            f"{type(error).__name__}: {error}".replace("\x00", "\\x00"),
            "".join(traceback.format_exception(error)).replace("\x00", "\\x00"),
            dataset,
            object_id,
        ),
    )
    session.commit()
