"""Numbers as a dialect writes them: a decimal comma, marks between groups of three digits."""

import re
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from shared.formats import CsvFormat, JsonFormat, JsonLinesFormat


@dataclass(frozen=True)
class Marks:
    """What stands between the digits of a number."""

    decimal: str = "."
    thousands: str | None = None

    @property
    def sample(self) -> str:
        """A number written so, for messages."""
        return f"1{self.thousands or ''}234{self.decimal}5"


POINT = Marks()


def marks_of(declared: CsvFormat | JsonFormat | JsonLinesFormat) -> Marks:
    """Return how a format writes numbers; JSON has its own way."""
    return Marks(declared.decimal, declared.thousands) if isinstance(declared, CsvFormat) else POINT


def with_point(texts: pa.Array, marks: Marks) -> pa.Array:
    """Return numbers with a decimal point and nothing between their digits, NULL where a text is not written so.

    Groups must be of three digits: in 1.5 a point that parts thousands is a mistake, and not fifteen.
    """
    whole = "[0-9]+"
    if marks.thousands:
        whole += f"|[0-9]{{1,3}}({re.escape(marks.thousands)}[0-9]{{3}})+"
    decimal = re.escape(marks.decimal)
    pattern = f"^[+-]?(({whole})({decimal}[0-9]*)?|{decimal}[0-9]+)([eE][+-]?[0-9]+)?$"
    numbers = pc.if_else(pc.match_substring_regex(texts, pattern), texts, pa.scalar(None, pa.string()))
    if marks.thousands:
        numbers = pc.replace_substring(numbers, marks.thousands, "")
    return pc.replace_substring(numbers, marks.decimal, ".") if marks.decimal != "." else numbers
