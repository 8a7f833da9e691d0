"""Find out what each record of the object would do, comparing only hashes with what silver holds."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from services.silver.binary import FixedRecords, hash_column
from services.silver.copying import copy_rows
from services.silver.diff import (
    STAGE,
    Action,
    Decision,
    Existing,
    HashCollision,
    Incoming,
    decide_statement,
    halves,
    in_memory,
)
from services.silver.job import Job
from services.silver.staging import stage_bad_keys, stage_keys
from shared.ddl import postgres_type
from shared.ports import Prepared

# A file with fewer rows than this share of silver looks its keys up instead of reading all hashes.
_LOOKUP_SHARE = 20
# As many keys travel within a statement; more go by COPY.
_ASKED_KEYS_MAX = 1_000


def decide(job: Job) -> Any:
    """Return one Action a good row in file order, shape (n,) uint8.

    For a snapshot, leaves the keys that would vanish in the temporary table `removed`. The keys of bad rows, if there are
    any, are in `bad_keys`: who needs the table without any stages it.
    """
    if job.file.bad.rows:
        stage_bad_keys(job)
    if max(job.file.good.rows, job.state.rows_live) > job.settings.diff_rows_in_memory_max:
        return _in_postgres(job)
    try:
        return _in_memory(job)
    except HashCollision:
        return _in_postgres(job)


def good_key_hashes(job: Job) -> Any:
    """Return the key hashes of all good rows in file order, (n, 2) uint64."""
    return _stacked([halves(batch.column("_key_hash")) for batch in job.file.good.batches()])


def good_row_hashes(job: Job) -> Any:
    """Return the row hashes of all good rows in file order, (n, 2) uint64."""
    return _stacked([halves(batch.column("_row_hash")) for batch in job.file.good.batches()])


def _stacked(parts: list[Any]) -> Any:
    return np.concatenate(parts) if parts else np.empty((0, 2), np.uint64)


def _bad_key_hashes(job: Job) -> Any:
    return _stacked([halves(batch.column("key_hash").drop_null()) for batch in job.file.bad.batches()])


def _in_memory(job: Job) -> Any:
    existing = _existing(job)
    decision = in_memory(Incoming(good_key_hashes(job), good_row_hashes(job)), existing)
    if job.is_clean_snapshot:
        stage_keys(job.session, "removed", _vanishing(job, existing, decision))
    return decision.actions


def _vanishing(job: Job, existing: Existing, decision: Decision) -> Any:
    """Return the live keys that the snapshot lacks: not held in a bad row, not written by a newer object."""
    absent = decision.absent[~existing.is_newer[decision.absent]]
    keys = existing.key[absent]
    bad = _bad_key_hashes(job)
    if not len(bad) or not len(keys):
        return keys
    held = {(int(u), int(v)) for u, v in bad}
    return keys[[(int(u), int(v)) not in held for u, v in keys]]


def _existing(job: Job) -> Existing:
    """Read hashes from silver: of all live rows, or of the incoming keys when those are few."""
    source = f"{job.dataset.clean_table} c"
    if not job.obj.is_snapshot and job.file.good.rows * _LOOKUP_SHARE < job.state.rows_live:
        if job.file.good.rows <= _ASKED_KEYS_MAX:
            return _asked_for(job)
        _stage_incoming_keys(job)
        source += f" JOIN incoming_keys USING ({', '.join(job.dataset.primary_key)})"
    sink = FixedRecords([("key", 16), ("row", 16), ("newer", 2)])
    job.session.copy_out(
        f"COPY (SELECT c._key_hash, c._row_hash, (c._version > {job.version})::int::smallint FROM {source})"
        " TO STDOUT (FORMAT binary)",
        sink,
    )
    table = sink.table()
    newer = np.frombuffer(np.ascontiguousarray(table["newer"]).tobytes(), ">i2") != 0
    return Existing(hash_column(table, "key"), hash_column(table, "row"), newer)


def _asked_for(job: Job) -> Existing:
    """Read the hashes of few incoming keys by one query: a small file's time is the number of its statements."""
    key = job.dataset.primary_key
    values = {name: [v for batch in job.file.good.batches() for v in batch.column(name).to_pylist()] for name in key}
    arrays = ", ".join(f"%s::{postgres_type(job.dataset.column(name).type)}[]" for name in key)
    found = job.session.rows(
        Prepared(
            f"SELECT c._key_hash, c._row_hash, c._version > %s::uuid FROM {job.dataset.clean_table} c"
            f" JOIN (SELECT DISTINCT * FROM unnest({arrays}) AS k({', '.join(key)})) AS asked USING ({', '.join(key)})"
        ),
        [job.obj.version, *(values[name] for name in key)],
    )
    keys, rows = (np.frombuffer(b"".join(row[i].bytes for row in found), ">u8").reshape(-1, 2) for i in (0, 1))
    return Existing(keys.astype(np.uint64), rows.astype(np.uint64), np.array([row[2] for row in found], bool))


def _stage_incoming_keys(job: Job) -> None:
    columns = list(job.dataset.primary_key)
    job.session.execute(
        f"CREATE TEMP TABLE incoming_keys ON COMMIT DROP AS SELECT {', '.join(columns)}"
        f" FROM {job.dataset.clean_table} WITH NO DATA"
    )
    batches = [batch.select(columns) for batch in job.file.good.batches()]
    if batches:
        distinct = pa.Table.from_batches(batches).group_by(columns).aggregate([]).select(columns)
        copy_rows(job.session, "incoming_keys", columns, iter(distinct.combine_chunks().to_batches()))
    job.session.execute("ANALYZE incoming_keys")


def _in_postgres(job: Job) -> Any:
    if not job.file.bad.rows:
        stage_bad_keys(job)
    job.session.execute(f"DROP TABLE IF EXISTS staged; {STAGE}")

    def rows() -> Iterator[pa.RecordBatch]:
        start = 0
        for batch in job.file.good.batches():
            numbers = pa.array(np.arange(start, start + batch.num_rows))
            start += batch.num_rows
            columns = [numbers, batch.column("_key_hash"), batch.column("_row_hash")]
            yield pa.RecordBatch.from_arrays(columns, names=["seq", "key_hash", "row_hash"])

    copy_rows(job.session, "staged", ("seq", "key_hash", "row_hash"), rows())
    job.session.execute("ANALYZE staged")
    sink = io.BytesIO()
    job.session.copy_out(f"COPY ({decide_statement(job.dataset.clean_table, job.obj.version)}) TO STDOUT", sink)
    if job.is_clean_snapshot:
        job.session.execute(
            f"""
            CREATE TEMP TABLE removed ON COMMIT DROP AS
            SELECT c._key_hash AS key_hash FROM {job.dataset.clean_table} c
            WHERE c._version <= {job.version}
              AND NOT EXISTS (SELECT FROM staged s WHERE s.key_hash = c._key_hash)
              AND NOT EXISTS (SELECT FROM bad_keys b WHERE b.key_hash = c._key_hash)
            """
        )
    actions = _digits(sink)
    if len(actions) != job.file.good.rows:
        raise AssertionError(f"{job.file.good.rows} rows were staged but {len(actions)} decided on")
    return actions


def _digits(text: io.BytesIO) -> Any:
    """Return a text COPY of one-digit numbers as (n,) uint8: two bytes a row, where binary COPY takes eight."""
    values = np.frombuffer(text.getbuffer(), np.uint8)
    if (values[1::2] != ord("\n")).any():
        raise AssertionError("an action is not one digit")
    return values[::2] - np.uint8(ord("0"))


def counted(actions: Any, action: Action) -> int:
    """Return how many records have an action."""
    return int(np.count_nonzero(actions == action))
