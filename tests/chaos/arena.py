"""The running pipeline as the faults see it: processes by name, servers, events, and which of them are broken now."""

import random
import signal
import time
from pathlib import Path

from services.stack import Stack
from shared.adapters.kafka import KafkaBus
from shared.errors import Unavailable
from shared.events import ObjectRef, bronze_ready
from shared.landing import database_now
from shared.ports import Warehouse
from shared.settings import BRONZE_READY
from tests.servers import Servers

STOP_SECONDS_MAX = 10.0  # a service has stopped by then, whatever it was doing


class Arena:
    """One stack under fire; everything happens in the caller's thread."""

    def __init__(self, stack: Stack, servers: Servers, warehouse: Warehouse, failpoint_file: Path) -> None:
        self._stack, self._servers, self._warehouse = stack, servers, warehouse
        self._failpoint_file = failpoint_file
        settings = stack.settings
        self.silence_seconds = max(settings.consumer_session_timeout_seconds, settings.heartbeat_silence_seconds)
        self.frozen: set[str] = set()
        self.away: set[str] = set()
        self.failpoint = ""
        self.slow_stops: list[str] = []
        self._stopping: dict[str, tuple[int, float]] = {}  # name → process and when it was asked to stop
        self._bus = KafkaBus(settings.kafka_bootstrap_servers)

    def tick(self) -> None:
        """Let the supervisor look at its children, and see who is slow to stop."""
        for name, (pid, asked_at) in list(self._stopping.items()):
            if self._stack.pid(name) != pid:
                del self._stopping[name]
            elif time.monotonic() - asked_at > STOP_SECONDS_MAX:
                self.slow_stops.append(f"{name} has not stopped {STOP_SECONDS_MAX:g} s after SIGTERM")
                del self._stopping[name]
                self.kill(name)
        for child in self._stack.children.values():
            child.failures = min(child.failures, 1)  # what dies here dies of faults, not of a crash loop of its own
        self._stack.tick()

    def running(self, service: str) -> list[str]:
        """Return the processes of a service that run and have not been asked to stop."""
        return [
            name
            for name, child in self._stack.children.items()
            if name.split("-")[0] == service and child.pid is not None and name not in self._stopping
        ]

    def kill(self, name: str) -> None:
        """Kill a process; the supervisor restarts it soon, for this is no crash loop of its own."""
        self._stack.children[name].failures = 0
        self._stack.kill(name)

    def freeze(self, name: str) -> None:
        """Stop a process with SIGSTOP."""
        self.frozen.add(name)
        self._stack.pause(name)

    def thaw(self, name: str) -> None:
        """Let a frozen process go on."""
        self.frozen.discard(name)
        self._stack.resume(name)

    def terminate(self, name: str) -> None:
        """Ask a process to stop with SIGTERM and note the time; the supervisor starts it again."""

        child = self._stack.children[name]
        child.failures = 0
        if child.pid is not None:
            self._stopping[name] = (child.pid, time.monotonic())
            child.signal(signal.SIGTERM)

    def set_failpoint(self, spec: str) -> None:
        """Switch a failpoint of all services on, or all of them off with ''."""
        self.failpoint = spec
        self._failpoint_file.write_text(spec)

    def stop_server(self, server: str) -> None:
        """Stop a server properly; it stays away."""
        self.away.add(server)
        self._servers.stop(server)

    def crash_server(self, server: str) -> None:
        """Kill a server; it stays away until it is started."""
        self.away.add(server)
        self._servers.kill(server)

    def start_server(self, server: str) -> None:
        """Start a server that is away and wait until it answers."""
        self._servers.start(server)
        self.away.discard(server)

    def resend(self, objects_max: int, times: int, chooser: random.Random) -> int:
        """Publish events of random objects so many times, shuffled; return how many, 0 if a server is away."""
        try:
            with self._warehouse.session("chaos") as session:
                refs = session.rows("SELECT bucket, object_key, version_id FROM bronze.ingestion_metadata")
                now = database_now(session)
            chosen = chooser.sample(refs, min(objects_max, len(refs))) * times
            chooser.shuffle(chosen)
            for bucket, key, version_id in chosen:
                ref = ObjectRef(bucket=bucket, key=key, version_id=version_id)
                self._bus.publish(BRONZE_READY, key, bronze_ready(ref, now))
        except Unavailable:
            return 0
        return len(chosen)

    def close(self) -> None:
        """Give the connection to the broker back."""
        self._bus.close()
