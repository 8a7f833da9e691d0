"""Casting: the vectorised way and the one-value way agree; what does not cast is said with column and value."""

import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.silver.cast import cast_column, read_decimal, read_integer
from services.silver.numerals import Marks
from shared.columns import Column


def column(kind: str, **more: Any) -> Column:
    return Column(name="x", type=kind, **more)  # type: ignore[arg-type]


def values(texts: list[str | None], kind: str, **more: Any) -> list[Any]:
    typed, _ = cast_column(pa.array(texts, pa.string()), column(kind, nullable=True, **more), ())
    result: list[Any] = typed.to_pylist()
    return result


@given(st.lists(st.one_of(st.integers().map(str), st.text("+-0123456789. ", max_size=22)), max_size=8))
@example(["+5", "007", "-0"])
@example(["9223372036854775807", "9223372036854775808", "-9223372036854775808"])
def test_integers_cast_alike_vectorised_and_one_by_one(texts: list[str]) -> None:
    assert values(list(texts), "integer") == [read_integer(t, column("integer")) for t in texts]


amounts = st.tuples(
    st.sampled_from(["", "+", "-"]), st.text("0123456789", max_size=21), st.sampled_from(["", "."]),
    st.text("0123456789", max_size=19), st.sampled_from(["", "", "", "e1", " "]),
).map("".join)  # fmt: skip


@given(amounts, st.sampled_from([(12, 2), (4, 4), (5, 0), (38, 18), (3, 4)]))
@example("12345678901234567890.123456789012345678", (38, 18))
@example("-0.00", (12, 2))
@example("0.1", (3, 4))
@example("", (3, 4))
def test_decimals_cast_alike_vectorised_and_one_by_one(text: str, digits: tuple[int, int]) -> None:
    declared = {"precision": digits[0], "scale": digits[1]}
    assert values([text], "decimal", **declared) == [read_decimal(text, column("decimal", **declared))]


@pytest.mark.parametrize(
    ("kind", "more", "text", "value"),
    [
        ("date", {}, "2020-02-29", datetime.date(2020, 2, 29)),
        ("date", {}, "2020-22-01", None),
        ("date", {}, "2020-1-2", None),
        ("date", {"format": "%d.%m.%Y"}, "02.01.2020", datetime.date(2020, 1, 2)),
        ("decimal", {"scale": 2}, "1.5", Decimal("1.50")),
        ("decimal", {"scale": 2}, "1.555", None),
        ("decimal", {"scale": 2}, "1e3", Decimal("1000.00")),
        ("decimal", {"scale": 2}, "nan", None),
        ("double", {}, "1e3", 1000.0),
        ("double", {}, "inf", None),
        ("boolean", {}, "Yes", True),
        ("boolean", {}, "maybe", None),
        ("integer", {}, "1.0", None),
        ("integer", {}, " 1", None),
        (
            "timestamp",
            {},
            "2020-01-01T00:00:00+02:00",
            datetime.datetime(2019, 12, 31, 22, tzinfo=datetime.UTC),
        ),
        ("timestamp", {}, "2020-01-01T00:00:00", datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)),
        (
            "timestamp",
            {"format": "%a, %d %b %Y %H:%M:%S %z"},
            "Thu, 02 Jan 2020 01:00:00 +0200",
            datetime.datetime(2020, 1, 1, 23, tzinfo=datetime.UTC),
        ),
        ("timestamp", {}, "yesterday", None),
        ("json", {}, '{"a": 1}', '{"a": 1}'),
        ("json", {}, "{", None),
    ],
)
def test_a_value_casts_or_does_not(kind: str, more: dict[str, Any], text: str, value: Any) -> None:
    assert values([text, None], kind, **more) == [value, None]


def test_a_misfit_names_column_value_and_wanted_type() -> None:
    _, misfits = cast_column(pa.array(["1", "12O"]), column("integer"), ())
    assert [(m.index, m.column, m.value, m.rule, m.message) for m in misfits] == [
        (1, "x", "12O", "type", "'12O' is not an integer")
    ]


def test_absent_values_take_the_default_or_are_a_verdict() -> None:
    texts = pa.array(["", "a"])
    assert cast_column(texts, column("text", default="-"), ("",))[0].to_pylist() == ["-", "a"]
    _, misfits = cast_column(texts, column("text"), ("",))
    assert [(m.index, m.rule) for m in misfits] == [(0, "not_null")]


@pytest.mark.parametrize(
    ("marks", "kind", "texts", "expected"),
    [
        (Marks(",", "."), "decimal", ["1.234.567,5", "-0,25", "7", "+,5"], ["1234567.50", "-0.25", "7.00", "0.50"]),
        (Marks(",", "."), "decimal", ["1.5", "1.2345,0", "12.34", "1,2,3", "1.234.", ".123"], [None] * 6),
        (Marks(","), "decimal", ["1.5", "1,5"], [None, "1.50"]),
        (Marks(".", ","), "integer", ["1,234", "12,34", "1234", "1,234,567"], [1234, None, 1234, 1234567]),
        (Marks(",", " "), "double", ["1 234,5", "1e3", "1,5e-1"], [1234.5, 1000.0, 0.15]),
        (Marks(",", "'"), "integer", ["1'000", None], [1000, None]),
        (Marks(",", "."), "text", ["1.5"], ["1.5"]),
    ],
)  # fmt: skip
def test_numbers_are_read_with_their_declared_marks(
    marks: Marks, kind: str, texts: list[str | None], expected: list[Any]
) -> None:
    typed, misfits = cast_column(pa.array(texts, pa.string()), column(kind, scale=2, nullable=True), (), marks)
    if kind == "decimal":
        expected = [value and Decimal(value) for value in expected]
    assert typed.to_pylist() == expected
    assert len(misfits) == sum(value is None and text is not None for value, text in zip(expected, texts, strict=True))


def test_a_misfit_shows_how_numbers_are_written() -> None:
    _, misfits = cast_column(pa.array(["1.5"]), column("integer"), (), Marks(",", "."))
    assert misfits[0].message == "'1.5' is not an integer written like 1.234,5"
