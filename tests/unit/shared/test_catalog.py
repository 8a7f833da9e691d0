"""Contracts: what is wrong is said with file, line, field and remedy; all of it at once."""

from pathlib import Path

import pytest

from shared.catalog import load_catalog
from shared.errors import ConfigurationError

GOOD = """dataset: orders
format: {type: csv}
columns:
  - {name: id, type: integer}
  - {name: day, type: date}
  - {name: note, type: text, nullable: true}
primary_key: [id]
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("type: date", "type: dat", "orders.yaml:5: columns.1.type: Input should be 'text', 'integer'"),
        ("primary_key: [id]", "primary_key: [ident]", "primary_key names 'ident', which is not among: id, day, note"),
        (
            "primary_key: [id]",
            "primary_key: [note]",
            "primary_key column note must not be nullable; give it a `default`",
        ),
        ("primary_key: [id]\n", "", "`primary_key` is missing"),
        ("dataset: orders", "dataset: Orders", "orders.yaml:1: dataset: 'Orders' is not a usable name"),
        ("dataset: orders", "dataset: other", "orders.yaml:1: dataset: 'other' must be the file's name, 'orders'"),
        ("type: csv}", "type: xml}", "orders.yaml:2: format"),
        ("type: csv}", "type: csv, comment: ','}", "delimiter, quote, escape and comment must differ"),
        ("type: csv}", "type: csv, thousands: '.'}", "thousands: '.' cannot part the digits of a number"),
        ("type: csv}", "type: csv, encoding: klingon}", "'klingon' is no text encoding that Python knows"),
        ("type: csv}", "type: csv, encoding: base64}", "'base64' is no text encoding that Python knows"),
        ("type: csv}", "type: jsonl, quote: x}", "orders.yaml:2: format.quote: no such field here"),
        ("format: {type: csv}", "format: {type: csv", "orders.yaml:3: not YAML"),
        ("primary_key: [id]", "primary_key: [id]\nprimry: 1", "orders.yaml:8: primry: no such field"),
        (
            "primary_key: [id]",
            "primary_key: [id]\nderived:\n  - {name: x, function: sqrt, of: id}",
            "orders.yaml:9: derived.0: no function is called 'sqrt'; there are: email_domain",
        ),
        (
            "primary_key: [id]",
            "primary_key: [id]\nderived:\n  - {name: x, function: length, of: nothing}",
            "derived.x.of names 'nothing', which is not among",
        ),
        (
            "primary_key: [id]",
            "primary_key: [id]\nwindowed: {partition_by: [note], order_by: day, columns: []}",
            "partition_by and order_by together must be the primary_key",
        ),
        ("name: note", "name: day", "declared more than once: day"),
        ("name: note", "name: order", "'order' is reserved; choose another name"),
        ("name: note", "name: xmin", "'xmin' is reserved"),
        ("id, type: integer", "id, type: double", "id is of type double: equality of such values is no safe key"),
        ("type: csv}", "type: csv, delimiter: '\"'}", "delimiter, quote, escape and comment must differ"),
        ("day, type: date", "day, type: date, format: '%Q'", "'%Q' is no strptime pattern"),
        ("day, type: date", "day, type: date, format: '%d.%m.'", "no strptime pattern that tells one day from another"),
        (
            "primary_key: [id]",
            "primary_key: [id]\nrules: [{name: r, check: 'true'}, {name: r, check: 'false'}]",
            "rules of the same name: r",
        ),
        (
            "primary_key: [id]",
            "primary_key: [id]\npartitioning: {column: id, from: 2020, to: 2021}",
            "partitioning.column: id must be a date or a timestamp",
        ),
        ("note, type: text", "note, type: text, format: '%Y'", "`format` is for dates and timestamps, not for text"),
    ],
)
def test_a_problem_names_the_place_and_the_remedy(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    (tmp_path / "orders.yaml").write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigurationError) as raised:
        load_catalog(tmp_path)
    assert said in str(raised.value)
    assert str(tmp_path / "orders.yaml") in str(raised.value)


def test_all_files_are_reported_together(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("dataset: a\n")
    (tmp_path / "b.yaml").write_text("- list\n")
    with pytest.raises(ConfigurationError) as raised:
        load_catalog(tmp_path)
    assert "a.yaml:1: format: is missing; add it" in str(raised.value)
    assert "b.yaml:1: a mapping" in str(raised.value)


def test_the_first_folder_of_a_key_names_the_dataset(tmp_path: Path) -> None:
    (tmp_path / "orders.yaml").write_text(GOOD)
    catalog = load_catalog(tmp_path)
    found = [catalog.for_key(key) for key in ("orders/x.csv", "orders/a/b.csv", "orders", "orders/", "other/x.csv")]
    assert [dataset.name if dataset else None for dataset in found] == ["orders", "orders", None, None, None]


def test_a_folder_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="MEDALLION_CONFIG_DIR"):
        load_catalog(tmp_path / "nowhere")


def test_a_dataset_may_not_be_called_like_a_partition_of_another(tmp_path: Path) -> None:
    partitioned = GOOD.replace(
        "primary_key: [id]", "primary_key: [day]\npartitioning: {column: day, from: 2020, to: 2021}"
    )
    (tmp_path / "orders.yaml").write_text(partitioned)
    (tmp_path / "orders_2020.yaml").write_text(GOOD.replace("dataset: orders", "dataset: orders_2020"))
    with pytest.raises(ConfigurationError, match="'orders_2020' is how orders calls a partition"):
        load_catalog(tmp_path)
