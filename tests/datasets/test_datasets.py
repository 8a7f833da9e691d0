"""Every dataset that is configured, by example: a small input, and the whole rows and verdicts that it must give.

A folder `tests/datasets/<name>/` holds `input.csv` or `input.json`, `parents/` with files of the datasets that it refers
to, if any, and `expected.yaml`:

    ledger: counts of the object, by column of the ledger
    rules: rows that break each rule
    columns: the business columns of the clean table, then _line_number and _rescued
    rows: their values by row, in key order
    quarantine: line, key, raw text and reasons ([rule, column, value, message]) of each row put aside
"""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
import yaml
from pydantic import SecretStr

from services.stack import Stack
from shared.catalog import Catalog, load_catalog
from shared.ddl import business_columns
from shared.settings import data_file_root
from tests.pipeline import Pipeline

HERE = Path(__file__).parent
CATALOG = load_catalog(data_file_root("config") / "datasets")


def tolerant(catalog: Catalog) -> Catalog:
    """Return the datasets without their limit on bad rows: an input that shows every verdict is mostly bad."""
    return Catalog(
        {
            name: dataset.model_copy(update={"limits": dataset.limits.model_copy(update={"bad_rows_max_share": 1.0})})
            for name, dataset in catalog.datasets.items()
        }
    )


@pytest.fixture(scope="module")
def pipeline(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A database for all datasets: each writes tables of its own."""
    name = f"datasets_{uuid4().hex[:12]}"
    server = stack.endpoints["MEDALLION_DATABASE_URL"]
    _administer(server, f"CREATE DATABASE {name}")
    database_url = SecretStr(f"{server.rpartition('/')[0]}/{name}")
    folder = tmp_path_factory.mktemp("datasets")
    driven = Pipeline(
        stack.settings.model_copy(update={"database_url": database_url, "data_dir": folder}), tolerant(CATALOG)
    )
    driven.migrate()
    yield driven
    driven.close()
    _administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def _administer(server: str, statement: str) -> None:
    connection = psycopg2.connect(server)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


@pytest.mark.parametrize("dataset", sorted(CATALOG.datasets))
def test_the_input_gives_exactly_the_expected_rows_and_verdicts(pipeline: Pipeline, dataset: str) -> None:
    folder = HERE / dataset
    contract = pipeline.catalog[dataset]
    pipeline.reset()
    for parent in sorted((folder / "parents").glob("*")):
        pipeline.load(parent.stem, parent)
    given, wanted = folder / f"input.{contract.format.type}", folder / "expected.yaml"
    assert given.is_file(), f"the dataset {dataset} has no example: add tests/datasets/{dataset}/{given.name}"
    assert wanted.is_file(), f"add tests/datasets/{dataset}/{wanted.name}; {Path(__file__).name} says what it holds"
    ledger = pipeline.load(dataset, given)
    expected = yaml.safe_load(wanted.read_text())
    assert {name: ledger[name] for name in ("status", *COUNTS)} == expected["ledger"]
    assert rules(pipeline, dataset) == expected["rules"]
    columns = [*(name for name, _ in business_columns(contract)), "_line_number", "_rescued"]
    assert columns == expected["columns"]
    order = ", ".join(contract.primary_key or ("_line_number",))
    rows = pipeline.rows(f"SELECT {', '.join(columns)} FROM {contract.clean_table} ORDER BY {order}")
    assert [plain(row) for row in rows] == [plain(row) for row in expected["rows"]]
    assert quarantine(pipeline, dataset) == expected["quarantine"]
    pipeline.assert_invariants()


COUNTS = (
    "rows_read", "rows_inserted", "rows_duplicate", "rows_quarantined", "rows_discarded", "data_quality_score",
)  # fmt: skip


REASON = ("rule", "column", "value", "message")


def rules(pipeline: Pipeline, dataset: str) -> dict[str, int]:
    """Return how many rows broke each rule."""
    names = {rule.name for rule in pipeline.catalog[dataset].rules}
    rows = pipeline.rows(
        "SELECT quality_check, records_failed FROM silver.data_quality_logs WHERE table_name = %s",
        (pipeline.catalog[dataset].clean_table,),
    )
    return {name: failed for name, failed in rows if name in names}


def quarantine(pipeline: Pipeline, dataset: str) -> list[dict[str, Any]]:
    """Return the rows put aside, by line."""
    found = pipeline.rows(
        "SELECT line_number, key, raw, reasons FROM silver.quarantine"
        " WHERE dataset = %s AND status = 'open' ORDER BY line_number",
        (dataset,),
    )
    return [
        {"line": line, "key": key, "raw": raw, "reasons": [[reason[part] for part in REASON] for reason in reasons]}
        for line, key, raw, reasons in found
    ]


def plain(row: Any) -> list[Any]:
    """Return a row with every number of the database and of YAML as the same exact decimal."""
    return [Decimal(str(value)) if isinstance(value, Decimal | float) else value for value in row]
