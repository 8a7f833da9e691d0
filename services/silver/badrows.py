"""Bad rows of an object: kept whole in quarantine, and closed when newer objects settle them."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from services.silver.check import BAD_SCHEMA
from services.silver.decide import counted
from services.silver.diff import Action
from services.silver.job import Job
from services.silver.staging import same_key
from services.silver.write import write_quarantine


def keep_bad_rows(job: Job, actions: Any) -> None:
    """Put bad and conflicting rows into quarantine; those that a newer object has settled already are closed."""
    if job.file.bad.rows:
        write_quarantine(job, job.file.bad.batches(), "open")
    if counted(actions, Action.CONFLICT):
        write_quarantine(job, _conflicts(job, actions), "open")
    if job.counts.quarantined and not job.dataset.is_append:
        _close_own(job)


def _conflicts(job: Job, actions: Any) -> Iterator[pa.RecordBatch]:
    """Yield rows of keys that the object holds again, later and different, as bad rows."""
    lines = np.concatenate([b.column("_line_number").to_numpy() for b in job.selected(actions, Action.CONFLICT)])
    raw = job.file.raw_of(set(lines.tolist()))
    reason = {
        "rule": "duplicate_key",
        "column": None,
        "value": None,
        "message": "a later row of the file has this key",
    }
    for batch in job.selected(actions, Action.CONFLICT):
        keys = batch.select(list(job.dataset.primary_key)).to_pylist()
        texts = [json.dumps({n: v if isinstance(v, int) else str(v) for n, v in key.items()}) for key in keys]
        columns = [
            batch.column("_line_number"),
            pa.array([raw[line] for line in batch.column("_line_number").to_pylist()], pa.string()),
            pa.array(texts, pa.string()),
            batch.column("_key_hash"),
            pa.array([json.dumps([reason])] * batch.num_rows, pa.string()),
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=BAD_SCHEMA)


def close_quarantine(job: Job) -> None:
    """Close what this object settles: older entries of keys it holds in good rows, all older ones if a snapshot."""
    by_key = "" if job.obj.is_snapshot else " AND key_hash IN (SELECT key_hash FROM seen)"
    job.session.execute(
        f"""
        UPDATE silver.quarantine SET status = 'superseded', closed_at = now()
        WHERE dataset = %s AND status = 'open' AND version < {job.version}{by_key}
        """,
        (job.dataset.name,),
    )


def _close_own(job: Job) -> None:
    """Close entries of this very object that newer objects have settled before it was read; needs `seen`, `bad_keys`."""
    latest, table = job.state.latest_snapshot, job.dataset.clean_table
    is_superseded = latest is not None and latest > job.obj.version
    by_newer_row = " OR ".join(
        f"EXISTS (SELECT FROM {keys} k JOIN {table} c ON {same_key(job.dataset, 'c', 'k')}"
        f" WHERE k.key_hash = q.key_hash AND c._version > {job.version})"
        for keys in ("seen", "bad_keys")
    )
    job.session.execute(
        f"""
        UPDATE silver.quarantine q SET status = 'superseded', closed_at = now()
        WHERE object_id = %s AND status = 'open' AND {"true" if is_superseded else f"({by_newer_row})"}
        """,
        (job.obj.object_id,),
    )
