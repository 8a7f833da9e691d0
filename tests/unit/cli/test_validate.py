"""`validate` names file, line, field and remedy, whatever is wrong."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from services.cli.validate import Report, check
from shared.settings import load_settings

ROOT = Path(__file__).resolve().parents[3]
Edit = Callable[[str, str, str], Report]


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    """Replace a text in one file of a copy of config/ and sql/, and check the copy."""
    for name in ("config", "sql"):
        shutil.copytree(ROOT / name, tmp_path / name)

    def edit(file: str, old: str, new: str) -> Report:
        path = tmp_path / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return check(load_settings(config_dir=tmp_path / "config", sql_dir=tmp_path / "sql"))

    return edit


def line_of(file: str, text: str) -> int:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_what_the_project_ships_is_right():
    assert check(load_settings()).problems == ()


def problem_of(report: Report, tmp_path: Path) -> str:
    (problem,) = report.problems
    return problem.replace(f"{tmp_path}/", "")


CASES = [
    (
        "config/datasets/covid.yaml", "freshness: {of: record_date,", "freshness: {of: country,",
        "expectations.1.freshness: country is of type text; `freshness` needs one of date, timestamp",
    ),
    (
        "config/datasets/covid.yaml", "drift: {of: [confirmed, deaths,", "drift: {of: [confirmed, death,",
        "expectations.7.drift: no column is called 'death'; there are: record_date, country",
    ),
    (
        "config/datasets/covid.yaml", "{removed: {share_max: 0.01}}", "{name: plausible_size, removed: {share_max: 0.01}}",
        "expectations.3.removed: a rule or an expectation before it is called 'plausible_size' already; give",
    ),
    (
        "config/datasets/covid.yaml", "{removed: {share_max: 0.01}}", "{removed: {share_max: 1.5}}",
        "expectations.3.removed.share_max: Input should be less than or equal to 1",
    ),
    (
        "config/datasets/covid.yaml", "- {columns: kept}", "- {severity: error}",
        "expectations.9: an expectation is of one kind, here is none; there are: volume, freshness, arrival",
    ),
    (
        "config/datasets/covid.yaml", 'check: "coalesce(deaths <= confirmed, true)"', 'check: "deaths <= confrimed"',
        "rules.1.check: an expression cannot be evaluated: Binder Error",
    ),
    (
        "config/datasets/covid.yaml", 'check: "coalesce(deaths <= confirmed, true)"', 'check: "deaths + 1"',
        "rules.1.check: gives int64, where true or false is wanted; write a comparison",
    ),
    (
        "config/datasets/covid.yaml", "function: subtract, of: [confirmed, deaths, recovered]",
        "function: subtract, of: [country, deaths]", "derived.0.of: subtract cannot take country (string), deaths (int64)",
    ),
    (
        "config/datasets/covid.yaml", "coalesce(daily_new_cases > 500000, false)", "coalesce(daily_new > 1, false)",
        "windowed.columns.3.sql: an expression cannot be evaluated: Binder Error",
    ),
    ("config/datasets/posts.yaml", "type: json", "type: jsn", "format"),
    ("config/config.yaml", "sweep_interval_seconds", "sweep_intervall_seconds", "did you mean sweep_interval_seconds?"),
    ("sql/gold/weekly_aggregates.sql", "gold.daily_aggregates, silver", "gold.daily_aggregate, silver", "does not exist"),
    (
        "sql/gold/weekly_aggregates.sql", "aggregate_date >= :week_start", "aggregate_date >= :week",
        "made of: :week is no column of the model",
    ),
    ("sql/queries/runs.sql", "-- The newest", "SELECT", "begin with a comment line that says what the query is for"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "message"), CASES)
def test_a_mistake_is_named_with_its_file_and_line(
    edited: Edit, tmp_path: Path, file: str, old: str, new: str, message: str
):
    problems = edited(file, old, new).problems
    assert problems
    first = problems[0].replace(f"{tmp_path}/", "")
    assert first.startswith(f"{file}:")
    assert message in first


def test_the_line_is_the_mistakes_own(edited: Edit, tmp_path: Path):
    file, text = "config/datasets/covid.yaml", 'check: "coalesce(deaths <= confirmed, true)"'
    problem = problem_of(edited(file, text, 'check: "deaths + 1"'), tmp_path)
    assert problem.startswith(f"{file}:{line_of(file, text)}: ")
