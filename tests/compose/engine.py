"""The stack of docker-compose.yml under a project name of its own, with passwords and ports of its own."""

import json
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
from minio import Minio

ROOT = Path(__file__).resolve().parents[2]
PORTS = ("KAFKA_PORT", "STORE_PORT", "CONSOLE_PORT", "POSTGRES_PORT")
COMMAND_SECONDS_MAX = 240


class Failed(Exception):
    """What was to be shown does not hold."""


def is_docker_there() -> str:
    """Return '' when `docker compose` works, else what is missing."""
    for command, missing in (
        (["docker", "compose", "version"], "Docker with its compose plug-in is not installed"),
        (["docker", "info"], "the Docker engine does not answer"),
    ):
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=30)
        except (OSError, subprocess.SubprocessError):
            return missing
    return ""


def wait_until(what: str, condition: Callable[[], Any], seconds_max: float = 60) -> Any:
    """Poll until `condition` is true and return what it gave; raises Failed."""
    deadline = time.monotonic() + seconds_max
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds_max:.0f} s: {what}")
        time.sleep(0.5)
    return found


class Engine:
    """`docker compose` on the checkout's file, and doors into what it starts."""

    def __init__(self, folder: Path) -> None:
        self.project = f"medallion-test-{secrets.token_hex(3)}"
        self._file = folder / "environment"
        subprocess.run([ROOT / "deploy" / "environment", self._file], check=True, capture_output=True)
        self.secrets = dict(line.split("=", 1) for line in self._file.read_text().splitlines() if "=" in line)
        self.ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        more = {**self.ports, "POLL_ENABLED": "false", "MEDALLION_VERSION": "compose-test"}
        with self._file.open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in more.items())

    def compose(self, *arguments: str, timeout: float = COMMAND_SECONDS_MAX) -> str:
        """Run a compose command and return what it printed; raises Failed with its last lines."""
        own = ["docker", "compose", "--project-name", self.project, "--env-file", str(self._file)]
        return self.run([*own, "--file", str(ROOT / "docker-compose.yml"), *arguments], timeout)

    def run(self, command: list[str], timeout: float = COMMAND_SECONDS_MAX) -> str:
        """Run a command without this process's own variables; return what it printed."""
        kept = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT")
        environment = {name: os.environ[name] for name in kept if name in os.environ}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, env=environment, cwd=ROOT, check=False
        )
        if done.returncode:
            tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
            raise Failed(f"{' '.join(command)} ended with {done.returncode}:\n{tail}")
        return done.stdout

    def containers(self, service: str = "") -> list[str]:
        """Return the ids of a service's containers, of all without one."""
        return self.compose("ps", "--all", "--quiet", *([service] if service else [])).split()

    def inspect(self, container: str) -> dict[str, Any]:
        """Return what the engine knows of a container."""
        found: dict[str, Any] = json.loads(self.run(["docker", "inspect", container]))[0]
        return found

    def kill(self, service: str) -> str:
        """Kill one running container of a service; return its id, for `start`."""
        container = self.compose("ps", "--quiet", service).split()[0]
        self.run(["docker", "kill", container])
        return container

    def start(self, container: str) -> None:
        """Start a killed container again: the engine takes `docker kill` for the operator's wish and does not."""
        self.run(["docker", "start", container])

    def up(self) -> float:
        """Build, start, wait until all is healthy; return the seconds it took."""
        began = time.monotonic()
        self.compose("up", "--detach", "--build", "--wait")
        return time.monotonic() - began

    def store(self, who: str) -> Minio:
        """Return an S3 client that logs in as `who`, as seen from this machine."""
        name, password = ("medallion", "STORE") if who == "root" else (f"medallion_{who}", who.upper())
        secret = self.secrets[f"{password}_PASSWORD"]
        endpoint = f"127.0.0.1:{self.ports['STORE_PORT']}"
        return Minio(endpoint, access_key=name, secret_key=secret, secure=False, region="us-east-1")

    def rows(self, sql: str, who: str = "owner") -> list[tuple[Any, ...]]:
        """Run a statement as one of the logins, through the published port, and return its rows."""
        user, secret = ("medallion" if who == "owner" else f"medallion_{who}"), self.secrets[f"{who.upper()}_PASSWORD"]
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.ports["POSTGRES_PORT"], dbname="medallion", user=user, password=secret
        )
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


def _free_ports(count: int) -> list[str]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports
