"""Derived columns: exact, NULL where an argument is NULL."""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.functions import DERIVATIONS

whole_numbers = st.one_of(st.none(), st.integers(-(10**6), 10**6), st.integers(-(2**62), 2**62))


def apply(function: str, *columns: Sequence[Any]) -> list[Any]:
    arrays = [pa.array(c, pa.string() if any(isinstance(v, str) for v in c) else pa.int64()) for c in columns]
    result: list[Any] = DERIVATIONS[function].apply(arrays).to_pylist()
    return result


@given(st.lists(st.tuples(whole_numbers, whole_numbers), min_size=1, max_size=6))
def test_a_percentage_is_rounded_half_away_from_zero_exactly(pairs: list[tuple[int | None, int | None]]) -> None:
    expected = [
        (Decimal(100 * p) / w).quantize(Decimal("0.0001"), ROUND_HALF_UP)
        if p is not None and w and len(str(abs(100 * p))) < 28
        else None
        for p, w in pairs
    ]
    assert apply("percentage", [p for p, _ in pairs], [w for _, w in pairs]) == expected


@pytest.mark.parametrize(
    ("function", "text", "value"),
    [
        ("email_valid", "Sincere@april.biz", True),
        ("email_valid", "no at sign", False),
        ("email_valid", None, False),
        ("email_domain", "Ada@Example.ORG", "example.org"),
        ("email_domain", "ada@", None),
        ("email_domain", None, None),
        ("has_digit", "call me", False),
        ("has_digit", "ext. 5", True),
        ("has_digit", None, False),
        ("phone_formatted", "1-770-736-8031 x56442", "+1 770-736-8031 ext. 56442"),
        ("phone_formatted", "none", None),
        ("phone_plausible", "010-692-6593 x09125", False),
        ("phone_plausible", "1-770-736-8031", True),
        ("length", "Zürich", 6),
        ("word_count", " two  words\n", 2),
        ("word_count", "", 0),
        ("mean_word_length", "a bb cc", Decimal("1.6667")),
        ("mean_word_length", " ", None),
        ("has_links", "see www.example.org", True),
        ("has_links", "no link", False),
    ],
)
def test_a_text_function_gives(function: str, text: str | None, value: Any) -> None:
    assert apply(function, ["", text])[1] == value


def test_sentiment_tells_good_from_bad() -> None:
    good, bad, empty = apply("sentiment", ["I love this, it is wonderful", "This is a horrible disaster", None])
    assert good > Decimal("0.5") > Decimal("-0.5") > bad
    assert empty == 0


def test_subtract_takes_all_others_from_the_first() -> None:
    assert apply("subtract", [10, 10, None], [1, 1, 1], [2, None, 2]) == [7, None, None]
