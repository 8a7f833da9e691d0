"""The refresh engine: the touched groups of all tables in one transaction, in dependency order.

A session handed in must be between transactions; every public function here ends the one it began.
"""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.gold import statements
from services.gold.transaction import SILENCE_SECONDS, Refreshed, locked, recorded
from services.gold.views import populate
from shared.catalog import Catalog
from shared.errors import ConfigurationError
from shared.failpoints import hit
from shared.modelfile import Model
from shared.models import Models, models_depending_on
from shared.ports import Session

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Work:
    """What a transaction has to do: the change sets by model, and the models to compute as a whole."""

    change_sets: dict[str, list[str]]
    change_sets_of_datasets: dict[str, list[str]]
    whole: frozenset[str]


def pending_count(session: Session) -> int:
    """Count the (model, change set) pairs that gold has still to take in."""
    return int(session.rows("SELECT count(*) FROM gold.pending")[0][0])


def refresh_tables(
    session: Session, models: Models, catalog: Catalog, silence_seconds: float = SILENCE_SECONDS
) -> list[Refreshed]:
    """Take all pending change sets into the tables they touch, in one transaction; return what was done.

    Deletes exactly the rows of gold.pending that were taken in. Raises Unavailable when PostgreSQL broke off.
    """
    datasets = _pending_datasets(session, models)
    tables = [m.name for m in models.tables if models.datasets_of(m.name) & datasets]
    if not tables:
        return []
    with locked(session, tables, silence_seconds):
        hit("gold.locked")
        work = _take(session, models, catalog, tables, datasets)
        hit("gold.taken")
        done = [
            _refresh(session, models[name], work)
            for name in _prepared(session, models, catalog, work)
            if name in work.change_sets
        ]
        done = recorded(session, done)
        hit("gold.recorded")
        session.commit()
    hit("gold.committed")
    return done


def rebuild(session: Session, models: Models, catalog: Catalog, model: str) -> Refreshed:
    """Compute a model from scratch, by the same SELECT over all groups; rows that are right stay as they are.

    Raises ConfigurationError for a plain view. What is pending stays pending.
    """
    wanted = models[model]
    if wanted.kind == "view":
        raise ConfigurationError(f"{model} is a view: it is computed whenever it is read, there is nothing to rebuild")
    with locked(session, [model]):
        if wanted.kind == "materialized_view":
            done = populate(session, wanted, [])
        else:
            work = _Work({model: []}, {}, frozenset({model}))
            _prepared(session, models, catalog, work)
            done = _refresh(session, wanted, work)
        (done,) = recorded(session, [done])
        session.commit()
    return done


def rebuild_new(session: Session, models: Models, catalog: Catalog) -> list[Refreshed]:
    """Compute the tables that were never refreshed although their data is there: models added since."""
    names = session.rows(
        """
        SELECT model
        FROM unnest(%s) AS model
        WHERE NOT EXISTS (SELECT FROM gold.refreshes WHERE refreshes.model = model.model)
            AND EXISTS (SELECT FROM silver.datasets WHERE newest_landed_at IS NOT NULL)
        """,
        ([m.name for m in models.tables],),
    )
    session.rollback()
    return [rebuild(session, models, catalog, m.name) for m in models.tables if (m.name,) in names]


def forget_unknown(session: Session, models: Models, catalog: Catalog) -> int:
    """Delete what waits for models that do not depend on the dataset any more; nothing would take it in."""
    pairs = [(model, dataset) for dataset in catalog.datasets for model in models_depending_on(models, dataset)]
    count = session.execute(
        """
        DELETE FROM gold.pending
        WHERE (model, dataset) NOT IN (SELECT * FROM unnest(%s::text[], %s::text[]))
        """,
        ([model for model, _ in pairs], [dataset for _, dataset in pairs]),
    )
    session.commit()
    return count


def _pending_datasets(session: Session, models: Models) -> set[str]:
    rows = session.rows(
        "SELECT DISTINCT dataset FROM gold.pending WHERE model = ANY(%s)", ([m.name for m in models.tables],)
    )
    session.rollback()
    return {row[0] for row in rows}


def _take(session: Session, models: Models, catalog: Catalog, tables: Sequence[str], datasets: set[str]) -> _Work:
    """Delete the pending rows of these tables and datasets, which is what the transaction takes upon itself.

    Rows of other datasets wait, even where they name one of the tables: a table further up may not be locked.
    """
    taken = session.rows(
        """
        DELETE FROM gold.pending
        WHERE model = ANY(%s) AND dataset = ANY(%s)
        RETURNING model, change_set_id::text, dataset,
            (SELECT is_everything FROM silver.change_sets WHERE change_set_id = pending.change_set_id),
            (SELECT group_columns FROM silver.change_sets WHERE change_set_id = pending.change_set_id)
        """,
        (list(tables), sorted(datasets)),
    )
    change_sets: dict[str, list[str]] = {}
    by_dataset: dict[str, set[str]] = {}
    everything = set()
    for model, change_set, dataset, is_everything, group_columns in sorted(taken):
        change_sets.setdefault(model, []).append(change_set)
        by_dataset.setdefault(dataset, set()).add(change_set)
        # Groups that are not what the contract now calls a group say nothing about where the change was.
        if is_everything or not group_columns or tuple(group_columns) != catalog[dataset].change_groups:
            everything.add(dataset)
    whole = frozenset(name for name in change_sets if models.datasets_of(name) & everything)
    return _Work(change_sets, {name: sorted(ids) for name, ids in by_dataset.items()}, whole)


def _prepared(session: Session, models: Models, catalog: Catalog, work: _Work) -> list[str]:
    """Fill changes_<dataset> for every dataset the work rests on; return the tables in dependency order."""
    whole = {dataset for name in work.whole for dataset in models.datasets_of(name)}
    for dataset in sorted({d for name in work.change_sets for d in models.datasets_of(name)}):
        columns = catalog[dataset].change_groups
        if not columns:
            continue  # its models are computed as a whole whatever changes
        session.execute(statements.create_changes(dataset, columns))
        if ids := work.change_sets_of_datasets.get(dataset):
            session.execute(statements.listed_changes(dataset, columns), (ids, list(columns)))
        if dataset in whole:
            session.execute(statements.all_changes(dataset, columns))
        session.execute(f"ANALYZE {statements.changes_table(dataset)}")
    return [m.name for m in models.tables]


def _refresh(session: Session, model: Model, work: _Work) -> Refreshed:
    began = time.monotonic()
    is_full = model.name in work.whole
    session.execute(statements.create_scope(model))
    session.execute("ANALYZE scope")
    # The planner underrates 160,000 index look-ups in partitions: 0.8 s for a join that hashes do in 0.2 s.
    if is_full:
        session.execute("SET LOCAL enable_nestloop = off")
    computed, written, removed = session.rows(statements.refresh(model, is_full=is_full))[0]
    if is_full and written:
        session.execute(f"ANALYZE {model.table}")  # models that read it are next, and plan by its size
    session.execute("SET LOCAL enable_nestloop = on")
    _audit(session, model, computed)
    session.execute("DROP TABLE scope")
    hit("gold.refreshed")
    change_sets = tuple(work.change_sets[model.name])
    return Refreshed(model.name, written, removed, time.monotonic() - began, change_sets, is_rebuild=not change_sets)


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
                (table_name, quality_check, kind, severity, records_checked, records_failed, failure_rate,
                 threshold, passed, details)
            VALUES (%s, %s, 'audit', 'warn', %s, %s, %s::numeric / %s, 0, false, %s)
            """,
            (model.table, one.name, checked, failed, failed, checked, _details(one.description, sample)),
        )
        log.warning(
            "An audit found rows.",
            extra={"action": "audit_failed", "model": model.name, "audit": one.name, "rows": failed},
        )


def _details(description: str, sample: Any) -> str:
    return json.dumps({"message": description, "sample": sample}, default=str, ensure_ascii=False)
