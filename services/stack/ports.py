"""Which loopback ports the embedded servers and the services listen on: chosen once, then kept."""

import os
import random
import socket
from collections.abc import Callable, Mapping, Sequence

from shared.errors import ConfigurationError

HOST = "127.0.0.1"

# Chosen below the ports that the kernel gives to outgoing connections (from 32768 on Linux, 49152 on macOS):
# a client that keeps dialling a dead server could otherwise be given that server's own port, connect to
# itself and block it.
FIRST_PORT, LAST_PORT = 15_000, 22_000
_DRAWS_MAX = 2_000
_BLOCK, _USUAL_SHARE = 100, 0.99

# SeaweedFS' own worker looks for the admin server's gRPC at the admin port plus this, whatever
# -admin.port.grpc says.
SEAWEED_GRPC_OFFSET = 10_000

PORT_NAMES = (
    "postgres",
    "kafka",
    "s3",
    "s3_grpc",
    "master",
    "master_grpc",
    "volume",
    "volume_grpc",
    "filer",
    "filer_grpc",
    "admin",
    "webhook",
)


def is_free(port: int) -> bool:
    """Say whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections of a server that just ended, lingering in TIME_WAIT, do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def draw_port() -> int:
    """Draw a port at random, nearly always from a block of this process's: stacks that start at once seldom meet.

    A port that is drawn is free until its server listens, seconds later.
    """
    blocks = (LAST_PORT - FIRST_PORT) // _BLOCK
    start = FIRST_PORT + os.getpid() % blocks * _BLOCK
    is_usual = random.random() < _USUAL_SHARE  # noqa: S311 — a port is no secret
    return random.randrange(start, start + _BLOCK) if is_usual else random.randrange(FIRST_PORT, LAST_PORT)  # noqa: S311


def _occupied_by(name: str, port: int) -> tuple[int, ...]:
    return (port, port + SEAWEED_GRPC_OFFSET) if name == "admin" else (port,)


def choose_ports(
    kept: Mapping[str, int],
    is_free: Callable[[int], bool] = is_free,
    draw: Callable[[], int] = draw_port,
    names: Sequence[str] = PORT_NAMES,
) -> dict[str, int]:
    """Return a free port by name, the kept one where it is free; ConfigurationError when none is left."""
    chosen: dict[str, int] = {}
    taken: set[int] = set()
    for name in names:
        for attempt in range(_DRAWS_MAX):
            port = kept[name] if attempt == 0 and name in kept else draw()
            wanted = _occupied_by(name, port)
            if not taken.intersection(wanted) and all(map(is_free, wanted)):
                chosen[name] = port
                taken.update(wanted)
                break
        else:
            raise ConfigurationError(
                f"no free loopback port found between {FIRST_PORT} and {LAST_PORT}; "
                "end some of the programs that listen there"
            )
    return chosen
