"""Rules as they are declared: one kind each, names of their own accord, and what is wrong said with line and remedy."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.catalog import load_catalog
from shared.errors import ConfigurationError
from shared.rules import Rule

CONTRACT = """dataset: orders
format: {type: csv}
columns:
  - {name: id, type: integer}
  - {name: day, type: date}
  - {name: moment, type: timestamp}
  - {name: price, type: decimal}
  - {name: weight, type: double}
  - {name: note, type: text}
  - {name: customer, type: integer}
primary_key: [id]
derived:
  - {name: note_length, function: length, of: note}
rules:
  - RULE
"""
CUSTOMERS = """dataset: customers
format: {type: csv}
columns:
  - {name: customer_id, type: integer}
  - {name: name, type: text}
primary_key: [customer_id]
"""


@pytest.mark.parametrize(
    ("declared", "name", "text"),
    [
        ("{not_null: title}", "not_null_title", "not_null of title"),
        ("{unique: [first, last]}", "unique_first_last", "unique of first, last: within file"),
        ("{range: {of: count, min: 0}}", "range_count", "range of count: min 0"),
        (
            "{range: {of: day, min: 2020-01-31, max: 2020-02-01}}",
            "range_day",
            "range of day: min 2020-01-31, max 2020-02-01",
        ),
        ("{length: {of: title, max: 9}}", "length_title", "length of title: max 9"),
        ("{pattern: {of: zip, matches: '[0-9]+'}}", "pattern_zip", "pattern of zip: matches [0-9]+"),
        (
            "{accepted_values: {of: size, values: [S, M]}}",
            "accepted_values_size",
            "accepted_values of size: values S, M",
        ),
        ("{email: address, name: reachable}", "reachable", "email of address"),
        ("{name: odd, expression: 'n % 2 = 1'}", "odd", "n % 2 = 1"),
        ("{references: {of: user, in: users.user_id}}", "references_user", "references of user: in users.user_id"),
    ],
)
def test_a_rule_is_named_after_what_it_says(declared: str, name: str, text: str) -> None:
    rule = Rule.model_validate(yaml.safe_load(declared))
    assert (rule.name, rule.text) == (name, text)


def test_check_is_short_for_expression() -> None:
    said: dict[str, Any] = {"name": "odd", "severity": "reject", "threshold": 0.1}
    assert Rule.model_validate({**said, "check": "true"}) == Rule.model_validate({**said, "expression": "true"})


def test_what_refers_to_another_dataset_waits_in_quarantine() -> None:
    assert Rule.model_validate({"references": {"of": "user", "in": "users.user_id"}}).severity == "quarantine"


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("{not_null: nothing}", "orders.yaml:15: rules.0.not_null: no column is called 'nothing'; there are: id, day"),
        (
            "{severity: warn}",
            "orders.yaml:15: rules.0: a rule is of one kind, here is none; there are: check, not_null",
        ),
        ("{not_null: id, email: note}", "a rule is of one kind, here is not_null and email"),
        ("{check: 'true'}", "orders.yaml:15: rules.0: a `check` needs a `name`"),
        ("{not_nul: note}", "orders.yaml:15: rules.0.not_nul: no such field here"),
        ("{range: {of: price}}", "orders.yaml:15: rules.0.range: `min`, `max` or both must say what is allowed"),
        ("{range: {of: price, min: 2, max: 1}}", "`min` 2 is above `max` 1: no value would do"),
        ("{range: {of: day, min: 2020-01-01, max: 3}}", "must both be numbers, both dates or both times"),
        (
            "{range: {of: day, min: '2020-01-01'}}",
            "rules.0.range.min: '2020-01-01' is neither a number nor a date; write",
        ),
        ("{range: {of: price, min: true}}", "True is neither a number nor a date"),
        ("{range: {of: price, min: 2020-01-01}}", "price is of type decimal: 2020-01-01 cannot bound it"),
        ("{range: {of: note, min: 1}}", "`range` is for numbers, dates and timestamps; `length` counts characters"),
        ("{length: {of: id, min: 1}}", "orders.yaml:15: rules.0.length: id is of type integer: `length` is for text"),
        ("{pattern: {of: id, matches: a}}", "`pattern` is for text"),
        ("{url: day}", "day is of type date: `url` is for text"),
        ("{unique: weight}", "`unique` compares values, and equality of such ones is not to be relied on"),
        ("{accepted_values: {of: id, values: [1, two]}}", "'two' cannot be one of its values; mind the quotes"),
        ("{accepted_values: {of: day, values: [1]}}", "`accepted_values` is for text and integers"),
        ("{unique: {of: note, within: table}, severity: quarantine}", "is a finding about the table after a merge"),
        ("{unique: {of: note, within: table}, penalty: 1}", "must not depend on which other rows came first"),
        (
            "{references: {of: customer, in: customers.customer_id}, severity: warn}",
            "`references` takes `severity: quar",
        ),
        ("{references: {of: customer, in: customers.customer_id}, threshold: 0.1}", "neither penalty nor threshold"),
        (
            "{references: {of: customer, in: customers}}",
            "'customers' must be a dataset and its key column, as in users",
        ),
        (
            "{references: {of: customer, in: clients.id}}",
            "orders.yaml:15: rules.0.references: no dataset is called 'clients'",
        ),
        (
            "{references: {of: customer, in: customers.name}}",
            "customers.name is not the primary_key of customers (custom",
        ),
        (
            "{references: {of: note, in: customers.customer_id}}",
            "note is of type text, but customers.customer_id of type i",
        ),
        ("{references: {of: price, in: customers.customer_id}}", "`references` compares values, and equality of such"),
        ("{references: {of: customer, in: orders.id}}", "orders and orders wait for each other"),
    ],
)
def test_a_problem_names_the_place_and_the_remedy(tmp_path: Path, rule: str, said: str) -> None:
    (tmp_path / "orders.yaml").write_text(CONTRACT.replace("RULE", rule))
    (tmp_path / "customers.yaml").write_text(CUSTOMERS)
    with pytest.raises(ConfigurationError) as raised:
        load_catalog(tmp_path)
    assert said in str(raised.value)


def test_references_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "orders.yaml").write_text(
        CONTRACT.replace("RULE", "{references: {of: customer, in: customers.customer_id}}")
    )
    (tmp_path / "customers.yaml").write_text(CUSTOMERS + "rules:\n  - {references: {of: customer_id, in: orders.id}}\n")
    with pytest.raises(ConfigurationError, match=r"customers.yaml:8: .*customers and orders wait for each other"):
        load_catalog(tmp_path)


def test_good_rules_of_every_kind_are_accepted(tmp_path: Path) -> None:
    rules = [
        "{not_null: [id, note]}", "{unique: note}", "{unique: {of: [note, day], within: table}}",
        "{range: {of: price, min: 0.5}}", "{range: {of: moment, max: 2030-01-01T00:00:00Z}}",
        "{range: {of: note_length, max: 3}}", "{length: {of: note, min: 1}}", "{pattern: {of: note, matches: a}}",
        "{accepted_values: {of: id, values: [1, 2]}}", "{email: note}", "{phone: note}", "{url: note}",
        "{references: {of: customer, in: customers.customer_id}}",
    ]  # fmt: skip
    (tmp_path / "orders.yaml").write_text(CONTRACT.replace("RULE", "\n  - ".join(rules)))
    (tmp_path / "customers.yaml").write_text(CUSTOMERS)
    assert len(load_catalog(tmp_path)["orders"].rules) == len(rules)
