"""Messages between the consumer that brings them and the work that is done on them."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any


class Inbox:
    """Messages that have come and are not acknowledged, in their order; whoever brings more than `room` waits."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._events: deque[Any] = deque()
        self._changed = asyncio.Condition()

    async def put(self, event: Any) -> None:
        """Lay a message down behind the others, when there is room."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._events) < self._room)
            self._events.append(event)
            self._changed.notify_all()

    async def waiting(self) -> Sequence[Any]:
        """Return what lies here, in its order; wait until there is something."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._events)
            return list(self._events)

    async def acknowledge(self, count: int) -> None:
        """Acknowledge the first `count` messages and clear them away."""
        async with self._changed:
            for _ in range(count):
                self._events.popleft().ack()
            self._changed.notify_all()
