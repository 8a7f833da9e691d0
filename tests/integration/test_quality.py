"""`quality` and `runs` over a year: what they show, and that they read no more of it than they show."""

import json
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from typer.testing import CliRunner

from services.cli.app import app
from shared.queries import load_query
from shared.settings import Settings
from tests.integration.year import CHECKS, DATASETS, LAST_DAY, write_year
from tests.pipeline import Pipeline

LARGE = ("ingestion_metadata", "processing_runs", "data_quality_logs", "quality_days")
OBJECTS_A_DAY = 6
MONTH = LAST_DAY - timedelta(days=29)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def rows_read(pipeline: Pipeline, name: str, parameters: dict[str, Any]) -> int:
    """Run a query; return how many rows of large tables it looked at, none of them by reading a table whole."""
    text = load_query(pipeline.settings.sql_dir, name)
    plan = pipeline.session.rows(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", parameters)[0][0][0]["Plan"]
    pipeline.session.commit()
    looked_at = [node for node in nodes(plan) if node.get("Relation Name") in LARGE]
    assert {node["Relation Name"] for node in looked_at if node["Node Type"] == "Seq Scan"} == set(), name
    return sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0))
        * node["Actual Loops"]
        for node in looked_at
    )


def test_a_month_of_a_year_is_shown_without_reading_the_year(pipeline: Pipeline) -> None:
    write_year(pipeline.session, objects_a_day=OBJECTS_A_DAY)
    month, all_sets = 30 * OBJECTS_A_DAY, len(DATASETS)
    results = 30 * CHECKS
    sampled = {"tables": ["silver.clean_covid"] * 5, "checks": [f"rule_{n}" for n in range(CHECKS - 5, CHECKS)]}
    looks = [
        ("quality_scores", {"dataset": None, "since": MONTH}, month * all_sets),
        ("quality_scores", {"dataset": "posts", "since": MONTH}, month),
        ("quality_checks", {"table": None, "since": MONTH, "rows": 10}, results * all_sets),
        ("quality_checks", {"table": "silver.clean_posts", "since": MONTH, "rows": 10}, results),
        ("quality_samples", sampled, 10),
        ("runs", {"dataset": None, "rows": 20}, 40),
        ("runs", {"dataset": "posts", "rows": 20}, 40),
        ("runs", {"dataset": "none of these", "rows": 20}, 0),
    ]
    read = {(name, *map(str, wanted.values())): rows_read(pipeline, name, wanted) for name, wanted, _ in looks}
    allowed = {(name, *map(str, wanted.values())): limit for name, wanted, limit in looks}
    # A bitmap may take a few rows more; a year is twelve times a month.
    assert {key: found for key, found in read.items() if found > 1.2 * allowed[key]} == {}


def shown(settings: Settings, *arguments: str, status: int = 0) -> str:
    environment = {
        "MEDALLION_DATABASE_URL": settings.database_url.get_secret_value() if settings.database_url else "",
        "MEDALLION_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "MEDALLION_S3_ENDPOINT": settings.s3_endpoint,
        "MEDALLION_S3_ACCESS_KEY": settings.s3_access_key.get_secret_value(),
        "MEDALLION_S3_SECRET_KEY": settings.s3_secret_key.get_secret_value(),
    }
    done = CliRunner().invoke(app, list(arguments), env=environment)
    assert done.exit_code == status, done.output
    return done.stdout


COVID = b"""Date,Country/Region,Province/State,Confirmed,Recovered,Deaths
2022-04-14,US,,100,9,1
2022-04-15,US,,-130,9,200
2022-04-16,US,,150,0,2
"""


def test_scores_rules_samples_and_what_is_not_as_expected_are_shown(pipeline: Pipeline) -> None:
    row = pipeline.load("covid", COVID)
    found = json.loads(shown(pipeline.settings, "quality", "covid", "--since", "2026-01-01", "--json", status=1))
    assert found["days"] == [
        {
            "dataset": "covid", "day": "2026-01-01", "objects": 1, "objects_rejected": 0, "rows_read": 3,
            "rows_quarantined": 0, "data_quality_score": "76.6667",
        }
    ]  # fmt: skip
    worst = [(one["quality_check"], one["records_failed"], one["records_checked"]) for one in found["checks"]]
    assert worst == [
        ("counts_not_negative", 1, 3),
        ("deaths_within_confirmed", 1, 3),
        ("recovered_within_confirmed", 1, 3),
    ]
    samples = [(one["quality_check"], one["details"]["samples"], one["object_id"]) for one in found["samples"]]
    assert sorted(samples) == [(name, [3], row["object_id"]) for name, _, _ in worst]
    failed = {one["quality_check"]: one["severity"] for one in found["expectations"] if not one["passed"]}
    assert failed == {"freshness_record_date": "warn", "volume": "warn", "stops_recovered": "error"}
    text = " ".join(shown(pipeline.settings, "quality", "--since", "2026-01-01", status=1).split())
    assert f"line 3 of {row['object_key']} ({row['object_id']})" in text
    assert "covid stops_recovered: recovered stops: its sum was 9 on 2022-04-15" in text
    assert "3 of 9" in text


def test_a_dataset_without_anything_says_so_and_a_wrong_day_is_named(pipeline: Pipeline) -> None:
    assert "Nothing of covid was landed since" in shown(pipeline.settings, "quality", "covid")
    done = CliRunner().invoke(app, ["quality", "--since", "yesterday"])
    assert "a day is wanted" in str(done.exception)


def test_each_result_counts_its_day_in_the_transaction_that_writes_it(pipeline: Pipeline) -> None:
    pipeline.load("covid", COVID, day=2)
    pipeline.load("covid", COVID, day=2.5)
    found = pipeline.rows(
        "SELECT day, results, records_checked, records_failed FROM silver.quality_days"
        " WHERE table_name = 'silver.clean_covid' AND quality_check = 'deaths_within_confirmed'"
    )
    assert found == [(date(2026, 1, 3), 2, Decimal(6), Decimal(2))]
