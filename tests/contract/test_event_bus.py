"""What every event bus must do: the in-memory fake and the real broker, held to one suite."""

import threading
import uuid
from collections.abc import Iterator

import pytest
from fakes import FakeBus

from shared.adapters.kafka import KafkaBus, tail
from shared.errors import Unavailable
from shared.ports import EventBus
from shared.settings import Settings

READINGS_MAX = 15


@pytest.fixture
def topic() -> str:
    return f"contract-{uuid.uuid4().hex[:12]}"


@pytest.fixture(params=["fake", "real"])
def bus(request: pytest.FixtureRequest) -> Iterator[EventBus]:
    is_fake = request.param == "fake"
    bus = FakeBus() if is_fake else KafkaBus(request.getfixturevalue("stack").settings.kafka_bootstrap_servers)
    yield bus
    bus.close()


def messages(bus: EventBus, request: pytest.FixtureRequest, topic: str) -> list[tuple[str, bytes]]:
    if isinstance(bus, FakeBus):
        return [(key, value) for name, key, value in bus.published if name == topic]
    servers = request.getfixturevalue("stack").settings.kafka_bootstrap_servers
    for _ in range(READINGS_MAX):  # a broker that just started takes longer to answer a first reader
        if found := list(tail(servers, topic, from_start=True, idle_seconds=1.0)):
            return [((message.key or b"").decode(), message.value) for message in found]
    return []


def test_what_is_published_lies_on_the_topic(bus: EventBus, topic: str, request: pytest.FixtureRequest) -> None:
    bus.ensure_topics({topic: 1})

    for number in range(5):
        bus.publish(topic, f"covid/ü {number}.csv", f"event {number}".encode())

    assert messages(bus, request, topic) == [(f"covid/ü {n}.csv", f"event {n}".encode()) for n in range(5)]


def test_several_are_published_in_their_order(bus: EventBus, topic: str, request: pytest.FixtureRequest) -> None:
    bus.ensure_topics({topic: 1})
    events = [(f"key {n % 2}", b"%d" % n) for n in range(5)]
    bus.publish_all(topic, events)
    bus.publish_all(topic, [])
    assert messages(bus, request, topic) == events


def test_topics_are_made_once_and_keep_their_messages(
    bus: EventBus, topic: str, request: pytest.FixtureRequest
) -> None:
    bus.ensure_topics({topic: 3})
    bus.publish(topic, "key", b"1")
    bus.ensure_topics({topic: 3})

    assert messages(bus, request, topic) == [("key", b"1")]


def test_closing_twice_and_using_it_again_is_fine(bus: EventBus, topic: str) -> None:
    bus.ensure_topics({topic: 1})
    bus.close()
    bus.close()
    bus.publish(topic, "key", b"1")


def test_a_topic_made_anew_has_another_identity(topic: str, request: pytest.FixtureRequest) -> None:
    settings: Settings = request.getfixturevalue("stack").settings
    bus = KafkaBus(settings.kafka_bootstrap_servers)

    assert bus.topic_identity(topic) == ""
    bus.ensure_topics({topic: 1})
    assert bus.topic_identity(topic) == bus.topic_identity(topic) != ""
    bus.close()


def test_a_broker_that_is_away_shows_within_seconds() -> None:
    bus = KafkaBus("127.0.0.1:1")

    with pytest.raises(Unavailable, match="Kafka is not available"):
        bus.publish("bronze-ready", "key", b"1")
    with pytest.raises(Unavailable, match="Kafka is not available"):
        bus.ensure_topics({"bronze-ready": 1})
    bus.close()


def test_a_broker_that_freezes_is_away_for_every_thread_and_comes_back(
    topic: str, request: pytest.FixtureRequest
) -> None:
    stack, servers = request.getfixturevalue("stack"), request.getfixturevalue("servers")
    bus = KafkaBus(stack.settings.kafka_bootstrap_servers)
    bus.ensure_topics({topic: 1})
    bus.publish(topic, "key", b"1")
    met: list[type[BaseException]] = []

    def publish() -> None:
        try:
            bus.publish(topic, "key", b"2")
        except Exception as error:  # noqa: BLE001 - which one is the question
            met.append(type(error))

    servers.pause("kafka")
    try:
        # The first gives up while the other's event still waits in the producer that both share.
        threads = [threading.Timer(delay, publish) for delay in (0.0, 2.0)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        servers.resume("kafka")

    assert met == [Unavailable, Unavailable]
    bus.publish(topic, "key", b"3")
    bus.close()
