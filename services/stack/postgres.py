"""PostgreSQL as a child process: its cluster, its command line, and what a killed one leaves behind."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from services.stack.places import Place, place_postgres, postgres_program
from services.stack.ports import HOST
from services.stack.process import LOG_TAIL_LINES, Program, end_strangers, identify, switch_user
from services.stack.state import Credentials, write_private
from shared.errors import Unavailable

DATABASE = "medallion"
_INITDB_TIMEOUT_SECONDS = 120
STOP_SIGNAL = signal.SIGINT  # a fast shutdown: sessions are ended, nothing is left to recover

# Parallel queries share memory there; containers often have 64 MB of it, on which a larger query would fail.
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 — only measured
_SHARED_MEMORY_BYTES_MIN = 512 * 1024 * 1024

# For a laptop that loads files in bursts. Durability (fsync, full_page_writes) stays as PostgreSQL has it.
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # TCP with a password is the only door; socket paths also end at 107 bytes
    "shared_buffers": "256MB",
    "wal_level": "minimal",  # nothing replicates from here, and COPY into a new table then skips the log
    "max_wal_senders": "0",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "max_connections": "100",
    "random_page_cost": "1.1",
    "jit": "off",
    # A session whose worker died gives its locks back within half a second.
    "client_connection_check_interval": "500ms",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

_LOCALE = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")


def database_url(credentials: Credentials, port: int) -> str:
    """Return the URL of the embedded database."""
    return f"postgresql://{credentials.database_user}:{credentials.database_password}@{HOST}:{port}/{DATABASE}"


def prepare_postgres(data_dir: Path, credentials: Credentials, port: int, log: Path) -> Program:
    """Make the cluster where there is none yet, clear what a killed server left, and say how to run it.

    Raises Unavailable when the cluster cannot be made, ConfigurationError when no place for it can be
    reached.
    """
    place = place_postgres(data_dir)
    if not place.cluster.is_dir():
        _create_cluster(place, credentials)
    clear_leftovers(place.cluster)
    settings = {**_SETTINGS, **_shared_memory(), "port": str(port)}
    flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return Program(
        name="postgres",
        command=(str(postgres_program(place, "postgres")), "-D", str(place.cluster), *flags),
        environment=_environment(),
        folder=place.home,
        log=log,
        user=place.user,
        stop_signal=STOP_SIGNAL,
        orphan_signal=STOP_SIGNAL,
    )


def _shared_memory() -> dict[str, str]:
    is_small = _SHARED_MEMORY.is_dir() and shutil.disk_usage(_SHARED_MEMORY).total < _SHARED_MEMORY_BYTES_MIN
    return {"dynamic_shared_memory_type": "mmap"} if is_small else {}


def _environment() -> dict[str, str]:
    # Nothing else of the user's environment: PGDATA, PGPORT or LD_LIBRARY_PATH would change what is started.
    return {"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)}


def _create_cluster(place: Place, credentials: Credentials) -> None:
    """Make the cluster and its database beside their final place, then move them there in one step."""
    new, password = place.cluster.with_name("cluster.new"), place.home / "password"
    if new.exists():
        shutil.rmtree(new)
    new.mkdir(mode=0o700)
    write_private(password, credentials.database_password + "\n")
    try:
        if place.user is not None:
            for path in (new, password):
                os.chown(path, place.user.uid, place.user.gid)
        initdb = (str(postgres_program(place, "initdb")), "-D", str(new), "-U", credentials.database_user)
        _run(place, *initdb, f"--pwfile={password}", "--auth=scram-sha-256", "--no-instructions", *_LOCALE)
    finally:
        password.unlink()
    single = (str(postgres_program(place, "postgres")), "--single", "-D", str(new), "postgres")
    _run(place, *single, statement=f"CREATE DATABASE {DATABASE};\n")
    new.rename(place.cluster)


def _run(place: Place, *command: str, statement: str = "") -> None:
    try:
        done = subprocess.run(
            command,
            input=statement,
            capture_output=True,
            text=True,
            cwd=place.home,
            env=_environment(),
            timeout=_INITDB_TIMEOUT_SECONDS,
            start_new_session=True,
            check=False,
            **switch_user(place.user),
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        raise Unavailable("postgres", f"its database cluster could not be made: {error}") from error
    if done.returncode:
        tail = "\n".join(f"{done.stdout}\n{done.stderr}".strip().splitlines()[-LOG_TAIL_LINES:])
        raise Unavailable("postgres", f"`{Path(command[0]).name}` ended with status {done.returncode}:\n{tail}")


def read_postmaster(cluster: Path) -> tuple[int, str] | None:
    """Return the pid and the status (`ready`, `starting` …) that a server wrote into its cluster."""
    try:
        lines = (cluster / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
        return int(lines[0]), lines[7].strip() if len(lines) > 7 else ""
    except (OSError, ValueError, IndexError):
        return None


def postgres_answers(cluster: Path, pid: int) -> bool:
    """Say whether the server with this pid accepts connections."""
    return read_postmaster(cluster) == (pid, "ready")


def clear_leftovers(cluster: Path) -> None:
    """End every process of an earlier server of this cluster, then remove its stale lock file.

    The caller holds the data folder's lock, so no other stack uses the cluster. The order matters:
    PostgreSQL's own check for sessions that outlive a killed server needs the file, and it refuses to start
    when the file's pid has meanwhile been given to another process of the same user.
    """
    left = {}
    for process in _processes_in(cluster):
        with suppress(psutil.NoSuchProcess):
            left[identify(process.pid)] = signal.SIGQUIT
    end_strangers(left, grace_seconds=5)
    with suppress(FileNotFoundError):
        (cluster / "postmaster.pid").unlink()


def _processes_in(cluster: Path) -> Iterator[psutil.Process]:
    # Server and sessions alike work in the cluster's folder, whatever their titles say.
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.name().startswith("postgres") and process.cwd() == str(cluster):
                yield process
