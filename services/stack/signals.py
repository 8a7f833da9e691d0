"""Ctrl-C and SIGTERM as a request to stop, taken when it suits the supervisor."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """The user asked to stop while the stack was starting; no Exception, so that no retry swallows it."""


class StopRequest:
    """Whether somebody asked this process to stop."""

    def __init__(self) -> None:
        self.is_requested = False
        self._is_interrupting = False

    def check(self) -> None:
        """Raise Interrupted when a stop was requested."""
        if self.is_requested:
            raise Interrupted

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Let a request break off the code inside at once: for long work that starts no processes."""
        self.check()
        self._is_interrupting = True
        try:
            yield
        finally:
            self._is_interrupting = False

    def receive(self, _number: int, _frame: FrameType | None) -> None:
        """Note a signal; no more than that, because a process just started must first be written down."""
        self.is_requested = True
        if self._is_interrupting:
            self._is_interrupting = False
            raise Interrupted


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Turn SIGINT, SIGTERM and SIGHUP into a StopRequest; the handlers of before come back on the way out."""
    request = StopRequest()
    # What is ignored stays ignored: nohup and background jobs of a shell mean it.
    numbers = [number for number in _NUMBERS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, request.receive) for number in numbers}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
