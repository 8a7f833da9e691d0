"""Alerts: what is wrong, and the messages that tell people so. Pure; how they are sent is shared/adapters/channels.py.

Troubles of one kind are told together: ten rejected files are one message.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

Severity = Literal["warn", "error"]
Status = Literal["open", "recovered", "test"]

LINES_MAX = 20  # of a message; more troubles are counted
LINE_CHARACTERS_MAX = 400

# One of a kind, and several: the words after their number.
KINDS: Mapping[str, tuple[str, str]] = {
    "expectation": ("dataset is not as expected", "things are not as expected"),
    "stale": ("dataset is stale", "datasets are stale"),
    "rejected": ("file was rejected", "files were rejected"),
    "held": ("file is held", "files are held"),
    "failed": ("object failed", "objects failed"),
    "dead_letter": ("dead letter", "dead letters"),
    "stopped": ("worker has stopped", "workers have stopped"),
    "stalled": ("worker is silent", "workers are silent"),
    "server": ("server is away", "servers are away"),
}


@dataclass(frozen=True)
class Trouble:
    """Something that is wrong now."""

    kind: str
    subject: str  # which of its kind
    dataset: str | None
    severity: str
    message: str


@dataclass(frozen=True)
class Message:
    """What people are told, on every channel alike."""

    message_id: uuid.UUID
    kind: str
    status: str
    severity: str
    title: str
    lines: tuple[str, ...]
    troubles: int

    @property
    def text(self) -> str:
        """Title and lines as plain text."""
        return "\n".join((self.title, *(f"- {line}" for line in self.lines)))

    def as_json(self) -> dict[str, Any]:
        """Return the message as webhooks get it; `text` is what chat servers show."""
        return {
            "text": self.text, "message_id": str(self.message_id), "kind": self.kind, "status": self.status,
            "severity": self.severity, "title": self.title, "lines": list(self.lines), "troubles": self.troubles,
        }  # fmt: skip


class Channel(Protocol):
    """A way to people. Raises NotDelivered, in bounded time."""

    def send(self, message: Message) -> None:
        """Hand a message over."""
        ...


class NotDelivered(Exception):
    """A channel did not take the message; the text never holds an address or a password."""


def message_from(kept: Mapping[str, Any]) -> Message:
    """Return a message from its JSON."""
    return Message(
        message_id=uuid.UUID(kept["message_id"]),
        kind=kept["kind"],
        status=kept["status"],
        severity=kept["severity"],
        title=kept["title"],
        lines=tuple(kept["lines"]),
        troubles=kept["troubles"],
    )


def compose(kind: str, status: Status, troubles: Sequence[Trouble]) -> Message:
    """Return one message about troubles of one kind."""
    one, several = KINDS[kind]
    what = f"1 {one}" if len(troubles) == 1 else f"{len(troubles):,} {several}"
    names = sorted({trouble.dataset for trouble in troubles if trouble.dataset})
    of = f" ({', '.join(names[:5])}{', …' if len(names) > 5 else ''})" if names else ""
    lines = [_line(trouble.message) for trouble in troubles[:LINES_MAX]]
    if len(troubles) > LINES_MAX:
        lines.append(f"… and {len(troubles) - LINES_MAX:,} more")
    severity = "error" if any(trouble.severity == "error" for trouble in troubles) else "warn"
    over = "over: " if status == "recovered" else ""
    title = f"medallion: {over}{what}{of}"
    return Message(uuid.uuid4(), kind, status, severity, title, tuple(lines), len(troubles))


def test_message(host: str, now: datetime) -> Message:
    """Return a message that says it is a test."""
    line = f"sent by `medallion alerts test` on {host}, {now:%Y-%m-%d %H:%M:%S} UTC"
    return Message(uuid.uuid4(), "test", "test", "warn", "medallion: this is a test", (line,), 0)


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LINE_CHARACTERS_MAX else f"{line[: LINE_CHARACTERS_MAX - 1]}…"


def is_told(severity: str, severity_min: Severity) -> bool:
    """Say whether troubles of a severity are to be told."""
    return severity == "error" or severity_min == "warn"


def pause_seconds(attempts: int, retry_seconds: float, timeout_seconds: float) -> float:
    """Return how long nobody tries a delivery again after so many attempts: it doubles, up to ten minutes.

    It outlasts an attempt under way, so that no two ingestors send the same at once.
    """
    return max(2 * timeout_seconds, min(600.0, retry_seconds * 2.0 ** min(attempts - 1, 10)))
