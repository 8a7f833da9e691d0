"""The faults, one entry each: what is done to the running pipeline, and what brings it back, if anything has to."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shared.failpoints import POINTS
from tests.chaos.arena import Arena

Recovery = Callable[[], None]


@dataclass(frozen=True)
class Injected:
    """A fault that was injected and what undoes it after a while; `recover` None: it passes by itself."""

    seconds: float = 0
    recover: Recovery | None = None


# Returns None where the fault makes no sense now: the process is down already, or the server it needs is.
Fault = Callable[[Arena, random.Random], Injected | None]


def _worker(arena: Arena, chooser: random.Random, service: str) -> str | None:
    running = [name for name in arena.running(service) if name not in arena.frozen]
    return chooser.choice(running) if running else None


def kill(service: str) -> Fault:
    """Return the fault that kills one process of a service without warning; its supervisor restarts it."""

    def inject(arena: Arena, chooser: random.Random) -> Injected | None:
        name = _worker(arena, chooser, service)
        if name is None:
            return None
        arena.kill(name)
        return Injected()

    return inject


def freeze(service: str) -> Fault:
    """Return the fault that stops a process for longer than Kafka's session and the heartbeat's silence allow."""

    def inject(arena: Arena, chooser: random.Random) -> Injected | None:
        name = _worker(arena, chooser, service)
        if name is None:
            return None
        arena.freeze(name)
        return Injected(arena.silence_seconds + chooser.uniform(1, 4), lambda: arena.thaw(name))

    return inject


def terminate(service: str) -> Fault:
    """Return the fault that asks a process to stop while it works; it has ten seconds."""

    def inject(arena: Arena, chooser: random.Random) -> Injected | None:
        name = _worker(arena, chooser, service)
        if name is None:
            return None
        arena.terminate(name)
        return Injected()

    return inject


def duplicate_events(arena: Arena, chooser: random.Random) -> Injected | None:
    """Send events of up to 40 objects, finished or not, five times each and in random order."""
    return Injected() if arena.resend(40, 5, chooser) else None


def lose_events(arena: Arena, chooser: random.Random) -> Injected | None:
    """Have every service lose 30 % of the events it publishes."""
    return _misbehave(arena, "bus.publish:drop=0.3", chooser)


def double_events(arena: Arena, chooser: random.Random) -> Injected | None:
    """Have every service publish each event five times."""
    return _misbehave(arena, "bus.publish:twice=5", chooser)


def die_within(service: str) -> Fault:
    """Return the fault that ends every worker of a service where it comes by a place inside its work, for a moment.

    Killing from outside mostly finds a worker between two objects: small ones take it some thirty milliseconds.
    """
    points = [name for name in POINTS if name.startswith(f"{service}.")]

    def inject(arena: Arena, chooser: random.Random) -> Injected | None:
        if arena.failpoint or not arena.running(service):
            return None
        arena.set_failpoint(f"{chooser.choice(points)}:exit")
        return Injected(chooser.uniform(1, 3), lambda: arena.set_failpoint(""))

    return inject


def _misbehave(arena: Arena, spec: str, chooser: random.Random) -> Injected | None:
    if arena.failpoint:
        return None
    arena.set_failpoint(spec)
    return Injected(chooser.uniform(5, 10), lambda: arena.set_failpoint(""))


def outage(server: str, seconds_min: float, seconds_max: float) -> Fault:
    """Return the fault that stops a server properly and starts it again after a while."""

    def inject(arena: Arena, chooser: random.Random) -> Injected | None:
        if arena.away:
            return None
        arena.stop_server(server)
        return Injected(chooser.uniform(seconds_min, seconds_max), lambda: arena.start_server(server))

    return inject


def crash(server: str) -> Fault:
    """Return the fault that kills a server without warning; the embedded broker has forgotten everything after it."""

    def inject(arena: Arena, chooser: random.Random) -> Injected | None:
        if arena.away:
            return None
        arena.crash_server(server)
        return Injected(0.5, lambda: arena.start_server(server))

    return inject


# The faults and how often each is drawn, relative to the others.
FAULTS: Mapping[str, tuple[float, Fault]] = {
    "kill -9 silver": (12, kill("silver")),
    "silver dies within its work": (14, die_within("silver")),
    "kill -9 gold": (6, kill("gold")),
    "gold dies within its work": (6, die_within("gold")),
    "kill -9 ingestor": (8, kill("ingestor")),
    "freeze silver": (8, freeze("silver")),
    "freeze gold": (5, freeze("gold")),
    "freeze ingestor": (3, freeze("ingestor")),
    "SIGTERM silver": (8, terminate("silver")),
    "SIGTERM gold": (5, terminate("gold")),
    "SIGTERM ingestor": (3, terminate("ingestor")),
    "events five times, shuffled": (8, duplicate_events),
    "30 % of events lost": (6, lose_events),
    "every event sent five times": (4, double_events),
    "broker killed and wiped": (5, crash("kafka")),
    "PostgreSQL kill -9": (4, crash("postgres")),
    "object store away 20 s": (1.5, outage("s3", 20, 20)),
}


class Deck:
    """Draws faults by weight, each at least once before any is drawn by chance alone."""

    def __init__(self, chooser: random.Random) -> None:
        self._chooser = chooser
        self._due = list(FAULTS)
        chooser.shuffle(self._due)

    def inject(self, arena: Arena) -> tuple[str, Injected]:
        """Inject the next fault that makes sense now and return its name; raises RuntimeError if none does."""
        for name in [*self._due, *self._by_chance()]:
            injected = FAULTS[name][1](arena, self._chooser)
            if injected is not None:
                if name in self._due:
                    self._due.remove(name)
                return name, injected
        raise RuntimeError("no fault makes sense now")

    def _by_chance(self) -> list[str]:
        names, weights = list(FAULTS), [weight for weight, _ in FAULTS.values()]
        drawn = self._chooser.choices(names, weights, k=50)
        return list(dict.fromkeys(drawn))
