"""The stacks that tests and measurements run on: embedded, external (named by the settings), containers (Docker).

The services are the same child processes on all of them. PostgreSQL is embedded, too, where an external stack names none.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from services.cli.serve import create_topics, prepare
from services.stack import Stack, embedded_stack
from services.stack.servers import KAFKA, POSTGRES, S3, SERVERS
from shared.errors import ConfigurationError
from shared.settings import Settings, load_settings
from tests.emptying import claim_for_tests, empty, own_database
from tests.servers import EmbeddedServers, ExternalServers, MixedServers, Servers, await_answer

StackName = Literal["embedded", "external", "containers"]
STACKS: tuple[StackName, ...] = get_args(StackName)
KAFKA_SESSION_SECONDS_MIN = 6.0  # group.min.session.timeout.ms, unless the broker's administrator chose otherwise
_WHERE = (
    "database_url", "kafka_bootstrap_servers", "s3_endpoint", "s3_access_key", "s3_secret_key", "s3_secure",
    "s3_notification_arn",
)  # fmt: skip


@dataclass(frozen=True)
class Opened:
    """A running stack and power over its servers."""

    stack: Stack
    servers: Servers


@dataclass(frozen=True)
class Stacks:
    """One kind of servers, on which stacks are opened one after the other."""

    name: StackName = "embedded"
    external: Settings | None = None  # where they are, unless they are embedded
    power: Servers | None = None  # over those

    def session_seconds(self, wanted: float) -> float:
        """Return a session timeout that the broker takes: Apache Kafka refuses consumers with less than six seconds."""
        return wanted if self.external is None else max(wanted, KAFKA_SESSION_SECONDS_MIN)

    @contextmanager
    def open(
        self,
        folder: Path,
        settings: Settings,
        *,
        is_prepared: bool = True,
        services: bool = False,
        silver: int = 1,
        gold: int = 1,
        discard: bool = True,
    ) -> Iterator[Opened]:
        """Run a stack that knows nothing of earlier ones, with tables, buckets and topics unless asked not to.

        Sources are not polled. `discard` removes the folder, where embedded servers keep their data, afterwards.
        """
        with self._connected(settings) as (connected, embedded), embedded_stack(
            folder, settings=connected, servers=embedded, services=services, silver=silver, gold=gold, poll=False,
            prepare=prepare if is_prepared else None, recreate_topics=create_topics if is_prepared else None,
            discard=discard,
        ) as stack:  # fmt: skip
            yield Opened(stack, MixedServers(stack, self.power) if self.power else EmbeddedServers(stack))

    @contextmanager
    def _connected(self, settings: Settings) -> Iterator[tuple[Settings, tuple[str, ...]]]:
        """Yield the settings with emptied servers in them, and which servers are still to be started."""
        if self.external is None:
            yield settings, SERVERS
            return
        connected = settings.model_copy(update={name: getattr(self.external, name) for name in _WHERE})
        empty(connected)
        if connected.database_url is None:
            yield connected, (POSTGRES,)
        else:
            with own_database(connected) as own:
                yield own, ()


@contextmanager
def available_stacks(name: StackName) -> Iterator[Stacks]:
    """Yield stacks of one kind; raises ConfigurationError where they are not named or hold somebody's data."""
    if name == "embedded":
        yield Stacks()
    elif name == "external":
        settings = _named()
        for server in (KAFKA, S3):
            await_answer(settings, server, seconds=5.0)
        claim_for_tests(settings)
        yield Stacks(name, settings, ExternalServers(settings))
    else:
        from tests.containers import started

        with started() as (settings, power):
            claim_for_tests(settings)
            yield Stacks(name, settings, power)


def _named() -> Settings:
    settings = load_settings()
    wanted = {
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "S3_ENDPOINT": settings.s3_endpoint,
        "S3_ACCESS_KEY": settings.s3_access_key.get_secret_value(),
        "S3_SECRET_KEY": settings.s3_secret_key.get_secret_value(),
    }
    missing = [f"MEDALLION_{name}" for name, value in wanted.items() if not value]
    if missing:
        raise ConfigurationError(f"the external stack is not named: {', '.join(missing)} not set")
    return settings
