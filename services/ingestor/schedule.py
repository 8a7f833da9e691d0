"""The schedule: a thread for every dataset, so that a slow source delays no other, and one for the sweep."""

import logging
import random
import threading
from collections.abc import Callable

from shared.errors import MedallionError, Unavailable
from shared.metrics import NO_METRICS, RETRIES, Metrics

log = logging.getLogger(__name__)

JITTER_SHARE = 0.1
FIRST_RETRY_SECONDS = 1.0
RETRY_SECONDS_MAX = 30.0


def pause_seconds(interval_seconds: float, failures: int, jitter: float) -> float:
    """Return how long to wait: the interval, or after failures a doubling pause that is never longer than it.

    `jitter` lies between -1 and 1; sources and servers are not all asked at the same moment.
    """
    pause = interval_seconds
    if failures:
        pause = min(interval_seconds, RETRY_SECONDS_MAX, FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 10))
    return pause * (1 + JITTER_SHARE * jitter)


class Loop:
    """A task that runs at once, then at its interval (sooner if nudged or after a failure) until stopped."""

    def __init__(
        self, name: str, interval_seconds: float, task: Callable[[], object], metrics: Metrics = NO_METRICS
    ) -> None:
        self._name, self._interval_seconds, self._task = name, interval_seconds, task
        self._metrics = metrics
        self._wake, self._is_stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Run in the background."""
        self._thread.start()

    def nudge(self) -> None:
        """Run again as soon as possible."""
        self._wake.set()

    def stop(self, join_seconds: float = 0.0) -> None:
        """Start no further run; wait `join_seconds` for one under way, else leave it to the process's end."""
        self._is_stopping.set()
        self._wake.set()
        self._thread.join(join_seconds)

    def _run(self) -> None:
        failures = 0
        while not self._is_stopping.is_set():
            self._wake.clear()
            failures = 0 if self._succeeded() else failures + 1
            self._wake.wait(pause_seconds(self._interval_seconds, failures, random.uniform(-1, 1)))  # noqa: S311

    def _succeeded(self) -> bool:
        fields = {"action": "loop_failed", "loop": self._name}
        try:
            self._task()
        except Unavailable as error:
            self._metrics.count(RETRIES, error.server)
            log.warning("A server is away; trying again.", extra={**fields, "reason": str(error)})
            return False
        except MedallionError as error:
            log.error("A run failed; trying again.", extra={**fields, "reason": str(error)})
            return False
        except Exception:
            # One dataset's bug must not end the sweep and the other datasets; it is loud, and tried again.
            log.exception("A run failed unexpectedly; trying again.", extra=fields)
            return False
        return True
