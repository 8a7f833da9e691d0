"""Bring a database to what sql/migrations, the dataset contracts and the gold models ask for, under one lock.

Numbered migrations run once each. Tables that are missing are created, columns that a contract has gained are added.
Whatever else differs (a changed type, a dropped column, another key) needs a person: it is returned, not done.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared.catalog import Catalog
from shared.dataset import Dataset
from shared.ddl import business_columns, create_statements, postgres_type, widening_statements
from shared.models import Models
from shared.models import create_statements as model_statements
from shared.ports import Session
from shared.roles import grant

_LOCK = 0x6D65_6461_6C6C_696F  # "medallio"


@dataclass
class Migration:
    """What was done, and what a person must decide."""

    applied: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)  # one line each: what differs, and the SQL that would do it


def migrate(
    session: Session, sql_dir: Path, catalog: Catalog, models: Models, passwords: Mapping[str, str] | None = None
) -> Migration:
    """Apply what is missing and commit; safe to run at the same time by several processes.

    `passwords` names the logins to make (see shared.roles); their grants follow the tables.
    """
    done = Migration()
    session.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    session.execute(
        "CREATE TABLE IF NOT EXISTS public.medallion_migrations"
        " (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT clock_timestamp())"
    )
    known = {row[0] for row in session.rows("SELECT name FROM public.medallion_migrations")}
    for path in sorted((sql_dir / "migrations").glob("[0-9]*.sql")):
        if path.name not in known:
            session.execute(path.read_text(encoding="utf-8"))
            session.execute("INSERT INTO public.medallion_migrations (name) VALUES (%s)", (path.name,))
            done.applied.append(path.name)
    for dataset in catalog.datasets.values():
        _apply_dataset(session, dataset, done)
    _forget_expectations(session, catalog)
    for model in models:
        for statement in model_statements(model):
            session.execute(statement)
    done.applied += grant(session, sql_dir, passwords or {})
    session.commit()
    return done


def _apply_dataset(session: Session, dataset: Dataset, done: Migration) -> None:
    existing = _columns(session, dataset.clean_table)
    if not existing:
        done.applied.append(f"tables of dataset {dataset.name}")
    for statement in create_statements(dataset):
        session.execute(statement)
    if not existing:
        return
    for statement in widening_statements(dataset, existing, _columns(session, dataset.raw_table)):
        session.execute(statement)
        done.applied.append(statement)
    done.undecided += _differences(dataset, existing) + _key_difference(session, dataset)


def _forget_expectations(session: Session, catalog: Catalog) -> None:
    """Remove what expectations said that no contract declares any more."""
    declared = [
        f"{d.name} {check}" for d in catalog.datasets.values() for one in d.expectations for check in one.checks
    ]
    session.execute("DELETE FROM silver.expectations WHERE dataset || ' ' || quality_check <> ALL(%s)", (declared,))


def _columns(session: Session, table: str) -> dict[str, str]:
    """Return the columns of a table with their types; empty where there is no such table."""
    return dict(
        session.rows(
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
            (table,),
        )
    )


def _key_difference(session: Session, dataset: Dataset) -> list[str]:
    """Return what to decide when the table's primary key is not the contract's."""
    rows = session.rows(
        """
        SELECT array_agg(a.attname::text ORDER BY k.position) FROM pg_index i
        CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k (attnum, position)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE i.indrelid = to_regclass(%s) AND i.indisprimary
        """,
        (dataset.clean_table,),
    )
    wanted = list(dataset.primary_key) or ["_object_id", "_line_number"]
    if rows[0][0] == wanted:
        return []
    return [
        f"{dataset.clean_table} has the key ({', '.join(rows[0][0] or [])}), the contract says ({', '.join(wanted)}): rows "
        f"are told apart by it, so start over: DROP TABLE {dataset.clean_table}; DELETE FROM silver.datasets WHERE "
        f"dataset = '{dataset.name}'; DELETE FROM silver.key_facts WHERE dataset = '{dataset.name}'; then migrate and "
        f"`medallion backfill {dataset.name}`"
    ]


def _differences(dataset: Dataset, existing: Mapping[str, str]) -> list[str]:
    """Return what the contract wants otherwise and cannot be had by adding columns."""
    wanted = {name: postgres_type(kind) for name, kind in business_columns(dataset)}
    long_names = {"timestamptz": "timestamp with time zone"}
    differences = [
        f"{dataset.clean_table}.{name} is {existing[name]}, the contract says {kind}: "
        f"ALTER TABLE {dataset.clean_table} ALTER {name} TYPE {kind} USING {name}::{kind};"
        for name, kind in wanted.items()
        if name in existing and existing[name] != long_names.get(kind, kind)
    ]
    differences += [
        f"{dataset.clean_table}.{name} is not in the contract any more: "
        f"ALTER TABLE {dataset.clean_table} DROP COLUMN {name};"
        for name in existing
        if name not in wanted and not name.startswith("_")
    ]
    return differences
