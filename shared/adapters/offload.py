"""Synchronous work beside an event loop, in threads that a process does not wait for."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress


async def in_daemon_thread(function: Callable[[bytes], None], value: bytes) -> None:
    """Run a function off the event loop, in a thread that cannot keep the process from ending."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))

    def work() -> None:
        try:
            function(value)
            error: BaseException | None = None
        except BaseException as raised:  # noqa: BLE001 - handed to the event loop, whatever it is
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits for this message any more
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=work, name="handle", daemon=True).start()
    await done
