"""Servers that tests stop, kill and start: the embedded ones, which the stack knows as children."""

from typing import Protocol

from services.stack import Stack


class Servers(Protocol):
    """Power over the servers by name: postgres, s3, kafka."""

    def stop(self, server: str) -> None:
        """Stop a server properly."""
        ...

    def kill(self, server: str) -> None:
        """End a server without warning."""
        ...

    def start(self, server: str) -> None:
        """Start a server and wait until it answers."""
        ...


class EmbeddedServers:
    """The children of an embedded stack."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def stop(self, server: str) -> None:
        """Stop a server properly; it stays down."""
        self._stack.stop(server)

    def kill(self, server: str) -> None:
        """Kill a server. Ticks may restart it."""
        self._stack.children[server].failures = 0
        self._stack.kill(server)

    def start(self, server: str) -> None:
        """Start a server, unless the supervisor did already, and wait until it answers."""
        self._stack.start(server)
