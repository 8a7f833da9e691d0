"""A stack for as long as a command lasts: the one that runs, else an embedded one that is stopped afterwards."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from services.cli.connect import Stack, find_stack, is_configured, running_stack
from services.cli.output import remark
from services.cli.serve import create_topics, prepare
from shared.settings import Settings, load_settings

Tick = Callable[[], None]


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as Ctrl-C does, so that what was started is stopped."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before: dict[signal.Signals, Any] = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def borrowed_stack(data_dir: Path | None) -> Iterator[tuple[Stack, Tick]]:
    """Yield a stack with services, and what is to be called while waiting so that it stays up."""
    from services.stack import is_running

    settings = load_settings(**({"data_dir": data_dir} if data_dir else {}))
    if (data_dir is None and is_configured(settings)) or is_running(settings.data_dir):
        yield find_stack(data_dir), lambda: None
        return
    remark(f"No stack runs; starting the embedded one in {settings.data_dir} and stopping it afterwards.")
    with own_stack(settings) as borrowed:
        yield borrowed


@contextmanager
def own_stack(settings: Settings, *, poll: bool = False, discard: bool = False) -> Iterator[tuple[Stack, Tick]]:
    """Yield an embedded stack with services that ends with the block; `discard` removes its data too."""
    from services.stack import embedded_stack

    with (
        interruptible(),
        embedded_stack(
            settings.data_dir, settings=settings, services=True, poll=poll,
            prepare=prepare, recreate_topics=create_topics, discard=discard,
        ) as started,
    ):  # fmt: skip
        yield running_stack(started.settings), started.tick
