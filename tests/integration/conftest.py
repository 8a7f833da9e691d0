"""What a test on the real servers gets for itself; the servers are in tests/conftest.py."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest

from services.stack import Stack
from shared.settings import Settings, load_settings
from tests.pipeline import Pipeline

TEMPLATE = "template_medallion"


def administer(stack: Stack, statement: str) -> None:
    """Run a statement outside of transactions, as the owner of the server."""
    connection = psycopg2.connect(stack.endpoints["MEDALLION_DATABASE_URL"])
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def settings_on(stack: Stack, database: str, folder: Path) -> Settings:
    """Return the settings that lead to a database of the running servers."""
    endpoints = {k.removeprefix("MEDALLION_").lower(): v for k, v in stack.endpoints.items()}
    address, _, _ = endpoints["database_url"].rpartition("/")
    chosen = {k: v for k, v in endpoints.items() if k.startswith("s3_") or k == "kafka_bootstrap_servers"}
    return load_settings(**chosen, database_url=f"{address}/{database}", data_dir=folder)


@pytest.fixture(scope="session")
def template_database(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A migrated database that each test copies."""
    administer(stack, f"CREATE DATABASE {TEMPLATE}")
    pipeline = Pipeline(settings_on(stack, TEMPLATE, tmp_path_factory.mktemp("template")))
    pipeline.migrate()
    pipeline.close()
    return TEMPLATE


@pytest.fixture
def settings(stack: Stack, template_database: str, tmp_path: Path) -> Iterator[Settings]:
    """Settings with a migrated database of the test's own."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    administer(stack, f"CREATE DATABASE {name} TEMPLATE {template_database}")
    yield settings_on(stack, name, tmp_path / "data")
    administer(stack, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def pipeline(settings: Settings) -> Iterator[Pipeline]:
    """The pipeline on the test's own database, driven step by step."""
    driven = Pipeline(settings)
    yield driven
    driven.close()


@pytest.fixture
def pipeline_with(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., Pipeline]]:
    """Make a pipeline whose datasets are the given YAML texts by name, with settings of one's own."""
    made: list[Pipeline] = []

    def make(contracts: dict[str, str], **overrides: object) -> Pipeline:
        folder = tmp_path / "config" / "datasets"
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in contracts.items():
            (folder / f"{name}.yaml").write_text(text)
        driven = Pipeline(settings.model_copy(update={"config_dir": tmp_path / "config", **overrides}))
        driven.migrate()
        made.append(driven)
        return driven

    yield make
    for driven in made:
        driven.close()
