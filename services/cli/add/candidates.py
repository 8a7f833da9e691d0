"""What a column of text could be: readings that are tried on all of its values, by silver's own casts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.silver.cast import cast_column
from services.silver.numerals import POINT, Marks, with_point
from shared.columns import Column

Kind = Literal["boolean", "number", "date", "timestamp", "json"]
Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]

# In the order in which they are believed where several read all numbers of a file.
NUMERALS = (
    POINT, Marks(","), Marks(".", ","), Marks(",", "."), Marks(".", " "), Marks(",", " "), Marks(".", "'"),
    Marks(".", "\u00a0"), Marks(",", "\u00a0"), Marks(",", "\u202f"),
)  # fmt: skip
DATES = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y-%d-%m",
    "%Y/%d/%m", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%y/%m/%d", "%y-%m-%d", "%d-%m-%y", "%m-%d-%y", "%d %b %Y",
    "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%d-%b-%Y", "%d-%b-%y",
)  # fmt: skip
# The year in front is followed by the month everywhere; the other order is believed only where this one fails.
YEAR_FIRST = {"%Y-%d-%m": "%Y-%m-%d", "%Y/%d/%m": "%Y/%m/%d"}
_TIMES = (" %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", ", %H:%M:%S", "T%H:%M:%S")
TIMESTAMPS = (
    None,  # ISO 8601
    *(date + time for date in DATES for time in _TIMES if not date.startswith("%Y-%m")),
    "%a, %d %b %Y %H:%M:%S %z", "%d/%b/%Y:%H:%M:%S %z",
)  # fmt: skip
_TRIAL = 24  # values on which a reading is tried before all of a batch
_WORDS = pa.array(["true", "false", "yes", "no"])


@dataclass
class Candidate:
    """One reading of a column, and how many of its values it fits."""

    kind: Kind
    pattern: str | None = None  # strptime's, for dates and timestamps
    marks: Marks = POINT
    fits: int = 0
    misfit: str | None = None  # the first value that it does not fit
    shape: "Shape" = field(default_factory=lambda: Shape())

    def reads(self, values: pa.Array) -> Mask:
        """Return which of some values this reading takes."""
        if self.kind == "number":
            return _valid(with_point(values, self.marks))
        if self.kind == "boolean":
            return _valid_mask(pc.is_in(pc.utf8_lower(values), value_set=_WORDS))
        declared = {"name": "sample", "type": self.kind, "nullable": True}
        column = Column.model_validate(declared | ({"format": self.pattern} if self.pattern else {}))
        if len(values) > _TRIAL and 2 * np.count_nonzero(self.reads(values[:_TRIAL])) < _TRIAL:
            return np.zeros(len(values), bool)
        return _valid(cast_column(values, column, ())[0])


@dataclass
class Shape:
    """The digits of the numbers seen."""

    whole: int = 0  # most digits before the point
    places: int = 0  # most behind it
    has_exponent: bool = False
    leading_zero: str | None = None  # the first number that begins with a zero too many

    def take(self, values: pa.Array, marks: Marks) -> None:
        """Widen to some numbers."""
        parts = pc.extract_regex(
            with_point(values, marks), r"^[+-]?(?P<whole>[0-9]*)\.?(?P<places>[0-9]*)(?P<exponent>(?:[eE].*)?)$"
        )
        whole = parts.field("whole")
        zeros = pc.match_substring_regex(whole, "^0[0-9]")
        if self.leading_zero is None and pc.any(zeros).as_py():
            self.leading_zero = values.filter(zeros)[0].as_py()
        self.whole = max(self.whole, pc.max(pc.utf8_length(pc.utf8_ltrim(whole, "0"))).as_py() or 0)
        self.places = max(self.places, pc.max(pc.utf8_length(parts.field("places"))).as_py() or 0)
        self.has_exponent = self.has_exponent or bool(pc.any(pc.not_equal(parts.field("exponent"), "")).as_py())


def believable(reading: Candidate, values: pa.Array) -> bool:
    """Say whether a reading is worth a try, by the look of the first values: there are very many of moments."""
    if reading.kind not in ("date", "timestamp"):
        return True
    first = values[:_TRIAL]
    mark = r"[0-9].*[-/., ].*[0-9]" if reading.kind == "date" else r"[0-9].*:[0-9]|^[0-9]{8}T[0-9]"
    return bool(pc.any(pc.match_substring_regex(first, mark)).as_py())


def _valid(typed: pa.Array) -> Mask:
    return _valid_mask(typed.is_valid())


def _valid_mask(mask: pa.Array) -> Mask:
    found: Mask = mask.to_numpy(zero_copy_only=False)
    return found


def candidates(has_numerals: bool) -> list[Candidate]:
    """Return every reading to try; JSON writes numbers in one way."""
    numerals: Sequence[Marks] = NUMERALS if has_numerals else (POINT,)
    return [
        Candidate("boolean"),
        *(Candidate("number", marks=marks) for marks in numerals),
        *(Candidate("date", pattern) for pattern in DATES),
        *(Candidate("timestamp", pattern) for pattern in TIMESTAMPS),
        Candidate("json"),
    ]
