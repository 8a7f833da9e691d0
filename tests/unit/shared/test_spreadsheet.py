"""Cells that a spreadsheet would run are escaped, and nothing else is; the escape is undone exactly."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.spreadsheet import escaped, may_run, unescaped

CELLS = st.text(
    st.sampled_from("=+-@\t\r\n '\"＝＋－＠\ufeff\u3000\x00a1;,") | st.characters(codec="utf-8"), max_size=8
)


@pytest.mark.parametrize(
    "cell",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\nx", " =1", '"=1', '  "@x', "＝1", "＋1", "－1", "＠x", "\ufeff=1",
     "−1", "\u3000=1", "=HYPERLINK(\"http://x\")", "\x0b=1"],
)  # fmt: skip
def test_a_cell_that_may_run_gets_an_apostrophe(cell: str):
    assert may_run(cell)
    assert escaped(cell) == f"'{cell}"


@pytest.mark.parametrize(
    "cell", ["", "a", "1", "a=1", "3-2", "x@example.org", "'", "'a", "O'Neill", '"quoted"', "{=}", " a"]
)
def test_other_cells_stay_as_they_are(cell: str):
    assert escaped(cell) == cell
    assert unescaped(cell) == cell


@given(CELLS)
@example("'=1")
@example("''=1")
@example("' '\"=1")
def test_an_escaped_cell_never_runs_and_is_given_back(cell: str):
    assert not may_run(escaped(cell))
    assert unescaped(escaped(cell)) == cell
