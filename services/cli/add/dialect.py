"""The dialect of a CSV file, from its beginning: what parts cells, quotes them, and where the records begin.

What is found here is a proposal. All records of the file are read by it afterwards, with silver's own reader, and what
that reader cannot take is told to the user.
"""

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from shared.errors import Rejected

HEAD_CHARACTERS = 1 << 20
DELIMITERS = (",", ";", "\t", "|")
PREAMBLE_LINES_MAX = 100
_COMMENTS = ("#", "//", "%")
_TYPED = re.compile(
    r"\s*([-+]?[0-9][0-9.,' ]*%?|[0-9]{1,4}[-./][0-9]{1,2}[-./][0-9]{1,4}.*|true|false)\s*", re.IGNORECASE
)


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written."""

    delimiter: str
    quote: str | None
    escape: str | None
    comment: str | None
    header: tuple[str, ...]  # its names; empty where the file has none
    skip_lines: int  # physical lines before the header, or before the first record
    lines_before: int  # physical lines before the first record, header included
    fields: int  # cells of a record
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Row:
    line: int
    last_line: int
    cells: list[str]


def detect(
    path: Path,
    name: str,
    encoding: str,
    delimiter: str | None = None,
    has_header: bool | None = None,
    may_quote: bool = True,
) -> Dialect:
    """Return the dialect of a file; raises Rejected when it has no records that could be told apart."""
    text = _head(path, encoding)
    if "\n" not in text and "\r" in text.rstrip("\r"):
        raise Rejected(
            f"{name}:1: its lines end with a carriage return alone, as in old Macintosh files; convert it, for "
            r"instance with tr '\r' '\n'"
        )
    if not text.strip():
        raise Rejected(f"{name}:1: it holds nothing but white space; give a file with some typical records")
    quote, escape = _quote(text) if may_quote else (None, None)
    chosen = delimiter or _delimiter(text, quote, escape)
    rows = _rows(text, chosen, quote, escape)
    fields, share = _width(rows)
    found = _begin(rows, text, Dialect(chosen, quote, escape, None, (), 0, 0, fields))
    notes = _notes(found, share, is_given=delimiter is not None)
    return _headed(found, rows, notes, has_header, name)


def _head(path: Path, encoding: str) -> str:
    """Return the beginning of a file as whole lines."""
    with path.open(encoding=encoding, errors="replace", newline="") as file:
        text = file.read(HEAD_CHARACTERS)
        is_whole = not file.read(1)
    text = text.removeprefix("\ufeff").replace("\0", "\ufffd")
    return text if is_whole or "\n" not in text else text[: text.rfind("\n") + 1]


def _quote(text: str) -> tuple[str | None, str | None]:
    """Return what quotes cells, and what escapes a quote within them."""
    if '"' in text:
        is_escaped = '\\"' in text and not re.search(r'[^,;\t|\n]""', text)
        return '"', "\\" if is_escaped else None
    apostrophes = re.findall(r"(?:^|[,;\t|])'[^'\n]*'(?=[,;\t|\r\n]|$)", text, re.MULTILINE)
    return ("'" if len(apostrophes) > 1 and 2 * len(apostrophes) == text.count("'") else '"'), None


def _rows(text: str, delimiter: str, quote: str | None, escape: str | None) -> list[_Row]:
    """Return the records of a text as they fall, blank lines left out."""
    csv.field_size_limit(max(csv.field_size_limit(), 2 * HEAD_CHARACTERS))
    source = io.StringIO(text.replace("\r\n", "\n").replace("\r", " "), newline="")
    if quote is None:
        reader = csv.reader(source, delimiter=delimiter, quotechar=None, escapechar=escape, quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(source, delimiter=delimiter, quotechar=quote, escapechar=escape)
    rows, line = [], 0
    for cells in reader:
        if cells:
            rows.append(_Row(line + 1, reader.line_num, cells))
        line = reader.line_num
    return rows


def _delimiter(text: str, quote: str | None, escape: str | None) -> str:
    """Return the delimiter by which most records have the same number of cells, more of them if as many do."""
    judged = []
    for position, delimiter in enumerate(DELIMITERS):
        width, share = _width(_rows(text, delimiter, quote, escape))
        judged.append((round(share, 2) if width > 1 else 0.0, width, -position, delimiter))
    share, _, _, best = max(judged)
    return best if share >= 0.5 else ","


def _width(rows: list[_Row]) -> tuple[int, float]:
    """Return the commonest number of cells, more than one if half of the records have them, and its share."""
    widths = Counter(len(row.cells) for row in rows)
    several = [(count, width) for width, count in widths.items() if width > 1]
    count, width = max(several, default=(0, 1))
    if count < 0.5 * len(rows):
        return 1, widths[1] / max(len(rows), 1)
    return width, count / len(rows)


def _begin(rows: list[_Row], text: str, dialect: Dialect) -> Dialect:
    """Find where the header or the first record is: behind lines of another width, and behind comments."""
    odd = [row for row in rows if len(row.cells) != dialect.fields]
    marks = [m for m in _COMMENTS if any(row.cells[0].startswith(m) for row in odd)]
    if dialect.fields == 1:  # where every line is of one cell, a comment differs by its mark alone
        marks = [m for m in _COMMENTS if rows[0].cells[0].startswith(m)]
    comment = next((m for m in marks if not any(r.cells[0].startswith(m) for r in rows if r not in odd)), None)
    if dialect.fields == 1:
        comment = marks[0] if marks else None
    usable = [row for row in rows if len(row.cells) == dialect.fields]
    if comment:
        usable = [row for row in usable if not row.cells[0].startswith(comment)]
    first = usable[0].line if usable else 1
    if first > PREAMBLE_LINES_MAX:
        first = 1
    before = text.split("\n")[: first - 1]
    is_all_comment = comment is not None and all(line.startswith(comment) for line in before)
    return replace(dialect, comment=comment, skip_lines=0 if is_all_comment else first - 1, lines_before=first - 1)


def _notes(dialect: Dialect, share: float, is_given: bool) -> list[str]:
    notes = []
    if dialect.fields == 1 and not is_given:
        notes.append("delimiter: every line is one cell; --delimiter says what parts them if that is wrong")
    elif share < 0.95 and not is_given:
        notes.append(
            f"delimiter: {share:.0%} of the first records have {dialect.fields} cells with {dialect.delimiter!r}"
        )
    if dialect.escape:
        notes.append("escape: quotes within cells stand behind a backslash in this file")
    return notes


def _headed(dialect: Dialect, rows: list[_Row], notes: list[str], has_header: bool | None, name: str) -> Dialect:
    """Decide whether the first record is a header."""
    usable = [r for r in rows if r.line > dialect.lines_before and len(r.cells) == dialect.fields]
    if dialect.comment:
        usable = [r for r in usable if not r.cells[0].startswith(dialect.comment)]
    if not usable:
        raise Rejected(f"{name}:1: no line of it looks like a record; --delimiter says what parts cells")
    first, others = usable[0], usable[1:201]
    if has_header is None:
        typed = [i for i, cell in enumerate(first.cells) if _TYPED.fullmatch(cell)]
        below = [sum(bool(_TYPED.fullmatch(row.cells[i])) for row in others) for i in range(dialect.fields)]
        has_header = not any(2 * below[i] >= len(others) for i in typed)
        if has_header and not any(below) and others:
            notes.append("header: no column has numbers or dates, so the first line is taken for the header unproven")
        if not has_header:
            notes.append(
                "header: the first line looks like a record, so columns go by position; --header says otherwise"
            )
    if not has_header:
        return replace(dialect, notes=tuple(notes))
    if not others and not any(r.line > first.last_line for r in rows):
        raise Rejected(
            f"{name}:{first.line}: there is a header and no record below it; give a file with some typical records"
        )
    names = tuple(cell.strip() for cell in first.cells)
    return replace(dialect, header=names, lines_before=first.last_line, notes=tuple(notes))
