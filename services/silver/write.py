"""Write what was decided: raw history, clean rows, quarantine. All of it on the merge's own session."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.silver.binary import constant_time, constant_uuid, jsonb, transportable
from services.silver.check import RAW_PREFIX
from services.silver.copying import copy_rows
from services.silver.job import Job
from services.silver.unknown import unpacked
from services.silver.window import window_type
from shared.dataset import Dataset
from shared.ddl import business_columns, clean_columns, raw_columns
from shared.errors import Unavailable
from shared.naming import VARIANT_SUFFIX
from shared.version import micros


def raw_batch(job: Job, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the raw rows of good rows: text as delivered, the document or rescued values, lineage."""
    count = batch.num_rows
    document = batch.column("_document")
    if document.null_count == count:
        document = batch.column("_rescued")
    columns = [batch.column(RAW_PREFIX + c.name) for c in job.dataset.columns]
    columns += [jsonb(document), constant_uuid(job.obj.object_id, count)]
    columns += [batch.column("_line_number"), batch.column("_row_hash")]
    names = raw_names(job)
    columns += [unpacked(batch.column("_evolved"), name) for name in names[len(columns) :]]
    return pa.RecordBatch.from_arrays(columns, names=names)


def raw_names(job: Job) -> list[str]:
    """Return the columns of the raw history that the object's rows fill; a variant's text is the column's own there."""
    return raw_columns(job.dataset) + [name for name in job.evolved if not name.endswith(VARIANT_SUFFIX)]


def clean_names(job: Job) -> list[str]:
    """Return the columns of the clean table that the object's rows fill; other evolved ones are NULL in them."""
    return [*clean_columns(job.dataset), *job.evolved]


def write_raw(job: Job, batches: Iterator[pa.RecordBatch]) -> int:
    """Append the raw versions of rows that take effect; in a refold, those that the history lacks."""
    raw, columns = job.dataset.raw_table, raw_names(job)
    rows = (raw_batch(job, batch) for batch in batches)
    if not job.is_refold:
        return copy_rows(job.session, raw, columns, rows)
    names = ", ".join(columns)
    job.session.execute(
        f"CREATE TEMP TABLE IF NOT EXISTS raw_again ON COMMIT DROP AS SELECT {names} FROM {raw} WITH NO DATA"
    )
    written = copy_rows(job.session, "raw_again", columns, rows)
    job.session.execute(
        f"INSERT INTO {raw} ({names}) SELECT {names} FROM raw_again a WHERE NOT EXISTS (SELECT FROM {raw} kept"
        " WHERE kept._object_id = a._object_id AND kept._line_number = a._line_number AND kept._row_hash = a._row_hash);"
        " TRUNCATE raw_again"
    )
    return written


def clean_batch(
    job: Job, batch: pa.RecordBatch, windowed: Mapping[str, pa.Array] | None = None, is_stale: bool = False
) -> pa.RecordBatch:
    """Return good rows as rows of the clean table; windowed columns are NULL unless given."""
    count, dataset = batch.num_rows, job.dataset
    window_types = {w.name: window_type(w) for w in dataset.windowed.columns} if dataset.windowed else {}
    json_columns = {c.name for c in dataset.columns if c.type == "json"}
    columns: list[pa.Array] = []
    for name, _ in business_columns(dataset):
        if name in window_types:
            columns.append(windowed[name] if windowed else pa.nulls(count, window_types[name]))
        else:
            columns.append(transportable(batch.column(name), name in json_columns))
    columns += [
        constant_uuid(job.obj.object_id, count),
        batch.column("_line_number"),
        batch.column("_row_hash"),
        batch.column("_key_hash"),
        constant_uuid(job.obj.version, count),
        constant_time(micros(job.obj.landed_at), count),
        constant_time(job.loaded_at_micros, count),
        pa.array(np.full(count, is_stale)),
        jsonb(batch.column("_rescued")),
    ]
    columns += [unpacked(batch.column("_evolved"), name) for name in job.evolved]
    return pa.RecordBatch.from_arrays(columns, names=clean_names(job))


def sorted_by_key(dataset: Dataset, batch: pa.RecordBatch | pa.Table) -> Any:
    """Return rows in key order: neighbours in the index are written together, and writers never cross."""
    keys = [(name, "ascending") for name in dataset.primary_key]
    return batch.take(pc.sort_indices(batch, keys)) if keys else batch


def write_clean(job: Job, batches: Iterator[pa.RecordBatch]) -> int:
    """Insert rows whose keys are not in silver."""
    return copy_rows(job.session, job.dataset.clean_table, clean_names(job), batches)


def start_empty_table_afresh(job: Job) -> None:
    """Truncate a clean table that is empty, so that a server with wal_level=minimal logs none of its first rows.

    Measured on 231,744 rows: 0.8 s instead of 1.2 s. The lock this takes lasts until the commit; where somebody reads the
    table just now it is not waited for.
    """
    if job.is_refold:
        return  # others read what is being replaced
    job.session.execute("SAVEPOINT afresh")
    try:
        job.session.execute(f"SET LOCAL lock_timeout = '50ms'; TRUNCATE {job.dataset.clean_table}")
    except Unavailable:
        job.session.execute("ROLLBACK TO SAVEPOINT afresh")
    job.session.execute("SET LOCAL lock_timeout = '60s'; RELEASE SAVEPOINT afresh")


def stage_updates(job: Job, batches: Iterator[pa.RecordBatch]) -> int:
    """Put rows into the temporary table `updates`, shaped like the clean table."""
    job.session.execute(f"CREATE TEMP TABLE updates (LIKE {job.dataset.clean_table}) ON COMMIT DROP")
    count = copy_rows(job.session, "updates", clean_names(job), batches)
    job.session.execute("ANALYZE updates")
    return count


def apply_updates(job: Job) -> int:
    """Replace live rows by those in `updates`, remembering the old ones in `replaced`; keep when first seen."""
    dataset = job.dataset
    windowed = {w.name for w in dataset.windowed.columns} if dataset.windowed else set()
    kept = {*dataset.primary_key, *windowed, "_first_seen_at", "_key_hash"}
    columns = [*clean_columns(dataset), *dict.fromkeys((*job.state.evolved, *job.evolved))]
    assignments = ", ".join(f"{name} = u.{name}" for name in columns if name not in kept)
    groups = ", ".join(dict.fromkeys((*dataset.change_groups, *dataset.primary_key)))
    job.session.execute(
        f"CREATE TEMP TABLE replaced ON COMMIT DROP AS SELECT {groups} FROM {dataset.clean_table} WITH NO DATA"
    )
    returned = ", ".join(f"old.{name}" for name in dict.fromkeys((*dataset.change_groups, *dataset.primary_key)))
    on_key = " AND ".join(f"c.{name} = u.{name}" for name in dataset.primary_key)
    return job.session.execute(
        f"""
        WITH done AS (
            UPDATE {dataset.clean_table} c
            SET {assignments}, _first_seen_at = least(c._first_seen_at, u._first_seen_at)
            FROM updates u WHERE {on_key}
            RETURNING {returned})
        INSERT INTO replaced SELECT * FROM done"""
    )


QUARANTINE_COLUMNS = (
    "dataset",
    "key",
    "key_hash",
    "object_id",
    "version",
    "line_number",
    "raw",
    "reasons",
    "status",
)


def write_quarantine(job: Job, batches: Iterator[pa.RecordBatch], status: str) -> int:
    """Keep bad rows whole, with their reasons; batches have BAD_SCHEMA.

    Another pass finds its rows there already and decides on them anew: only what a person discarded stays discarded.
    """
    names = ", ".join(QUARANTINE_COLUMNS)
    job.session.execute(
        f"CREATE TEMP TABLE IF NOT EXISTS bad_rows ON COMMIT DROP AS SELECT {names} FROM silver.quarantine WITH NO DATA"
    )

    def rows() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            count = batch.num_rows
            columns = [
                pa.array([job.dataset.name] * count, pa.string()),
                jsonb(batch.column("key")),
                batch.column("key_hash"),
                constant_uuid(job.obj.object_id, count),
                constant_uuid(job.obj.version, count),
                batch.column("line_number"),
                batch.column("raw"),
                jsonb(batch.column("reasons")),
                pa.array([status] * count, pa.string()),
            ]
            yield pa.RecordBatch.from_arrays(columns, names=list(QUARANTINE_COLUMNS))

    written = copy_rows(job.session, "bad_rows", QUARANTINE_COLUMNS, rows())
    job.session.execute(
        f"INSERT INTO silver.quarantine ({names}) SELECT {names} FROM bad_rows ON CONFLICT (object_id, line_number)"
        " DO UPDATE SET reasons = excluded.reasons, key = excluded.key, key_hash = excluded.key_hash,"
        " status = CASE WHEN quarantine.status = 'discarded' THEN 'discarded' ELSE excluded.status END,"
        " closed_at = CASE WHEN quarantine.status = 'discarded' OR excluded.status <> 'open' THEN"
        " coalesce(quarantine.closed_at, now()) END;"
        " TRUNCATE bad_rows"
    )
    return written


# A table that changed by this share, and by at least so many rows, is analysed at once: gold's plans for one restated
# day cost three times as much until the planner knows the keys, and autovacuum comes by only once a minute.
_ANALYSE_SHARE, _ANALYSE_ROWS_MIN = 0.1, 10_000


def keep_statistics(job: Job) -> None:
    """Refresh the planner's statistics of the key columns after a large load; commits."""
    changed = job.counts.inserted + job.counts.updated + job.counts.deleted
    if changed < max(_ANALYSE_ROWS_MIN, _ANALYSE_SHARE * job.state.rows_live):
        return
    job.session.execute(f"ANALYZE {job.dataset.clean_table} ({', '.join(job.dataset.primary_key or ('_object_id',))})")
    job.session.commit()
