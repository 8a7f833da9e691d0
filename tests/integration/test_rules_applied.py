"""Rules at work: what a file is rejected for, what is only logged, and what a hand may replay."""

import uuid
from collections.abc import Callable
from typing import Any

from shared import requests
from tests.pipeline import Pipeline

CONTRACT = """
dataset: members
format: {type: csv}
columns:
  - {name: member_id, type: integer}
  - {name: email, type: text, nullable: true}
  - {name: age, type: integer, nullable: true}
primary_key: [member_id]
rules:
  - RULE
limits: {bad_rows_max_share: 1, removed_rows_max_share: 1}
"""
Make = Callable[..., Pipeline]


def members(pipeline_with: Make, *rules: str) -> Pipeline:
    return pipeline_with({"members": CONTRACT.replace("RULE", "\n  - ".join(rules))})


def content(*rows: str) -> bytes:
    return "".join(f"{row}\n" for row in ("member_id,email,age", *rows)).encode()


def log(pipeline: Pipeline, rule: str) -> list[Any]:
    return pipeline.rows(
        "SELECT records_failed, passed, details FROM silver.data_quality_logs WHERE quality_check = %s ORDER BY log_id",
        (rule,),
    )


def test_a_quarantine_rule_beyond_its_threshold_rejects_the_file(pipeline_with: Make) -> None:
    pipeline = members(pipeline_with, "{range: {of: age, min: 0}, severity: quarantine, threshold: 0.4}")
    accepted = pipeline.load("members", content("1,a,5", "2,b,-1", "3,c,7"), "merge")
    rejected = pipeline.load("members", content("4,a,5", "5,b,-1"), "merge", day=1)
    assert (accepted["status"], accepted["rows_quarantined"]) == ("done", 1)
    assert rejected["status"] == "rejected"
    assert rejected["error_message"].startswith(
        "1 of 2 rows break the rule range_age (range of age: min 0), more than the 40.0% that its threshold allows; "
        "the first in line 3. Correct the file at its source, or the rule in config/datasets/members.yaml"
    )


def test_a_reject_rule_rejects_for_one_row_and_a_warning_only_fails_its_check(pipeline_with: Make) -> None:
    pipeline = members(
        pipeline_with, "{not_null: age, severity: reject}", "{email: email, penalty: 30, threshold: 0.5, name: mail}"
    )
    assert pipeline.load("members", content("1,a@example.org,"))["status"] == "rejected"
    assert pipeline.load("members", content("1,x,1", "2,a@example.org,1"), day=1)["status"] == "done"
    assert pipeline.load("members", content("1,x,1", "2,x,1"), day=2)["status"] == "done"
    said = {"check": "email of email"}
    assert log(pipeline, "mail") == [(1, True, {**said, "samples": [2]}), (2, False, {**said, "samples": [2, 3]})]
    assert pipeline.rows("SELECT data_quality_score::int FROM silver.clean_members") == [(70,), (70,)]


def test_a_value_shared_with_other_objects_is_found_logged_and_kept(pipeline_with: Make) -> None:
    pipeline = members(pipeline_with, "{unique: {of: email, within: table}, name: one_each}")
    pipeline.load("members", content("1,a,1", "2,b,1"), "merge")
    pipeline.load("members", content("3,b,1", "4,a,1", "5,c,1", "6,,1"), "merge", day=1)
    samples = [{"lines": [2], "value": "b"}, {"lines": [3], "value": "a"}]
    said = {"check": "unique of email: within table"}
    assert log(pipeline, "one_each") == [(0, True, said), (2, False, {**said, "samples": samples})]
    assert pipeline.rows("SELECT count(*) FROM silver.clean_members") == [(6,)]


def test_a_row_that_shares_a_value_is_not_replayed_alone(pipeline_with: Make) -> None:
    pipeline = members(pipeline_with, "{unique: email, severity: quarantine}")
    row = pipeline.load("members", content("1,a,1", "2,a,1"))
    requests.replay(pipeline.session, dataset="members")
    pipeline.process(uuid.UUID(row["object_id"]))
    assert pipeline.rows("SELECT status, is_requested, reasons FROM silver.quarantine") == [
        ("open", False, [{"rule": "unique_email", "column": "email", "value": "a",
                          "message": "a stands in an earlier row of the file"}]),
    ]  # fmt: skip
    assert pipeline.rows("SELECT member_id FROM silver.clean_members") == [(1,)]
