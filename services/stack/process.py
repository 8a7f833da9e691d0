"""Child processes: started so that they end with their parent, known so that no stranger is ever killed."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

LOG_BYTES_MAX = 10_000_000
LOG_TAIL_LINES = 20
_PR_SET_PDEATHSIG = 1
# Boot time, which start times are counted from, moves a little when the clock is set.
_START_TOLERANCE_SECONDS = 5.0


@dataclass(frozen=True)
class User:
    """An operating system user that a program runs as."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Program:
    """How to run one server or service."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    log: Path
    user: User | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    # Sent by the kernel when the supervisor dies without a word (Linux).
    orphan_signal: signal.Signals = signal.SIGKILL


@dataclass(frozen=True)
class Identity:
    """Enough of a process to recognise it later: a process id alone is given to others in time."""

    pid: int
    started_at: float
    command: tuple[str, ...]

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Identity":
        """Read an identity as the state file holds it."""
        return cls(int(body["pid"]), float(body["started_at"]), tuple(map(str, body["command"])))


def is_same(known: Identity, started_at: float, command: Iterable[str]) -> bool:
    """Decide whether a living process with the pid of `known` is the one that was known."""
    same_start = abs(known.started_at - started_at) <= _START_TOLERANCE_SECONDS
    return same_start and known.command == tuple(command)


def identify(pid: int) -> Identity:
    """Describe a living process; raises psutil.NoSuchProcess when there is none."""
    process = psutil.Process(pid)
    return Identity(pid, process.create_time(), tuple(process.cmdline()))


def is_same_process(known: Identity) -> bool:
    """Say whether this very process still runs (a zombie does not)."""
    try:
        process = psutil.Process(known.pid)
        return process.status() != psutil.STATUS_ZOMBIE and is_same(known, process.create_time(), process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def spawn(program: Program) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, its output appended to its log.

    Called from the main thread, the child gets its orphan signal as soon as this process ends (Linux only).
    Its own session keeps Ctrl-C in the terminal from reaching it before the supervisor decides the order.
    """
    program.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if program.log.exists() and program.log.stat().st_size > LOG_BYTES_MAX:
        program.log.replace(program.log.with_suffix(".log.1"))
    with program.log.open("ab") as log, warnings.catch_warnings():
        # From 3.12 Python warns of forking beside other threads; the child only makes two system calls before
        # the exec.
        warnings.simplefilter("ignore", DeprecationWarning)
        return subprocess.Popen(
            program.command,
            env=dict(program.environment),
            cwd=program.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent(program.orphan_signal),
            **switch_user(program.user),
        )


def switch_user(user: User | None) -> dict[str, Any]:
    """Return the arguments of subprocess that make a child run as `user`, without further groups."""
    return {} if user is None else {"user": user.uid, "group": user.gid, "extra_groups": []}


def _end_with_parent(orphan_signal: signal.Signals) -> Callable[[], None] | None:
    # The kernel sends the signal when the thread that forked ends, so only the main thread may ask for it. It
    # runs after the switch of user, which would clear the request.
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, int(orphan_signal), 0, 0, 0)
        if os.getppid() != parent:  # it died before the request
            os._exit(1)

    return ask


def log_tail(log: Path, offset: int = 0) -> str:
    """Return the last lines that were written to a log after `offset` bytes."""
    try:
        with log.open("rb") as file:
            file.seek(max(offset, log.stat().st_size - 65_536))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-LOG_TAIL_LINES:])


def wait_until(is_so: Callable[[], bool], seconds: float) -> bool:
    """Ask every 20 ms until it is so; False when `seconds` have passed without."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal; a process that is gone is fine."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def end_strangers(known: Mapping[Identity, signal.Signals], grace_seconds: float) -> list[Identity]:
    """End processes that are not our children, kill them after the grace; return those found alive."""
    alive = [one for one in known if is_same_process(one)]
    for one in alive:
        send(one.pid, known[one])
        send(one.pid, signal.SIGCONT)
    wait_until(lambda: not any(map(is_same_process, alive)), grace_seconds)
    for one in alive:
        if is_same_process(one):
            send(one.pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_same_process, alive)), 5)
    return alive
