"""How a stack begins and ends: `run_stack` for `medallion up`, `embedded_stack` for a block of code."""

import logging
import shutil
import signal
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from services.stack import postgres
from services.stack.places import forget_postgres
from services.stack.process import Identity, end_strangers
from services.stack.programs import (
    connected_settings,
    endpoint_environment,
    monitor_ports,
    server_children,
    service_children,
    service_modules,
)
from services.stack.reload import TakeIn, answer_reload
from services.stack.servers import POSTGRES, SERVERS, remove_sockets, stack_endpoints
from services.stack.signals import Interrupted, StopRequest, stop_requests
from services.stack.state import STATE_FILE, load_credentials, locked, read_state, settle_ports
from services.stack.supervisor import START_TIMEOUT_SECONDS, Prepare, Stack, StackKind
from shared.settings import Settings, load_settings

logger = logging.getLogger(__name__)

_TICK_SECONDS = 0.1
_LEFTOVER_GRACE_SECONDS = 5.0


def run_stack(
    settings: Settings,
    *,
    stack: StackKind = "embedded",
    services: bool = True,
    silver: int = 1,
    gold: int = 1,
    poll: bool = True,
    prepare: Prepare | None = None,
    recreate_topics: Prepare | None = None,
    take_in: TakeIn | None = None,
    on_ready: Callable[[Stack], None] | None = None,
) -> None:
    """Run a stack until Ctrl-C or SIGTERM, restarting whatever dies; to be called from the main thread.

    `prepare` gets the settings that lead to the running servers, before the services start (tables, buckets,
    topics); `recreate_topics` gets them again whenever the embedded broker, which forgets everything, was
    restarted; `take_in` is what `medallion reload` asks for. Raises ConfigurationError when the data folder is in
    use, Unavailable naming a server that does not come up.
    """
    with stop_requests() as stop:
        try:
            with _opened(settings, stack, prepare, recreate_topics, stop) as running:
                if services:
                    _launch_services(running, silver, gold, poll)
                running.set_ready()
                if on_ready is not None:
                    on_ready(running)
                while not stop.is_requested:
                    running.tick()
                    if take_in is not None:
                        answer_reload(running, take_in)
                    time.sleep(_TICK_SECONDS)
        except Interrupted:
            logger.info("Stopped while starting.", extra={"action": "stack_interrupted"})


@contextmanager
def embedded_stack(
    data_dir: Path,
    *,
    settings: Settings | None = None,
    servers: Collection[str] = SERVERS,
    services: bool = False,
    silver: int = 1,
    gold: int = 1,
    poll: bool = True,
    prepare: Prepare | None = None,
    recreate_topics: Prepare | None = None,
    discard: bool = False,
) -> Iterator[Stack]:
    """Run an embedded stack as long as the block lasts; `discard` removes its data afterwards.

    Of the three servers only those in `servers` are started; the settings must name the others.
    Its processes are children of the caller. What dies is restarted by `Stack.tick`, which the block calls as
    often as it likes: a test that wants a server dead is not surprised by its resurrection.
    """
    given = settings if settings is not None else load_settings()
    try:
        chosen = given.model_copy(update={"data_dir": data_dir})
        with _opened(chosen, "embedded", prepare, recreate_topics, StopRequest(), servers) as running:
            if services:
                _launch_services(running, silver, gold, poll)
            running.set_ready()
            yield running
    finally:
        if discard:
            discard_data(data_dir)


@contextmanager
def _opened(
    settings: Settings,
    kind: StackKind,
    prepare: Prepare | None,
    recreate_topics: Prepare | None,
    stop: StopRequest,
    servers: Collection[str] = SERVERS,
) -> Iterator[Stack]:
    """Lock the data folder, clear it, start the servers, prepare them; stop everything on the way out."""
    data_dir = settings.data_dir.expanduser().resolve()
    settings = settings.model_copy(update={"data_dir": data_dir})
    with locked(data_dir):
        clear_leftover_processes(data_dir)
        is_embedded = kind == "embedded"
        starting = _embedded(settings, servers, recreate_topics, stop) if is_embedded else _external(settings)
        with starting as running:
            if prepare is not None:
                with stop.interrupting():
                    prepare(running.settings)
            stop.check()
            yield running


@contextmanager
def _embedded(
    settings: Settings, servers: Collection[str], recreate_topics: Prepare | None, stop: StopRequest
) -> Iterator[Stack]:
    data_dir = settings.data_dir
    credentials, ports = load_credentials(data_dir), settle_ports(data_dir)
    own = stack_endpoints(data_dir, credentials, ports, servers)
    connected = connected_settings(settings, own).require_stack()
    running = Stack("embedded", connected, endpoint_environment(connected), recreate_topics)
    remove_sockets(ports)
    try:
        running.launch(server_children(data_dir, credentials, ports, servers))
        running.await_up(running.children.values(), START_TIMEOUT_SECONDS, stop)
        yield running
    finally:
        running.close()


@contextmanager
def _external(settings: Settings) -> Iterator[Stack]:
    running = Stack("external", settings.require_stack(), endpoint_environment(settings))
    try:
        yield running
    finally:
        running.close()


def _launch_services(running: Stack, silver: int, gold: int, poll: bool) -> None:
    modules = service_modules(silver, gold)
    ports = monitor_ports(running.settings, running.data_dir, running.kind, list(modules))
    running.launch(service_children(running.settings, running.data_dir, modules, ports, poll=poll))


def clear_leftover_processes(data_dir: Path) -> list[Identity]:
    """End and return what a killed supervisor has left running; the caller holds the folder's lock."""
    state = read_state(data_dir)
    if state is None:
        return []
    stop_signals = {
        one: postgres.STOP_SIGNAL if name == POSTGRES else signal.SIGTERM for name, one in state.processes.items()
    }
    left = end_strangers(stop_signals, _LEFTOVER_GRACE_SECONDS)
    if left:
        logger.warning(
            "Processes of an earlier run were still there and have been ended.",
            extra={"action": "leftovers_ended", "pids": [one.pid for one in left]},
        )
    (data_dir / STATE_FILE).unlink(missing_ok=True)
    return left


def discard_data(data_dir: Path) -> None:
    """Remove a data folder and its database; raises ConfigurationError while a stack runs in it."""
    data_dir = data_dir.expanduser().resolve()
    if not data_dir.is_dir():
        return
    with locked(data_dir):
        clear_leftover_processes(data_dir)
        forget_postgres(data_dir)
        shutil.rmtree(data_dir)
