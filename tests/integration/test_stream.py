"""The consumer as a process of its own, on the real broker: nothing is acknowledged that was not handled."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.stack import Stack
from shared.adapters.kafka import KafkaBus
from tests.emptying import forget_topics
from tests.stacks import Stacks

_CONSUMER = """
import sys, time
from shared.adapters.stream import consume
from shared.errors import Unavailable
from shared.settings import load_settings
from shared.telemetry import configure_logging

def handle(values):
    value = values[0]
    if value == b"many":
        print("many", len(values), flush=True)
        return len(values)
    word, _, rest = value.decode().partition(" ")
    print(value.decode(), flush=True)
    has_come.append(value)
    if word == "sleep":
        time.sleep(float(rest))
    elif word == "away":
        raise Unavailable("PostgreSQL", "switched off")
    elif word == "bug":
        raise KeyError(rest)
    elif word == "sent":
        print("lag", time.time() - float(rest), flush=True)
        return 1
    print("done", value.decode(), flush=True)
    return 1

spares, has_come = [text.encode() for text in sys.argv[3:]], []
settings = load_settings()
configure_logging("test", "text")
sys.exit(consume(
    settings, group=sys.argv[1], topic=sys.argv[2], handle=handle, service="test",
    spare=lambda: spares.pop(0) if spares and has_come else None,
))
"""


class Consumer:
    """A consumer process and the lines it prints."""

    def __init__(self, stack: Stack, session_seconds: float, group: str, topic: str, *spares: str) -> None:
        environment = {
            **os.environ,
            **stack.endpoints,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "MEDALLION_CONSUMER_SESSION_TIMEOUT_SECONDS": f"{session_seconds}",  # Tansu lets joiners wait half of it
        }
        command = [sys.executable, "-c", _CONSUMER, group, topic, *spares]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.lines.put(line.strip())

    def expect(self, line: str) -> None:
        assert self.lines.get(timeout=20) == line

    def ends(self, timeout_seconds: float = 15) -> int:
        return self.process.wait(timeout_seconds)


@pytest.fixture
def topic() -> str:
    return f"stream-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def publish(stack: Stack, topic: str) -> Iterator[Callable[[str], None]]:
    bus = KafkaBus(stack.settings.kafka_bootstrap_servers)
    bus.ensure_topics({topic: 1})
    yield lambda text: bus.publish(topic, "key", text.encode())
    bus.close()


@pytest.fixture
def start(stacks: Stacks, stack: Stack, topic: str) -> Iterator[Callable[..., Consumer]]:
    started: list[Consumer] = []

    def begin(*spares: str) -> Consumer:
        started.append(Consumer(stack, stacks.session_seconds(3), f"group-{topic}", topic, *spares))
        return started[-1]

    yield begin
    for consumer in started:
        consumer.process.kill()
        consumer.process.wait()


@pytest.mark.parametrize(("trouble", "status"), [("away now", 3), ("bug x", 1)])
def test_a_message_whose_handling_fails_is_delivered_again_and_none_is_skipped(
    publish: Callable[[str], None], start: Callable[[], Consumer], trouble: str, status: int
) -> None:
    for text in ("one", trouble, "two"):
        publish(text)

    first = start()
    for line in ("one", "done one", trouble):
        first.expect(line)
    assert first.ends() == status
    assert first.lines.empty()

    again = start()
    again.expect(trouble)
    assert again.ends() == status


def test_what_comes_meanwhile_is_handed_over_together_and_acknowledged_as_it_is_handled(
    publish: Callable[[str], None], start: Callable[[], Consumer]
) -> None:
    publish("sleep 2")
    first = start()
    first.expect("sleep 2")
    for text in ("one", "many", "many", "many"):
        publish(text)
    for line in ("done sleep 2", "one", "done one", "many 3"):
        first.expect(line)
    publish("last")
    first.expect("last")
    first.expect("done last")
    first.process.send_signal(signal.SIGTERM)
    assert first.ends(6) == 0

    publish("next")
    start().expect("next")


def test_sigterm_lets_the_message_under_way_finish_and_acknowledges_it(
    publish: Callable[[str], None], start: Callable[[], Consumer]
) -> None:
    publish("sleep 2")
    first = start()
    first.expect("sleep 2")
    publish("next")
    first.process.send_signal(signal.SIGTERM)
    first.expect("done sleep 2")
    assert first.ends(6) == 0
    assert first.lines.empty()

    start().expect("next")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_message_that_was_cut_off_is_delivered_again(
    publish: Callable[[str], None], start: Callable[[], Consumer], number: signal.Signals
) -> None:
    publish("sleep 30")
    first = start()
    first.expect("sleep 30")
    began = time.monotonic()
    first.process.send_signal(number)
    assert first.ends(10) == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    assert time.monotonic() - began < 10

    start().expect("sleep 30")


def test_a_message_longer_than_the_session_keeps_its_consumer_in_the_group(
    publish: Callable[[str], None], start: Callable[[], Consumer]
) -> None:
    publish("sleep 6")  # the session ends after 3 s of silence
    consumer = start()
    consumer.expect("sleep 6")
    publish("next")
    for line in ("done sleep 6", "next", "done next"):
        consumer.expect(line)


def test_messages_arrive_within_milliseconds(publish: Callable[[str], None], start: Callable[[], Consumer]) -> None:
    publish("ready")
    consumer = start()
    consumer.expect("ready")
    consumer.expect("done ready")
    lags = []
    for _ in range(20):
        publish(f"sent {time.time()}")
        assert consumer.lines.get(timeout=20).startswith("sent")
        lags.append(float(consumer.lines.get(timeout=20).removeprefix("lag ")))

    assert sorted(lags)[10] < 0.1, lags  # 0.01 on an idle machine


def test_a_broker_that_forgot_everything_ends_the_consumer_for_a_restart(
    stacks: Stacks, stack: Stack, topic: str, publish: Callable[[str], None], start: Callable[[], Consumer]
) -> None:
    publish("before")
    consumer = start()
    consumer.expect("before")
    consumer.expect("done before")
    if stacks.name == "embedded":
        stack.children["kafka"].signal(signal.SIGKILL)
    else:
        forget_topics(stack.settings, {topic})
        publish("made anew")
    deadline = time.monotonic() + 30
    while consumer.process.poll() is None and time.monotonic() < deadline:
        stack.tick()
        time.sleep(0.05)

    assert consumer.ends() == 3


def test_what_waits_for_others_is_handled_while_no_message_comes_and_one_at_a_time(
    publish: Callable[[str], None], start: Callable[..., Consumer]
) -> None:
    publish("sleep 2")
    consumer = start("sleep 1", "away spare", "never")
    for line in ("sleep 2", "done sleep 2", "sleep 1"):
        consumer.expect(line)
    publish("a message")
    for line in ("done sleep 1", "a message", "done a message", "away spare"):
        consumer.expect(line)
    assert consumer.ends() == 3, "a server that is away ends it, whoever's work it was"
