"""The faust application behind a consumer: what is switched off, what is turned to suit us, and why.

The application runs in our own event loop without faust's Worker: no signal handlers, log handlers or
redirected streams but ours.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import faust
from faust.transport.drivers import aiokafka as driver

from shared.settings import Settings

# faust asks the broker to hold a fetch for 1.5 s. Kafka answers as soon as a message is there; Tansu 0.6
# looks only at half of that time, which costs 0.3 s a message. Measured at 20 ms: 3 to 17 ms.
FETCH_WAIT_MS = 20
FETCH_BYTES_MAX = 65_536  # a partition's share of what waits in memory; events have about 500 bytes
# Messages that wait in the worker. faust pauses a partition whose buffer is full, and looks at it again up to a second
# after it could go on: with room for one, half of Apache Kafka's messages came a second late.
STREAM_BUFFER_MAX = 256
COMMIT_INTERVAL_SECONDS = 0.5
# A message may take hours: the group membership rests on the heartbeats alone. A consumer that exceeds this does not come
# back by itself: aiokafka 0.14 joins again once something is fetched, faust fetches again once it has joined. The watchdog
# ends it then, and its successor gets what it could not acknowledge.
POLL_INTERVAL_SECONDS_MAX = 86_400.0


class _ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    __module__ = driver.__name__

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # faust writes 1500 into its code
        return consumer


class _Consumer(driver.Consumer):  # type: ignore[misc]
    __module__ = driver.__name__  # mode names the logger after it

    def _new_consumer_thread(self) -> Any:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)


class _Transport(driver.Transport):  # type: ignore[misc]
    Consumer = _Consumer


def new_app(settings: Settings, group: str, topic: str, agent: Callable[[Any], Awaitable[None]]) -> Any:
    """Return an application whose one agent gets the raw events of a topic; to be called in the event loop."""
    scratch = settings.data_dir / "faust"  # must exist; faust makes empty folders in it, tables or not
    scratch.mkdir(parents=True, exist_ok=True)
    app = faust.App(
        group,
        broker=";".join(f"kafka://{server}" for server in settings.kafka_bootstrap_servers.split(",")),
        datadir=scratch,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        stream_buffer_maxsize=STREAM_BUFFER_MAX,
        stream_wait_empty=False,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=FETCH_BYTES_MAX,
        broker_commit_interval=COMMIT_INTERVAL_SECONDS,
        broker_session_timeout=settings.consumer_session_timeout_seconds,
        broker_heartbeat_interval=settings.consumer_session_timeout_seconds / 3,
        broker_max_poll_interval=POLL_INTERVAL_SECONDS_MAX,
    )
    app.transport = _Transport(app.conf.broker, app, loop=asyncio.get_running_loop())
    raw = app.topic(topic, value_type=bytes, key_type=bytes, value_serializer="raw", key_serializer="raw")
    app.agent(raw, name=group, concurrency=1)(agent)
    app.finalize()
    return app
