"""What a stack keeps in its data folder: credentials, ports, the state file and the lock."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from services.stack.ports import PORT_NAMES, choose_ports
from services.stack.process import Identity, is_same_process
from shared.errors import ConfigurationError, Unavailable

STATE_FILE, CREDENTIALS_FILE, LOCK_FILE = "stack.json", "credentials.json", "lock"
PORTS_FILE, SERVICE_PORTS_FILE = "ports.json", "service-ports.json"


@dataclass(frozen=True)
class State:
    """What runs for a data folder: the supervisor, its children, and where everything listens."""

    supervisor: Identity
    stack: str
    is_ready: bool = False
    endpoints: Mapping[str, str] = field(default_factory=dict)
    processes: Mapping[str, Identity] = field(default_factory=dict)
    monitors: Mapping[str, str] = field(default_factory=dict)  # by service: the address of its metrics and health


@dataclass(frozen=True)
class Credentials:
    """Names and secrets of the embedded servers, made on the first start."""

    database_user: str
    database_password: str
    s3_access_key: str
    s3_secret_key: str


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step, readable by its owner only."""
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    with suppress(FileNotFoundError):
        new.unlink()
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    new.replace(path)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ConfigurationError(f"{path} is damaged ({error}); restore it, or remove the whole data folder") from error
    return content if isinstance(content, dict) else {}


def decode_state(text: str) -> State | None:
    """Read a state file's text; None when it is not one of ours (cut off, or of another release)."""
    try:
        body = json.loads(text)
        return State(
            supervisor=Identity.from_json(body["supervisor"]),
            stack=body["stack"],
            is_ready=body["is_ready"],
            endpoints=dict(body["endpoints"]),
            processes={name: Identity.from_json(one) for name, one in body["processes"].items()},
            monitors=dict(body.get("monitors", {})),  # an earlier release wrote none
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def read_state(data_dir: Path) -> State | None:
    """Return what the state file says, whether or not it is still true; None without a readable one."""
    try:
        return decode_state((data_dir / STATE_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise ConfigurationError(
            f"{data_dir / STATE_FILE} belongs to another user; run this as the user who started the stack"
        ) from error


def write_state(data_dir: Path, state: State) -> None:
    """Write the state file in one step."""
    write_private(data_dir / STATE_FILE, json.dumps(asdict(state), indent=2) + "\n")


def is_running(data_dir: Path) -> bool:
    """Say whether a stack of this data folder is up: its supervisor lives and its servers answered."""
    state = read_state(data_dir)
    return state is not None and state.is_ready and is_same_process(state.supervisor)


def endpoints(data_dir: Path) -> dict[str, str]:
    """Return the running stack's `MEDALLION_…` variables; raises Unavailable when none is running."""
    state = read_state(data_dir)
    if state is None or not is_same_process(state.supervisor):
        raise Unavailable(f"the stack in {data_dir}", "it is not running; start it with `medallion up`")
    if not state.is_ready:
        raise Unavailable(f"the stack in {data_dir}", "it is still starting; try again in a few seconds")
    return dict(state.endpoints)


def load_credentials(data_dir: Path) -> Credentials:
    """Return the credentials of the embedded servers, made up on first use."""
    path = data_dir / CREDENTIALS_FILE
    body = _read_json(path)
    if body is None:
        made = Credentials("medallion", secrets.token_urlsafe(24), secrets.token_hex(10), secrets.token_hex(20))
        write_private(path, json.dumps(asdict(made), indent=2) + "\n")
        return made
    try:
        return Credentials(**body)
    except TypeError as error:
        raise ConfigurationError(f"{path} is damaged ({error}); restore it, or remove the whole data folder") from error


def monitors(data_dir: Path) -> dict[str, str]:
    """Return where the services of a running stack show metrics and health, by name; empty without a stack."""
    state = read_state(data_dir)
    return dict(state.monitors) if state is not None and is_same_process(state.supervisor) else {}


def settle_ports(data_dir: Path, names: Sequence[str] = PORT_NAMES, file_name: str = PORTS_FILE) -> dict[str, int]:
    """Return ports by name: the kept ones, except those that something else has taken meanwhile."""
    path = data_dir / file_name
    kept = {name: port for name, port in (_read_json(path) or {}).items() if isinstance(port, int)}
    chosen = choose_ports(kept, names=names)
    if chosen != kept:
        write_private(path, json.dumps(chosen, indent=2) + "\n")
    return chosen


def _open_lock(data_dir: Path) -> TextIO:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        return (data_dir / LOCK_FILE).open("a")
    except OSError as error:
        raise ConfigurationError(
            f"{data_dir} cannot be used for data ({error.strerror}); it may belong to another user: "
            "name another folder with --data-dir"
        ) from error


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold the data folder for this process alone; raises ConfigurationError while another one holds it.

    The lock ends with the process, however it ends; the file stays.
    """
    with _open_lock(data_dir) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            state = read_state(data_dir)
            holder = f" (process {state.supervisor.pid})" if state else ""
            raise ConfigurationError(
                f"another stack is running in {data_dir}{holder}; stop that one, or name another folder with --data-dir"
            ) from error
        yield
