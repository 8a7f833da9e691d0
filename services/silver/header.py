"""The schema contract applied to a CSV header, or to a file without one: which cell feeds which column."""

import codecs
import csv
from collections.abc import Sequence
from dataclasses import dataclass

from services.silver.blocks import Blocks
from services.silver.scanner import Dialect, line_end
from shared.dataset import Dataset
from shared.errors import Rejected
from shared.formats import CsvFormat


@dataclass(frozen=True)
class Layout:
    """How the cells of a record map to the contract's columns."""

    names: tuple[str, ...]  # as in the file
    positions: tuple[int | None, ...]  # per contract column: index of its cell, None where the file lacks it
    unknown: tuple[int, ...]  # indexes of cells that the contract does not know


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
    end = line_end(first, start)
    while end < len(first) and dialect.is_open(first, start, end):
        end = line_end(first, end)
    try:
        names = _names(first[start:end], dialect)
    except (csv.Error, UnicodeDecodeError) as error:
        line = first.count(b"\n", 0, start) + 1
        raise Rejected(
            f"line {line}: the header cannot be read as {declared.encoding} CSV: {error}{_remedy(first, dataset)}"
        ) from error
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
    if missing:
        raise Rejected(
            f"the header lacks {_list(missing)} (it has: {_list(names)}). Restore the column at the source, rename it "
            f"in `from`, or declare it `optional: true` in config/datasets/{dataset.name}.yaml"
        )
    known = {c.origin for c in dataset.columns}
    unknown = tuple(position for name, position in index.items() if name not in known)
    if unknown and dataset.schema_contract.columns == "freeze":
        raise Rejected(
            f"the header has {_list([names[i] for i in unknown])}, which the contract does not know and "
            f"`schema_contract.columns: freeze` forbids. Add the column to config/datasets/{dataset.name}.yaml"
        )
    return Layout(tuple(names), tuple(index.get(c.origin) for c in dataset.columns), unknown)


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:20])
    return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown
