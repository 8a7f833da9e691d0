"""What messages say, and when they are tried again."""

from typing import Any

import pytest

from shared.alerts import KINDS, LINE_CHARACTERS_MAX, Trouble, compose, is_told, message_from, pause_seconds
from shared.arrivals import stale
from shared.catalog import Catalog
from shared.dataset import Dataset


def trouble(number: int, dataset: str | None = "users", severity: str = "warn") -> Trouble:
    return Trouble("rejected", str(number), dataset, severity, f"file {number}:\n  no")


def test_troubles_of_a_kind_are_one_message_that_survives_being_kept() -> None:
    message = compose("rejected", "open", [trouble(1), trouble(2, "covid", "error")])
    assert (message.title, message.lines, message.severity, message.troubles) == (
        "medallion: 2 files were rejected (covid, users)", ("file 1: no", "file 2: no"), "error", 2,
    )  # fmt: skip
    assert message.text == "medallion: 2 files were rejected (covid, users)\n- file 1: no\n- file 2: no"
    assert message_from(message.as_json()) == message


def test_a_message_is_bounded_whatever_it_is_about() -> None:
    many = [Trouble("dead_letter", str(n), f"d{n}", "error", "x" * 10_000) for n in range(1000)]
    message = compose("dead_letter", "open", many)
    assert message.title == "medallion: 1,000 dead letters (d0, d1, d10, d100, d101, …)"
    assert message.lines[-1] == "… and 980 more"
    assert max(map(len, message.lines)) == LINE_CHARACTERS_MAX


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_words_for_one_and_for_its_end(kind: str) -> None:
    assert compose(kind, "recovered", [trouble(1, None)]).title == f"medallion: over: 1 {KINDS[kind][0]}"


def test_only_what_is_grave_enough_is_told() -> None:
    assert [is_told(severity, least) for severity in ("warn", "error") for least in ("warn", "error")] == [
        True, False, True, True,
    ]  # fmt: skip


def test_pauses_double_to_ten_minutes_and_outlast_an_attempt() -> None:
    assert [pause_seconds(n, 10, 10) for n in (1, 2, 3, 8, 1000)] == [20, 20, 40, 600, 600]


def dataset(**arrival: Any) -> Catalog:
    contract = {
        "dataset": "users", "format": {"type": "csv"}, "columns": [{"name": "id", "type": "integer"}],
        "primary_key": ["id"], "expectations": [{"arrival": {"hours_max": 24, **arrival}, "severity": "error"}],
    }  # fmt: skip
    return Catalog({"users": Dataset.model_validate(contract)})


@pytest.mark.parametrize(
    ("catalog", "landed", "unchanged", "is_stale"),
    [
        (dataset(), 23.0, None, False),
        (dataset(), 25.0, None, True),
        (dataset(), 25.0, 1.0, True),
        (dataset(or_unchanged=True), 25.0, 1.0, False),
        (dataset(or_unchanged=True), 30.0, 25.0, True),
        (dataset(or_unchanged=True), 30.0, None, True),
        (dataset(), None, None, False),
        (Catalog({}), 99.0, None, False),
    ],
)
def test_a_dataset_is_stale_when_neither_file_nor_poll_told_of_it(
    catalog: Catalog, landed: float | None, unchanged: float | None, is_stale: bool
) -> None:
    found = stale(catalog, [("users", landed, unchanged)])
    assert [(one.kind, one.subject, one.severity) for one in found] == [("stale", "users arrival", "error")] * is_stale
