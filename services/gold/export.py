"""Snapshots of gold's tables as Parquet: gold-layer/<model>/latest.parquet, off the path of the events."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from shared.errors import ObjectGone
from shared.failpoints import hit
from shared.modelfile import Model
from shared.models import Models
from shared.ports import ObjectStore, Session
from shared.settings import GOLD_BUCKET

REFRESH_ID = "refresh-id"  # metadata of the snapshot: the refresh that it shows
BLOCK_BYTES = 4_194_304  # of CSV turned into one batch: memory follows from it, not from the table
NUMERIC_SCALE = 6
_ARROW_TYPES: Mapping[str, pa.DataType] = {
    "text": pa.string(),
    "text[]": pa.string(),
    "jsonb": pa.string(),
    "bigint": pa.int64(),
    "numeric": pa.decimal128(38, NUMERIC_SCALE),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamptz": pa.timestamp("us"),  # in UTC
}


def newest_refreshes(session: Session, models: Models) -> dict[str, int]:
    """Return the last refresh of each table that changed anything; ends the transaction."""
    rows = session.rows(
        """
        SELECT model, newest.refresh_id
        FROM unnest(%s) AS model
        CROSS JOIN LATERAL (
            SELECT refresh_id
            FROM gold.refreshes
            WHERE refreshes.model = model.model AND rows_written + rows_deleted > 0
            ORDER BY finished_at DESC
            LIMIT 1
        ) AS newest
        """,
        ([m.name for m in models.tables],),
    )
    session.rollback()
    return dict(rows)


def export(session: Session, store: ObjectStore, model: Model, refresh_id: int, scratch: Path | None = None) -> bool:
    """Store the table's snapshot unless the store's shows this refresh already; False if another is at it.

    Raises Unavailable when PostgreSQL or the object store is away.
    """
    key = f"{model.name}/latest.parquet"
    try:
        # One writer at a time, so that a slow one cannot put an older snapshot over a newer.
        if not session.rows("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", (f"gold-layer/{key}",))[0][0]:
            return False
        if _stored_refresh(store, key) < refresh_id:
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                path = write_parquet(session, model, Path(folder))
                store.upload(GOLD_BUCKET, key, path, {REFRESH_ID: str(refresh_id)})
            hit("gold.exported")
        return True
    finally:
        session.rollback()


def write_parquet(session: Session, model: Model, folder: Path) -> Path:
    """Write the table into a Parquet file, batch by batch, and return its path."""
    text, target = folder / "rows.csv", folder / "rows.parquet"
    with text.open("wb") as file:
        session.copy_out(_copy(model), file)
    schema = pa.schema([(c.name, _ARROW_TYPES[c.type]) for c in model.columns])
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        if text.stat().st_size:
            for batch in batches(text, schema):
                writer.write_batch(batch)
    return target


def batches(text: Path, schema: pa.Schema, block_bytes: int = BLOCK_BYTES) -> pacsv.CSVStreamingReader:
    """Return the batches of a file that COPY wrote as CSV without a header; no row may be larger than a block."""
    return pacsv.open_csv(
        text,
        pacsv.ReadOptions(column_names=schema.names, block_size=block_bytes, use_threads=False),
        pacsv.ParseOptions(newlines_in_values=True),
        pacsv.ConvertOptions(
            column_types=schema,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,  # COPY quotes an empty text and leaves NULL bare
            true_values=["t"],
            false_values=["f"],
        ),
    )


def _copy(model: Model) -> str:
    columns = [
        {"numeric": f"round({c.name}, {NUMERIC_SCALE})", "timestamptz": f"{c.name} AT TIME ZONE 'UTC'"}.get(
            c.type, c.name
        )
        for c in model.columns
    ]
    order = ", ".join(model.grain)
    return f"COPY (SELECT {', '.join(columns)} FROM {model.table} ORDER BY {order}) TO STDOUT (FORMAT csv)"


def _stored_refresh(store: ObjectStore, key: str) -> int:
    try:
        text = store.stat(GOLD_BUCKET, key).metadata.get(REFRESH_ID, "")
    except ObjectGone:
        return -1
    return int(text) if text.isdigit() else -1
