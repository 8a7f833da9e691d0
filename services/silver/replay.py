"""Replay: cast and check kept raw rows with today's contract, and merge those that pass as their object would have.

A replayed row has its object's version, so that newer wins as ever: it does not undo what came later, and it becomes
the last good row of a key that newer objects hold in bad rows only.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from services.silver.batchsql import BatchSql
from services.silver.check import BAD_SCHEMA, Checker, good_schema
from services.silver.diff import Action
from services.silver.job import FileRead, Job, ObjectVersion
from services.silver.record import Broken, Records
from services.silver.reread import read_records
from services.silver.spool import Spool
from services.silver.unknown import by_column
from shared.dataset import Dataset
from shared.errors import Rejected
from shared.formats import CsvFormat, JsonFormat, JsonLinesFormat
from shared.ports import Session
from shared.settings import Settings


@dataclass(frozen=True)
class Kept:
    """A quarantined row as it was delivered."""

    line_number: int
    raw: str


def as_merge(obj: ObjectVersion) -> ObjectVersion:
    """Return the object as its replayed rows are applied: they say nothing about which other keys exist."""
    return obj if obj.write_disposition == "append" else replace(obj, write_disposition="merge")


@contextmanager
def read_kept(
    session: Session, dataset: Dataset, obj: ObjectVersion, settings: Settings, sql: BatchSql, scratch: Path
) -> Iterator[FileRead]:
    """Cast and check the rows of an object that are asked to be replayed; a counterpart of read_object."""
    rows = _requested(session, dataset, obj)
    header = session.rows("SELECT file_header FROM bronze.ingestion_metadata WHERE object_id = %s", (obj.object_id,))[
        0
    ][0]
    session.commit()
    later = _later_lines(session, dataset, obj)
    with ExitStack() as cleanup:
        good = cleanup.enter_context(Spool(good_schema(dataset), scratch, settings.spool_memory_bytes_max))
        bad = cleanup.enter_context(Spool(BAD_SCHEMA, scratch, settings.spool_memory_bytes_max))
        checker = Checker(dataset, sql)
        for start in range(0, len(rows), settings.batch_rows_max):
            part = rows[start : start + settings.batch_rows_max]
            together = _together(dataset, [read_kept_row(dataset, settings, header, row) for row in part])
            for checked in checker.check(together):
                decided = _is_decided(checked.good, later)
                good.add(checked.good.filter(pa.array(~decided)))
                bad.add(checked.bad)
                checker.tally.rows_discarded += int(decided.sum())
        raw_of = {row.line_number: row.raw for row in rows}
        yield FileRead(
            lambda lines: {line: raw_of[line] for line in lines},
            good, bad, checker.tally, "", cleanup, tuple(header or ()),
        )  # fmt: skip


def _requested(session: Session, dataset: Dataset, obj: ObjectVersion) -> list[Kept]:
    """Return the rows asked for, without those that share a value: only the whole file can say whether they still do."""
    rows = session.rows(
        """
        SELECT line_number, raw FROM silver.quarantine WHERE object_id = %s AND status = 'open' AND is_requested
          AND NOT EXISTS (SELECT FROM jsonb_array_elements(reasons) r WHERE r->>'rule' = ANY(%s))
        ORDER BY line_number
        """,
        (obj.object_id, [rule.name for rule in dataset.rules if rule.unique]),
    )
    return [Kept(line, raw) for line, raw in rows]


def _later_lines(session: Session, dataset: Dataset, obj: ObjectVersion) -> dict[bytes, int]:
    """Return the lines by key hash of the object's own live rows: of two good lines of a key the later one counts."""
    if dataset.is_append:
        return {}
    rows = session.rows(
        f"SELECT _key_hash, _line_number FROM {dataset.clean_table} WHERE _object_id = %s AND NOT _stale",
        (obj.object_id,),
    )
    session.commit()
    return {key.bytes: line for key, line in rows}


def _is_decided(good: pa.RecordBatch, later: dict[bytes, int]) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    keys, lines = good.column("_key_hash").to_pylist(), good.column("_line_number").to_pylist()
    return np.array([later.get(key, -1) > line for key, line in zip(keys, lines, strict=True)], bool)


def read_kept_row(dataset: Dataset, settings: Settings, header: Sequence[str] | None, row: Kept) -> Records:
    """Read one kept row as a file of its own, under its own line number."""
    try:
        content = _file(dataset.format, header or (), row.raw).encode()
        found = list(read_records(io.BytesIO(content), _as_kept(dataset), settings))
    except Rejected as error:
        found = []
        reason = str(error)
    else:
        reason = f"{sum(r.count for r in found)} records where one was kept"
    if len(found) == 1 and found[0].count == 1:
        return replace(
            found[0],
            line_numbers=np.full(found[0].cells.num_rows, row.line_number, np.int64),
            raw=lambda _: row.raw,
            broken=[replace(b, line_number=row.line_number, raw=row.raw) for b in found[0].broken],
        )
    empty = pa.RecordBatch.from_pylist([], schema=pa.schema([(c.name, pa.string()) for c in dataset.columns]))
    return Records(
        empty, np.empty(0, np.int64), lambda _: row.raw, broken=[Broken(row.line_number, row.raw, "malformed", reason)]
    )


def _as_kept(dataset: Dataset) -> Dataset:
    """Return the contract for a file of one kept record: in UTF-8, and with nothing before the header."""
    kept = {"encoding": "utf-8", **({"skip_lines": 0} if isinstance(dataset.format, CsvFormat) else {})}
    return dataset.model_copy(update={"format": dataset.format.model_copy(update=kept)})


def _file(declared: CsvFormat | JsonFormat | JsonLinesFormat, header: Sequence[str], raw: str) -> str:
    """Return a file of one kept record."""
    if isinstance(declared, CsvFormat):
        return f"{_header(declared, header)}{raw}\n"
    return f"[{raw}]" if isinstance(declared, JsonFormat) else raw


def _header(declared: CsvFormat, names: Sequence[str]) -> str:
    if not declared.header:
        return ""
    text = io.StringIO(newline="")
    csv.writer(
        text,
        delimiter=declared.delimiter,
        quotechar=declared.quote,
        quoting=csv.QUOTE_MINIMAL if declared.quote else csv.QUOTE_NONE,
        escapechar=declared.escape,
        lineterminator="\n",
    ).writerow(names)
    return text.getvalue()


def _together(dataset: Dataset, parts: Sequence[Records]) -> Records:
    """Return many single records as one batch."""
    names = [c.name for c in dataset.columns]
    raws = [part.raw(0) for part in parts for _ in range(part.cells.num_rows)]
    single = [part for part in parts if part.cells.num_rows]
    cells = [[value for part in single for value in part.cells.column(name).to_pylist()] for name in names]
    rescued = [part.rescued[0].as_py() if part.rescued is not None else None for part in single]
    documents = [part.documents[0].as_py() if part.documents is not None else None for part in single]
    return Records(
        pa.RecordBatch.from_arrays([pa.array(column, pa.string()) for column in cells], names=names),
        np.array([part.line_numbers[0] for part in single], np.int64),
        lambda index: raws[index],
        pa.array(rescued, pa.string()),
        pa.array(documents, pa.string()),
        [broken for part in parts for broken in part.broken],
        evolved=by_column([{name: texts[0].as_py() for name, texts in part.evolved.items()} for part in single]),
        origins={name: origin for part in single for name, origin in part.origins.items()},
    )


def close_passed(job: Job) -> None:
    """Mark the open entries of lines that pass now as replayed, in the merge's transaction; the others stay open.

    A replay decides on the lines it was asked for, another pass over a finished object on all.
    """
    asked = " AND is_requested" if job.obj.request == "replay" else ""
    held = job.session.rows(
        f"SELECT line_number FROM silver.quarantine WHERE object_id = %s AND status = 'open'{asked}",
        (job.obj.object_id,),
    )
    wanted = np.array([line for (line,) in held], np.int64)
    lines = [line for part in _passed(job) for line in part[np.isin(part, wanted)].tolist()] if len(wanted) else []
    job.session.execute(
        f"UPDATE silver.quarantine SET status = 'replayed', closed_at = now()"
        f" WHERE object_id = %s AND status = 'open'{asked} AND line_number = ANY(%s)",
        (job.obj.object_id, lines),
    )
    job.session.execute(
        "UPDATE silver.quarantine SET is_requested = false WHERE object_id = %s AND is_requested", (job.obj.object_id,)
    )


def _passed(job: Job) -> Iterator[Any]:
    for batch in job.selected(job.actions, *(action for action in Action if action != Action.CONFLICT)):
        yield batch.column("_line_number").to_numpy()
