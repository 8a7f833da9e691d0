"""What may be forgotten, and forgetting it: history beyond its retention, never what live silver or a next step refers to.

Everything goes in batches that commit on their own, so that it may be interrupted anywhere, and run beside the services.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from services.silver.state import lock_datasets
from shared.catalog import Catalog
from shared.dataset import Dataset
from shared.landing import database_now
from shared.locks import end_silent_holder
from shared.models import Models
from shared.ports import ObjectInfo, ObjectStore, Session
from shared.queries import load_query
from shared.settings import GOLD_BUCKET, SILVER_BUCKET, Settings

DAY_SECONDS = 86_400
# The most rows that a page of 8 KiB holds: so many pages are never more rows than a batch may have.
ROWS_A_PAGE_MAX = 291
FILES_AT_ONCE_MAX = 10_000
_CHANGE_FILE = re.compile(r"[a-z][a-z0-9_]*/change_set=[0-9a-f-]{36}\.parquet")
_SNAPSHOT = re.compile(r"([a-z][a-z0-9_]*)/latest\.parquet")


@dataclass(frozen=True)
class Kind:
    """Rows that sql/queries/prune_<name>.sql finds; `kept` names the setting that says for how long they stay."""

    name: str
    table: str
    kept: str


KINDS = (
    Kind("closed_quarantine", "silver.quarantine", "keep_closed_quarantine_days"),
    Kind("runs", "bronze.processing_runs", "keep_runs_days"),
    Kind("polls", "bronze.polls", "keep_polls_days"),
    Kind("change_sets", "silver.change_sets", "keep_change_sets_days"),
    Kind("dead_letters", "bronze.dead_letters", "keep_dead_letters_days"),
    Kind("deaths", "bronze.deaths", "keep_dead_letters_days"),
    Kind("stops", "bronze.stops", "keep_dead_letters_days"),
    Kind("quality_logs", "silver.data_quality_logs", "keep_quality_logs_days"),
    Kind("refreshes", "gold.refreshes", "keep_refreshes_days"),
    Kind("workers", "bronze.workers", "keep_workers_days"),
    Kind("alerts", "bronze.alerts", "keep_alerts_days"),
    Kind("alert_messages", "bronze.alert_messages", "keep_alerts_days"),
)


@dataclass(frozen=True)
class Pruned:
    """How many of a kind went, or would go; None: this kind is kept for ever."""

    kind: str
    kept_days: float
    count: int | None


def prune(
    session: Session, store: ObjectStore, catalog: Catalog, models: Models, settings: Settings, is_dry_run: bool
) -> Iterator[Pruned]:
    """Forget, kind by kind, what is older than its retention, and say how many went; a dry run only counts.

    Raises Unavailable when a server is away or a live worker keeps a dataset's lock for `retry_total_seconds`; what was
    said until then is done.
    """
    for dataset in catalog.datasets.values():
        kept_days = settings.keep_raw_history_days
        count = _prune_raw(session, dataset, settings, is_dry_run) if kept_days else None
        yield Pruned(f"raw_{dataset.name}", kept_days, count)
    for kind in KINDS:
        kept_days = getattr(settings, kind.kept)
        yield Pruned(kind.name, kept_days, _prune_rows(session, kind, settings, is_dry_run) if kept_days else None)
    kept_days = settings.keep_lake_files_days
    yield Pruned(
        "lake_files", kept_days, _prune_lake(session, store, models, kept_days, is_dry_run) if kept_days else None
    )


def _prune_rows(session: Session, kind: Kind, settings: Settings, is_dry_run: bool) -> int:
    query = load_query(settings.sql_dir, f"prune_{kind.name}")
    parameters = {"seconds": getattr(settings, kind.kept) * DAY_SECONDS, "rows": settings.prune_batch_rows_max}
    if is_dry_run:
        count: int = session.rows(f"SELECT count(*) FROM ({query}) AS old", parameters)[0][0]
        session.rollback()
        return count
    removed = 0
    # A row that somebody changes meanwhile is another tuple then, and stays for the next time.
    statement = f"DELETE FROM {kind.table} WHERE ctid = ANY (ARRAY({query} LIMIT %(rows)s))"
    while batch := session.execute(statement, parameters):
        session.commit()
        removed += batch
    session.commit()
    return removed


def _prune_raw(session: Session, dataset: Dataset, settings: Settings, is_dry_run: bool) -> int:
    """Forget raw rows that no live row of the clean table came from, page by page, each under the dataset's lock.

    Under the lock no merge can be about to refer to one of them.
    """
    raw, seconds = dataset.raw_table, settings.keep_raw_history_days * DAY_SECONDS
    is_old = "r.ingestion_timestamp < clock_timestamp() - make_interval(secs => %s)"
    is_unused = (
        f"NOT EXISTS (SELECT FROM {dataset.clean_table} c WHERE c._object_id = r._object_id"
        " AND c._line_number = r._line_number AND c._row_hash = r._row_hash)"
    )
    if is_dry_run:
        count: int = session.rows(f"SELECT count(*) FROM {raw} r WHERE {is_old} AND {is_unused}", (seconds,))[0][0]
        session.rollback()
        return count
    removed, step = 0, max(1, settings.prune_batch_rows_max // ROWS_A_PAGE_MAX)
    pages = session.rows("SELECT pg_relation_size(%s::regclass) / current_setting('block_size')::int", (raw,))[0][0]
    for first in range(0, pages, step):
        of_batch = f"r.ctid >= '({first},0)'::tid AND r.ctid < '({first + step},0)'::tid AND {is_old}"
        if session.rows(f"SELECT EXISTS (SELECT FROM {raw} r WHERE {of_batch})", (seconds,))[0][0]:
            session.commit()
            _lock(session, dataset, settings)
            removed += session.execute(f"DELETE FROM {raw} r WHERE {of_batch} AND {is_unused}", (seconds,))
        session.commit()
    return removed


def _lock(session: Session, dataset: Dataset, settings: Settings) -> None:
    silence_seconds = settings.heartbeat_silence_seconds
    lock_datasets(
        session, dataset.name, (), settings.retry_total_seconds,
        lambda lock: end_silent_holder(session, silence_seconds, lock),
    )  # fmt: skip


def _prune_lake(session: Session, store: ObjectStore, models: Models, kept_days: float, is_dry_run: bool) -> int:
    before = database_now(session) - timedelta(days=kept_days)
    session.rollback()
    count = 0
    for bucket in (SILVER_BUCKET, GOLD_BUCKET):
        while True:
            old = (info for info in store.versions(bucket) if is_forgettable(info, models, before))
            if is_dry_run:
                count += sum(1 for _ in old)
                break
            # Listed first, then removed: no store promises a listing that holds still while its files go.
            batch = list(islice(old, FILES_AT_ONCE_MAX))
            for info in batch:
                store.remove(info.bucket, info.key, info.version_id)
            count += len(batch)
            if len(batch) < FILES_AT_ONCE_MAX:
                break
    return count


def is_forgettable(info: ObjectInfo, models: Models, before: datetime) -> bool:
    """Say whether a file of the lake is one of ours, old, and shows no model's present state."""
    if info.is_delete_marker or info.last_modified >= before:
        return False
    if info.bucket == SILVER_BUCKET:
        return bool(_CHANGE_FILE.fullmatch(info.key))
    snapshot = _SNAPSHOT.fullmatch(info.key)
    return snapshot is not None and snapshot[1] not in {model.name for model in models.tables}
