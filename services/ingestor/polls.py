"""The record of polls, bronze.polls: what was asked, what came of it, what the next poll can build on."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from services.ingestor.sources import Previous
from shared.ports import Session

Outcome = Literal["landed", "unchanged", "failed"]


@dataclass(frozen=True)
class Poll:
    """One poll of one source, as recorded."""

    dataset: str
    source_url: str
    started_at: datetime
    outcome: Outcome
    attempts: int
    http_status: int | None = None
    etag: str | None = None
    last_modified: str | None = None
    content_sha256: str | None = None
    size_bytes: int | None = None
    object_key: str | None = None
    error_message: str | None = None


def previous_poll(session: Session, dataset: str, source_url: str) -> Previous:
    """Return what the last successful poll of a source left behind."""
    found = session.rows(
        """
        SELECT etag, last_modified, content_sha256,
            (SELECT count(*) FROM bronze.polls since
             WHERE since.dataset = last.dataset AND since.source_url = last.source_url
               AND since.poll_id > coalesce((SELECT max(poll_id) FROM bronze.polls
                 WHERE dataset = last.dataset AND source_url = last.source_url
                   AND outcome <> 'failed' AND size_bytes IS NOT NULL), 0))
        FROM bronze.polls last
        WHERE dataset = %s AND source_url = %s AND outcome <> 'failed'
        ORDER BY poll_id DESC LIMIT 1
        """,
        (dataset, source_url),
    )
    return Previous(*found[0]) if found else Previous()


def record_poll(session: Session, poll: Poll) -> None:
    """Add a poll to the record; the caller commits."""
    session.execute(
        """
        INSERT INTO bronze.polls (dataset, source_url, started_at, finished_at, outcome, http_status,
            attempts, etag, last_modified, content_sha256, size_bytes, object_key, error_message)
        VALUES (%s, %s, %s, clock_timestamp(), %s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        (
            poll.dataset, poll.source_url, poll.started_at, poll.outcome, poll.http_status, poll.attempts,
            poll.etag, poll.last_modified, poll.content_sha256, poll.size_bytes, poll.object_key,
            poll.error_message,
        ),
    )  # fmt: skip
