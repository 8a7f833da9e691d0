"""Which columns a model's columns are computed from, as far as its SQL says so by itself."""

from collections.abc import Mapping

from shared.catalog import Catalog
from shared.ddl import business_columns, postgres_type
from shared.modelfile import Model
from shared.models import Models

Columns = Mapping[str, Mapping[str, Mapping[str, str]]]  # types by schema, table and column
_LINEAGE_TYPES = {"_first_seen_at": "timestamptz", "_stale": "boolean", "_version": "uuid", "_rescued": "jsonb"}


def known_columns(catalog: Catalog, models: Models) -> Columns:
    """Return the columns of all clean tables and models."""
    clean = {
        f"clean_{dataset.name}": {name: postgres_type(kind) for name, kind in business_columns(dataset)}
        | _LINEAGE_TYPES
        for dataset in catalog.datasets.values()
    }
    return {"silver": clean, "gold": {model.name: {c.name: c.type for c in model.columns} for model in models}}


def column_sources(model: Model, columns: Columns) -> dict[str, tuple[str, ...]]:
    """Return for each of the model's columns the `schema.table.column` that its value comes from.

    A column is left out where that cannot be told from the SQL alone: behind LATERAL joins, `*` and `scope`.
    """
    found = {column.name: _sources(column.name, model.select_sql, columns) for column in model.columns}
    return {name: sources for name, sources in found.items() if sources}


def _sources(column: str, sql: str, columns: Columns) -> tuple[str, ...]:
    from sqlglot import exp
    from sqlglot.errors import SqlglotError
    from sqlglot.lineage import lineage

    try:
        root = lineage(column, sql, schema=dict(columns), dialect="postgres")
    except (SqlglotError, ValueError):
        return ()  # the SELECT is right all the same: `validate` reads it, and PostgreSQL runs it
    sources = set()
    for node in root.walk():
        if node.downstream:
            continue
        table, _, name = node.name.rpartition(".")
        if not isinstance(node.source, exp.Table):
            if "." in node.name and not isinstance(node.source, exp.Query):
                return ()
            continue  # count(*) and constants come from no column
        if node.source.db not in columns or name == "*" or not table:
            return ()
        sources.add(f"{node.source.db}.{node.source.name}.{name}")
    return tuple(sorted(sources))
