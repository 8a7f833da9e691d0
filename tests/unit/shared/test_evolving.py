"""Names of columns that files bring: they follow from the file and the contract, and from nothing else."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.evolving import column_names
from shared.naming import RESERVED, variant_name


@pytest.mark.parametrize(
    ("origin", "name"),
    [
        ("note", "note"),
        ("Opening Hours", "opening_hours"),
        ("  Total (in £) ", "total_in"),
        ("Größe", "grosse"),
        ("address.suite", "address_suite"),
        ("2020", "column_2020"),
        ("ORDER", "order_"),
        ("_version", "version"),
        ("日付", "column__666819e1"),
        ("total", "total__11239872"),
        ("x" * 70, f"{'x' * 53}__c71bd109"),
    ],
)
def test_a_name_is_lower_case_letters_digits_and_underscores(origin: str, name: str) -> None:
    assert column_names([origin], {"total"}) == {origin: name}


def test_of_names_that_would_be_one_the_one_written_like_the_column_has_it() -> None:
    found = column_names(["Note", "note", "NOTE!"], ())
    assert found["note"] == "note"
    assert sorted(re.sub(r"__[0-9a-f]{8}$", "__#", name) for name in found.values()) == ["note", "note__#", "note__#"]


@given(st.sets(st.text(min_size=1, max_size=80), max_size=6), st.data())
def test_names_are_usable_distinct_and_independent_of_order(origins: set[str], data: Any) -> None:
    found = column_names(sorted(origins), {"total", "note"})
    assert column_names(data.draw(st.permutations(sorted(origins))), {"total", "note"}) == found
    assert len(set(found.values())) == len(origins)
    assert [n for n in found.values() if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", n) or n in RESERVED] == []
    assert not {"total", "note"} & set(found.values())


def test_a_variant_has_a_name_even_where_its_column_s_is_long() -> None:
    assert variant_name("total") == "total__v_text"
    long = [variant_name("x" * 60 + end) for end in ("ab", "cd")]
    assert [len(name) for name in long] == [63, 63]
    assert long[0] != long[1]
