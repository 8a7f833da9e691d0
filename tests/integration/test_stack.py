"""The embedded stack: it comes up, survives its supervisor, and leaves nothing behind."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest

from services.stack import Stack, discard_data, embedded_stack, endpoints, is_running
from services.stack.children import Child
from services.stack.lifecycle import clear_leftover_processes
from services.stack.places import place_postgres
from services.stack.process import Identity, Program, identify, is_same_process
from services.stack.state import State, read_state, write_state
from shared.errors import ConfigurationError, Unavailable
from shared.settings import Settings, load_settings

pytestmark = pytest.mark.embedded("it is what these tests are about")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent died")


def eventually(is_so: Callable[[], bool], seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.05)
    return is_so()


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    with (
        contextlib.closing(psycopg2.connect(url, connect_timeout=5)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def children_of(data_dir: Path) -> list[Identity]:
    """Everything that runs for a stack: what its state file names, and what those have started."""
    state = read_state(data_dir)
    assert state is not None
    found = list(state.processes.values())
    for server in tuple(found):
        for child in psutil.Process(server.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # ended meanwhile
                found.append(identify(child.pid))
    return found


def nothing_left(processes: list[Identity]) -> Callable[[], bool]:
    return lambda: not any(map(is_same_process, processes))


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "data dir"
    yield folder
    discard_data(folder)


@pytest.fixture
def up(data_dir: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Start a supervisor of its own and wait until its servers answer."""
    started = []

    def start() -> subprocess.Popen[str]:
        command = (sys.executable, "-m", "services.stack", "--data-dir", str(data_dir))
        supervisor = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(supervisor)
        assert eventually(lambda: is_running(data_dir) or supervisor.poll() is not None, 60)
        return supervisor

    yield start
    for supervisor in started:
        supervisor.kill()
        supervisor.communicate()


@LINUX
def test_killed_supervisor_leaves_nothing_running_and_the_next_one_finds_the_data(
    data_dir: Path, up: Callable[[], subprocess.Popen[str]]
) -> None:
    first = up()
    before = endpoints(data_dir)
    query(before["MEDALLION_DATABASE_URL"], "CREATE TABLE kept AS SELECT 42 AS answer")
    processes = children_of(data_dir)
    assert len(processes) > 3
    first.kill()
    first.communicate()
    assert eventually(nothing_left(processes), 10)

    second = up()
    assert endpoints(data_dir) == before
    assert query(before["MEDALLION_DATABASE_URL"], "SELECT answer FROM kept") == [(42,)]
    processes = children_of(data_dir)
    started = time.monotonic()
    second.terminate()
    out, err = second.communicate(timeout=20)
    assert (second.returncode, err) == (0, "")
    assert time.monotonic() - started < 10
    assert nothing_left(processes)()
    assert f"export MEDALLION_DATABASE_URL={before['MEDALLION_DATABASE_URL']}" in out.splitlines()
    assert not is_running(data_dir)


def test_a_server_that_cannot_start_is_named_with_the_end_of_its_log(data_dir: Path) -> None:
    with embedded_stack(data_dir):
        pass
    with (place_postgres(data_dir.resolve()).cluster / "postgresql.conf").open("a") as configuration:
        configuration.write("no_such_parameter = 1\n")
    with pytest.raises(Unavailable) as caught, embedded_stack(data_dir):
        pass
    assert str(caught.value).startswith("postgres is not available: it ended with status 1; the end of ")
    assert "no_such_parameter" in str(caught.value)
    assert not (data_dir / "stack.json").exists()


def test_a_stack_is_not_started_twice_in_one_folder(stack: Stack) -> None:
    second = up_again(stack.data_dir)
    assert second.returncode == 2
    assert f"another stack is running in {stack.data_dir} (process {os.getpid()})" in second.stderr
    assert stack.pid("postgres") is not None


def up_again(data_dir: Path) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "services.stack", "--data-dir", str(data_dir))
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_leftovers_are_ended_and_strangers_with_their_pids_are_not(tmp_path: Path) -> None:
    with subprocess.Popen(("sleep", "60")) as left, subprocess.Popen(("sleep", "61")) as stranger:
        eventually(lambda: all(psutil.Process(one.pid).name() == "sleep" for one in (left, stranger)))
        recycled = identify(stranger.pid)
        known = {
            "s3": identify(left.pid),
            "kafka": Identity(recycled.pid, recycled.started_at - 1_000, recycled.command),
            "postgres": Identity(recycled.pid, recycled.started_at, ("postgres", "-D", "somewhere")),
        }
        write_state(tmp_path, State(Identity(1, 0.0, ("gone",)), "embedded", True, {}, known))
        assert clear_leftover_processes(tmp_path) == [known["s3"]]
        assert (left.wait(5), stranger.poll()) == (-signal.SIGTERM, None)
        stranger.kill()


def test_postgres_wants_the_password_and_keeps_utc(stack: Stack) -> None:
    url = stack.endpoints["MEDALLION_DATABASE_URL"]
    shown = "SELECT current_setting('timezone'), current_setting('server_encoding'), current_setting('fsync')"
    assert query(url, shown) == [("UTC", "UTF8", "on")]
    password = url.split(":")[2].split("@")[0]
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        query(url.replace(password, "wrong"), "SELECT 1")


def test_killed_postgres_comes_back_by_itself_on_the_same_port_with_its_data(stack: Stack) -> None:
    url = stack.endpoints["MEDALLION_DATABASE_URL"]
    query(url, "CREATE TABLE survivor AS SELECT 7 AS n")
    before = stack.pid("postgres")
    stack.kill("postgres")
    assert stack.pid("postgres") is None

    def is_back() -> bool:
        stack.tick()
        return stack.children["postgres"].phase == "up"

    assert eventually(lambda: not is_back())
    assert eventually(is_back)
    assert stack.pid("postgres") not in (None, before)
    assert query(url, "SELECT n FROM survivor") == [(7,)]
    state = read_state(stack.data_dir)
    assert state is not None
    assert state.processes["postgres"].pid == stack.pid("postgres")
    query(url, "DROP TABLE survivor")


def test_stopped_server_stays_down_until_it_is_started(stack: Stack) -> None:
    port = int(stack.endpoints["MEDALLION_KAFKA_BOOTSTRAP_SERVERS"].split(":")[1])
    stack.stop("kafka")
    for _ in range(10):
        stack.tick()
    assert stack.pid("kafka") is None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
    stack.start("kafka")
    socket.create_connection(("127.0.0.1", port), timeout=1).close()


def test_paused_postgres_is_silent_and_resumed_goes_on(stack: Stack) -> None:
    url = stack.endpoints["MEDALLION_DATABASE_URL"]
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (backend,) = cursor.fetchone() or (0,)
        stack.pause("postgres")
        try:
            assert psutil.Process(backend).status() == psutil.STATUS_STOPPED
        finally:
            stack.resume("postgres")
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


def test_unknown_name_is_refused_with_the_known_ones(stack: Stack) -> None:
    with pytest.raises(ConfigurationError, match="'minio' runs here; there are kafka, s3, postgres"):
        stack.kill("minio")


def test_topics_are_created_anew_when_the_broker_was_restarted(tmp_path: Path) -> None:
    seen: list[str] = []

    def recreate(settings: Settings) -> None:
        seen.append(settings.kafka_bootstrap_servers)
        if len(seen) == 1:
            raise Unavailable("kafka", "not yet")

    broker = Child(sleeper(tmp_path, "kafka"), is_server=True)
    running = Stack("embedded", load_settings(data_dir=tmp_path), {}, recreate)
    running.launch([broker])
    try:
        assert eventually(lambda: tick(running) and broker.phase == "up")
        assert seen == []
        running.kill("kafka")
        assert eventually(lambda: tick(running) and len(seen) == 2)
        assert broker.restarts == 1
    finally:
        running.close()


def test_a_stubborn_service_is_killed_in_time_and_a_dying_one_waits_longer_each_time(tmp_path: Path) -> None:
    stubborn = Child(sleeper(tmp_path, "silver-1", "trap '' TERM; echo ready; while :; do sleep 1; done"))
    dying = Child(sleeper(tmp_path, "gold-1", "exit 3"))
    running = Stack("external", load_settings(data_dir=tmp_path), {})
    running.launch([stubborn, dying])
    pid = running.pid("silver-1") or 0
    assert eventually(lambda: tick(running) and dying.restarts == 2)
    assert eventually(lambda: tick(running) and dying.failures == 3)
    assert eventually(lambda: "ready" in stubborn.tail())
    started = time.monotonic()
    running.close()
    assert time.monotonic() - started < 10
    assert not psutil.pid_exists(pid)
    assert not (tmp_path / "stack.json").exists()


def tick(running: Stack) -> bool:
    running.tick()
    return True


def sleeper(folder: Path, name: str, script: str = "exec sleep 60") -> Program:
    return Program(name, ("/bin/sh", "-c", script), dict(os.environ), folder, folder / f"{name}.log")


def test_state_file_of_a_running_stack_is_private(stack: Stack) -> None:
    path = stack.data_dir / "stack.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["endpoints"] == endpoints(stack.data_dir) == stack.endpoints
