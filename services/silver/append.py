"""Append: every record of every object is a row of its own, told apart by (object, record)."""

import numpy as np
import pyarrow as pa

from services.silver.badrows import keep_bad_rows
from services.silver.columns import take_columns_in
from services.silver.diff import Action
from services.silver.job import Job
from services.silver.merge import refuse_if_too_bad
from services.silver.touched import Touched
from services.silver.write import clean_batch, write_clean, write_quarantine, write_raw

_SAME_KEY = "bucket = %s AND object_key = %s AND object_id <> %s"
# Whether a version counts for its key; its status will not do: it is that of its first completion.
_VALID = "completed_as IN ('done', 'superseded') AND NOT is_withdrawn"


def merge_append(job: Job) -> Touched:
    """Write all good rows; a newer version of the same object key replaces the rows of older ones."""
    refuse_if_too_bad(job, 0)
    take_columns_in(job)
    touched = Touched(job.dataset, job.settings.change_groups_max)
    job.counts.read, job.counts.discarded = job.file.tally.rows_read, job.file.tally.rows_discarded
    job.counts.quarantined = job.file.tally.rows_bad + job.file.tally.rows_orphaned
    if not job.is_refold and _has_newer_version(job):  # anew, versions come in their order
        job.actions = np.full(job.file.good.rows, Action.SUPERSEDED, np.uint8)
        job.counts.superseded = job.file.good.rows
        if job.file.bad.rows:
            write_quarantine(job, job.file.bad.batches(), "superseded")
        return touched
    if job.obj.request != "replay":
        # The object's own rows go too: a backfill writes them again.
        _remove_rows_of_older_versions(job, touched)
    job.actions = np.full(job.file.good.rows, Action.INSERT, np.uint8)
    job.counts.inserted = job.file.good.rows
    write_raw(job, job.file.good.batches())
    for batch in job.file.good.batches():
        clean = clean_batch(job, batch)
        touched.add_rows(pa.Table.from_batches([clean]))
        write_clean(job, iter([clean]))
    keep_bad_rows(job, job.actions)
    return touched


def _has_newer_version(job: Job) -> bool:
    """Say whether a newer version has taken effect, even if it is to be gone through again just now."""
    found: bool = job.session.rows(
        f"SELECT EXISTS (SELECT FROM bronze.ingestion_metadata WHERE {_SAME_KEY} AND {_VALID} AND version > %s)",
        (job.obj.bucket, job.obj.object_key, job.obj.object_id, job.obj.version),
    )[0][0]
    return found


def _remove_rows_of_older_versions(job: Job, touched: Touched) -> None:
    columns = ", ".join(dict.fromkeys((*touched.group_columns, "_line_number")))
    job.session.execute(
        f"CREATE TEMP TABLE removed_rows ON COMMIT DROP AS SELECT {columns} FROM {job.dataset.clean_table} WITH NO DATA"
    )
    job.counts.deleted = job.session.execute(
        f"""
        WITH gone AS (
            DELETE FROM {job.dataset.clean_table} WHERE _object_id = %s OR _object_id IN (
                SELECT object_id FROM bronze.ingestion_metadata WHERE {_SAME_KEY})
            RETURNING {columns})
        INSERT INTO removed_rows SELECT * FROM gone
        """,
        (job.obj.object_id, job.obj.bucket, job.obj.object_key, job.obj.object_id),
    )
    job.session.execute(
        f"""
        UPDATE silver.quarantine SET status = 'superseded', closed_at = now()
        WHERE status = 'open' AND object_id IN (SELECT object_id FROM bronze.ingestion_metadata WHERE {_SAME_KEY})
        """,
        (job.obj.bucket, job.obj.object_key, job.obj.object_id),
    )
    touched.add_query(job.session, "removed_rows")
