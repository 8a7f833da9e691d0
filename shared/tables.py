"""Bring one dataset's tables to its contract, as `schema_contract.tables` lets it, and keep the history of both.

What cannot lose anything is done: tables made, columns added, integers widened to decimals, a column that files brought
taken over where its texts are of the declared type. Anything else needs a person and is returned with its SQL.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from shared.columns import Column
from shared.dataset import Dataset
from shared.ddl import business_columns, create_statements, postgres_type, widening_statements
from shared.formats import CsvFormat
from shared.ports import Session

_LONG_NAMES = {"timestamptz": "timestamp with time zone"}


@dataclass
class Migration:
    """What was done, and what a person must decide."""

    applied: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)  # one line each: what differs, and the SQL that would do it


def apply_dataset(session: Session, dataset: Dataset, done: Migration) -> bool:
    """Make or widen a dataset's tables and write down what changed; return whether it has tables now."""
    before = _columns(session, dataset.clean_table)
    mode = dataset.schema_contract.tables
    if mode == "evolve" or (before and mode != "freeze"):
        for statement in create_statements(dataset):
            session.execute(statement)
        if not before:
            done.applied.append(f"tables of dataset {dataset.name}")
    elif not before:
        if mode == "freeze":
            sql = ";\n".join(create_statements(dataset))
            done.undecided.append(f"{dataset.name}: `tables: freeze` leaves its missing tables to you:\n{sql};")
        _record_contract(session, dataset, {})
        return False
    evolved = _evolved(session, dataset)
    if before:
        _widen(session, dataset, before, done)
        _adapt_types(session, dataset, evolved, done)
        existing = _columns(session, dataset.clean_table)
        done.undecided += _differences(dataset, existing, evolved) + _key_difference(session, dataset)
    promoted = _promote(session, dataset, evolved)
    _record(session, dataset, promoted, is_new=not before)
    return True


def _widen(session: Session, dataset: Dataset, before: Mapping[str, str], done: Migration) -> None:
    """Add the columns that the tables lack, or say which."""
    for statement in widening_statements(dataset, before, _columns(session, dataset.raw_table)):
        if dataset.schema_contract.tables == "freeze":
            done.undecided.append(f"{dataset.name}: `tables: freeze` leaves a missing column to you: {statement};")
            continue
        session.execute(statement)
        done.applied.append(statement)


def _adapt_types(session: Session, dataset: Dataset, evolved: Mapping[str, str], done: Migration) -> None:
    """Change the types of columns where no value can be lost: integers to decimals, texts that files brought."""
    if dataset.schema_contract.tables == "freeze":
        return
    existing = _columns(session, dataset.clean_table)
    for name, kind in business_columns(dataset):
        is_wider = (existing.get(name), kind) == ("bigint", "decimal")
        if is_wider or (name in evolved and kind != "text" and _is_castable(session, dataset, name)):
            wanted = postgres_type(kind)
            problem = _change_type(session, dataset.clean_table, name, wanted)
            if problem is None:
                done.applied.append(f"{dataset.clean_table}.{name} is of type {wanted} now")
            else:
                done.undecided.append(f"{dataset.clean_table}.{name} cannot become {wanted} by itself: {problem}")


def _is_castable(session: Session, dataset: Dataset, name: str) -> bool:
    """Say whether all texts of an evolved column mean to PostgreSQL what they mean to the contract."""
    declared = next((c for c in dataset.columns if c.name == name), None)
    if declared is None or not _is_plain(declared, dataset):
        return False
    kind = postgres_type(declared.type)
    misfits = session.rows(
        f"SELECT EXISTS (SELECT FROM {dataset.clean_table} WHERE NOT pg_input_is_valid({name}, %s))", (kind,)
    )
    return not misfits[0][0]


def _is_plain(column: Column, dataset: Dataset) -> bool:
    marked = isinstance(dataset.format, CsvFormat) and (dataset.format.decimal != "." or dataset.format.thousands)
    return column.format is None and column.type in ("integer", "decimal", "double", "date", "json") and not marked


def _change_type(session: Session, table: str, name: str, wanted: str) -> str | None:
    """Change a column's type; return PostgreSQL's reason where it will not, as for a column that a view shows."""
    session.execute(
        f"""
        DO $$ BEGIN
            PERFORM set_config('medallion.problem', '', true);
            ALTER TABLE {table} ALTER {name} TYPE {wanted} USING {name}::{wanted};
        EXCEPTION WHEN feature_not_supported OR invalid_table_definition OR dependent_objects_still_exist THEN
            PERFORM set_config('medallion.problem', SQLERRM, true);
        END $$
        """
    )
    problem: str = session.rows("SELECT current_setting('medallion.problem')")[0][0]
    return problem or None


def _promote(session: Session, dataset: Dataset, evolved: Mapping[str, str]) -> set[str]:
    """Let the contract have the evolved columns that it declares now, and return them; forget dropped ones."""
    declared, existing = dict(business_columns(dataset)), _columns(session, dataset.clean_table)
    for name, origin in evolved.items():
        if name in declared:
            _note(session, dataset, "column promoted", name, existing.get(name), origin)
        elif name not in existing:
            _note(session, dataset, "column gone", name, None, origin)
        else:
            continue
        session.execute(
            "DELETE FROM bronze.evolved_columns WHERE dataset = %s AND column_name = %s", (dataset.name, name)
        )
    return set(declared) & set(evolved)


def _record(session: Session, dataset: Dataset, promoted: Collection[str], *, is_new: bool) -> None:
    """Compare the clean table and the contract with what was recorded of them last, and write down the differences."""
    existing = _columns(session, dataset.clean_table)
    declared = dict(business_columns(dataset))
    columns = {name: kind for name, kind in existing.items() if name in declared}
    found = session.rows("SELECT contract FROM bronze.contracts WHERE dataset = %s", (dataset.name,))
    known = found[0][0] if found else None
    if known is None or not known["table"]:
        listed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        _note(session, dataset, "tables made" if is_new else "tables found", details=listed)
    else:
        for name, kind in columns.items():
            if name not in known["table"] and name not in promoted:
                _note(session, dataset, "column added", name, kind)
            elif known["table"].get(name, kind) != kind:
                _note(session, dataset, "type changed", name, kind, details=f"was {known['table'][name]}")
        for name in known["table"]:
            if name not in columns:
                said = "no longer in the contract" if name in existing else "dropped"
                _note(session, dataset, "column gone", name, existing.get(name), details=said)
        if known["fingerprint"] != dataset.fingerprint:
            _note(session, dataset, "contract changed", details=f"was {known['fingerprint']}")
    _record_contract(session, dataset, columns)


def _record_contract(session: Session, dataset: Dataset, columns: Mapping[str, str]) -> None:
    """Write down the contract as bronze.evolve and the next `migrate` need it."""
    contract = {
        **dataset.schema_contract.model_dump(),
        "fingerprint": dataset.fingerprint,
        "evolved_columns_max": dataset.limits.evolved_columns_max,
        "declared": [name for name, _ in business_columns(dataset)],
        "table": columns,
    }
    session.execute(
        """
        INSERT INTO bronze.contracts AS c (dataset, contract) VALUES (%s, %s::jsonb)
        ON CONFLICT (dataset) DO UPDATE SET contract = excluded.contract, applied_at = excluded.applied_at
        WHERE c.contract IS DISTINCT FROM excluded.contract
        """,
        (dataset.name, json.dumps(contract)),
    )


def _note(
    session: Session, dataset: Dataset, change: str, column: str | None = None, kind: str | None = None,
    origin: str | None = None, details: str | None = None,
) -> None:  # fmt: skip
    session.execute(
        "INSERT INTO bronze.schema_history (dataset, change, column_name, column_type, origin, contract_fingerprint,"
        " details) VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (dataset.name, change, column, kind, origin, dataset.fingerprint, details),
    )


def _evolved(session: Session, dataset: Dataset) -> dict[str, str]:
    """Return the columns that files brought, with their names there."""
    return dict(
        session.rows("SELECT column_name, origin FROM bronze.evolved_columns WHERE dataset = %s", (dataset.name,))
    )


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


def _differences(dataset: Dataset, existing: Mapping[str, str], evolved: Collection[str]) -> list[str]:
    """Return what the contract wants otherwise and cannot be had by adding columns."""
    wanted = {name: postgres_type(kind) for name, kind in business_columns(dataset)}
    differences = [
        f"{dataset.clean_table}.{name} is {existing[name]}, the contract says {kind}: "
        f"ALTER TABLE {dataset.clean_table} ALTER {name} TYPE {kind} USING {_using(name, existing[name], kind)};"
        for name, kind in wanted.items()
        if name in existing and existing[name] != _LONG_NAMES.get(kind, kind)
    ]
    differences += [
        f"{dataset.clean_table}.{name} is not in the contract any more: "
        f"ALTER TABLE {dataset.clean_table} DROP COLUMN {name};"
        for name in existing
        if name not in wanted and name not in evolved and not name.startswith("_")
    ]
    return differences


def _using(name: str, existing: str, wanted: str) -> str:
    """Return the expression that casts a column; texts that are not of the type become NULL until they are read again."""
    if existing != "text":
        return f"{name}::{wanted}"
    return f"CASE WHEN pg_input_is_valid({name}, '{wanted}') THEN {name}::{wanted} END"
