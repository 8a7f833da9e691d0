"""Read CSV record by record, as RFC 4180 has it: the lane for quotes, ragged lines and bad bytes."""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from services.silver.recode import delivered_text, no_text
from services.silver.record import Broken, text_of
from shared.formats import CsvFormat


@dataclass(frozen=True)
class Dialect:
    """What the two lanes need to know of the declared format."""

    delimiter: str
    quote: str  # NUL where cells are never quoted: no record that can be used holds one
    escape: str | None
    comment: bytes  # b"" for none
    has_header: bool
    record_bytes_max: int
    encoding: str = "utf-8"  # as declared; the bytes at hand are UTF-8, but for those that the encoding does not know
    fields: int = 0  # known once the header is read

    def rows(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """Return the cells of each record, as RFC 4180 has it."""
        is_quoted = self.quote != "\0"
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote if is_quoted else None,
            quoting=csv.QUOTE_MINIMAL if is_quoted else csv.QUOTE_NONE,
            escapechar=self.escape,
            strict=True,
            lineterminator="\n",
        )

    def is_comment(self, data: bytes, position: int) -> bool:
        """Whether the line at a position is a comment."""
        return bool(self.comment) and data.startswith(self.comment, position)

    def record_end(self, data: bytes, start: int) -> int:
        """Return where a record ends as far as quotes can tell, each line looked at once.

        It goes on behind a line end within quotes, or that is escaped, unless it exceeds `record_bytes_max`.
        """
        end, quotes, is_open = start, 0, True
        while is_open and end < len(data) and end - start <= self.record_bytes_max:
            line_start, end = end, line_end(data, end)
            more, is_escaped = self._quotes(data, line_start, end)
            quotes += more
            is_open = quotes % 2 == 1 or is_escaped
        return end

    def _quotes(self, data: bytes, start: int, end: int) -> tuple[int, bool]:
        """Return how many quotes a line has that no escape takes away, and whether its line end is escaped."""
        quote = self.quote.encode()
        if self.escape is None:
            return data.count(quote, start, end), False
        bare = re.sub(re.escape(self.escape.encode()) + b".", b"", data[start:end], flags=re.DOTALL)
        return bare.count(quote), data.endswith(b"\n", start, end) and not bare.endswith(b"\n")


def dialect_of(declared: CsvFormat, record_bytes_max: int) -> Dialect:
    """Return the dialect of a declared format."""
    return Dialect(
        declared.delimiter,
        declared.quote or "\0",
        declared.escape,
        (declared.comment or "").encode(),
        declared.header,
        record_bytes_max,
        declared.encoding,
    )


class Scanner:
    """Read one record after another out of a stretch of bytes, as RFC 4180 has it."""

    def __init__(self, stretch: bytes, dialect: Dialect, line: int) -> None:
        self._stretch, self._dialect = stretch, dialect
        self.position, self.line = 0, line
        self.record_start, self.record_line = 0, line

    def next(self, may_wait: bool) -> list[str] | Broken | None:
        """Return the next record's cells, a Broken, [] for a blank line or a comment, or None at the end.

        With `may_wait`, a record that the stretch ends within is left for later.
        """
        if self.position >= len(self._stretch):
            return None
        self.record_start, self.record_line = self.position, self.line
        if self._dialect.is_comment(self._stretch, self.position):
            self.position, self.line = line_end(self._stretch, self.position), self.line + 1
            return []
        first_end = line_end(self._stretch, self.position)
        first = self._stretch[self.position : first_end]
        problem = self._unreadable(first)
        if problem:
            return self._give_up(first_end, *problem)
        # What a stray quote in mid-cell swallows is found when its cells are read.
        end = self._dialect.record_end(self._stretch, self.record_start)
        return self._parse(first_end, end, may_wait)

    def _parse(self, first_end: int, end: int, may_wait: bool) -> list[str] | Broken | None:
        whole = self._stretch[self.record_start : end]
        problem = self._unreadable(whole)
        if problem:
            return self._give_up(first_end, *problem)
        source = io.StringIO(whole.decode("utf-8"), newline="")
        reader = self._dialect.rows(source)
        try:
            cells = next(reader, [])
        except csv.Error as error:
            is_open = "unexpected end of data" in str(error)
            if is_open and may_wait and end == len(self._stretch) and len(whole) <= self._dialect.record_bytes_max:
                return None
            reason = "a quote opens here and does not close" if is_open else str(error)
            return self._give_up(first_end, "malformed", f"{reason}; double a quote that belongs to a cell")
        used = len(source.getvalue()[: source.tell()].encode())
        self.position = self.record_start + used
        self.line += self._stretch.count(b"\n", self.record_start, self.position) or 1
        if not cells:
            return []
        if len(cells) != self._dialect.fields:
            wanted = "the header has" if self._dialect.has_header else "the contract has columns:"
            message = f"{len(cells)} cells where {wanted} {self._dialect.fields}"
            raw = text_of(self._stretch[self.record_start : self.position].rstrip(b"\r\n"))
            return Broken(self.record_line, raw, "ragged", message)
        return cells

    def _unreadable(self, data: bytes) -> tuple[str, str] | None:
        if len(data) > self._dialect.record_bytes_max:
            return (
                "too_long",
                f"a record of more than {self._dialect.record_bytes_max:,} bytes (limits.record_bytes_max)",
            )
        nul = data.find(b"\0")
        if nul >= 0:
            return "nul", f"a NUL byte at offset {nul} of the record; text cannot hold it"
        problem = no_text(data, self._dialect.encoding)
        return ("encoding", problem) if problem else None

    def _give_up(self, end: int, rule: str, message: str) -> Broken:
        """Declare the first physical line broken and go on behind it, so that one bad quote costs one line."""
        line = self._stretch[self.record_start : end].rstrip(b"\r\n")
        raw = delivered_text(line[: self._dialect.record_bytes_max], self._dialect.encoding)
        self.position = end
        self.line += 1
        return Broken(self.record_line, raw, rule, message)


def line_end(data: bytes, position: int) -> int:
    """Return where the line at a position ends, its line feed included."""
    return data.find(b"\n", position) + 1 or len(data)
