"""The SQL that refreshes a model, as it is sent."""

from dataclasses import replace
from pathlib import Path

import pytest

from services.gold import statements
from shared.modelfile import Model, read_model

FILE = """\
-- name: cases
-- description: Cases.
-- kind: incremental
-- grain: country, day
-- depends on: silver.clean_covid
-- scope by: country
-- context: is_context
-- columns:
--   country text: the country
--   day date: the day
--   cases bigint: its cases

-- @scope
SELECT country, false AS is_context FROM changes_covid;

-- @select
SELECT 1;
"""


@pytest.fixture
def model(tmp_path: Path) -> Model:
    path = tmp_path / "cases.sql"
    path.write_text(FILE)
    found = read_model(path)
    assert isinstance(found, Model), found
    return found


WITHIN = "(target.country) IN (SELECT country FROM scope WHERE NOT is_context) AND "


def deletion(sql: str) -> str:
    return " ".join(sql[sql.index("DELETE") : sql.index("RETURNING")].split())


def test_rows_that_are_right_are_left_alone(model: Model) -> None:
    sql = " ".join(statements.refresh(model, is_full=False).split())
    assert (
        "INSERT INTO gold.cases (country, day, cases)"
        " SELECT computed.country, computed.day, computed.cases FROM computed"
        " LEFT JOIN gold.cases AS target ON target.country = computed.country AND target.day = computed.day"
        " WHERE target.country IS NULL OR (target.cases) IS DISTINCT FROM (computed.cases)"
        " ORDER BY computed.country, computed.day"
        " ON CONFLICT (country, day) DO UPDATE SET cases = excluded.cases, _refreshed_at = excluded._refreshed_at"
    ) in sql


def test_groups_outside_the_scope_are_not_deleted(model: Model) -> None:
    gone = "NOT EXISTS ( SELECT FROM computed WHERE target.country = computed.country AND target.day = computed.day )"
    start = "DELETE FROM gold.cases AS target WHERE "
    history = replace(model, keeps_history=True)
    assert deletion(statements.refresh(model, is_full=False)) == start + WITHIN + gone
    assert deletion(statements.refresh(model, is_full=True)) == start + gone
    assert deletion(statements.refresh(history, is_full=True)) == start + WITHIN + gone


def test_touched_groups_are_typed_by_the_clean_table() -> None:
    columns = ("record_date", "country")
    assert statements.create_changes("covid", columns) == (
        "CREATE TEMPORARY TABLE changes_covid ON COMMIT DROP AS"
        " SELECT record_date, country FROM silver.clean_covid WITH NO DATA"
    )
    listed = statements.listed_changes("covid", columns)
    assert "jsonb_build_object('record_date', touched.values -> 0, 'country', touched.values -> 1)" in listed
