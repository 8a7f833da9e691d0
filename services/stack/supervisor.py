"""A running stack: servers and services as children of this process, started and stopped together."""

import logging
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from services.stack.children import Child, end_children, pause_family, resume_family
from services.stack.process import identify
from services.stack.servers import KAFKA
from services.stack.signals import StopRequest
from services.stack.state import STATE_FILE, State, write_state
from shared.errors import ConfigurationError, MedallionError, Unavailable
from shared.settings import Settings
from shared.watchdog import NO_PARTITIONS

logger = logging.getLogger(__name__)

StackKind = Literal["embedded", "external"]
Prepare = Callable[[Settings], None]

START_TIMEOUT_SECONDS = 60.0
SERVICE_GRACE_SECONDS = 6.0
STOP_TOTAL_SECONDS = 9.5
CONSUMERS_WITHOUT_PARTITIONS_MAX = 2  # so many of them ended for that reason: the broker is restarted


class Stack:
    """What runs for one data folder. Nothing is watched between two calls of `tick`."""

    def __init__(
        self,
        kind: StackKind,
        settings: Settings,
        endpoints: Mapping[str, str],
        recreate_topics: Prepare | None = None,
    ) -> None:
        self.kind = kind
        self.settings = settings
        self.endpoints = dict(endpoints)
        self.data_dir = settings.data_dir
        self.children: dict[str, Child] = {}
        self._supervisor = identify(os.getpid())
        self._is_ready = False
        self._recreate_topics = recreate_topics
        self._topics_due_at: float | None = None
        self._left_without_partitions = 0

    def tick(self) -> None:
        """Look at every child once: restart what died when its pause is over, and write that down."""
        changed = False
        for child in self.children.values():
            restarts = child.restarts
            if child.watch(time.monotonic()):
                changed = True
                if child.phase == "waiting" and child.popen and child.popen.returncode == NO_PARTITIONS:
                    self._renew_broker()
            if child.name == KAFKA and child.restarts != restarts:
                self._topics_due_at = 0.0
        if changed:
            self._save_if_possible()
        self._restore_topics()

    def _renew_broker(self) -> None:
        """Restart the embedded broker once its consumer groups have come to a standstill that restarts do not end.

        Seen with Tansu 0.6 after consumers were killed and frozen while they joined: the group forms for ever. The
        broker forgets everything with that, which the ledger and the sweep heal.
        """
        self._left_without_partitions += 1
        if KAFKA in self.children and self._left_without_partitions >= CONSUMERS_WITHOUT_PARTITIONS_MAX:
            self._left_without_partitions = 0
            logger.warning(
                "The broker gives consumers no partitions; restarting it.", extra={"action": "broker_renewed"}
            )
            self.kill(KAFKA)

    def _restore_topics(self) -> None:
        """Create the topics anew once a broker that forgets everything is back."""
        broker, now = self.children.get(KAFKA), time.monotonic()
        if self._topics_due_at is None or broker is None or broker.phase != "up" or now < self._topics_due_at:
            return
        self._topics_due_at = None
        if self._recreate_topics is None:
            return
        try:
            self._recreate_topics(self.settings)
        except MedallionError as error:
            logger.warning("Topics could not be created anew.", extra={"action": "topics_failed", "reason": str(error)})
            self._topics_due_at = now + 1.0

    def pid(self, name: str) -> int | None:
        """Return the process id of a child, None while it does not run."""
        return self._child(name).pid

    def kill(self, name: str) -> None:
        """Kill a child without warning; the next ticks restart it."""
        child = self._child(name)
        child.signal(signal.SIGKILL)
        if child.popen is not None:
            child.popen.wait(timeout=5)

    def stop(self, name: str, grace_seconds: float = SERVICE_GRACE_SECONDS) -> None:
        """Stop a child for good: ticks leave it down until `start`."""
        end_children([self._child(name)], grace_seconds)
        self._save()

    def start(self, name: str, timeout_seconds: float = START_TIMEOUT_SECONDS) -> None:
        """Start a child that is down and wait until it answers; a broker gets its topics back."""
        child = self._child(name)
        if child.pid is None:
            child.clear_leftovers()
            child.restarts += 1
            child.start()
            self._save()
        self.await_up([child], timeout_seconds)
        if name == KAFKA:
            self._topics_due_at = 0.0
            self._restore_topics()

    def restart(self, name: str) -> None:
        """Stop a child, start it on the same port with the same data, and wait until it answers."""
        self.stop(name)
        self.start(name)

    def restart_services(self) -> None:
        """Stop all services, their work in hand finished or rolled back, and start them anew; the servers go on."""
        services = [child for child in self.children.values() if not child.is_server]
        end_children(services, SERVICE_GRACE_SECONDS)
        self.launch(services)

    def pause(self, name: str) -> None:
        """Freeze a child and all its descendants, as a machine out of breath would."""
        pause_family(self.pid(name))

    def resume(self, name: str) -> None:
        """Let a frozen child and its descendants go on."""
        resume_family(self.pid(name))

    def _child(self, name: str) -> Child:
        try:
            return self.children[name]
        except KeyError:
            raise ConfigurationError(
                f"nothing called {name!r} runs here; there are {', '.join(self.children)}"
            ) from None

    def launch(self, children: Iterable[Child]) -> None:
        """Start children in order, each written down before the next is started."""
        for child in children:
            self.children[child.name] = child
            child.start()
            self._save()

    def await_up(self, children: Iterable[Child], timeout_seconds: float, stop: StopRequest | None = None) -> None:
        """Wait until all answer; raises Unavailable with the end of the log of the first that does not."""
        deadline = time.monotonic() + timeout_seconds
        for child in children:
            while child.phase != "up":
                if stop is not None:
                    stop.check()
                if child.pid is None:
                    raise _failed(child, f"it ended with status {child.popen.returncode if child.popen else '?'}")
                if child.answers(child.pid):
                    child.phase = "up"
                elif time.monotonic() >= deadline:
                    raise _failed(child, f"it did not answer within {timeout_seconds:g} seconds")
                else:
                    time.sleep(0.02)

    def _save(self) -> None:
        identities = {name: child.identity for name, child in self.children.items() if child.pid is not None}
        known = {name: identity for name, identity in identities.items() if identity is not None}
        monitors = {name: child.monitor for name, child in self.children.items() if child.monitor}
        state = State(self._supervisor, self.kind, self._is_ready, self.endpoints, known, monitors)
        write_state(self.data_dir, state)

    def _save_if_possible(self) -> None:
        try:
            self._save()
        except OSError as error:  # a full disk is no reason to take the servers down
            logger.warning(
                "The state file could not be written.",
                extra={"action": "state_not_saved", "reason": str(error)},
            )

    def set_ready(self) -> None:
        """Announce in the state file that the stack can be used."""
        self._is_ready = True
        self._save()

    def close(self) -> None:
        """Stop services, then servers, within ten seconds in all; nothing is left running."""
        deadline = time.monotonic() + STOP_TOTAL_SECONDS
        children = self.children.values()
        end_children([child for child in children if not child.is_server], SERVICE_GRACE_SECONDS)
        end_children([child for child in children if child.is_server], max(deadline - time.monotonic(), 1.0))
        (self.data_dir / STATE_FILE).unlink(missing_ok=True)


def _failed(child: Child, what: str) -> Unavailable:
    tail = child.tail() or "(nothing)"
    return Unavailable(child.name, f"{what}; the end of {child.program.log}:\n{tail}")
