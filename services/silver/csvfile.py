"""Read CSV in two lanes that yield equal rows: a vectorised reader for plain stretches, a record scanner for the rest.

A stretch is plain when it holds no quote, no comment, no NUL, no lone carriage return, only valid UTF-8 and as many
delimiters on every line as the header has. Everything else — quoted cells, line breaks in quotes, ragged lines, bad
bytes, all of a dialect with escapes — goes to the scanner, record by record. Both count physical lines, so that a row
can be found again in the file.
"""

import json
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from services.silver.blocks import Blocks
from services.silver.header import Layout, read_header
from services.silver.recode import in_utf8
from services.silver.record import Broken, Records, text_of
from services.silver.scanner import Dialect, Scanner, dialect_of, line_end
from shared.dataset import Dataset
from shared.formats import CsvFormat

# A plain stretch shorter than this costs more to set up than the scanner takes for it.
PLAIN_BYTES_MIN = 8_192
_LF = 0x0A


def read_csv(file: BinaryIO, dataset: Dataset, block_bytes: int, batch_rows_max: int) -> Iterator[Records]:
    """Yield the records of a CSV file in batches of at most `batch_rows_max` rows.

    Raises Rejected when the file as a whole cannot be used: empty, no usable header, wrong encoding, a line
    longer than `limits.record_bytes_max` where no record ends.
    """
    declared = dataset.format
    assert isinstance(declared, CsvFormat)
    in_utf_8 = in_utf8(file, declared.encoding, keeps_bad_bytes=True)
    blocks = Blocks(in_utf_8, max(block_bytes, 4 * dataset.limits.record_bytes_max))
    dialect = dialect_of(declared, dataset.limits.record_bytes_max)
    layout, lines_before = read_header(blocks, dataset, dialect)
    dialect = replace(dialect, fields=len(layout.names))
    reader = _Reader(dataset, layout, dialect, lines_before)
    while block := blocks.take():
        yield from reader.batches(block, blocks.is_last, batch_rows_max)
        blocks.give_back(reader.rest)


class _Reader:
    """The two lanes over one block after another."""

    def __init__(self, dataset: Dataset, layout: Layout, dialect: Dialect, lines_before: int) -> None:
        self._dataset, self._layout, self._dialect = dataset, layout, dialect
        self._line = lines_before + 1  # number of the next physical line
        self._quote = dialect.quote.encode()
        assert isinstance(dataset.format, CsvFormat)
        self._null_values = pa.array(dataset.format.null_values, pa.string())
        self.rest = b""

    def batches(self, block: bytes, is_last: bool, batch_rows_max: int) -> Iterator[Records]:
        """Yield the block's records; an unfinished record at its end is left in `rest` unless it is the last block."""
        self.rest = b""
        start = 0
        if self._dialect.escape:  # may stand before a quote or a line break: no stretch of the block is plain
            used, batch = self._scan(block, is_last)
            self.rest = block[used:]
            yield from _sliced(batch, batch_rows_max)
            return
        while start < len(block):
            quote = block.find(self._quote, start)
            plain_end = len(block) if quote < 0 else block.rfind(b"\n", start, quote) + 1
            if plain_end - start >= PLAIN_BYTES_MIN or plain_end == len(block):
                yield from self._plain(block[start:plain_end], batch_rows_max)
                start = plain_end
            else:
                start = yield from self._quoted(block, start, is_last, batch_rows_max)
                if start < len(block) and self.rest:
                    return

    def _quoted(self, block: bytes, start: int, is_last: bool, batch_rows_max: int) -> Generator[Records, None, int]:
        """Scan a stretch with quotes, further if a record goes beyond it; return where the scanner stopped."""
        end = self._scan_end(block, block.find(self._quote, start))
        while True:
            is_final = is_last and end == len(block)
            used, batch = self._scan(block[start:end], is_final)
            yield from _sliced(batch, batch_rows_max)
            start += used
            if start == end:
                return start
            if end == len(block):
                self.rest = block[start:]
                return start
            following = block.find(self._quote, end)
            end = self._scan_end(block, following) if following >= 0 else len(block)

    def _scan_end(self, block: bytes, position: int) -> int:
        """Return where the next stretch without quotes, long enough for the fast lane, begins."""
        while True:
            following = block.find(self._quote, position + 1)
            if following < 0 or following - position > 2 * PLAIN_BYTES_MIN:
                return line_end(block, position)
            position = following

    def _plain(self, stretch: bytes, batch_rows_max: int) -> Iterator[Records]:
        """Read a stretch without quotes, vectorised where it is regular, else record by record."""
        if not stretch:
            return
        if not self._is_regular(stretch):
            used, batch = self._scan(stretch, is_final=True)
            assert used == len(stretch)
            yield from _sliced(batch, batch_rows_max)
            return
        ends = np.flatnonzero(np.frombuffer(stretch, np.uint8) == _LF)
        if stretch[-1] != _LF:
            ends = np.append(ends, len(stretch))
        starts = np.concatenate(([0], ends[:-1] + 1))
        table = pacsv.read_csv(
            pa.BufferReader(stretch),
            read_options=pacsv.ReadOptions(
                use_threads=False,
                block_size=len(stretch) + 1,
                column_names=[str(i) for i in range(self._dialect.fields)],
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=self._dialect.delimiter, quote_char=False, ignore_empty_lines=False
            ),
            convert_options=pacsv.ConvertOptions(
                column_types={str(i): pa.string() for i in range(self._dialect.fields)},
                strings_can_be_null=False,
                quoted_strings_can_be_null=False,
            ),
        )
        first_line = self._line
        self._line += len(starts)
        columns = [column.combine_chunks() for column in table.columns]
        for offset in range(0, table.num_rows, batch_rows_max):
            part = slice(offset, min(offset + batch_rows_max, table.num_rows))
            yield self._records(
                [c.slice(part.start, part.stop - part.start) for c in columns],
                first_line + np.arange(part.start, part.stop, dtype=np.int64),
                _RawLines(stretch, starts[part], ends[part]),
                [],
            )

    def _is_regular(self, stretch: bytes) -> bool:
        """Say whether every line has the header's number of cells and only bytes the fast lane reads alike."""
        if b"\0" in stretch or len(self._dialect.delimiter.encode()) != 1 or self._dialect.fields == 1:
            return False
        if stretch.count(b"\r") != stretch.count(b"\r\n"):
            return False
        if self._dialect.is_comment(stretch, 0) or (self._dialect.comment and b"\n" + self._dialect.comment in stretch):
            return False
        values = np.frombuffer(stretch, np.uint8)
        breaks = np.flatnonzero(values == _LF)
        delimiters = np.flatnonzero(values == ord(self._dialect.delimiter))
        lines = len(breaks) + (stretch[-1] != _LF)
        if len(delimiters) != lines * (self._dialect.fields - 1):
            return False
        per_line = np.diff(np.searchsorted(delimiters, breaks), prepend=0)
        if len(per_line) and (per_line != self._dialect.fields - 1).any():
            return False
        longest = int(np.diff(np.concatenate((breaks, [len(stretch)])), prepend=0).max())
        if longest > self._dialect.record_bytes_max:
            return False
        try:
            stretch.decode("utf-8")
        except UnicodeDecodeError:
            return False
        return True

    def _scan(self, stretch: bytes, is_final: bool) -> tuple[int, Records]:
        """Read record by record; return the bytes used and the records.

        A record that is unfinished at the end waits for more, and is broken when nothing more comes.
        """
        scanner = Scanner(stretch, self._dialect, self._line)
        rows: list[list[str]] = []
        lines: list[int] = []
        spans: list[tuple[int, int]] = []
        broken: list[Broken] = []
        while (found := scanner.next(may_wait=not is_final)) is not None:
            if isinstance(found, Broken):
                broken.append(found)
            elif found:
                rows.append(found)
                lines.append(scanner.record_line)
                spans.append((scanner.record_start, scanner.position))
        self._line = scanner.line
        columns = [pa.array([row[i] for row in rows], pa.string()) for i in range(self._dialect.fields)]
        raw = _RawSpans(stretch, spans)
        return scanner.position, self._records(columns, np.array(lines, np.int64), raw, broken)

    def _records(
        self,
        columns: Sequence[pa.Array],
        lines: "np.ndarray[tuple[int], np.dtype[np.int64]]",
        raw: "_Raw",
        broken: list[Broken],
    ) -> Records:
        count = len(lines)
        names = [c.name for c in self._dataset.columns]
        cells = [pa.nulls(count, pa.string()) if i is None else columns[i] for i in self._layout.positions]
        rescued = None
        if self._layout.unknown and count:
            unknown = [(self._layout.names[i], columns[i].to_pylist()) for i in self._layout.unknown]
            rescued = pa.array(
                [json.dumps({n: values[r] for n, values in unknown}, ensure_ascii=False) for r in range(count)],
                pa.string(),
            )
        return Records(
            pa.RecordBatch.from_arrays(cells, names=names), lines, raw.text, rescued, None, broken, self._layout.names,
            {name: self._value(columns[i]) for name, i in self._layout.evolved},
            {name: self._layout.names[i] for name, i in self._layout.evolved},
        )  # fmt: skip

    def _value(self, cells: pa.Array) -> pa.Array:
        """Return the texts of a column that evolves, NULL where the dialect says that there is no value."""
        return pc.if_else(pc.is_in(cells, value_set=self._null_values), pa.scalar(None, pa.string()), cells)


class _RawLines:
    """Raw text by line offsets of a plain stretch."""

    def __init__(
        self,
        stretch: bytes,
        starts: "np.ndarray[tuple[int], np.dtype[np.int64]]",
        ends: "np.ndarray[tuple[int], np.dtype[np.int64]]",
    ) -> None:
        self._stretch, self._starts, self._ends = stretch, starts, ends

    def text(self, index: int) -> str:
        return text_of(self._stretch[self._starts[index] : self._ends[index]].rstrip(b"\r"))


class _RawSpans:
    """Raw text by spans of scanned records."""

    def __init__(self, stretch: bytes, spans: Sequence[tuple[int, int]]) -> None:
        self._stretch, self._spans = stretch, spans

    def text(self, index: int) -> str:
        start, end = self._spans[index]
        return text_of(self._stretch[start:end].rstrip(b"\r\n"))


_Raw = _RawLines | _RawSpans


def _sliced(records: Records, batch_rows_max: int) -> Iterator[Records]:
    """Cut a batch that is too large; the broken records go with the first part."""
    if records.cells.num_rows <= batch_rows_max:
        if records.count:
            yield records
        return
    for offset in range(0, records.cells.num_rows, batch_rows_max):

        def raw(index: int, offset: int = offset) -> str:
            return records.raw(offset + index)

        yield replace(
            records,
            cells=records.cells.slice(offset, batch_rows_max),
            line_numbers=records.line_numbers[offset : offset + batch_rows_max],
            raw=raw,
            rescued=records.rescued.slice(offset, batch_rows_max) if records.rescued is not None else None,
            broken=records.broken if offset == 0 else [],
            evolved={name: texts.slice(offset, batch_rows_max) for name, texts in records.evolved.items()},
        )
