"""Which stack a command talks to: the settings' servers, else the embedded stack of a data folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.adapters.postgres import Postgres
from shared.errors import ConfigurationError
from shared.ports import Session
from shared.queries import load_query
from shared.settings import Settings, load_settings


@dataclass(frozen=True)
class Stack:
    """A stack that answers, and how it was found."""

    settings: Settings
    origin: str
    warehouse: Postgres

    @contextmanager
    def session(self, name: str) -> Iterator[Session]:
        """Open a session on a database that `migrate` has prepared; raises ConfigurationError when it has not."""
        with self.warehouse.session(f"cli-{name}") as session:
            if session.rows("SELECT to_regclass('gold.pending')")[0][0] is None:
                raise ConfigurationError(
                    "the database has none of the pipeline's tables yet; create them with `medallion migrate`"
                )
            yield session

    def query(self, name: str) -> str:
        """Return the text of a named query."""
        return load_query(self.settings.sql_dir, name)


def find_stack(data_dir: Path | None = None) -> Stack:
    """Return the stack that the settings name, else the embedded one running in the data folder.

    A folder given by hand wins over the settings. Raises Unavailable when nothing runs there.
    """
    settings = load_settings(**({"data_dir": data_dir} if data_dir else {}))
    if data_dir is None and is_configured(settings):
        return _on(settings.require_stack(), "the servers that the settings name")
    return running_stack(settings)


def running_stack(settings: Settings) -> Stack:
    """Return the embedded stack running in the settings' data folder; raises Unavailable when none runs."""
    from services.stack import connected_settings, endpoints

    connected = connected_settings(settings, endpoints(settings.data_dir))
    return _on(connected, f"the embedded stack in {settings.data_dir}")


def is_configured(settings: Settings) -> bool:
    """Say whether the settings name any server."""
    return bool(settings.database_url or settings.kafka_bootstrap_servers or settings.s3_endpoint)


def _on(settings: Settings, origin: str) -> Stack:
    assert settings.database_url is not None  # require_stack, or the stack's own endpoints, have seen to it
    return Stack(settings, origin, Postgres(settings.database_url.get_secret_value()))
