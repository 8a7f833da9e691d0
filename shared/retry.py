"""Patience: try again while a server is away, with growing pauses and jitter, but not for ever."""

import logging
from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    Retrying,
    before_sleep_log,
    retry_if_exception_type,
    stop_after_delay,
    wait_exponential_jitter,
)

from shared.errors import Unavailable

T = TypeVar("T")
log = logging.getLogger("retry")


def patiently(total_seconds: float, work: Callable[[], T]) -> T:
    """Return what `work` returns, trying again on Unavailable for up to `total_seconds`; then raise it."""
    attempts = Retrying(
        retry=retry_if_exception_type(Unavailable),
        wait=wait_exponential_jitter(multiplier=0.2, max=10),
        stop=stop_after_delay(total_seconds),
        before_sleep=before_sleep_log(log, logging.WARNING),
        reraise=True,
    )
    return attempts(work)
