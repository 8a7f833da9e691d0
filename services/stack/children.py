"""The children of one stack: started, watched, restarted and stopped by name."""

import logging
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

import psutil

from services.stack.backoff import HEALTHY_AFTER_SECONDS, failures_in_a_row, pause_seconds
from services.stack.process import Identity, Program, identify, log_tail, send, spawn, wait_until

logger = logging.getLogger(__name__)

Phase = Literal["down", "starting", "up", "waiting"]

# A server that was started but does not answer is ended and started anew.
_ANSWER_TIMEOUT_SECONDS = 60.0
_FREEZE_TIMEOUT_SECONDS = 2.0  # a process stops when it is next scheduled, not at once


@dataclass
class Child:
    """One server or service; `phase` is `down` when it is meant to be, `waiting` while a restart is due."""

    program: Program
    answers: Callable[[int], bool] = lambda _: True
    clear_leftovers: Callable[[], None] = lambda: None
    is_server: bool = False
    monitor: str = ""  # where it shows metrics and health: http://host:port
    phase: Phase = "down"
    failures: int = 0
    restarts: int = 0
    due_at: float = 0.0
    spawned_at: float = 0.0
    log_offset: int = 0
    identity: Identity | None = None
    popen: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The name in the state file, in logs and in `Stack.kill(name)`."""
        return self.program.name

    @property
    def pid(self) -> int | None:
        """The process id while the child runs."""
        return self.popen.pid if self.popen is not None and self.popen.poll() is None else None

    def start(self) -> None:
        """Start the program; it counts as up once it answers."""
        log = self.program.log
        self.log_offset = log.stat().st_size if log.exists() else 0
        self.popen = spawn(self.program)
        self.spawned_at = time.monotonic()
        self.identity = _identify_started(self.popen)
        self.phase = "starting"

    def watch(self, now: float) -> bool:
        """Move one step: note a death, restart what is due; True when the phase changed."""
        before = self.phase
        if self.phase in ("starting", "up") and self.pid is None:
            self._note_death(now)
        elif self.phase == "starting":
            self._ask(now)
        elif self.phase == "waiting" and now >= self.due_at:
            self._restart(now)
        elif self.phase == "up" and self.failures and now - self.spawned_at >= HEALTHY_AFTER_SECONDS:
            self.failures = 0
        return self.phase != before

    def _ask(self, now: float) -> None:
        if self.answers(self.popen.pid if self.popen else 0):
            self.phase = "up"
        elif now - self.spawned_at > _ANSWER_TIMEOUT_SECONDS:
            self.signal(signal.SIGKILL)  # its death is noted by the next step

    def _restart(self, now: float) -> None:
        self.restarts += 1
        try:
            self.clear_leftovers()
            self.start()
        except OSError as error:  # the machine is out of processes, files or space: that may pass
            logger.warning(
                "A process could not be started.",
                extra={"action": "process_not_started", "program": self.name, "reason": str(error)},
            )
            self.failures = failures_in_a_row(self.failures, 0)
            self.due_at = now + pause_seconds(self.failures)

    def _note_death(self, now: float) -> None:
        self.failures = failures_in_a_row(self.failures, now - self.spawned_at)
        pause = pause_seconds(self.failures)
        self.due_at, self.phase = now + pause, "waiting"
        logger.warning(
            "A process ended and will be restarted.",
            extra={
                "action": "process_died",
                "program": self.name,
                "status": self.popen.returncode if self.popen else None,
                "restart_in_seconds": pause,
                "log": str(self.program.log),
            },
        )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the child if it runs."""
        if (pid := self.pid) is not None:
            send(pid, number)

    def tail(self) -> str:
        """Return the last lines the child has logged since it was started."""
        return log_tail(self.program.log, self.log_offset)


def _identify_started(popen: subprocess.Popen[bytes]) -> Identity | None:
    # Popen returns after the exec, so the command line is already the program's own.
    try:
        return identify(popen.pid)
    except psutil.Error:
        return None  # it ended at once; the next look notes it


def _family(pid: int | None) -> list[psutil.Process]:
    if pid is None:
        return []
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def pause_family(pid: int | None) -> None:
    """Freeze a process and all its descendants, the process first, so that it starts no more of them."""
    family = _family(pid)
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.suspend()
    wait_until(lambda: all(map(_is_still, family)), _FREEZE_TIMEOUT_SECONDS)


def _is_still(process: psutil.Process) -> bool:
    try:
        return bool(process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE))
    except psutil.NoSuchProcess:
        return True


def resume_family(pid: int | None) -> None:
    """Let a frozen process and its descendants go on."""
    for process in _family(pid):
        with suppress(psutil.NoSuchProcess):
            process.resume()


def end_children(children: Sequence[Child], grace_seconds: float) -> None:
    """Ask all of them at once to stop, kill after the grace what is left, and wait for the last."""
    running = [child for child in children if child.pid is not None]
    for child in running:
        child.signal(child.program.stop_signal)
        resume_family(child.pid)  # a paused one could not hear
    wait_until(lambda: all(child.pid is None for child in running), grace_seconds)
    for child in running:
        child.signal(signal.SIGKILL)
    for child in running:
        if child.popen is not None:
            child.popen.wait(timeout=5)
        child.clear_leftovers()
    for child in children:
        child.phase = "down"
