"""The SQL that refreshes one incremental model, composed from its file with its checked names."""

from collections.abc import Sequence

from shared.modelfile import Audit, Model

AUDIT_SAMPLE_ROWS = 5


def changes_table(dataset: str) -> str:
    """Return the name of the temporary table that holds a dataset's touched groups."""
    return f"changes_{dataset}"


def create_changes(dataset: str, group_columns: Sequence[str]) -> str:
    """Return the statement that creates the empty table of touched groups, typed as the clean table."""
    return (
        f"CREATE TEMPORARY TABLE {changes_table(dataset)} ON COMMIT DROP AS"
        f" SELECT {', '.join(group_columns)} FROM silver.clean_{dataset} WITH NO DATA"
    )


def listed_changes(dataset: str, group_columns: Sequence[str]) -> str:
    """Return the statement that adds the groups which change sets list; its parameters are their ids
    and the names of the group columns.
    """
    table = changes_table(dataset)
    values = ", ".join(f"'{name}', touched.values -> {place}" for place, name in enumerate(group_columns))
    return f"""
        INSERT INTO {table}
        SELECT DISTINCT typed.*
        FROM silver.change_sets
        CROSS JOIN LATERAL jsonb_array_elements(groups) AS touched (values)
        CROSS JOIN LATERAL jsonb_populate_record(NULL::{table}, jsonb_build_object({values})) AS typed
        WHERE change_set_id = ANY(%s::uuid[]) AND group_columns = %s
    """


def all_changes(dataset: str, group_columns: Sequence[str]) -> str:
    """Return the statement that adds every group of the clean table."""
    columns = ", ".join(group_columns)
    return f"""
        INSERT INTO {changes_table(dataset)}
        SELECT {columns} FROM silver.clean_{dataset} GROUP BY {columns}
        EXCEPT
        TABLE {changes_table(dataset)}
    """


def create_scope(model: Model) -> str:
    """Return the statement that creates `scope`, the groups of the model to compute."""
    return f"CREATE TEMPORARY TABLE scope ON COMMIT DROP AS\n{model.scope_sql}"


def refresh(model: Model, *, is_full: bool) -> str:
    """Return the statement that brings the groups in `scope` up to date and counts the rows it touched.

    It gives (computed, written, removed). Rows that are right are not even locked, as they would be by an
    ON CONFLICT … DO UPDATE … WHERE.
    A full refresh removes whatever was not computed, unless the model keeps its history.
    """
    names = [column.name for column in model.columns]
    values = [name for name in names if name not in model.grain]
    is_row = _same("target", "computed", model.grain)
    old, new = _columns("target", values), _columns("computed", values)
    return f"""
WITH computed AS MATERIALIZED (
{model.select_sql}
),
removed AS (
    DELETE FROM {model.table} AS target
    WHERE {"" if is_full and not model.keeps_history else _in_scope(model) + " AND "}NOT EXISTS (
        SELECT FROM computed WHERE {is_row}
    )
    RETURNING 1
),
written AS (
    INSERT INTO {model.table} ({", ".join(names)})
    SELECT {_columns("computed", names)}
    FROM computed
    LEFT JOIN {model.table} AS target ON {is_row}
    WHERE target.{model.grain[0]} IS NULL OR ({old}) IS DISTINCT FROM ({new})
    ORDER BY {_columns("computed", model.grain)}
    ON CONFLICT ({", ".join(model.grain)}) DO UPDATE SET
        {", ".join(f"{name} = excluded.{name}" for name in [*values, "_refreshed_at"])}
    RETURNING 1
)
SELECT
    (SELECT count(*) FROM computed),
    (SELECT count(*) FROM written),
    (SELECT count(*) FROM removed)
"""


def audit(one: Audit) -> str:
    """Return the query that counts an audit's rows and samples them as JSON."""
    return f"""
WITH failed AS MATERIALIZED (
{one.sql}
)
SELECT
    (SELECT count(*) FROM failed),
    (SELECT jsonb_agg(to_jsonb(sample)) FROM (SELECT * FROM failed LIMIT {AUDIT_SAMPLE_ROWS}) AS sample)
"""


def _in_scope(model: Model) -> str:
    """Return the condition that a row of the target belongs to a group that is computed now."""
    written = f" WHERE NOT {model.context}" if model.context else ""
    return f"({_columns('target', model.scope_by)}) IN (SELECT {', '.join(model.scope_by)} FROM scope{written})"


def _same(left: str, right: str, names: Sequence[str]) -> str:
    return " AND ".join(f"{left}.{name} = {right}.{name}" for name in names)


def _columns(table: str, names: Sequence[str]) -> str:
    return ", ".join(f"{table}.{name}" for name in names)
