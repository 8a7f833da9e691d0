"""The schema contract applied to a CSV header, or to a file without one: which cell feeds which column."""

import codecs
import csv
import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from services.silver.blocks import Blocks
from services.silver.recode import no_text
from services.silver.scanner import Dialect, line_end
from services.silver.unknown import evolving
from shared.dataset import Dataset
from shared.errors import Rejected
from shared.evolving import likeness
from shared.formats import CsvFormat

_LIKE_ENOUGH = 0.7  # of 1, as difflib measures it: "Confirmed cases" is like "Confirmed"


@dataclass(frozen=True)
class Layout:
    """How the cells of a record map to the contract's columns."""

    names: tuple[str, ...]  # as in the file
    positions: tuple[int | None, ...]  # per contract column: index of its cell, None where the file lacks it
    unknown: tuple[int, ...]  # indexes of cells that the contract does not know
    evolved: tuple[tuple[str, int], ...] = ()  # of these, those that become columns: (column, index of its cell)


def read_header(blocks: Blocks, dataset: Dataset, dialect: Dialect) -> tuple[Layout, int]:
    """Read what comes before the first record; return the layout and how many physical lines that was."""
    declared = dataset.format
    assert isinstance(declared, CsvFormat)
    first = blocks.take()
    start = _behind_preamble(first, dialect, declared.skip_lines)
    # A block ends with a line: the only record, without a line break behind it, is in the next.
    while not first[start:].strip(b"\r\n") and (more := blocks.take()):
        first += more
        start = _behind_preamble(first, dialect, declared.skip_lines)
    if not first[start:].strip(b"\r\n"):
        raise Rejected(f"the file is empty: not even a {'header' if dialect.has_header else 'record'}")
    if not dialect.has_header:
        blocks.give_back(first[start:])
        layout = Layout(tuple(c.origin for c in dataset.columns), tuple(range(len(dataset.columns))), ())
        return layout, first.count(b"\n", 0, start)
    end = dialect.record_end(first, start)
    problem = no_text(first[start:end], declared.encoding)
    try:
        names = [] if problem else _names(first[start:end], dialect)
    except csv.Error as error:
        problem = str(error)
    if problem:
        line = first.count(b"\n", 0, start) + 1
        raise Rejected(
            f"line {line}: the header cannot be read as {declared.encoding} CSV: {problem}{_remedy(first, dataset)}"
        )
    blocks.give_back(first[end:])
    return layout_of(dataset, [name.strip() for name in names]), first.count(b"\n", 0, end)


def _behind_preamble(first: bytes, dialect: Dialect, skip_lines: int) -> int:
    """Return where the header begins, or the first record: behind the skipped lines and the comments."""
    start = 0
    for _ in range(skip_lines):
        start = line_end(first, start)
    while start < len(first) and dialect.is_comment(first, start):
        start = line_end(first, start)
    return start


def _names(header: bytes, dialect: Dialect) -> list[str]:
    text = header.decode("utf-8")
    if "\0" in text:
        raise csv.Error("it holds NUL bytes: this is not text (compressed, UTF-16 or binary?)")
    return next(dialect.rows([text]))


def _remedy(first: bytes, dataset: Dataset) -> str:
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return f". It begins like UTF-16; declare `encoding: utf-16` in config/datasets/{dataset.name}.yaml"
    return ""


def layout_of(dataset: Dataset, names: Sequence[str]) -> Layout:
    """Match a header against the contract; raises Rejected when it cannot be used."""
    repeated = sorted({name for name in names if list(names).count(name) > 1})
    if repeated:
        raise Rejected(f"the header names {_list(repeated)} more than once; which one counts cannot be known")
    index = {name: position for position, name in enumerate(names)}
    missing = [c.origin for c in dataset.columns if c.origin not in index and not c.optional]
    known = {c.origin for c in dataset.columns}
    unknown = tuple(position for name, position in index.items() if name not in known)
    if missing:
        raise Rejected(
            f"the header lacks {_list(missing)} (it has: {_list(names)}).{_renamed(missing, [names[i] for i in unknown])}"
            f" Restore the column at the source, rename it in `from`, or declare it `optional: true` in "
            f"config/datasets/{dataset.name}.yaml"
        )
    positions = tuple(index.get(c.origin) for c in dataset.columns)
    if dataset.schema_contract.columns == "evolve":
        named = evolving(dataset, [names[i] for i in unknown], "the header")
        return Layout(tuple(names), positions, (), tuple((named[names[i]], i) for i in unknown))
    if unknown and dataset.schema_contract.columns == "freeze":
        raise Rejected(
            f"the header has {_list([names[i] for i in unknown])}, which the contract does not know and "
            f"`schema_contract.columns: freeze` forbids. Add the column to config/datasets/{dataset.name}.yaml"
        )
    return Layout(tuple(names), positions, unknown)


def _renamed(missing: Sequence[str], unknown: Sequence[str]) -> str:
    """Return which unknown column may be which missing one under another name, and what to write then."""
    alike = {likeness(name): name for name in reversed(unknown)}
    said = ""
    for name in missing:
        close = difflib.get_close_matches(likeness(name), alike, n=1, cutoff=_LIKE_ENOUGH)
        if close:
            found = alike[close[0]]
            said += f" {found!r} looks like {name!r}: if it is, write `from: {json.dumps(found, ensure_ascii=False)}`."
    return said


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:20])
    return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown
