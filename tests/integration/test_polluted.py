"""Every defect of the corpus through silver on the real servers: no crash, every line accounted for, the verdict named."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from services.stack import Stack
from shared.catalog import load_catalog
from tests.integration.conftest import TEMPLATE, administer, settings_on
from tests.integration.defects import CASES, CONTRACT, Case, last_id
from tests.invariants import COUNTS
from tests.pipeline import Pipeline

FIRST_IDS = {case.name: 1_000 * number for number, case in enumerate(CASES, start=1)}


@pytest.fixture(scope="module")
def pipeline(stack: Stack, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """One database for all cases, and the one dataset."""
    folder, name = tmp_path_factory.mktemp("polluted"), f"polluted_{uuid.uuid4().hex[:12]}"
    (folder / "orders.yaml").write_text(CONTRACT)
    administer(stack, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    driven = Pipeline(settings_on(stack, name, folder), load_catalog(folder))
    driven.migrate()
    yield driven
    driven.assert_invariants()
    driven.close()
    administer(stack, f"DROP DATABASE {name} WITH (FORCE)")


def test_the_corpus_is_large_and_names_its_cases_once():
    assert len(FIRST_IDS) == len(CASES) >= 100


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_defect_gets_its_verdict(pipeline: Pipeline, case: Case) -> None:
    first = FIRST_IDS[case.name]
    object_id = pipeline.land("orders", case.content(first), "merge", day=first / 1e6)
    (status,) = pipeline.process(object_id)
    row = pipeline.ledger(object_id)
    if case.rejected:
        assert status == "rejected"
        assert case.rejected in row["error_message"]
        assert pipeline.rows("SELECT count(*) FROM silver.clean_orders WHERE _object_id = %s", (object_id,)) == [(0,)]
        return
    assert verdict(pipeline, row) == {
        "status": "done", "read": case.read, "accounted for": case.read,
        "inserted": case.read - len(case.quarantined) - case.duplicate, "duplicate": case.duplicate,
        "quarantined": list(case.quarantined), "rescued": case.rescued,
    }  # fmt: skip
    if case.stored:
        names = ", ".join(f"{name}::text" for name in case.stored)
        found = pipeline.rows(f"SELECT {names} FROM silver.clean_orders WHERE id = %s", (last_id(first),))
        assert found == [tuple(case.stored.values())]


def verdict(pipeline: Pipeline, row: dict[str, Any]) -> dict[str, Any]:
    """Return what became of an object, line by line where lines were set aside."""
    aside = pipeline.rows(
        "SELECT line_number, reasons FROM silver.quarantine WHERE object_id = %s ORDER BY 1", (row["object_id"],)
    )
    rescued = "SELECT count(_rescued) FROM silver.clean_orders WHERE _object_id = %s"
    return {
        "status": row["status"],
        "read": row["rows_read"],
        "accounted for": sum(row[name] for name in COUNTS),
        "inserted": row["rows_inserted"],
        "duplicate": row["rows_duplicate"],
        "quarantined": [(line, tuple(reason["rule"] for reason in reasons)) for line, reasons in aside],
        "rescued": pipeline.rows(rescued, (row["object_id"],))[0][0],
    }
