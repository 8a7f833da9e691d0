"""Is this process alive, and can it work? What `/health/live` and `/health/ready` answer, and what it rests on.

Every server is checked in a thread of its own, so that one which is away, or takes requests without ever
answering, hides nothing about the others.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.errors import Unavailable

log = logging.getLogger(__name__)

CHECK_SECONDS = 3.0  # between two checks of a server that answers
AWAY_CHECK_SECONDS = 1.0  # of one that does not: its return should show soon
ANSWER_SECONDS_MAX = 5.0  # a check that takes longer counts as no answer

Check = Callable[[], object]  # raises when the server is not there


@dataclass(frozen=True)
class Server:
    """What the checks of one server came to."""

    name: str
    away_since: datetime | None  # None: it answered the last check
    reason: str = ""

    @property
    def sentence(self) -> str:
        """Say in one line that it cannot be reached, and why."""
        return f"{self.name} cannot be reached: {self.reason}"


@dataclass(frozen=True)
class Report:
    """What a service knows of itself at one moment."""

    service: str
    started_at: datetime
    servers: tuple[Server, ...]
    last_progress_at: datetime | None = None  # a message handled, a poll or sweep finished
    stopped: str | None = None  # why it works no more until somebody says so

    @property
    def is_ready(self) -> bool:
        """Whether it can take work now."""
        return self.stopped is None and all(server.away_since is None for server in self.servers)

    @property
    def problems(self) -> list[str]:
        """What keeps it from working, one line each."""
        away = [server.sentence for server in self.servers if server.away_since]
        return [*away, *([f"stopped: {self.stopped}"] if self.stopped else [])]


def after_check(before: Server, at: datetime, error: str | None) -> Server:
    """Return what is known of a server after a check; an outage keeps the moment it was first seen."""
    if error is None:
        return Server(before.name, None)
    return Server(before.name, before.away_since or at, error)


def while_checking(before: Server, began_at: datetime | None, now: datetime) -> Server:
    """Return what is known of a server while a check may be under way: silence for too long is absence."""
    if began_at is None or now - began_at <= timedelta(seconds=ANSWER_SECONDS_MAX):
        return before
    silent = f"it has not answered for {(now - began_at).total_seconds():.0f} s"
    return replace(before, away_since=before.away_since or began_at, reason=silent)


def as_json(report: Report) -> dict[str, Any]:
    """Return a report as `/health/ready` prints it."""
    return {
        "service": report.service,
        "status": "ready" if report.is_ready else "not ready",
        "problems": report.problems,
        "servers": {
            one.name: {"is_reachable": one.away_since is None, "away_since": _text(one.away_since)}
            for one in report.servers
        },
        "started_at": _text(report.started_at),
        "last_progress_at": _text(report.last_progress_at),
        "stopped": report.stopped,
    }


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None


def reason_of(error: Exception) -> str:
    """Return why a check failed, as one line of bounded length."""
    text = str(error)
    if isinstance(error, Unavailable):
        text = text.removeprefix(f"{error.server} is not available: ")
    text = " ".join(text.split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:199]}…"


class ServerWatch:
    """A thread that checks one server again and again."""

    def __init__(self, name: str, check: Check) -> None:
        self._check = check
        self._server = Server(name, datetime.now(UTC), "it was not checked yet")
        self._began_at: datetime | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"check {name}", daemon=True)

    def start(self) -> None:
        """Check in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Start no further check; one under way ends with the process."""
        self._stop.set()

    @property
    def server(self) -> Server:
        """What is known now."""
        return while_checking(self._server, self._began_at, datetime.now(UTC))

    def look(self) -> Server:
        """Check once and return what is known then."""
        self._began_at = datetime.now(UTC)
        try:
            self._check()
            error = None
        except Exception as raised:  # noqa: BLE001 - whatever it is, the server is of no use now
            error = reason_of(raised)
        self._began_at, before = None, self._server
        self._server = after_check(before, datetime.now(UTC), error)
        return self._server

    def _run(self) -> None:
        was_away = False
        while not self._stop.is_set():
            server = self.look()
            if (server.away_since is not None) != was_away:
                was_away = not was_away
                _say(server)
            self._stop.wait(AWAY_CHECK_SECONDS if was_away else CHECK_SECONDS)


def _say(server: Server) -> None:
    if server.away_since is None:
        log.warning("A server is back.", extra={"action": "server_back", "server": server.name})
    else:
        fields = {"action": "server_away", "server": server.name, "reason": server.reason}
        log.warning("A server is away.", extra=fields)


class Health:
    """What a service tells of itself; safe to share between threads."""

    def __init__(self, service: str, checks: Mapping[str, Check]) -> None:
        self._service, self._started_at = service, datetime.now(UTC)
        self._watches = [ServerWatch(name, check) for name, check in checks.items()]
        self._last_progress_at: datetime | None = None
        self._stopped: str | None = None

    def start(self) -> None:
        """Begin to check the servers."""
        for watch in self._watches:
            watch.start()

    def stop(self) -> None:
        """Check no more."""
        for watch in self._watches:
            watch.stop()

    def progressed(self) -> None:
        """Note that a piece of work was finished."""
        self._last_progress_at = datetime.now(UTC)

    def say_stopped(self, reason: str | None) -> None:
        """Be unready until told otherwise (None): somebody has to look first."""
        self._stopped = reason

    def is_reachable(self, server: str) -> bool:
        """Say whether a server answers, as far as is known; False for one that is not checked."""
        return any(watch.server.name == server and watch.server.away_since is None for watch in self._watches)

    def report(self) -> Report:
        """Return what is known now."""
        servers = tuple(watch.server for watch in self._watches)
        return Report(self._service, self._started_at, servers, self._last_progress_at, self._stopped)


def look_once(checks: Mapping[str, Check]) -> Sequence[Server]:
    """Check every server once, all at the same time, and return what is known after at most a few seconds."""
    watches = [ServerWatch(name, check) for name, check in checks.items()]
    threads = [threading.Thread(target=watch.look, daemon=True) for watch in watches]
    for thread in threads:
        thread.start()
    deadline = datetime.now(UTC) + timedelta(seconds=ANSWER_SECONDS_MAX)
    for thread in threads:
        thread.join(max((deadline - datetime.now(UTC)).total_seconds(), 0))
    return [
        replace(watch.server, reason=f"it has not answered for {ANSWER_SECONDS_MAX:.0f} s") if thread.is_alive()
        else watch.server
        for watch, thread in zip(watches, threads, strict=True)
    ]  # fmt: skip
