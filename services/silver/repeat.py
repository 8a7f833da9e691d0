"""The same bytes on top of themselves: a snapshot equal to the one that silver shows needs no reading.

Publishers redeliver files byte for byte. Content never decides whether an object is seen — going back to older content
is a new version like any other — but when the newest thing applied is a snapshot of exactly these bytes, under the same
contract, every row is known to be unchanged.
"""

from services.silver.job import Counts, Job, ObjectVersion
from shared.dataset import Dataset
from shared.ports import Session

_EQUAL_SNAPSHOT = """
SELECT m.object_id, m.rows_read, m.rows_duplicate, m.data_quality_score
FROM silver.datasets d
JOIN bronze.ingestion_metadata m ON m.object_id = d.snapshot_object_id
WHERE d.dataset = %s AND d.contract_fingerprint = %s AND m.content_sha256 = %s
  AND d.snapshot_version < %s AND d.latest_snapshot = d.snapshot_version
  AND m.completed_as = 'done' AND m.rows_quarantined = 0 AND m.rows_discarded = 0 AND m.rows_superseded = 0
  AND NOT EXISTS (SELECT FROM bronze.ingestion_metadata n
                  WHERE n.dataset = d.dataset AND n.version > d.snapshot_version AND n.completed_as IS NOT NULL)
  AND NOT EXISTS (SELECT FROM silver.key_facts f WHERE f.dataset = d.dataset AND f.bad_version IS NOT NULL)
"""


class NoRepeat(Exception):
    """Between reading and locking another object was applied: the file must be read after all."""


def can_repeat(session: Session, dataset: Dataset, obj: ObjectVersion, sha256: str) -> bool:
    """Say whether an object of this content would change nothing, as far as can be seen without the dataset's lock."""
    if not obj.is_snapshot or obj.request is not None:
        return False
    found = session.rows(_EQUAL_SNAPSHOT, (dataset.name, dataset.fingerprint, sha256, obj.version))
    session.commit()
    return bool(found)


def merge_repeat(job: Job) -> float | None:
    """Fill job.counts as reading the file would have, under the dataset's lock; return the mean score.

    Raises NoRepeat when the snapshot is not the newest thing applied any more.
    """
    found = job.session.rows(
        _EQUAL_SNAPSHOT, (job.dataset.name, job.dataset.fingerprint, job.file.sha256, job.obj.version)
    )
    if not found:
        raise NoRepeat
    earlier, rows_read, duplicates, score = found[0]
    job.counts = Counts(read=rows_read, unchanged=rows_read - duplicates, duplicate=duplicates)
    job.session.execute(
        """
        INSERT INTO silver.data_quality_logs (table_name, quality_check, severity, records_checked, records_failed,
                                              failure_rate, threshold, passed, object_id, details)
        SELECT table_name, quality_check, severity, records_checked, records_failed, failure_rate, threshold, passed,
               %s, details
        FROM silver.data_quality_logs WHERE object_id = %s AND kind = 'rule' AND quality_check <> 'schema_evolved'
        """,
        (job.obj.object_id, earlier),
    )
    return float(score) if score is not None else None
