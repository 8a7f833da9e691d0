"""Patience: try again while a server is away, with growing pauses and jitter, but not for ever."""

import logging
from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    before_sleep_log,
    retry_if_exception_type,
    stop_after_delay,
    wait_exponential_jitter,
)

from shared.errors import Unavailable
from shared.metrics import NO_METRICS, RETRIES, Metrics

T = TypeVar("T")
log = logging.getLogger("retry")


def patiently(total_seconds: float, work: Callable[[], T], metrics: Metrics = NO_METRICS) -> T:
    """Return what `work` returns, trying again on Unavailable for up to `total_seconds`; then raise it."""
    say = before_sleep_log(log, logging.WARNING)

    def note(state: RetryCallState) -> None:
        say(state)
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Unavailable):
            metrics.count(RETRIES, error.server)

    attempts = Retrying(
        retry=retry_if_exception_type(Unavailable),
        wait=wait_exponential_jitter(multiplier=0.2, max=10),
        stop=stop_after_delay(total_seconds),
        before_sleep=note,
        reraise=True,
    )
    return attempts(work)
