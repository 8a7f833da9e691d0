"""Synchronous work beside an event loop, in a thread that a process does not wait for."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue


class DaemonThread:
    """One thread that runs a function off the event loop, call by call, and cannot keep the process from ending."""

    def __init__(self, function: Callable[[bytes], None], name: str) -> None:
        self._function = function
        self._calls: SimpleQueue[tuple[bytes, asyncio.Future[None]]] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    async def call(self, value: bytes) -> None:
        """Run the function and wait for it; raises what it raises."""
        if not self._thread.is_alive():
            self._thread.start()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._calls.put((value, done))
        await done

    def _run(self) -> None:
        while True:
            value, done = self._calls.get()
            try:
                self._function(value)
                error: BaseException | None = None
            except BaseException as raised:  # noqa: BLE001 - handed to the event loop, whatever it is
                error = raised
            with suppress(RuntimeError):  # the loop is closed: nobody waits for this message any more
                done.get_loop().call_soon_threadsafe(_settle, done, error)


def _settle(done: asyncio.Future[None], error: BaseException | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))
