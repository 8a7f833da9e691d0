"""Temporary tables of keys, by which one statement can settle many rows."""

from typing import Any

import pyarrow as pa

from services.silver.binary import hash_array, jsonb, transportable
from services.silver.copying import copy_rows
from services.silver.diff import Action
from services.silver.job import Job
from shared.dataset import Dataset
from shared.ddl import postgres_type
from shared.ports import Session


def stage_keys(session: Session, table: str, hashes: Any) -> None:
    """Create a temporary table of key hashes, (n, 2) uint64, for the rest of the transaction."""
    session.execute(f"CREATE TEMP TABLE {table} (key_hash uuid NOT NULL) ON COMMIT DROP")
    if len(hashes):
        batch = pa.RecordBatch.from_arrays([hash_array(hashes)], names=["key_hash"])
        copy_rows(session, table, ["key_hash"], iter([batch]))
    session.execute(f"ANALYZE {table}")


def same_key(dataset: Dataset, left: str, right: str) -> str:
    """Return the condition that two rows have the same key, which the primary key's index can answer."""
    return " AND ".join(f"{left}.{name} = {right}.{name}" for name in dataset.primary_key)


def _create_key_table(job: Job, table: str) -> None:
    columns = ", ".join(job.dataset.primary_key)
    job.session.execute(
        f"CREATE TEMP TABLE IF NOT EXISTS {table} ON COMMIT DROP AS"
        f" SELECT _key_hash AS key_hash, {columns} FROM {job.dataset.clean_table} WITH NO DATA"
    )


def stage_seen(job: Job, actions: Any) -> None:
    """Create the temporary table `seen`: the keys that the object holds in good rows, once each."""
    _create_key_table(job, "seen")
    columns = list(job.dataset.primary_key)
    winners = (action for action in Action if action not in (Action.DUPLICATE, Action.CONFLICT))
    keys = (
        pa.RecordBatch.from_arrays(
            [batch.column("_key_hash"), *(transportable(batch.column(name), is_json=False) for name in columns)],
            names=["key_hash", *columns],
        )
        for batch in job.selected(actions, *winners)
    )
    copy_rows(job.session, "seen", ["key_hash", *columns], keys)
    job.session.execute("ANALYZE seen")


def stage_bad_keys(job: Job) -> None:
    """Create the temporary table `bad_keys`: the readable keys of the object's bad rows."""
    _create_key_table(job, "bad_keys")
    if not job.file.bad.rows:
        return
    job.session.execute("CREATE TEMP TABLE bad_texts (key_hash uuid, key jsonb) ON COMMIT DROP")
    texts = (
        pa.RecordBatch.from_arrays([batch.column("key_hash"), jsonb(batch.column("key"))], names=["key_hash", "key"])
        for batch in job.file.bad.batches()
    )
    copy_rows(job.session, "bad_texts", ["key_hash", "key"], texts)
    columns = ", ".join(
        f"(key->>'{name}')::{postgres_type(job.dataset.column(name).type)}" for name in job.dataset.primary_key
    )
    job.session.execute(
        f"INSERT INTO bad_keys SELECT DISTINCT key_hash, {columns} FROM bad_texts WHERE key_hash IS NOT NULL"
    )
    job.session.execute("ANALYZE bad_keys")
