"""All records of a sample as columns of text, read as silver would read them: nothing is judged by another parser."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from services.cli.add.dialect import Dialect
from services.silver.record import Broken
from services.silver.reread import read_records
from shared.dataset import Dataset
from shared.errors import Rejected
from shared.settings import Settings

COLUMNS_MAX = 1_000


@dataclass(frozen=True)
class Chunk:
    """Some records: a text column for each column of the file that they have."""

    columns: dict[str, pa.Array]
    lines: "np.ndarray[tuple[int], np.dtype[np.int64]]"
    broken: list[Broken] = field(default_factory=list)
    documents: frozenset[str] = frozenset()  # columns that hold lists, or objects besides other values


def csv_format(encoding: str, dialect: Dialect) -> dict[str, Any]:
    """Return the declaration by which a file is read by position, whatever its header says."""
    return {
        "type": "csv", "encoding": encoding, "delimiter": dialect.delimiter, "quote": dialect.quote,
        "escape": dialect.escape, "comment": dialect.comment, "header": False,
    }  # fmt: skip


def read_csv(path: Path, encoding: str, dialect: Dialect, settings: Settings) -> Iterator[Chunk]:
    """Yield the records of a CSV file, columns by position: "0", "1", …"""
    names = [f"c{position}" for position in range(dialect.fields)]
    provisional = _dataset(
        {**csv_format(encoding, dialect), "skip_lines": dialect.lines_before}, [(name, name) for name in names]
    )
    with path.open("rb") as file:
        for records in read_records(file, provisional, settings):
            columns = {str(i): records.cells.column(name) for i, name in enumerate(names)}
            yield Chunk(columns, records.line_numbers, records.broken)


def _dataset(declared: dict[str, Any], columns: list[tuple[str, str]]) -> Dataset:
    return Dataset.model_validate(
        {
            "dataset": "sample",
            "format": declared,
            "columns": [{"name": name, "from": origin, "type": "text", "nullable": True} for name, origin in columns],
            "drops": {"write_disposition": "append"},
        }
    )


def read_json(path: Path, name: str, kind: str, encoding: str, settings: Settings) -> Iterator[Chunk]:
    """Yield the objects of a JSON file or of JSON lines, columns by dotted path."""
    provisional = _dataset({"type": kind, "encoding": encoding}, [("nothing", "nothing")])
    with path.open("rb") as file:
        for records in read_records(file, provisional, settings):
            texts = records.documents.to_pylist() if records.documents is not None else []
            yield _flattened(texts, records.line_numbers, records.broken, name)


class _Number(str):
    """A number with the digits that it was delivered with."""


_DECODER = json.JSONDecoder(parse_float=_Number, parse_int=_Number)


def _flattened(
    texts: list[str], lines: "np.ndarray[tuple[int], np.dtype[np.int64]]", broken: list[Broken], name: str
) -> Chunk:
    cells: dict[str, list[str | None]] = {}
    documents: set[str] = set()
    for row, text in enumerate(texts):
        for path, value in _leaves(_DECODER.decode(text), ""):
            if path not in cells:
                if len(cells) >= COLUMNS_MAX:
                    raise Rejected(
                        f"{name}: its objects have more than {COLUMNS_MAX:,} different fields; where names of fields are "
                        "data (ids, dates), turn them into an array of objects"
                    )
                cells[path] = [None] * len(texts)
            if isinstance(value, list):
                documents.add(path)
            cells[path][row] = _text(value)
    # A path that leads to an object here and to a value there is told by its longer paths.
    documents |= {path for path in cells if any(other.startswith(f"{path}.") for other in cells)}
    columns = {path: pa.array(found, pa.string()) for path, found in cells.items()}
    return Chunk(columns, lines, broken, frozenset(documents))


def _leaves(value: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield the values of an object with their dotted paths; names that no path can lead to are left out."""
    for name, part in value.items():
        if not name or "." in name:
            continue
        if isinstance(part, dict):
            yield from _leaves(part, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", part


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return "true" if value is True else "false" if value is False else json.dumps(value, ensure_ascii=False)
