"""`explain` for any dataset and model: a fourth one, appended rows, a materialized view, what is stale or in quarantine."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from services.cli.explain import explained
from services.cli.lineage import Explorer
from shared.settings import data_file_root
from tests.pipeline import Pipeline

CONTRACT = """
dataset: visits
source: {url: "https://example.org/visits.json", poll_interval_seconds: 60, write_disposition: replace}
format: {type: json}
columns:
  - {name: page, type: text}
  - {name: day, type: date}
  - {name: hits, type: integer, nullable: true}
  - {name: tags, type: json, nullable: true}
primary_key: [page, day]
rules:
  - {range: {of: hits, min: 1}, name: some_hits, penalty: 10}
  - {unique: hits}
limits: {bad_rows_max_share: 1, removed_rows_max_share: 1}
schema_contract: {columns: evolve}
"""
MODEL = """\
-- name: mv_visits_by_page
-- description: Hits of each page.
-- kind: materialized_view
-- grain: page
-- depends on: silver.clean_visits
-- made of: silver.clean_visits: page = :page
-- columns:
--   page text: the page
--   hits numeric: its hits

-- @select
SELECT page, sum(hits) AS hits FROM silver.clean_visits GROUP BY page;
"""
FIRST = [
    {"page": "home", "day": "2026-01-01", "hits": 0, "tags": ["a"], "agent": "x1"},
    {"page": "home", "day": "2026-01-02", "hits": 5},
]


def loaded(pipeline_with: Callable[..., Pipeline], tmp_path: Path) -> tuple[Pipeline, Any]:
    """Return a pipeline with a fourth dataset and a model of it, and the first object's id."""
    sql_dir = tmp_path / "own-sql"
    shutil.copytree(data_file_root("sql"), sql_dir)
    (sql_dir / "gold" / "mv_visits_by_page.sql").write_text(MODEL)
    visits = pipeline_with({"visits": CONTRACT}, sql_dir=sql_dir)
    first = visits.land("visits", json.dumps(FIRST).encode())
    visits.process(first)
    visits.session.execute("REFRESH MATERIALIZED VIEW gold.mv_visits_by_page")
    visits.session.commit()
    return visits, first


def explain(pipeline: Pipeline, name: str, *keys: str) -> dict[str, Any]:
    """Return what explain gathers, which it can show as text too."""
    found = Explorer(pipeline.session, pipeline.catalog, pipeline.models, 3).explain(name, keys)
    pipeline.session.commit()
    return found


def shown(found: dict[str, Any]) -> str:
    console = Console(width=500)
    with console.capture() as capture:
        console.print(explained(found))
    return capture.get()


def test_a_row_of_a_materialized_view_leads_to_the_text_of_a_fourth_dataset(
    pipeline_with: Callable[..., Pipeline], tmp_path: Path
) -> None:
    visits, first = loaded(pipeline_with, tmp_path)
    found = explain(visits, "mv_visits_by_page", "home")
    (part,) = found["rows"][0]["made_of"]
    assert (found["rows"][0]["values"], part["table"], part["rows_total"]) == (
        {"page": "home", "hits": 5}, "silver.clean_visits", 2,
    )  # fmt: skip
    row = part["rows"][0]
    assert (row["values"]["agent"], row["delivered"]["agent"], row["line_number"]) == ("x1", "x1", 1)
    assert row["raw"] == FIRST[0]
    assert [(one["rule"], one["held"]) for one in row["rules"]] == [("some_hits", False), ("unique_hits", None)]
    assert [one["rule"] for one in row["rules_broken"]] == ["some_hits"]
    assert row["object"]["object_id"] == first
    text = shown(found)
    assert "made of 2 rows of silver.clean_visits" in text
    assert "delivered as  page=home  day=2026-01-01  hits=0" in text
    assert "agent=x1" in text


def test_a_stale_row_shows_the_delivery_that_is_held_back(
    pipeline_with: Callable[..., Pipeline], tmp_path: Path
) -> None:
    visits, _ = loaded(pipeline_with, tmp_path)
    bad = [FIRST[0], {**FIRST[1], "hits": "many"}]
    newer = visits.land("visits", json.dumps(bad).encode(), day=1)
    visits.process(newer)
    row = explain(visits, "mv_visits_by_page", "home")["rows"][0]["made_of"][0]["rows"][1]
    assert row["is_stale"]
    (held,) = row["held_back"]
    assert (held["line_number"], held["object"]["object_id"], json.loads(held["raw"])) == (2, newer, bad[1])
    assert held["reasons"][0]["message"] == "'many' is not an integer"
    assert "held back: line 2 of visits/" in shown(explain(visits, "visits", "home"))


def test_a_row_whose_key_cannot_be_read_is_asked_for_by_its_place(
    pipeline_with: Callable[..., Pipeline], tmp_path: Path
) -> None:
    visits, _ = loaded(pipeline_with, tmp_path)
    broken = visits.land("visits", json.dumps([{**FIRST[0], "day": "soon"}]).encode(), day=1)
    visits.process(broken)
    found = explain(visits, "visits", f"_object_id={broken}", "_line_number=1")
    assert found["rows"] == []
    (held,) = found["quarantined"]
    assert held["reasons"][0]["message"] == "'soon' is not a date written as ISO 8601"
    assert "'soon' is not a date" in shown(found)


def test_appended_rows_and_quarantined_ones_are_found_by_object_and_line(
    pipeline_with: Callable[..., Pipeline], tmp_path: Path
) -> None:
    contract = CONTRACT.replace("write_disposition: replace", "write_disposition: append").replace(
        "primary_key: [page, day]", "drops: {write_disposition: append}"
    )
    visits = pipeline_with({"visits": contract})
    landed = visits.land("visits", json.dumps([FIRST[0], {**FIRST[1], "hits": "many"}]).encode(), "append")
    visits.process(landed)
    good = explain(visits, "visits", str(landed), "1")
    assert [row["values"]["hits"] for row in good["rows"]] == [0]
    assert good["quarantined"] == []
    bad = explain(visits, "visits", str(landed), "2")
    assert (bad["rows"], [json.loads(one["raw"])["hits"] for one in bad["quarantined"]]) == ([], ["many"])
