"""Bring a database to what sql/migrations, the dataset contracts and the gold models ask for, under one lock.

Numbered migrations run once each; the tables of datasets follow their contracts, see shared/tables.py.
"""

from collections.abc import Mapping
from pathlib import Path

from shared.catalog import Catalog
from shared.models import Models
from shared.models import create_statements as model_statements
from shared.ports import Session
from shared.roles import grant
from shared.tables import Migration, apply_dataset

_LOCK = 0x6D65_6461_6C6C_696F  # "medallio"


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
    missing = {name for name, dataset in catalog.datasets.items() if not apply_dataset(session, dataset, done)}
    _forget_expectations(session, catalog)
    for model in models:
        if absent := models.datasets_of(model.name) & missing:
            done.applied.append(f"{model.table} is left out: {', '.join(sorted(absent))} has no tables")
            continue
        for statement in model_statements(model):
            session.execute(statement)
    done.applied += grant(session, sql_dir, passwords or {})
    session.commit()
    return done


def _forget_expectations(session: Session, catalog: Catalog) -> None:
    """Remove what expectations said that no contract declares any more."""
    declared = [
        f"{d.name} {check}" for d in catalog.datasets.values() for one in d.expectations for check in one.checks
    ]
    session.execute("DELETE FROM silver.expectations WHERE dataset || ' ' || quality_check <> ALL(%s)", (declared,))
