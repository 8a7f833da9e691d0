"""Synchronous work beside an event loop, in a thread that a process does not wait for."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Generic, TypeVar

Given = TypeVar("Given")
Result = TypeVar("Result")


class DaemonThread(Generic[Given, Result]):
    """One thread that runs a function off the event loop, call by call, and cannot keep the process from ending."""

    def __init__(self, function: Callable[[Given], Result], name: str) -> None:
        self._function = function
        self._calls: SimpleQueue[tuple[Given, asyncio.Future[Result]]] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    async def call(self, given: Given) -> Result:
        """Run the function, wait for it and return its result; raises what it raises."""
        if not self._thread.is_alive():
            self._thread.start()
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._calls.put((given, done))
        return await done

    def _run(self) -> None:
        while True:
            given, done = self._calls.get()
            try:
                settle = _settled(done, self._function(given))
            except BaseException as error:  # noqa: BLE001 - handed to the event loop, whatever it is
                settle = _failed(done, error)
            with suppress(RuntimeError):  # the loop is closed: nobody waits for this call any more
                done.get_loop().call_soon_threadsafe(settle)


def _settled(done: asyncio.Future[Result], result: Result) -> Callable[[], None]:
    return lambda: None if done.done() else done.set_result(result)


def _failed(done: asyncio.Future[Result], error: BaseException) -> Callable[[], None]:
    raised = error if isinstance(error, Exception) else RuntimeError(repr(error))
    return lambda: None if done.done() else done.set_exception(raised)
