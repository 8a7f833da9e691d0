"""What a stack consists of: the servers and the services as children, and the settings they share."""

import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import SecretStr

from services.stack.children import Child
from services.stack.process import Program
from services.stack.servers import (
    KAFKA,
    POSTGRES,
    S3,
    SERVERS,
    Server,
    kafka_server,
    postgres_server,
    s3_server,
)
from services.stack.state import SERVICE_PORTS_FILE, Credentials, settle_ports
from shared.roles import WHO
from shared.settings import Settings, load_settings

_PREFIX = "MEDALLION_"
_ENDPOINT_NAMES = (
    "database_url",
    "kafka_bootstrap_servers",
    "s3_endpoint",
    "s3_access_key",
    "s3_secret_key",
    "s3_secure",
    "webhook_port",
    "data_dir",
)


def log_path(data_dir: Path, name: str) -> Path:
    """Return where a server or service logs."""
    return data_dir / "logs" / f"{name}.log"


def connected_settings(settings: Settings, endpoints: Mapping[str, str]) -> Settings:
    """Return the settings with a stack's endpoints (`MEDALLION_…` variables) in place of their own."""
    found = {name.removeprefix(_PREFIX).lower(): value for name, value in endpoints.items()}
    return load_settings(**{**settings.model_dump(), **found})


# Allocators that give memory back: a load of 2.5 million rows peaked at 413 MB with these and at 478 MB without, in the
# same time. They must be in the environment before the process starts.
FRUGAL_MEMORY = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2"}


def settings_environment(settings: Settings) -> dict[str, str]:
    """Return the settings as environment variables: a service then sees what its supervisor saw, others' logins excepted."""
    logins = {f"{who}_password" for who in WHO}
    names = [name for name in type(settings).model_fields if name not in logins]
    values = {f"{_PREFIX}{name.upper()}": _text(getattr(settings, name)) for name in names}
    return {name: value for name, value in values.items() if value}


def endpoint_environment(settings: Settings) -> dict[str, str]:
    """Return where the servers are, as environment variables."""
    everything = settings_environment(settings)
    names = [f"{_PREFIX}{name.upper()}" for name in _ENDPOINT_NAMES]
    return {name: everything[name] for name in names if name in everything}


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool):
        return str(value).lower()
    return str(value.absolute()) if isinstance(value, Path) else str(value)


def server_children(
    data_dir: Path, credentials: Credentials, ports: dict[str, int], servers: Collection[str] = SERVERS
) -> Iterator[Child]:
    """Yield these of the embedded servers, each to be started before the next is described.

    PostgreSQL comes last: its first start makes the cluster, and the others come up meanwhile.
    """
    if KAFKA in servers:
        yield _server_child(kafka_server(data_dir, ports, log_path(data_dir, "kafka")))
    if S3 in servers:
        yield _server_child(s3_server(data_dir, credentials, ports, log_path(data_dir, "s3")))
    if POSTGRES in servers:
        yield _server_child(postgres_server(data_dir, credentials, ports, log_path(data_dir, "postgres")))


def _server_child(server: Server) -> Child:
    return Child(server.program, server.answers, server.clear_leftovers, is_server=True)


def service_modules(silver: int, gold: int) -> dict[str, str]:
    """Name the services: one ingestor, and as many silver and gold workers as asked."""
    return {
        "ingestor": "services.ingestor",
        **{f"silver-{n}": "services.silver" for n in range(1, silver + 1)},
        **{f"gold-{n}": "services.gold" for n in range(1, gold + 1)},
    }


def monitor_ports(settings: Settings, data_dir: Path, kind: str, names: Sequence[str]) -> dict[str, int]:
    """Return on which port each service shows metrics and health: counted up from the configured one.

    Without one (0), the embedded stack takes free ports and keeps them, beside external servers there are none.
    """
    if settings.metrics_port:
        return {name: settings.metrics_port + index for index, name in enumerate(names)}
    return settle_ports(data_dir, names, SERVICE_PORTS_FILE) if kind == "embedded" else {}


def service_children(
    settings: Settings, data_dir: Path, modules: Mapping[str, str], ports: Mapping[str, int], *, poll: bool
) -> list[Child]:
    """Describe the services by name, each with the port of its metrics and health where it has one."""
    environment = {**FRUGAL_MEMORY, **os.environ, **settings_environment(settings), **_python_path()}
    environment["MEDALLION_POLL_ENABLED"] = str(poll and settings.poll_enabled).lower()
    children = []
    for name, module in modules.items():
        port = ports.get(name, 0)
        own = {**environment, "MEDALLION_METRICS_PORT": str(port)}
        program = Program(name, (sys.executable, "-P", "-m", module), own, Path.cwd(), log_path(data_dir, name))
        children.append(Child(program, monitor=f"http://{settings.bind_host}:{port}" if port else ""))
    return children


def _python_path() -> dict[str, str]:
    # The services are the ones beside this file, whatever lies in the folder that the user stands in.
    root = str(Path(__file__).resolve().parents[2])
    return {"PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))}
