"""What reading a file yields: batches of untyped records, and the records that could not even be split into cells."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Broken:
    """A record that has no cells to cast: ragged, badly quoted, not text, not an object."""

    line_number: int  # physical, 1-based, where the record starts; in a JSON array the 1-based element
    raw: str  # as delivered; bytes that text cannot hold are escaped
    rule: str
    message: str


@dataclass(frozen=True)
class Records:
    """A batch of records: one text column per contract column, all of length n."""

    cells: pa.RecordBatch  # n rows; string columns named as the contract's columns, NULL where absent
    line_numbers: "np.ndarray[tuple[int], np.dtype[np.int64]]"  # shape (n,)
    raw: Callable[[int], str]  # text of record i as delivered
    rescued: pa.Array | None = None  # JSON text of values the contract does not know, NULL where none
    documents: pa.Array | None = None  # the record as JSON text, for JSON sources
    broken: list[Broken] = field(default_factory=list)
    header: tuple[str, ...] = ()  # of a CSV file: the names, as they stand there
    evolved: Mapping[str, pa.Array] = field(default_factory=dict)  # n texts by column that the contract lacks and takes
    origins: Mapping[str, str] = field(default_factory=dict)  # the name in the file of each evolved column

    @property
    def count(self) -> int:
        """Records in the batch, broken ones included."""
        return int(self.cells.num_rows) + len(self.broken)


def text_of(data: bytes) -> str:
    r"""Return bytes as text; what is not UTF-8, and NUL, is escaped as \xNN."""
    return data.decode("utf-8", "backslashreplace").replace("\x00", "\\x00")


def shortened(text: str, characters_max: int = 60) -> str:
    """Return a text short enough for a message."""
    return text if len(text) <= characters_max else f"{text[: characters_max - 1]}…"


def halves(records: Records) -> Iterator[Records]:
    """Yield a batch in two; the broken records go with the first."""
    middle = records.cells.num_rows // 2
    for start, stop in ((0, middle), (middle, records.cells.num_rows)):
        part = slice(start, stop)
        yield replace(
            records,
            cells=records.cells.slice(start, stop - start),
            line_numbers=records.line_numbers[part],
            raw=partial(_raw_behind, records, start),
            rescued=records.rescued.slice(start, stop - start) if records.rescued is not None else None,
            documents=records.documents.slice(start, stop - start) if records.documents is not None else None,
            broken=records.broken if start == 0 else [],
            evolved={name: texts.slice(start, stop - start) for name, texts in records.evolved.items()},
        )


def _raw_behind(records: Records, start: int, index: int) -> str:
    return records.raw(start + index)


def broken_whole(records: Records, error: Exception) -> Records:
    """Return a batch of one row as a broken record."""
    message = f"it cannot be processed: {type(error).__name__}: {shortened(str(error), 200)}"
    alone = [Broken(int(line), records.raw(i), "unprocessable", message) for i, line in enumerate(records.line_numbers)]
    return replace(without_rows(records), broken=[*records.broken, *alone])


def without_rows(records: Records) -> Records:
    """Return a batch of the same columns without rows."""
    return replace(
        records,
        cells=records.cells.slice(0, 0),
        line_numbers=records.line_numbers[:0],
        rescued=None,
        documents=None,
        broken=[],
        evolved={},
    )
