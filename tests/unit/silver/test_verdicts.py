"""Rules on a batch: which rows keep them, and what is said of the others. DuckDB needs no server."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from services.cli.binding import misfits
from services.silver.batchsql import BatchSql
from services.silver.check import Checker
from services.silver.record import Records
from services.silver.unique import Seen, Values
from shared.dataset import Dataset

COLUMNS = """
dataset: things
format: {type: csv}
columns:
  - {name: id, type: integer}
  - {name: day, type: date, nullable: true}
  - {name: moment, type: timestamp, nullable: true}
  - {name: price, type: decimal, nullable: true}
  - {name: note, type: text, nullable: true}
primary_key: [id]
derived:
  - {name: note_is_mail, function: email_valid, of: note}
"""
Make = Callable[..., Dataset]


def things(*rules: str, **more: str) -> Dataset:
    said = "".join(f"  - {rule}\n" for rule in rules)
    return Dataset.model_validate({**yaml.safe_load(f"{COLUMNS}rules:\n{said}"), **more})


def records(rows: list[dict[str, str | None]], first_line: int = 2) -> Records:
    names = ("id", "day", "moment", "price", "note")
    cells = [pa.array([row.get(name) for row in rows], pa.string()) for name in names]
    lines = np.arange(first_line, first_line + len(rows))
    return Records(pa.RecordBatch.from_arrays(cells, names=list(names)), lines, lambda i: f"row {i}")


def verdict(rule: str, column: str, *values: str | None) -> list[str | None]:
    """Check rows that differ in one column; return the message of each, None where the rule is kept."""
    checker = Checker(things(rule), BatchSql())
    rows: list[dict[str, str | None]] = [{"id": str(n), column: value} for n, value in enumerate(values)]
    (checked,) = checker.check(records(rows))
    said: dict[int, str] = {}
    for row in checked.bad.to_pylist():
        (reason,) = yaml.safe_load(row["reasons"])
        assert reason["column"] == column
        said[row["line_number"]] = reason["message"]
    return [said.get(line) for line in range(2, 2 + len(values))]


@pytest.mark.parametrize(
    ("rule", "column", "values", "messages"),
    [
        ("not_null: note", "note", ["a", None], [None, "note must have a value"]),
        ("range: {of: price, min: 0.5}", "price", ["0.5", "0.4", None], [None, "0.4000 is below 0.5", None]),
        (
            "range: {of: day, min: 2020-01-01, max: 2020-12-31}",
            "day", ["2020-12-31", "2021-01-01"], [None, "2021-01-01 is not within 2020-01-01 to 2020-12-31"],
        ),
        (
            "range: {of: moment, max: 2020-01-01T00:00:00}", "moment",
            ["2020-01-01T00:00:00+00:00", "2020-01-01T00:00:00-01:00"],
            [None, "2020-01-01T01:00:00+00:00 is above 2020-01-01 00:00:00"],
        ),
        ("range: {of: id, max: 0}", "id", ["0", "5"], [None, "5 is above 0"]),
        ("length: {of: note, min: 2}", "note", ["éé", "é", None], [None, "its length, 1, is below 2", None]),
        (
            "pattern: {of: note, matches: \"[a-z']+\"}", "note",
            ["o'b", "o'b1", None], [None, "\"o'b1\" does not match [a-z']+", None],
        ),
        (
            "accepted_values: {of: note, values: [S, \"o'b\"]}", "note",
            ["S", "o'b", "s", None], [None, None, "'s' is none of S, o'b", None],
        ),
        ("accepted_values: {of: id, values: [0]}", "id", ["0", "2"], [None, "2 is none of 0"]),
        ("email: note", "note", ["ann@example.org", "ann@", None], [None, "'ann@' is no e-mail address", None]),
        ("phone: note", "note", ["+49 30 901820", "12", None], [None, "'12' is no phone number that can exist", None]),
        (
            "url: note", "note", ["https://example.org/a?b", "example.org", "http://a b", "http://x:y/", "ftp://[::1]/"],
            [None, "'example.org' is no whole URL", "'http://a b' is no whole URL", "'http://x:y/' is no whole URL", None],
        ),
        (
            "unique: note", "note",
            ["a", "b", "a", None, None], [None, None, "a stands in an earlier row of the file", None, None],
        ),
    ],
)  # fmt: skip
def test_a_broken_rule_says_column_value_and_what_is_wrong(
    rule: str, column: str, values: list[str | None], messages: list[str | None]
) -> None:
    assert verdict(f"{{{rule}, severity: quarantine}}", column, *values) == messages


def test_a_warning_keeps_the_row_with_its_penalty_and_remembers_the_lines() -> None:
    checker = Checker(
        things("{name: low, range: {of: price, max: 1}, penalty: 30}", "{not_null: note, penalty: 20}"), BatchSql()
    )
    (checked,) = checker.check(records([{"id": "1", "price": "2"}, {"id": "2", "price": "1", "note": "n"}]))
    assert [str(score) for score in checked.good.column("data_quality_score").to_pylist()] == ["50.0000", "100.0000"]
    assert checker.tally.samples == {"low": [2], "not_null_note": [2]}
    assert dict(checker.tally.rule_failures) == {"low": 1, "not_null_note": 1}


def test_lines_of_one_key_may_repeat_a_value_and_lines_of_others_not() -> None:
    checker = Checker(things("{unique: note, severity: quarantine}"), BatchSql())
    (first,) = checker.check(records([{"id": "1", "note": "a"}, {"id": "1", "note": "a"}]))
    (second,) = checker.check(records([{"id": "2", "note": "a"}, {"id": "1", "note": "a"}], first_line=4))
    assert first.bad.num_rows == 0
    assert second.bad.column("line_number").to_pylist() == [4]


def test_a_batch_that_is_checked_in_parts_does_not_meet_its_own_values() -> None:
    """A row that breaks a function has its batch checked again by halves."""
    rows: list[dict[str, str | None]] = [{"id": str(n), "note": "a" if n in (0, 3) else str(n)} for n in range(4)]
    rows[1]["price"] = "99999999999999"
    overflow = "{name: product, check: 'coalesce(CAST(price AS INTEGER) > 0, true)'}"
    checker = Checker(things(overflow, "{unique: note, severity: quarantine}"), BatchSql())
    bad = [row for part in checker.check(records(rows)) for row in part.bad.to_pylist()]
    assert [row["line_number"] for row in bad] == [3, 5]


@given(st.lists(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=6), max_size=8))
def test_seen_values_are_those_of_the_lines_before(batches: list[list[tuple[int, int]]]) -> None:
    seen, first = Seen(), dict[int, int]()
    for batch in batches:
        hashes = np.array([(value * 7 % 5, value) for value, _ in batch], np.uint64).reshape(-1, 2)
        holders = np.array([holder for _, holder in batch], np.uint64)
        found = Values(hashes, holders, np.arange(len(batch)))
        wanted = [first.setdefault(value, holder) == holder for value, holder in batch]
        assert seen.held(found).tolist() == wanted
        seen.add(found)


def test_a_pattern_that_is_no_regular_expression_is_said_where_it_stands() -> None:
    (misfit,) = misfits(things("{pattern: {of: note, matches: '(a'}}"))
    assert misfit.location == ("rules", 0, "pattern")
    assert "missing )" in misfit.message


def test_a_column_derived_by_the_same_function_is_not_computed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    from services.silver import verdicts

    monkeypatch.setattr(verdicts, "DERIVATIONS", {})
    assert verdict("{email: note, severity: quarantine}", "note", "ann@")[0] == "'ann@' is no e-mail address"
