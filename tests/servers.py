"""Servers that tests stop, kill, freeze and start: children of an embedded stack, or somebody else's."""

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol
from urllib.parse import urlsplit

import psutil
import pytest

from services.stack import Stack
from services.stack.servers import KAFKA, POSTGRES, S3
from shared.adapters.kafka import KafkaBus
from shared.adapters.postgres import Postgres
from shared.adapters.s3 import open_s3
from shared.errors import ConfigurationError, Unavailable
from shared.settings import BRONZE_BUCKET, BRONZE_READY, Settings

COMMAND_VARIABLE = "MEDALLION_TEST_SERVERS_COMMAND"
NAMES = {KAFKA: "kafka", S3: "minio", POSTGRES: "postgres"}  # as the command knows them
COMMAND_SECONDS_MAX = 90.0
ANSWER_SECONDS_MAX = 60.0


class Servers(Protocol):
    """Power over the servers by name: postgres, s3, kafka."""

    def stop(self, server: str) -> None:
        """Stop a server properly."""
        ...

    def kill(self, server: str) -> None:
        """End a server without warning."""
        ...

    def start(self, server: str) -> None:
        """Start a server and wait until it answers."""
        ...

    def pause(self, server: str) -> None:
        """Freeze a server: it takes connections and never answers."""
        ...

    def resume(self, server: str) -> None:
        """Let a frozen server go on."""
        ...


class EmbeddedServers:
    """The children of an embedded stack."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def stop(self, server: str) -> None:
        """Stop a server properly; it stays down."""
        self._stack.stop(server)

    def kill(self, server: str) -> None:
        """Kill a server. Ticks may restart it."""
        self._stack.children[server].failures = 0
        self._stack.kill(server)

    def start(self, server: str) -> None:
        """Start a server, unless the supervisor did already, and wait until it answers."""
        self._stack.start(server)

    def pause(self, server: str) -> None:
        """Freeze a server and its descendants."""
        self._stack.pause(server)

    def resume(self, server: str) -> None:
        """Let a frozen server go on."""
        self._stack.resume(server)


class ExternalServers:
    """Servers that the settings name: stopped and started by a command, killed and frozen where they run on this machine.

    The command is MEDALLION_TEST_SERVERS_COMMAND, with {action} (stop or start) and {server} (kafka, minio or postgres) in
    it. Tests that need it are skipped without it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._frozen: dict[str, psutil.Process] = {}

    def stop(self, server: str) -> None:
        """Stop a server properly."""
        self._run("stop", server)

    def kill(self, server: str) -> None:
        """Kill the process that listens for a server."""
        process = self._process(server)
        process.send_signal(signal.SIGKILL)
        psutil.wait_procs([process], timeout=10)

    def start(self, server: str) -> None:
        """Start a server, and wait until it does what clients ask first."""
        self._run("start", server)
        await_answer(self._settings, server)

    def pause(self, server: str) -> None:
        """Freeze the process that listens for a server."""
        self._frozen[server] = self._process(server)
        self._frozen[server].suspend()

    def resume(self, server: str) -> None:
        """Let a frozen server go on."""
        self._frozen.pop(server).resume()

    def _run(self, action: str, server: str) -> None:
        command = os.environ.get(COMMAND_VARIABLE, "")
        if not command:
            pytest.skip(f"{COMMAND_VARIABLE} is not set: nothing can {action} the external {NAMES[server]}")
        words = [word.format(action=action, server=NAMES[server]) for word in shlex.split(command)]
        done = subprocess.run(
            words,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
            check=False,
        )
        assert done.returncode == 0, f"{shlex.join(words)} ended with {done.returncode}: {done.stderr}"

    def _process(self, server: str) -> psutil.Process:
        port = int(address(self._settings, server).rpartition(":")[2])
        listening = psutil.net_connections("tcp4") + psutil.net_connections("tcp6")
        for one in listening:
            if one.status == psutil.CONN_LISTEN and one.laddr.port == port and one.pid:
                return psutil.Process(one.pid)
        pytest.skip(f"the external {NAMES[server]} on port {port} is no process of this machine that one could kill")


class MixedServers:
    """The servers that a stack started itself, and the others."""

    def __init__(self, stack: Stack, others: Servers) -> None:
        self._stack, self._own, self._others = stack, EmbeddedServers(stack), others

    def _of(self, server: str) -> Servers:
        return self._own if server in self._stack.children else self._others

    def stop(self, server: str) -> None:
        """Stop a server properly."""
        self._of(server).stop(server)

    def kill(self, server: str) -> None:
        """End a server without warning."""
        self._of(server).kill(server)

    def start(self, server: str) -> None:
        """Start a server and wait until it answers."""
        self._of(server).start(server)

    def pause(self, server: str) -> None:
        """Freeze a server."""
        self._of(server).pause(server)

    def resume(self, server: str) -> None:
        """Let a frozen server go on."""
        self._of(server).resume(server)


def address(settings: Settings, server: str) -> str:
    """Return host:port of a server."""
    if server == POSTGRES and settings.database_url is not None:
        return urlsplit(settings.database_url.get_secret_value()).netloc.rpartition("@")[2]
    return {KAFKA: settings.kafka_bootstrap_servers, S3: settings.s3_endpoint}[server]


def await_answer(settings: Settings, server: str, seconds: float = ANSWER_SECONDS_MAX) -> None:
    """Wait until a server does what clients ask first; raises Unavailable if it never does."""
    questions: dict[str, Callable[[], object]] = {
        KAFKA: lambda: _ask_kafka(settings),
        S3: lambda: _ask_store(settings),
        POSTGRES: lambda: _ask_postgres(settings),
    }
    deadline = time.monotonic() + seconds
    while True:
        try:
            questions[server]()
            return
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _ask_store(settings: Settings) -> None:
    with suppress(ConfigurationError):  # there is no such bucket: an answer, too
        next(open_s3(settings).versions(BRONZE_BUCKET), None)


def _ask_kafka(settings: Settings) -> None:
    bus = KafkaBus(settings.kafka_bootstrap_servers)
    try:
        bus.topic_identity(BRONZE_READY)
    finally:
        bus.close()


def _ask_postgres(settings: Settings) -> None:
    assert settings.database_url is not None
    with Postgres(settings.database_url.get_secret_value()).session("tests") as session:
        session.rows("SELECT 1")
