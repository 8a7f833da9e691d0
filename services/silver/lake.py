"""The change set as Parquet: what an object inserted, updated and removed, for whoever reads the silver-layer bucket.

A file holds the declared and derived columns, the score and the lineage of the rows that the object wrote, and
`_change` (insert, update, delete; for a delete only the key). Windowed columns are left out: they follow from the
others. It is derived after the commit and may be written again.
"""

import io
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from services.silver.check import RAW_PREFIX, good_schema
from services.silver.diff import Action
from services.silver.job import Job
from services.silver.unknown import unpacked
from shared.dataset import Dataset
from shared.ports import Session

_HASHES = ("_row_hash", "_key_hash")

# How Parquet files are written. Of few rows the compression takes as long as all the rest, and what it saves is less than
# a block of the disk (100 rows: 1.1 ms and 8.3 kB, or 0.6 ms and 11.9 kB).
LARGE: Mapping[str, object] = {"compression": "zstd"}
SMALL: Mapping[str, object] = {"compression": "snappy", "use_dictionary": False}


def change_key(dataset: str, change_set_id: uuid.UUID) -> str:
    """Return the object key of a change set's file."""
    return f"{dataset}/change_set={change_set_id}.parquet"


def change_batches(job: Job, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the change set of a merge: what was inserted, updated and removed; `schema` is the `lake_schema`."""
    for action, word in ((Action.INSERT, "insert"), (Action.UPDATE, "update")):
        for batch in job.selected(job.actions, action):
            yield _lake_batch(batch, schema, job.obj.object_id, word)
    yield from _removed(job, schema)


def write_change_file(
    schema: pa.Schema, batches: Iterable[pa.RecordBatch], path: Path, options: Mapping[str, object] = LARGE
) -> int:
    """Write a change set as Parquet; return its rows."""
    rows = 0
    with pa.OSFile(str(path), "wb") as file, pq.ParquetWriter(file, schema, **options) as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def lake_schema(dataset: Dataset, evolved: Sequence[str] = ()) -> pa.Schema:
    """Return the schema of a dataset's change files, evolved columns last; ids and hashes as text."""
    fields = [
        pa.field(f.name, pa.string() if f.name in _HASHES else f.type)
        for f in good_schema(dataset)
        if not f.name.startswith(RAW_PREFIX) and f.name not in ("_document", "_evolved")
    ]
    columns = [(name, pa.string()) for name in evolved]
    return pa.schema([*fields, ("_object_id", pa.string()), ("_change", pa.string()), *columns])


def _lake_batch(batch: pa.RecordBatch, schema: pa.Schema, object_id: uuid.UUID, change: str) -> pa.RecordBatch:
    columns = []
    for field in schema:
        if field.name in _HASHES:
            columns.append(_hex(batch.column(field.name)))
        elif field.name == "_object_id":
            columns.append(pa.repeat(str(object_id), batch.num_rows))
        elif field.name == "_change":
            columns.append(pa.repeat(change, batch.num_rows))
        elif field.name in batch.schema.names:
            columns.append(batch.column(field.name))
        else:
            columns.append(unpacked(batch.column("_evolved"), field.name))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _hex(hashes: pa.Array) -> pa.Array:
    """Return 16-byte hashes as 32 hexadecimal digits, without a Python object a row."""
    start = 16 * hashes.offset
    digits = memoryview(hashes.buffers()[1])[start : start + 16 * len(hashes)].hex().encode()
    offsets = np.arange(0, len(digits) + 1, 32, dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(hashes), [None, pa.py_buffer(offsets), pa.py_buffer(digits)])


def _as_exported(name: str) -> str:
    """Return the expression that gives a column as the change file has it: hashes as 32 digits."""
    return f"replace({name}::text, '-', '')" if name in _HASHES else name


def _removed(job: Job, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    if not job.removed_keys:
        return
    count = len(job.removed_keys)
    keys = {name: [row[i] for row in job.removed_keys] for i, name in enumerate(job.dataset.primary_key)}
    columns = [
        pa.array(keys[f.name], f.type) if f.name in keys
        else pa.array(["delete"] * count, pa.string()) if f.name == "_change"
        else pa.nulls(count, f.type)
        for f in schema
    ]  # fmt: skip
    yield pa.RecordBatch.from_arrays(columns, schema=schema)


def write_current_rows(session: Session, dataset: Dataset, object_id: uuid.UUID, path: Path) -> None:
    """Write the rows that still are an object's as its change set, for a worker that died before it could."""
    schema = lake_schema(dataset)
    names = [f.name for f in schema if f.name not in ("_object_id", "_change")]
    sink = io.BytesIO()
    session.copy_out(
        f"COPY (SELECT {', '.join(_as_exported(name) for name in names)}, _object_id, 'update' FROM {dataset.clean_table}"
        f" WHERE _object_id = '{object_id}') TO STDOUT (FORMAT csv)",
        sink,
    )
    types = {f.name: f.type for f in schema}
    if sink.tell():
        sink.seek(0)
        table = pacsv.read_csv(
            sink,
            read_options=pacsv.ReadOptions(column_names=list(types), use_threads=False),
            parse_options=pacsv.ParseOptions(newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(
                column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""],
                true_values=["t"], false_values=["f"],
            ),
        )  # fmt: skip
    else:
        table = schema.empty_table()
    pq.write_table(table, path, compression="zstd")
