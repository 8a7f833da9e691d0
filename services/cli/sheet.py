"""The sheet of quarantined rows: a CSV that spreadsheets open, and what is read back from it."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from services.cli.quarantine import why
from services.silver.replay import Kept, read_kept_row
from shared.columns import Column
from shared.dataset import Dataset
from shared.errors import ConfigurationError
from shared.formats import CsvFormat
from shared.settings import Settings
from shared.spreadsheet import escaped, unescaped

# Columns beside the dataset's own: why a row was set aside and whence it came.
BESIDE = ("_why", "_file", "_line", "_quarantine_id", "_raw")
DELIMITERS = (",", ";", "\t")  # as spreadsheets save CSV, by country
LINE_END = "\r\n"  # Python quotes a cell for the characters of it, and a bare \r would end a line for readers
_CELL_CHARACTERS_MAX = 1 << 30  # Python's reader stops at 131,072 unless told


def sheet_lines(
    dataset: Dataset, settings: Settings, found: Iterable[tuple[Any, ...]], *, is_raw: bool
) -> Iterator[str]:
    """Yield the sheet line by line, its header first, from rows of the query `quarantine_export`."""
    yield _line([*(column.origin for column in dataset.columns), *BESIDE], is_raw=True)
    for quarantine_id, object_key, line_number, reasons, raw, header in found:
        cells = _cells(dataset, settings, header, Kept(line_number, raw))
        beside = [why(reasons), object_key, str(line_number), str(quarantine_id), "" if cells else raw]
        yield _line([*(cells or [""] * len(dataset.columns)), *beside], is_raw=is_raw)


def _cells(dataset: Dataset, settings: Settings, header: Sequence[str] | None, row: Kept) -> list[str] | None:
    """Return a kept row's cells by the contract's columns; None where it could not be split."""
    records = read_kept_row(dataset, settings, header, row)
    if not records.cells.num_rows:
        return None
    return [records.cells.column(column.name)[0].as_py() or "" for column in dataset.columns]


def _line(cells: Sequence[str], *, is_raw: bool) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=LINE_END).writerow(cells if is_raw else map(escaped, cells))
    return text.getvalue()


def write_mended(dataset: Dataset, sheet: Path, target: Path) -> int:
    """Write a mended sheet as a file of the dataset's own format; return its rows.

    Raises ConfigurationError for a sheet that is none of this dataset's, or holds a row that was not mended.
    """
    csv.field_size_limit(_CELL_CHARACTERS_MAX)
    try:
        with sheet.open(encoding="utf-8-sig", newline="") as file:
            rows = list(_rows(dataset, sheet, file))
    except OSError as error:
        raise ConfigurationError(f"{sheet} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{sheet} is not UTF-8: save it as CSV in UTF-8 ({error.reason})") from error
    if not rows:
        raise ConfigurationError(f"{sheet} holds no row; nothing was landed")
    text = (
        _csv_text(dataset, dataset.format, rows) if isinstance(dataset.format, CsvFormat) else _json_text(dataset, rows)
    )
    try:
        target.write_bytes(text.encode(dataset.format.encoding))
    except UnicodeEncodeError as error:
        raise ConfigurationError(
            f"{sheet}: {error.object[error.start : error.end]!r} cannot be written in {error.encoding}, which the "
            f"files of {dataset.name} are declared to be in"
        ) from error
    return len(rows)


def _rows(dataset: Dataset, sheet: Path, file: TextIO) -> Iterator[list[str]]:
    """Yield the cells of each row by the contract's columns, without what was put beside or before them."""
    names = [column.origin for column in dataset.columns]
    first = file.readline()
    delimiter = next((d for d in DELIMITERS if set(names) <= set(next(csv.reader([first], delimiter=d), []))), None)
    if delimiter is None:
        raise ConfigurationError(f"{sheet}: the first line must name the columns of {dataset.name}: {', '.join(names)}")
    file.seek(0)
    for number, row in enumerate(csv.DictReader(file, delimiter=delimiter), 2):
        cells = [unescaped(row.get(name) or "") for name in names]
        if not any(cells):
            if row.get("_raw"):
                raise ConfigurationError(
                    f"{sheet}: row {number} still has its text in _raw alone; write its cells in their columns, or "
                    "take the row out"
                )
            continue
        yield cells


def _csv_text(dataset: Dataset, declared: CsvFormat, rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    text.write(LINE_END * declared.skip_lines)
    writer = csv.writer(
        text,
        delimiter=declared.delimiter,
        quotechar=declared.quote,
        quoting=csv.QUOTE_MINIMAL if declared.quote else csv.QUOTE_NONE,
        escapechar=declared.escape,
        lineterminator=LINE_END,
    )
    absent = "" if "" in declared.null_values else next(iter(declared.null_values), "")
    try:
        if declared.header:
            writer.writerow([column.origin for column in dataset.columns])
        writer.writerows([cell or absent for cell in row] for row in rows)
    except csv.Error as error:
        raise ConfigurationError(
            f"a cell holds what the declared dialect of {dataset.name} cannot write: {error}"
        ) from error
    return text.getvalue()


def _json_text(dataset: Dataset, rows: Sequence[Sequence[str]]) -> str:
    records = [_record(dataset, row) for row in rows]
    if dataset.format.type == "jsonl":
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    return json.dumps(records, ensure_ascii=False, indent=1)


def _record(dataset: Dataset, cells: Sequence[str]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for column, cell in zip(dataset.columns, cells, strict=True):
        *folders, name = column.origin.split(".")
        place = record
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = _value(column, cell)
    return record


def _value(column: Column, cell: str) -> Any:
    """Return a cell as JSON: nothing as null, what is no text in its own type where it can be read so."""
    if not cell:
        return None
    if column.type in ("text", "date", "timestamp"):
        return cell
    try:
        return json.loads(cell)
    except ValueError:
        return cell  # silver says what is wrong with it
