"""What all values of a column have in common, gathered batch by batch in bounded memory."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.cli.add.candidates import Candidate, believable, candidates

# Words that people and programs write where there is no value; they are declared, and said, where a column is not of text.
NULL_WORDS = (
    "NA", "N/A", "n/a", "na", "N.A.", "NULL", "Null", "null", "None", "none", "NaN", "nan", "#N/A", "-", "--", "?",
    ".", "\\N", "(null)", "missing",
)  # fmt: skip
# A reading that fits fewer of the values than this is given up.
ALIVE_MIN_SHARE = 0.5
_EXAMPLES = 3
_TOKENS = pa.array(NULL_WORDS, pa.string())


@dataclass
class Profile:
    """One column: how many values, of which readings."""

    origin: str  # its name in the file, a dotted path, or its position
    is_csv: bool
    rows: int = 0
    absent: int = 0
    words: Counter[str] = field(default_factory=Counter)  # of NULL_WORDS
    values: int = 0  # neither absent nor such a word
    padded: int = 0  # values with white space around them
    bytes_max: int = 0
    examples: list[str] = field(default_factory=list)
    is_document: bool = False  # a list, or an object in some records
    readings: list[Candidate] = field(default_factory=list)
    misfit_lines: dict[str, int] = field(default_factory=dict)  # by value that a reading does not fit: its first line

    def __post_init__(self) -> None:
        self.readings = candidates(self.is_csv)

    def skip(self, rows: int) -> None:
        """Take in records that lack the column."""
        self.rows += rows
        self.absent += rows

    def take(self, texts: pa.Array, lines: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> None:
        """Take in a batch of its cells."""
        self.rows += len(texts)
        counted = pc.value_counts(texts.drop_null())
        values, counts = counted.field("values"), counted.field("counts").to_numpy()
        is_value = np.ones(len(values), bool)
        if self.is_csv:
            is_value = pc.not_equal(values, "").to_numpy(zero_copy_only=False)
        is_word = pc.is_in(values, value_set=_TOKENS).to_numpy(zero_copy_only=False) & self.is_csv
        self.absent += len(texts) - int(counts[is_value].sum())
        for value, count in zip(values.filter(pa.array(is_word)).to_pylist(), counts[is_word], strict=True):
            self.words[value] += int(count)
        keep = is_value & ~is_word
        values, counts = values.filter(pa.array(keep)), counts[keep]
        if len(values):
            self._read(values, counts, texts, lines)

    def _read(
        self, values: pa.Array, counts: "np.ndarray[tuple[int], np.dtype[np.int64]]", texts: pa.Array,
        lines: "np.ndarray[tuple[int], np.dtype[np.int64]]",
    ) -> None:  # fmt: skip
        self.values += int(counts.sum())
        self.bytes_max = max(self.bytes_max, pc.max(pc.binary_length(values)).as_py())
        is_padded = pc.not_equal(values, pc.utf8_trim_whitespace(values)).to_numpy(zero_copy_only=False)
        self.padded += int(counts[is_padded].sum())
        for value in values[:_EXAMPLES].to_pylist():
            if len(self.examples) < _EXAMPLES and value not in self.examples:
                self.examples.append(value)
        if self.values == counts.sum():
            self.readings = [r for r in self.readings if believable(r, values)]
        for reading in self.readings:
            fits = reading.reads(values)
            reading.fits += int(counts[fits].sum())
            if reading.kind == "number" and fits.any():
                reading.shape.take(values.filter(pa.array(fits)), reading.marks)
            if not fits.all() and reading.misfit is None:
                reading.misfit = values[int(np.argmin(fits))].as_py()
                self.misfit_lines.setdefault(reading.misfit, int(lines[pc.index(texts, reading.misfit).as_py()]))
        self.readings = [r for r in self.readings if r.fits >= ALIVE_MIN_SHARE * self.values]

    def perfect(self, kind: str) -> list[Candidate]:
        """Return the readings of a kind that fit every value."""
        return [r for r in self.readings if r.kind == kind and r.fits == self.values > 0]

    def nearly(self, kind: str) -> list[Candidate]:
        """Return the readings of a kind that fit all values but a few, the best first."""
        found = [r for r in self.readings if r.kind == kind and r.fits < self.values]
        return sorted(found, key=lambda r: -r.fits)

    @property
    def lacks_values(self) -> bool:
        """Whether some record has no value in it."""
        return self.absent > 0
