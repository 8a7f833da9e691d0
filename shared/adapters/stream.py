"""Consumer groups through faust: messages in their order, acknowledged after they were handled, never before.

What was found in faust-streaming 0.15.3 decides the shape of this module. An agent that raises loses its
message, so nothing ever leaves the agent; concurrency above 1 loses messages on kill -9, so there is one;
stopping while a message is under way loses it unless acknowledgement is ours (`noack`), so it is.
"""

import asyncio
import logging
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Literal

from shared.adapters.faustapp import new_app
from shared.adapters.inbox import Inbox
from shared.adapters.kafka import KafkaBus, topics
from shared.adapters.offload import DaemonThread
from shared.errors import Unavailable
from shared.settings import Settings
from shared.watchdog import NO_PARTITIONS, Backlog, Look, Watchdog

log = logging.getLogger(__name__)

Handle = Callable[[Sequence[bytes]], int]
ExitStatus = Literal[0, 1, 3, 4]

DRAIN_SECONDS_MAX = 3.5  # on SIGTERM, for the message under way; the supervisor waits 6 s in all
LEAVE_SECONDS_MAX = 1.0  # for the last commit and for leaving the group, each
BITE_SECONDS_MAX = 12.0  # for all of an orderly end; beyond it the process is ended as it is
BROKER_CHECK_SECONDS = 2.0
BROKER_AWAY_SECONDS_MAX = 10.0
LEDGER_CHECK_SECONDS = 2.0
WAITING_MAX = 192  # messages that are offered at once; each is a file's, or half of one where it is announced twice
SPARE_SECONDS = 1.0  # without a message, after which a consumer has time for what waits for others


def consume(
    settings: Settings,
    *,
    group: str,
    topic: str,
    handle: Handle,
    service: str,  # noqa: ARG001 - said by the logs' formatter
    on_start: Callable[[], None] | None = None,
    on_stop: Callable[[], None] | None = None,
    overdue: Callable[[float], int] = lambda _: 0,
    standing: Callable[[float], Sequence[bytes]] = lambda _: (),
    spare: Callable[[], bytes | None] = lambda: None,
) -> ExitStatus:
    """Call `handle` with the messages of a topic that have come, until SIGTERM or SIGINT; return the status.

    `handle` gets one message or more, in their order, deals with as many of the first as it likes and returns their number;
    the others come again. It deals with its own failures. When it raises, no message is acknowledged and the status is 3
    for Unavailable (a broker that stays away counts as that), 1 for anything else; the caller exits with it
    and is restarted. So is a consumer that stands still for `watchdog_seconds` although there is work (status 1):
    messages on its partitions, or what `overdue` counts in the ledger, given the seconds for which it has been
    idle; that may raise Unavailable. Must run in the main thread, which receives the signals.

    A broker's consumer group can come to a standstill for good. While no message comes, `standing` is asked, given the
    same seconds, for events of what was announced and nobody took up; they are handled as if they had come. A consumer
    that lives on these alone, without a partition, for `watchdog_seconds` ends with status 4.

    Which consumer gets which message is the broker's choice, made beforehand. One that has none asks `spare` for an event
    of what waits for a busier one, and handles it as if it had come.
    """
    # Thirty lines a second while the broker is away say less than the one of the watch on it.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    consumption = _Consumption(settings, group, topic, handle, overdue, standing, spare)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        status, is_clean = loop.run_until_complete(consumption.run(on_start))
    finally:
        if on_stop is not None:
            on_stop()
    if not is_clean:
        # A thread is still inside `handle` or inside the Kafka client; waiting for it could take for ever,
        # and what it has not committed is undone and delivered again.
        logging.shutdown()
        os._exit(status)
    _close(loop)
    return status


class _Consumption:
    """One run of a consumer, from waiting for the broker to leaving the group."""

    def __init__(
        self,
        settings: Settings,
        group: str,
        topic: str,
        handle: Handle,
        overdue: Callable[[float], int],
        standing: Callable[[float], Sequence[bytes]],
        spare: Callable[[], bytes | None],
    ) -> None:
        self._settings, self._group, self._topic = settings, group, topic
        self._worker, self._overdue, self._standing = DaemonThread(handle, "handle"), overdue, standing
        self._spare, self._inbox = spare, Inbox(WAITING_MAX)
        self._one_at_a_time = asyncio.Lock()
        self._bus = KafkaBus(settings.kafka_bootstrap_servers)
        self._stop = asyncio.Event()  # somebody wants an end: a signal, a failure, the watch on the broker
        self._idle = asyncio.Event()  # no message is under way
        self._idle.set()
        self._handled_count, self._idle_since_seconds = 0, time.monotonic()
        self._message_at_seconds = time.monotonic()
        self._status: ExitStatus = 0
        self._identity = ""
        self._app: Any = None

    async def run(self, on_start: Callable[[], None] | None) -> tuple[ExitStatus, bool]:
        """Consume until the end; return the exit status and whether everything was shut down."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        if not await self._broker_ready():
            return self._status, True
        if on_start is not None:
            await asyncio.to_thread(on_start)
        self._app = new_app(self._settings, self._group, self._topic, self._agent)
        tasks = (self._run_app, self._work, self._watch_broker, self._watch_ledger, self._help_others)
        watches = [asyncio.create_task(one()) for one in tasks]
        watchdog = Watchdog(self._settings.watchdog_seconds, self._look, partial(self._bitten, loop))
        watchdog.start()
        log.info("Consuming.", extra={"action": "consume_started", "topic": self._topic, "group": self._group})
        await self._stop.wait()
        watchdog.stop()
        is_clean = await self._leave()
        for task in watches:
            task.cancel()
        self._bus.close()
        log.info(
            "Stopped consuming.",
            extra={"action": "consume_stopped", "topic": self._topic, "status": self._status},
        )
        return self._status, is_clean

    async def _agent(self, stream: Any) -> None:
        async for event in stream.noack().events():
            await self._inbox.put(event)

    async def _work(self) -> None:
        """Have messages handled and acknowledge them; after a failure they and all that follow stay unacknowledged."""
        while not self._stop.is_set():
            events = await self._inbox.waiting()
            async with self._one_at_a_time:
                if self._stop.is_set() or not (count := await self._handled([event.value or b"" for event in events])):
                    return
            self._handled_count += count
            self._message_at_seconds = time.monotonic()
            await self._inbox.acknowledge(count)

    async def _handled(self, values: Sequence[bytes]) -> int:
        """Return how many of these messages were handled; 0 after a failure, which ends this consumer."""
        self._idle.clear()
        try:
            return await self._worker.call(values)
        except Unavailable as error:
            self._fail(3, "A message was not handled: a server is away. It will be delivered again.", error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not leave this task
            self._fail(1, "A message was not handled: an unexpected error. It will be delivered again.", error)
        finally:
            self._idle_since_seconds = time.monotonic()
            self._idle.set()
        return 0

    def _look(self) -> Look:
        """Say what the watchdog's thread sees; servers are asked only while no message is under way."""
        handled, is_busy = self._handled_count, not self._idle.is_set()
        return Look(time.monotonic(), handled, is_busy, None if is_busy else self._backlog())

    def _backlog(self) -> Backlog | None:
        limit_seconds = self._settings.watchdog_seconds
        idle_seconds = time.monotonic() - self._idle_since_seconds
        try:
            partitions = [tp.partition for tp in self._app.consumer.assignment() if tp.topic == self._topic]
            lag = self._bus.lag(self._group, self._topic, partitions)
            overdue = self._overdue(idle_seconds) if not lag and idle_seconds >= limit_seconds else 0
        except Unavailable:
            return None  # whoever works without it retries, then ends by itself
        return Backlog(lag, overdue)

    def _bitten(self, loop: asyncio.AbstractEventLoop, backlog: str) -> None:
        """End this consumer, in order if the event loop still turns, else at once."""
        sentence = f"This consumer stands still although there is work ({backlog}); leaving it to a restart."
        loop.call_soon_threadsafe(self._fail, 1, sentence)
        time.sleep(BITE_SECONDS_MAX)
        log.critical(sentence, extra={"action": "watchdog_bit", "topic": self._topic})
        logging.shutdown()
        os._exit(1)

    def _fail(self, status: ExitStatus, sentence: str, error: Exception | None = None) -> None:
        if self._stop.is_set():
            return
        fields = {"action": "consume_failed", "topic": self._topic, "reason": str(error or "")}
        log.error(sentence, extra=fields, exc_info=error if status == 1 else None)
        self._status = status
        self._stop.set()

    async def _run_app(self) -> None:
        try:
            await self._app.start()
            await self._app.wait_until_stopped()
            reason = self._app.crash_reason
        except Exception as error:  # noqa: BLE001 - a client that fails is left to a restart
            reason = error
        self._fail(3, "The Kafka consumer ended by itself.", reason if isinstance(reason, Exception) else None)

    async def _broker_ready(self) -> bool:
        """Create the topics; wait, as long as it takes or until a signal, for a broker that is away."""
        pause = 0.25
        while not self._stop.is_set():
            try:
                await asyncio.to_thread(self._bus.ensure_topics, topics(self._settings))
                self._identity = await asyncio.to_thread(self._bus.topic_identity, self._topic)
                return True
            except Unavailable as error:
                fields = {"action": "broker_awaited", "reason": str(error)}
                log.warning("The broker is away; trying again.", extra=fields)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause * random.uniform(0.5, 1.5))  # noqa: S311
            pause = min(pause * 2, 4.0)
        return False

    async def _watch_broker(self) -> None:
        """End this consumer when the broker stays away or has forgotten the topic.

        aiokafka recovers from short outages alone, but its positions mean nothing to a broker that lost its
        memory: a restart begins at the topic's beginning.
        """
        away_seconds = 0.0
        while not self._stop.is_set():
            await asyncio.sleep(BROKER_CHECK_SECONDS)
            began = asyncio.get_running_loop().time() - BROKER_CHECK_SECONDS
            try:
                identity = await asyncio.to_thread(self._bus.topic_identity, self._topic)
                away_seconds = 0.0
            except Unavailable as error:
                away_seconds += asyncio.get_running_loop().time() - began
                if away_seconds >= BROKER_AWAY_SECONDS_MAX:
                    self._fail(3, "The broker stays away; leaving it to a restart.", error)
                continue
            if identity != self._identity:
                self._fail(3, "The broker has forgotten the topic; leaving it to a restart.")

    async def _watch_ledger(self) -> None:
        """Take up what was announced and did not arrive; end this consumer when it lives on that without a partition."""
        limit_seconds = self._settings.watchdog_seconds
        while limit_seconds and not self._stop.is_set():
            await asyncio.sleep(LEDGER_CHECK_SECONDS)
            idle_seconds = time.monotonic() - self._message_at_seconds
            if idle_seconds < limit_seconds / 2 or not self._idle.is_set():
                continue
            try:
                events = await asyncio.to_thread(self._standing, idle_seconds)
            except Unavailable:
                continue  # whoever works without it retries, then ends by itself
            for number, value in enumerate(events):
                async with self._one_at_a_time:
                    if self._stop.is_set() or not await self._handled([value]):
                        return
                if number == 0:
                    fields = {"action": "taken_from_ledger", "topic": self._topic, "events": len(events)}
                    log.warning("The broker brought nothing; work is taken from the ledger.", extra=fields)
            if events and idle_seconds >= limit_seconds and not self._app.consumer.assignment():
                self._fail(NO_PARTITIONS, "The broker gives this consumer no partition; leaving it to a restart.")

    async def _help_others(self) -> None:
        """Take up, one by one, what waits for other consumers, as long as no message comes."""
        while not self._stop.is_set():
            await asyncio.sleep(SPARE_SECONDS)
            while self._idle.is_set() and time.monotonic() - self._message_at_seconds >= SPARE_SECONDS:
                try:
                    event = await asyncio.to_thread(self._spare)
                except Unavailable:
                    break  # whoever works without it retries, then ends by itself
                if event is None:
                    break
                async with self._one_at_a_time:
                    if self._stop.is_set() or not await self._handled([event]):
                        return

    async def _leave(self) -> bool:
        """Let what is under way finish, commit what is acknowledged, leave; False if one of them hung."""
        is_clean = True
        try:
            await asyncio.wait_for(self._idle.wait(), DRAIN_SECONDS_MAX)
            await asyncio.sleep(0)  # lets the agent acknowledge
        except TimeoutError:
            is_clean = False
            log.warning("A message takes too long; it will be delivered again.", extra={"action": "message_abandoned"})
        for step in (self._app.consumer.commit, self._app.stop):
            try:
                await asyncio.wait_for(step(), LEAVE_SECONDS_MAX)
            except Exception as error:  # noqa: BLE001 - leaving is a courtesy: the session times out anyway
                is_clean = False
                log.warning("Leaving the group failed.", extra={"action": "leave_failed", "reason": repr(error)})
        return is_clean


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is left of the Kafka client and close the loop."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=1.0))
    loop.close()
