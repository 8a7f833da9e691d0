"""Take a wrong but valid object back: silver becomes what the fold over the dataset's other objects says.

Whether a row, a removal or a first-seen time stems from an object cannot be read off silver, so the dataset is folded
anew from the bucket, in version order, in one transaction under its lock. Readers see the old state until it commits;
it takes as long as loading all of the dataset's objects, one after the other.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from services.silver.append import merge_append
from services.silver.batchsql import BatchSql
from services.silver.job import FileRead, Job, ObjectVersion
from services.silver.load import lock_for, read_object, write_change_set
from services.silver.merge import merge_keyed
from services.silver.orphans import free_orphans, set_orphans_aside
from services.silver.replay import close_passed
from services.silver.state import load_state, save_state
from shared.dataset import Dataset
from shared.errors import ClaimLost, MedallionError, ObjectDamaged, ObjectGone, Rejected
from shared.events import ObjectRef
from shared.ports import ObjectStore, Session
from shared.settings import Settings
from shared.version import OLDEST

log = logging.getLogger("silver")

WITHDRAWN = "withdrawn; `medallion withdraw --undo` takes it in again"


class NotWithdrawn(MedallionError):
    """The others cannot be read as they were, so that nothing was changed."""


def withdraw(
    session: Session,
    store: ObjectStore,
    dataset: Dataset,
    obj: ObjectVersion,
    settings: Settings,
    sql: BatchSql,
    scratch: Path,
    gold_models: Callable[[str], Sequence[str]],
) -> list[ObjectRef]:
    """Rebuild the dataset without an object in the session's transaction, which the caller commits.

    Returns the objects whose turn it is now, to be announced: snapshots that were passed over unread for this one, newest
    first, and those of other datasets that have orphans of keys which are there now.

    Raises NotWithdrawn naming another object that is gone or that today's contract refuses, ClaimLost.
    """
    lock_for(session, dataset, settings)
    _forget(session, dataset, obj)
    others = _others(session, obj)
    for other in others:
        try:
            with read_object(store.fetch, dataset, other.stored, scratch / f"{other.object_id}", settings, sql) as file:
                _apply(session, dataset, other, file, settings, sql)
        except (Rejected, ObjectGone, ObjectDamaged) as error:
            raise NotWithdrawn(
                f"not withdrawn, nothing was changed: its keys cannot be rebuilt, because {other.object_key} "
                f"({other.object_id}) cannot be read as it was: {error}"
            ) from error
        _drop_temporary_tables(session)
    write_change_set(session, dataset, obj, gold_models(dataset.name))
    _conclude(session, obj)
    due = [*_passed_over(session, dataset), *free_orphans(session, dataset)]
    fields = {"action": "withdrawn", "dataset": dataset.name, "object_id": obj.object_id, "objects_read": len(others)}
    log.info("An object was withdrawn.", extra=fields)
    return due


def _forget(session: Session, dataset: Dataset, obj: ObjectVersion) -> None:
    """Empty what the fold makes, and let the object be none of the valid ones.

    Entries in quarantine stay: each object's pass opens its own anew, and newer ones close them again.
    """
    session.execute("UPDATE bronze.ingestion_metadata SET is_withdrawn = true WHERE object_id = %s", (obj.object_id,))
    session.execute("DELETE FROM silver.orphans WHERE object_id = %s", (obj.object_id,))
    session.execute(f"DELETE FROM {dataset.clean_table}")
    session.execute("DELETE FROM silver.key_facts WHERE dataset = %s", (dataset.name,))
    session.execute("DELETE FROM silver.datasets WHERE dataset = %s", (dataset.name,))
    session.execute(
        "UPDATE silver.quarantine SET status = 'superseded', closed_at = now() WHERE object_id = %s AND status = 'open'",
        (obj.object_id,),
    )


def _others(session: Session, obj: ObjectVersion) -> list[ObjectVersion]:
    rows = session.rows(
        """
        SELECT object_id, dataset, bucket, object_key, version_id, etag, size_bytes, content_sha256, landed_at,
               version, write_disposition, attempts, epoch, true, 'backfill'
        FROM bronze.ingestion_metadata
        WHERE dataset = %s AND completed_as IN ('done', 'superseded') AND NOT is_withdrawn
        ORDER BY version
        """,
        (obj.dataset,),
    )
    return [ObjectVersion(*row) for row in rows]


def _apply(
    session: Session, dataset: Dataset, obj: ObjectVersion, file: FileRead, settings: Settings, sql: BatchSql
) -> None:
    """Merge an object as the newest so far, as another pass over it would; it was accepted once, so no guard holds it."""
    job = Job(session, dataset, obj, file, load_state(session, dataset), settings, sql, is_refold=True)
    set_orphans_aside(job)
    merge = merge_append if dataset.is_append else merge_keyed
    merge(job)
    save_state(job, is_late=False)
    close_passed(job)


def _passed_over(session: Session, dataset: Dataset) -> list[ObjectRef]:
    """Register again the snapshots that `skip_superseded` left unread and that nothing supersedes any more."""
    found = session.rows(
        """
        UPDATE bronze.ingestion_metadata m
        SET status = 'registered', error_message = NULL, finished_at = NULL, announced_at = NULL, attempts = 0,
            epoch = epoch + 1
        WHERE dataset = %(dataset)s AND status = 'superseded' AND completed_as IS NULL
          AND version > coalesce((SELECT snapshot_version FROM silver.datasets WHERE dataset = %(dataset)s), %(oldest)s)
        RETURNING version, bucket, object_key, version_id
        """,
        {"dataset": dataset.name, "oldest": OLDEST},
    )
    return [ObjectRef(bucket=row[1], key=row[2], version_id=row[3]) for row in sorted(found, reverse=True)]


def _drop_temporary_tables(session: Session) -> None:
    """Drop what one merge leaves until its transaction ends, for here the next one is in the same."""
    names = session.rows("SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema() AND relkind = 'r'")
    if names:
        session.execute(f"DROP TABLE {', '.join(f'pg_temp.{name}' for (name,) in names)}")


def _conclude(session: Session, obj: ObjectVersion) -> None:
    touched = session.execute(
        """
        UPDATE bronze.ingestion_metadata
        SET status = 'ignored', request = NULL, error_message = %s, finished_at = clock_timestamp()
        WHERE object_id = %s AND epoch = %s AND status = 'processing'
        """,
        (WITHDRAWN, obj.object_id, obj.epoch),
    )
    if touched != 1:
        raise ClaimLost(f"object {obj.object_id} was taken over by another worker while this one withdrew it")
