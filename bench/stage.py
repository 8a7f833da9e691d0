"""Where measurements happen: fresh databases on a running stack, files landed in them, a silver worker beside."""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType

import psycopg2
from pydantic import SecretStr

from services.stack import FRUGAL_MEMORY, settings_environment
from shared.adapters.postgres import Postgres, PostgresSession
from shared.adapters.s3 import open_s3
from shared.catalog import load_catalog
from shared.dataset import Disposition
from shared.errors import MedallionError
from shared.landing import Landing, land
from shared.ledger import register_known
from shared.migrate import migrate
from shared.models import load_models
from shared.settings import Settings

DAY_ZERO = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Worked:
    """What the worker says of one object; moments are of the system's monotonic clock."""

    status: str
    began: float
    committed: float
    rss_peak_mb: float


class SilverWorker:
    """A silver worker in a process of its own, given one object after the other."""

    def __init__(self, settings: Settings) -> None:
        environment = {**_base_environment(), **settings_environment(settings)}
        command = [sys.executable, "-m", "bench.worker"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True, bufsize=1
        )
        self._answer()  # it is up

    def process(self, object_id: uuid.UUID) -> Worked:
        """Have an object taken through silver. Raises MedallionError when the worker is gone."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{object_id}\n")
        return Worked(**json.loads(self._answer()))

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise MedallionError(f"the worker ended with status {self._process.wait()}; see its messages above")
        return line

    def __enter__(self) -> "SilverWorker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def _base_environment() -> dict[str, str]:
    import os

    return {**FRUGAL_MEMORY, **os.environ}


class Stage:
    """One database with tables for everything that is configured, and what is landed in it."""

    def __init__(self, settings: Settings) -> None:
        assert settings.database_url is not None
        self.settings = settings
        self.warehouse = Postgres(settings.database_url.get_secret_value())
        self.store = open_s3(settings)
        self.catalog = load_catalog(settings.dataset_dir)
        self.models = load_models(settings.sql_dir, self.catalog.datasets)
        self.session: PostgresSession = self.warehouse.connect("bench")
        migrate(self.session, settings.sql_dir, self.catalog, self.models)

    def land(self, dataset: str, path: Path, day: float, disposition: Disposition = "replace") -> uuid.UUID:
        """Land a file as if `day` days after DAY_ZERO and enter it into the ledger."""
        moment = DAY_ZERO + timedelta(days=day)
        info = land(self.session, self.store, Landing(self.catalog[dataset], path, path.name, disposition, "", moment))
        described = self.store.stat(info.bucket, info.key, info.version_id)
        found = register_known(self.session, self.store, self.catalog, described, "cli")
        assert found is not None
        return found.object_id


@contextmanager
def fresh_database(settings: Settings) -> Iterator[Stage]:
    """Create an empty database on the server that the settings name; drop it afterwards."""
    assert settings.database_url is not None
    server = settings.database_url.get_secret_value()
    name = f"bench_{uuid.uuid4().hex[:12]}"
    _administer(server, f"CREATE DATABASE {name}")
    try:
        database_url = SecretStr(f"{server.rpartition('/')[0]}/{name}")
        stage = Stage(settings.model_copy(update={"database_url": database_url}))
        try:
            yield stage
        finally:
            stage.session.close()
    finally:
        _administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def _administer(server: str, statement: str) -> None:
    connection = psycopg2.connect(server)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()
