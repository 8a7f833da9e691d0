"""Cells that a spreadsheet would run as a formula, and their escape, as OWASP describes it (CSV injection).

Values are stored as they were delivered; only what people open in a spreadsheet is escaped, by a leading apostrophe.
"""

import re

# What a spreadsheet passes over before it looks for a formula: spaces of all kinds, control characters, quotes.
_CONTROLS = "".join(map(chr, [*range(1, 9), 11, 12, *range(14, 32), 127]))
_SPACES = " \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200C))) + "\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
# What begins one: = + - @, their full-width, small and raised forms; tab and line breaks begin another cell or row.
_STARTS = "+=@\t\r\n＋＝＠﹢﹦﹫⁺⁼﹣－⁻−-"  # the hyphen last: it stands for itself there

# One pattern for Python and for PostgreSQL: literal characters only, no escapes, which the two write differently.
FORMULA = f"^[{_SPACES}{_CONTROLS}\"']*[{_STARTS}]"
_FORMULA = re.compile(FORMULA)


def may_run(cell: str) -> bool:
    """Say whether a spreadsheet might run a cell as a formula; one that begins with an apostrophe is text."""
    return not cell.startswith("'") and _FORMULA.match(cell) is not None


def escaped(cell: str) -> str:
    """Return a cell that no spreadsheet runs; `unescaped` gives the cell back, whatever it is."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unescaped(cell: str) -> str:
    """Return the cell that `escaped` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell


def escaped_sql(expression: str) -> str:
    """Return the SQL expression that escapes a text as `escaped` does."""
    pattern = FORMULA.replace("'", "''")
    return f"CASE WHEN {expression} ~ '{pattern}' THEN '''' || {expression} ELSE {expression} END"
