"""The watchdog: a consumer that has work and does nothing ends itself, and its supervisor starts it afresh.

Kafka clients are known to fall silent for good without an error. Whether one has is a decision over what is
seen of it from outside; it must never hit a worker that is busy, has nothing to do, or waits for a server.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

log = logging.getLogger(__name__)

LOOK_SECONDS_MIN, LOOK_SECONDS_MAX = 0.5, 5.0

# Exit status of a consumer to which the broker gives no partition although there is work.
NO_PARTITIONS: Final = 4


@dataclass(frozen=True)
class Backlog:
    """What a consumer could be doing."""

    lag: int  # messages on its partitions that nobody has acknowledged
    overdue: int  # what its ledger says should long be done, and nobody is at

    @property
    def sentence(self) -> str:
        """Say what waits."""
        return f"{self.lag} unacknowledged message(s) on its partitions, {self.overdue} overdue in the ledger"


@dataclass(frozen=True)
class Look:
    """What is seen of a consumer at one moment."""

    at_seconds: float  # on a clock that only goes forward
    handled: int  # messages since the process started
    is_busy: bool  # a message is being handled, however long that takes
    backlog: Backlog | None  # None: a server that would know is away


@dataclass(frozen=True)
class Watch:
    """What the watchdog remembers from one look to the next."""

    last: Look
    still_since_seconds: float | None = None  # since when there is work and nothing moves


def after_look(before: Watch, look: Look, limit_seconds: float) -> Watch:
    """Return what is remembered after a look: any reason for standing still, or any move, starts anew.

    So does a long gap between two looks: then it was this process that was frozen.
    """
    has_work = look.backlog is not None and (look.backlog.lag > 0 or look.backlog.overdue > 0)
    is_still = has_work and not look.is_busy and look.handled == before.last.handled
    was_away = look.at_seconds - before.last.at_seconds > limit_seconds / 2
    if not is_still or was_away:
        return Watch(look)
    since = before.still_since_seconds
    return Watch(look, look.at_seconds if since is None else since)


def is_stuck(watch: Watch, limit_seconds: float) -> bool:
    """Say whether a consumer had work and did nothing for so long that it will not recover by itself."""
    since = watch.still_since_seconds
    return since is not None and watch.last.at_seconds - since >= limit_seconds


def look_interval_seconds(limit_seconds: float) -> float:
    """Return the pause between two looks: several within the limit."""
    return min(max(limit_seconds / 8, LOOK_SECONDS_MIN), LOOK_SECONDS_MAX)


class Watchdog:
    """A thread that looks at a consumer again and again, and calls `bite` once it is stuck."""

    def __init__(self, limit_seconds: float, look: Callable[[], Look], bite: Callable[[str], None]) -> None:
        self._limit_seconds, self._look, self._bite = limit_seconds, look, bite
        self._stop = threading.Event()
        # A thread, not a task: a client that blocks the event loop is found, too.
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Look in the background; a limit of 0 switches the watchdog off."""
        if self._limit_seconds > 0:
            self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    def _run(self) -> None:
        watch: Watch | None = None
        while not self._stop.wait(look_interval_seconds(self._limit_seconds)):
            try:
                look = self._look()
            except Exception:  # a watchdog that dies of what it sees guards nothing
                log.exception("The watchdog could not look.", extra={"action": "watchdog_failed"})
                continue
            watch = after_look(watch, look, self._limit_seconds) if watch else Watch(look)
            if is_stuck(watch, self._limit_seconds) and not self._stop.is_set():
                assert watch.last.backlog is not None
                self._bite(watch.last.backlog.sentence)
                return
