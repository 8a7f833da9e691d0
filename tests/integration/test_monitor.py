"""What the running services show of themselves: metrics of a real load, and every outage by name."""

import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.stack import monitors
from shared.settings import load_settings
from tests.stacks import Opened, Stacks

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("ingestor", "silver-1", "gold-1")
NAMES = {"postgres": "PostgreSQL", "s3": "object store", "kafka": "Kafka"}
USERS = [
    *({"id": n, "name": f"User {n}", "username": f"user{n}", "email": f"u{n}@example.org"} for n in range(1, 41)),
    {"id": "?", "name": "Nobody"},
]


class Supervised:
    """A stack with services, looked after by a thread, as `up` does it."""

    def __init__(self, opened: Opened) -> None:
        self.stack, self.servers, self._ended = opened.stack, opened.servers, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            self.stack.tick()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def get(self, service: str, path: str) -> tuple[int, str]:
        """Return status and body of a page; (0, '') while nobody serves it."""
        try:
            with urllib.request.urlopen(monitors(self.stack.data_dir)[service] + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def ready(self, service: str) -> tuple[int, list[str]]:
        status, body = self.get(service, "/health/ready")
        return status, json.loads(body)["problems"] if body else []

    def metrics(self, service: str) -> dict[str, float]:
        lines = self.get(service, "/metrics")[1].splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

    def medallion(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "services.cli", *arguments, "--data-dir", str(self.stack.data_dir)],
            capture_output=True, text=True, timeout=60, cwd=ROOT,
        )  # fmt: skip


def eventually(is_so: Callable[[], Any], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.1)
    return bool(is_so())


@pytest.fixture(scope="module")
def running(stacks: Stacks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    brisk = load_settings(
        sweep_interval_seconds=1,
        reannounce_after_seconds=2,
        consumer_session_timeout_seconds=stacks.session_seconds(3),
    )
    folder = tmp_path_factory.mktemp("monitor") / "data"
    with stacks.open(folder, brisk, services=True) as opened:
        supervised = Supervised(opened)
        assert eventually(lambda: all(supervised.ready(name) == (200, []) for name in SERVICES), 30)
        yield supervised
        supervised.end()


def test_metrics_tell_of_a_real_load(running: Supervised, tmp_path: Path) -> None:
    file = tmp_path / "users.json"
    file.write_text(json.dumps(USERS), encoding="utf-8")
    done = running.medallion("land", "users", str(file))
    assert done.returncode == 0, done.stderr
    done = running.medallion("settle", "--timeout-seconds", "30")
    assert done.returncode == 0, done.stderr

    wanted = {
        'medallion_objects_total{dataset="users",outcome="done"}': 1,
        'medallion_rows_total{dataset="users",verdict="inserted"}': 40,
        'medallion_rows_total{dataset="users",verdict="quarantined"}': 1,
        'medallion_read_seconds_count{dataset="users"}': 1,
        'medallion_merge_seconds_count{dataset="users"}': 1,
        'medallion_server_up{server="Kafka"}': 1,
    }
    # Silver is done with an object when its change set is in the lake, too: gold may be faster.
    assert eventually(lambda: running.metrics("silver-1").items() >= wanted.items()), running.metrics("silver-1")
    silver = running.metrics("silver-1")
    assert abs(silver['medallion_heartbeat_timestamp_seconds{worker="silver"}'] - time.time()) < 15
    assert eventually(lambda: running.metrics("silver-1").get('medallion_messages_total{topic="bronze-ready"}', 0) >= 1)

    gold = running.metrics("gold-1")
    assert gold['medallion_refresh_seconds_count{model="user_analytics_summary"}'] >= 1
    assert gold['medallion_refreshed_rows_total{model="user_analytics_summary"}'] >= 1

    ingestor = running.metrics("ingestor")
    wanted = {f'medallion_backlog_objects{{status="{name}"}}': 0 for name in ("registered", "processing", "held")}
    wanted |= {"medallion_backlog_oldest_seconds": 0, "medallion_backlog_gold_change_sets": 0}
    wanted |= {"medallion_dead_letters_open": 0}
    assert {name: ingestor.get(name) for name in wanted} == wanted
    assert ingestor["medallion_sweep_seconds_count"] >= 1


def test_pages_say_what_they_are(running: Supervised) -> None:
    ready = json.loads(running.get("gold-1", "/health/ready")[1])
    assert (ready["service"], ready["status"], ready["stopped"]) == ("gold", "ready", None)
    assert set(ready["servers"]) == set(NAMES.values())
    assert json.loads(running.get("silver-1", "/health/live")[1]) == {"status": "alive"}
    status, body = running.get("silver-1", "/other")
    assert (status, "/metrics" in body) == (404, True)
    shown = running.medallion("status")
    assert shown.returncode == 0, shown.stderr
    assert all(address.removeprefix("http://") in shown.stdout for address in monitors(running.stack.data_dir).values())


@pytest.mark.parametrize("server", ["postgres", "s3", "kafka"])
def test_an_outage_shows_by_name_and_passes(running: Supervised, server: str) -> None:
    def says(service: str) -> bool:
        status, problems = running.ready(service)
        return status == 503 and [line.split(" cannot be reached: ")[0] for line in problems] == [NAMES[server]]

    running.servers.stop(server)
    try:
        assert eventually(lambda: all(map(says, SERVICES))), [running.ready(name) for name in SERVICES]
        assert running.get("silver-1", "/health/live")[0] == 200
        assert running.metrics("ingestor")[f'medallion_server_up{{server="{NAMES[server]}"}}'] == 0
        shown = running.medallion("status")
        assert (shown.returncode, shown.stderr.count("\n")) == (3, 1), shown.stderr
        assert shown.stderr.startswith(f"error: {NAMES[server]} cannot be reached: ")
    finally:
        running.servers.start(server)
    assert eventually(lambda: all(running.ready(name) == (200, []) for name in SERVICES), 30)


def test_a_server_that_takes_requests_and_never_answers_is_away_too(running: Supervised) -> None:
    running.servers.pause("s3")
    try:
        silent = "object store cannot be reached: it has not answered for "
        assert eventually(lambda: silent in " ".join(running.ready("silver-1")[1])), running.ready("silver-1")
    finally:
        running.servers.resume("s3")
    assert eventually(lambda: running.ready("silver-1") == (200, []))
