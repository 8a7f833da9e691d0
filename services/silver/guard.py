"""The removal guard: a snapshot that would empty much of a table waits for a person.

It compares what two files hold, as far as silver knows it. Rows that merges brought since the last snapshot are not
counted: that the next one decides on them again is expected. Nor are rows that newer lines spoiled. Lines that wait for
what they refer to count like live rows, else the verdict would depend on when that came.
"""

from services.silver.copying import copy_rows
from services.silver.job import Held, Job
from services.silver.staging import stage_bad_keys

# Keys of the last snapshot that no newer object has spoken of, and whether the one at hand lacks them: live ones …
_LIVE = """
    SELECT c._key_hash AS key_hash, r.key_hash IS NOT NULL AS vanishes FROM {clean} c
    LEFT JOIN removed r ON r.key_hash = c._key_hash
    WHERE c._version <= %(last)s AND NOT c._stale"""
# … and those whose last good line waits for what it refers to.
_WAITING = """
    SELECT q.key_hash, NOT EXISTS (SELECT FROM held_keys h WHERE h.key_hash = q.key_hash)
                   AND NOT EXISTS (SELECT FROM bad_keys b WHERE b.key_hash = q.key_hash)
    FROM silver.datasets d
    JOIN silver.orphans o ON o.object_id = d.snapshot_object_id
    JOIN silver.quarantine q USING (object_id, line_number)
    JOIN silver.key_facts f ON f.dataset = d.dataset AND f.key_hash = q.key_hash
    WHERE d.dataset = %(dataset)s AND q.status = 'open' AND f.bad_version = d.snapshot_version"""


def guard_removals(job: Job) -> int:
    """Return how many live rows the snapshot removes; raises Held when too many of the last snapshot's keys vanish.

    Needs the temporary table `removed`, and of an object with bad rows `bad_keys`.
    """
    if not job.is_clean_snapshot:
        return 0
    removed: int = job.session.rows("SELECT count(*) FROM removed")[0][0]
    last, share = job.state.snapshot_version, job.dataset.limits.removed_rows_max_share
    if last is None or job.obj.is_approved or _are_few(job, removed, share):
        return removed
    vanished, base = _of_last_snapshot(job)
    if vanished > share * base:
        raise Held(
            f"the snapshot would remove {vanished:,} of the last one's {base:,} rows ({vanished / max(base, 1):.1%}), more "
            f"than the {share:.0%} that limits.removed_rows_max_share allows: is the download whole? "
            f"`medallion approve {job.obj.object_id}` lets it through"
        )
    return removed


def _are_few(job: Job, removed: int, share: float) -> bool:
    """Say whether looking closer can be saved; where rows wait for others the counts at hand say too little."""
    return not job.dataset.references and removed <= share * (job.state.snapshot_rows or 0)


def _of_last_snapshot(job: Job) -> tuple[int, int]:
    """Return how many keys of the last snapshot the one at hand lacks, and of how many."""
    keys = _LIVE.format(clean=job.dataset.clean_table)
    if job.dataset.references:
        job.session.execute("CREATE TEMP TABLE held_keys (key_hash uuid) ON COMMIT DROP")
        held = (batch.select(["_key_hash"]).rename_columns(["key_hash"]) for batch in job.file.good.batches())
        copy_rows(job.session, "held_keys", ["key_hash"], held)
        if not job.file.bad.rows:
            stage_bad_keys(job)
        keys += " UNION" + _WAITING
    vanished, base = job.session.rows(
        f"SELECT count(*) FILTER (WHERE k.vanishes), count(*) FROM ({keys}) k",
        {"last": job.state.snapshot_version, "dataset": job.dataset.name},
    )[0]
    return vanished, base
