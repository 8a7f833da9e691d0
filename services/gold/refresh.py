"""The refresh engine: touched groups of the tables in one transaction, materialized views after them.

A session handed in must be between transactions; every function here ends the one it began.
"""

import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.gold import statements
from shared.catalog import Catalog
from shared.errors import ConfigurationError
from shared.modelfile import Model
from shared.models import Models
from shared.ports import Session

log = logging.getLogger(__name__)

# Sorts and hashes of a rebuild stay in memory; compiling queries would take longer than running them.
_TRANSACTION_SETTINGS = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "SET LOCAL jit = off",
    "SET LOCAL work_mem = '64MB'",
)


@dataclass(frozen=True)
class Refreshed:
    """What one refresh of one model did."""

    model: str
    rows_written: int
    rows_deleted: int
    seconds: float
    change_sets: tuple[str, ...]
    is_rebuild: bool = False


@dataclass(frozen=True)
class _Work:
    """What a transaction has to do: the change sets by model, and the models to compute as a whole."""

    change_sets: dict[str, list[str]]
    change_sets_of_datasets: dict[str, list[str]]
    whole: frozenset[str]


def pending_count(session: Session) -> int:
    """Count the (model, change set) pairs that gold has still to take in."""
    return int(session.rows("SELECT count(*) FROM gold.pending")[0][0])


def refresh_tables(session: Session, models: Models, catalog: Catalog) -> list[Refreshed]:
    """Take all pending change sets into the tables they touch, in one transaction; return what was done.

    Deletes exactly the rows of gold.pending that were taken in. Raises Unavailable when PostgreSQL broke off.
    """
    datasets = _pending_datasets(session, models)
    tables = [m.name for m in models.tables if models.datasets_of(m.name) & datasets]
    if not tables:
        return []
    with _locked(session, tables):
        work = _take(session, models, tables, datasets)
        done = [
            _refresh(session, models[name], work)
            for name in _prepared(session, models, catalog, work)
            if name in work.change_sets
        ]
        _record(session, done)
        session.commit()
    return done


def rebuild(session: Session, models: Models, catalog: Catalog, model: str) -> Refreshed:
    """Compute a model from scratch, by the same SELECT over all groups; rows that are right stay as they are.

    Raises ConfigurationError for a plain view. What is pending stays pending.
    """
    wanted = models[model]
    if wanted.kind == "view":
        raise ConfigurationError(
            f"{model} is a view: it is computed whenever it is read, there is nothing to rebuild"
        )
    with _locked(session, [model]):
        if wanted.kind == "materialized_view":
            done = _refresh_view(session, wanted, [])
        else:
            work = _Work({model: []}, {}, frozenset({model}))
            _prepared(session, models, catalog, work)
            done = _refresh(session, wanted, work)
        _record(session, [done])
        session.commit()
    return done


def refresh_view(session: Session, models: Models, name: str) -> Refreshed | None:
    """Refresh a materialized view once for all change sets whose tables are done; None without any."""
    tables = [m for m in models.upstream(name) if models[m].kind == "incremental"]
    with _locked(session, [name]):
        taken = session.rows(
            """
            DELETE FROM gold.pending AS view
            WHERE view.model = %s AND NOT EXISTS (
                SELECT FROM gold.pending AS waiting
                WHERE waiting.change_set_id = view.change_set_id AND waiting.model = ANY(%s)
            )
            RETURNING view.change_set_id
            """,
            (name, tables),
        )
        if not taken:
            session.rollback()
            return None
        done = _refresh_view(session, models[name], [str(row[0]) for row in taken])
        _record(session, [done])
        session.commit()
    return done


def views_waiting(session: Session, models: Models, interval_seconds: float) -> dict[str, float]:
    """Return the materialized views with pending change sets and how many seconds each has still to wait."""
    rows = session.rows(
        """
        SELECT
            pending.model,
            extract(epoch FROM max(refreshes.finished_at) - clock_timestamp())::float8 + %s
        FROM (SELECT DISTINCT model FROM gold.pending WHERE model = ANY(%s)) AS pending
        LEFT JOIN gold.refreshes USING (model)
        GROUP BY pending.model
        """,
        (interval_seconds, [m.name for m in models.materialized_views]),
    )
    session.rollback()
    waiting = {model: max(0.0, seconds or 0.0) for model, seconds in rows}
    return {m.name: waiting[m.name] for m in models.materialized_views if m.name in waiting}


def _pending_datasets(session: Session, models: Models) -> set[str]:
    rows = session.rows(
        "SELECT DISTINCT dataset FROM gold.pending WHERE model = ANY(%s)", ([m.name for m in models.tables],)
    )
    session.rollback()
    return {row[0] for row in rows}


@contextmanager
def _locked(session: Session, names: Sequence[str]) -> Iterator[None]:
    """Hold the models' locks around one transaction that sees all that was committed before they came.

    They are taken in the order of names, so that workers cannot deadlock, and by the session, not inside the
    transaction: a REPEATABLE READ transaction that waits would go on with a picture from before its wait.
    """
    keys = [f"gold.{name}" for name in sorted(names)]
    for key in keys:
        session.rows("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (key,))
    session.commit()
    try:
        for setting in _TRANSACTION_SETTINGS:
            session.execute(setting)
        yield
    finally:
        session.rollback()
        for key in keys:
            session.rows("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (key,))
        session.commit()


def _take(session: Session, models: Models, tables: Sequence[str], datasets: set[str]) -> _Work:
    """Delete the pending rows of these tables and datasets, which is what the transaction takes upon itself.

    Rows of other datasets wait, even where they name one of the tables: a table further up may not be locked.
    """
    taken = session.rows(
        """
        DELETE FROM gold.pending
        WHERE model = ANY(%s) AND dataset = ANY(%s)
        RETURNING model, change_set_id::text, dataset,
            (SELECT is_everything FROM silver.change_sets WHERE change_set_id = pending.change_set_id)
        """,
        (list(tables), sorted(datasets)),
    )
    change_sets: dict[str, list[str]] = {}
    by_dataset: dict[str, set[str]] = {}
    everything = set()
    for model, change_set, dataset, is_everything in sorted(taken):
        change_sets.setdefault(model, []).append(change_set)
        by_dataset.setdefault(dataset, set()).add(change_set)
        if is_everything:
            everything.add(dataset)
    whole = frozenset(name for name in change_sets if models.datasets_of(name) & everything)
    return _Work(change_sets, {name: sorted(ids) for name, ids in by_dataset.items()}, whole)


def _prepared(session: Session, models: Models, catalog: Catalog, work: _Work) -> list[str]:
    """Fill changes_<dataset> for every dataset the work rests on; return the tables in dependency order."""
    whole = {dataset for name in work.whole for dataset in models.datasets_of(name)}
    for dataset in sorted({d for name in work.change_sets for d in models.datasets_of(name)}):
        columns = catalog[dataset].change_groups
        session.execute(statements.create_changes(dataset, columns))
        if ids := work.change_sets_of_datasets.get(dataset):
            session.execute(statements.listed_changes(dataset, columns), (ids,))
        if dataset in whole:
            session.execute(statements.all_changes(dataset, columns))
        session.execute(f"ANALYZE {statements.changes_table(dataset)}")
    return [m.name for m in models.tables]


def _refresh(session: Session, model: Model, work: _Work) -> Refreshed:
    began = time.monotonic()
    is_full = model.name in work.whole
    session.execute(statements.create_scope(model))
    session.execute("ANALYZE scope")
    computed, written, removed = session.rows(statements.refresh(model, is_full=is_full))[0]
    if is_full and written:
        session.execute(f"ANALYZE {model.table}")  # models that read it are next, and plan by its size
    _audit(session, model, computed)
    session.execute("DROP TABLE scope")
    change_sets = tuple(work.change_sets[model.name])
    return Refreshed(
        model.name, written, removed, time.monotonic() - began, change_sets, is_rebuild=not change_sets
    )


def _refresh_view(session: Session, model: Model, change_sets: Sequence[str]) -> Refreshed:
    began = time.monotonic()
    is_populated = session.rows(
        "SELECT relispopulated FROM pg_class WHERE oid = %s::regclass", (model.table,)
    )[0][0]
    how = "CONCURRENTLY " if is_populated else ""  # refused for a view that never held anything
    session.execute(f"REFRESH MATERIALIZED VIEW {how}{model.table}")
    return Refreshed(
        model.name, 0, 0, time.monotonic() - began, tuple(change_sets), is_rebuild=not change_sets
    )


def _audit(session: Session, model: Model, rows_checked: int) -> None:
    """Run the model's audits over the scope; what one finds is logged and does not stop the refresh."""
    for one in model.audits:
        failed, sample = session.rows(statements.audit(one))[0]
        if not failed:
            continue
        checked = max(rows_checked, failed)
        session.execute(
            """
            INSERT INTO silver.data_quality_logs
                (table_name, quality_check, severity, records_checked, records_failed, failure_rate,
                 threshold, passed, details)
            VALUES (%s, %s, 'warn', %s, %s, %s::numeric / %s, 0, false, %s)
            """,
            (model.table, one.name, checked, failed, failed, checked, _details(one.description, sample)),
        )
        log.warning(
            "An audit found rows.",
            extra={"action": "audit_failed", "model": model.name, "audit": one.name, "rows": failed},
        )


def _details(description: str, sample: Any) -> str:
    return json.dumps({"message": description, "sample": sample}, default=str, ensure_ascii=False)


def _record(session: Session, done: Sequence[Refreshed]) -> None:
    """Write gold.refreshes; one moment for all, by which the announcement finds them again after a crash."""
    moment: datetime = session.rows("SELECT clock_timestamp()")[0][0]
    for one in done:
        session.execute(
            """
            INSERT INTO gold.refreshes
                (model, is_rebuild, change_sets, rows_written, rows_deleted, seconds, finished_at)
            VALUES (%s, %s, %s::uuid[], %s, %s, %s, %s)
            """,
            (
                one.model,
                one.is_rebuild,
                list(one.change_sets),
                one.rows_written,
                one.rows_deleted,
                one.seconds,
                moment,
            ),
        )
