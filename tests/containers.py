"""Kafka, the object store and PostgreSQL in containers, as docker-compose.yml describes them, for people with Docker."""

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from services.stack.ports import HOST, choose_ports
from services.stack.servers import KAFKA, POSTGRES, S3, SERVERS
from shared.settings import Settings, load_settings
from tests.servers import Servers, await_answer

COMPOSE_FILE = Path(__file__).parents[1] / "docker-compose.yml"
NAMES = {KAFKA: "kafka", S3: "store", POSTGRES: "postgres"}  # as docker-compose.yml knows them
PORTS = {KAFKA: 9092, S3: 9000, POSTGRES: 5432}  # within the containers
NOTIFICATION_ARNS = "arn:minio:sqs::DIRECT:kafka,arn:minio:sqs::PRIMARY:kafka"
STOP_SECONDS = 15
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


@dataclass(frozen=True)
class ContainerServers:
    """Containers that keep their ports and their data while they are stopped."""

    settings: Settings
    containers: Mapping[str, DockerContainer]

    def _docker(self, server: str) -> Any:
        return self.containers[server].get_wrapped_container()

    def stop(self, server: str) -> None:
        """Stop a server properly."""
        self._docker(server).stop(timeout=STOP_SECONDS)

    def kill(self, server: str) -> None:
        """End a server without warning."""
        self._docker(server).kill()

    def start(self, server: str) -> None:
        """Start a server and wait until it answers."""
        self._docker(server).start()
        await_answer(self.settings, server)

    def pause(self, server: str) -> None:
        """Freeze a server."""
        self._docker(server).pause()

    def resume(self, server: str) -> None:
        """Let a frozen server go on."""
        self._docker(server).unpause()


@contextmanager
def started() -> Iterator[tuple[Settings, Servers]]:
    """Start the three and yield the settings that lead to them; they are removed afterwards, with their data."""
    ports = choose_ports({}, names=SERVERS)
    password = secrets.token_hex(16)
    described = yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))["services"]
    values = {**os.environ, "KAFKA_PORT": str(ports[KAFKA]), "STORE_PASSWORD": password, "POSTGRES_PASSWORD": password}
    settings = load_settings(
        database_url=f"postgresql://postgres:{password}@{HOST}:{ports[POSTGRES]}/medallion",
        kafka_bootstrap_servers=f"{HOST}:{ports[KAFKA]}", s3_endpoint=f"{HOST}:{ports[S3]}", s3_access_key="medallion",
        s3_secret_key=password, s3_secure=False, s3_notification_arn=NOTIFICATION_ARNS,
    )  # fmt: skip
    with ExitStack() as stack:
        network = stack.enter_context(Network())
        containers: dict[str, DockerContainer] = {}
        for server in SERVERS:  # Kafka first: the store wants to announce there
            service = expanded(described[NAMES[server]], values)
            container = _container(service, network, NAMES[server], PORTS[server], ports[server])
            containers[server] = stack.enter_context(container)
            await_answer(settings, server)
        yield settings, ContainerServers(settings, containers)


def _container(service: Mapping[str, Any], network: Network, name: str, inside: int, outside: int) -> DockerContainer:
    container = DockerContainer(service["image"]).with_network(network).with_network_aliases(name)
    container.env.update({key: str(value) for key, value in service["environment"].items() if key != "OWNER_PASSWORD"})
    # The same port after a restart, and nothing beyond loopback.
    container.ports[f"{inside}/tcp"] = (HOST, outside)
    container.with_kwargs(shm_size=service.get("shm_size", "64m"))
    if "command" in service:
        container.with_command(service["command"])
    return container


def expanded(value: Any, values: Mapping[str, str]) -> Any:
    """Put values and defaults in place of compose's ${NAME:-default} within a service's description."""
    if isinstance(value, dict):
        return {name: expanded(one, values) for name, one in value.items()}
    if isinstance(value, list):
        return [expanded(one, values) for one in value]
    if not isinstance(value, str):
        return value
    return _VARIABLE.sub(lambda found: values.get(found[1]) or (found[3] if found[2] == "-" else ""), value)
