"""Failpoints: places between two steps where a process can be made to fail, so that tests can show what follows.

`MEDALLION_FAILPOINTS` arms them, as `name:action` separated by commas, or as `@path` of a file that says the same and is
read again whenever it changed. A place that nothing is said of does nothing. Actions:

raise          raise an exception that nothing foresees
unavailable    raise Unavailable, as if a server had gone away
exit           end the process at once with status 9, as kill -9 would
stop           stop the process (SIGSTOP) until somebody sends SIGCONT
sleep=SECONDS  take that long
drop=SHARE     bus.publish alone: lose so large a share (0 to 1) of the events
twice=TIMES    bus.publish alone: send each event so many times

`*N` behind an action: at the N-th time the process comes by, and no other.
"""

import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path

from shared.errors import ConfigurationError, Unavailable

VARIABLE = "MEDALLION_FAILPOINTS"
EXIT_STATUS = 9

# Every place there is, in the order in which an object comes by.
POINTS = {
    "ingestor.landed": "the file lies in the bucket; the ledger does not know it",
    "ingestor.registered": "the object is in the ledger; no event was sent",
    "ingestor.announced": "everything is done; the next poll is not planned",
    "silver.claimed": "the claim is committed; nothing is read",
    "silver.fetched": "the object's bytes are in the scratch folder",
    "silver.read": "all rows are cast and checked; no lock is held but the claim",
    "silver.locked": "the dataset's lock is held; nothing is compared",
    "silver.copying": "a COPY is under way: the server has taken a part of its rows",
    "silver.copied": "the rows of one COPY are written, uncommitted",
    "silver.merged": "all rows are written; change set and ledger are not",
    "silver.noted": "the change set and gold's queue are written; the ledger's verdict is not",
    "silver.finished": "everything is written and nothing committed",
    "silver.committed": "committed; gold was not told",
    "silver.published": "gold was told; the change set is not in the lake",
    "silver.exported": "the change set is in the lake; that is not noted",
    "silver.announced": "everything is done; the message is not acknowledged",
    "gold.locked": "the models' locks are held; nothing is taken from the queue",
    "gold.taken": "the queue's rows are deleted, uncommitted; nothing is computed",
    "gold.refreshed": "one model is computed, uncommitted",
    "gold.recorded": "all models are computed and nothing committed",
    "gold.committed": "committed; nobody was told",
    "gold.published": "gold-ready was sent; that is not noted",
    "gold.view_refreshed": "a materialized view is computed, uncommitted",
    "gold.view_committed": "the view is committed; nobody was told",
    "gold.exported": "the snapshot is in the lake; that is not remembered",
    "bus.publish": "an event is about to be sent",
}
ACTIONS = ("raise", "unavailable", "exit", "stop", "sleep", "drop", "twice")


class FailpointHit(Exception):
    """A test armed this failpoint with `raise`."""


class Failpoints:
    """What is armed in this process."""

    def __init__(self, spec: str) -> None:
        self._file = Path(spec[1:]) if spec.startswith("@") else None
        self._read_at_ns = -1
        self._armed = {} if self._file else _parsed(spec)
        self._hits: Counter[str] = Counter()

    def action(self, name: str) -> tuple[str, float]:
        """Count a process coming by and return what it has to do there, and its argument; ("", 0) for nothing."""
        self._look_again()
        armed = self._armed.get(name)
        if armed is None:
            return "", 0
        self._hits[name] += 1
        action, argument, only = armed
        return (action, argument) if only in (0, self._hits[name]) else ("", 0)

    def _look_again(self) -> None:
        if self._file is None:
            return
        try:
            changed_at_ns = self._file.stat().st_mtime_ns
            if changed_at_ns != self._read_at_ns:
                self._armed, self._read_at_ns = _parsed(self._file.read_text(encoding="utf-8").strip()), changed_at_ns
        except OSError:
            self._armed = {}


def _parsed(spec: str) -> dict[str, tuple[str, float, int]]:
    armed = {}
    for one in filter(None, (part.strip() for part in spec.split(","))):
        name, _, rest = one.partition(":")
        rest, _, only = rest.partition("*")
        action, _, argument = rest.partition("=")
        if name not in POINTS or action not in ACTIONS:
            raise ConfigurationError(
                f"{VARIABLE}: {one!r} names no failpoint and action; "
                f"points: {', '.join(POINTS)}; actions: {', '.join(ACTIONS)}"
            )
        armed[name] = (action, float(argument or 0), int(only or 0))
    return armed


_armed: Failpoints | None = Failpoints(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None


def arm(spec: str) -> None:
    """Arm this process as the environment variable would; '' disarms it."""
    global _armed
    _armed = Failpoints(spec) if spec else None


def hit(name: str) -> None:
    """Fail here if this failpoint is armed."""
    if _armed is not None:
        _fail(name, *_armed.action(name))


def copies(name: str) -> int:
    """Return how many times something is to be sent: once, unless a failpoint loses or multiplies it."""
    if _armed is None:
        return 1
    action, argument = _armed.action(name)
    if action == "drop":
        return int(random.random() >= argument)  # noqa: S311
    if action == "twice":
        return int(argument)
    _fail(name, action, argument)
    return 1


def _fail(name: str, action: str, argument: float) -> None:
    if action == "raise":
        raise FailpointHit(f"the failpoint {name} was hit")
    if action == "unavailable":
        raise Unavailable(name, "its failpoint was hit")
    if action == "exit":
        os._exit(EXIT_STATUS)
    if action == "stop":
        # To this very thread: sent to the process, the signal leaves it some more steps until another thread takes it.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
    if action == "sleep":
        time.sleep(argument)
