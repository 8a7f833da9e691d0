"""Compute windowed columns again where a merge touched their series, and write the values that differ."""

import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from services.silver.check import good_schema
from services.silver.copying import copy_rows
from services.silver.job import Job
from services.silver.touched import Touched, shifted
from services.silver.window import compute, differing, sorted_by_series, window_type
from shared.columns import Windowed

# Rows of which windows are computed at a time; beyond it, series are dealt into as many parts as needed.
ROWS_AT_A_TIME = 1_000_000


def rewindow(job: Job, touched: Touched) -> int:
    """Bring windowed columns up to date within reach of what was touched; return how many neighbours changed.

    Rows that the object itself wrote are brought up to date too, but are not neighbours. Adds the neighbours to
    `touched`: their groups changed as well.
    """
    windowed = job.dataset.windowed
    if windowed is None or not touched.has_changes:
        return 0
    reach = touched.reaches(windowed.reach_days)
    if not reach and not touched.is_every_series:
        return 0
    if not touched.is_every_series:
        _stage_reach(job, windowed, reach)
    job.session.execute(_create_rewritten(job, windowed))
    parts = 1 + (job.state.rows_live + job.file.good.rows) // ROWS_AT_A_TIME
    neighbours = 0
    for part in range(parts):
        neighbours += _one_part(job, windowed, touched, reach, part, parts)
    return neighbours


def _stage_reach(job: Job, windowed: Windowed, reach: Sequence[tuple[Any, ...]]) -> None:
    """Create the temporary table `reach`: each touched series with the first and last date to compute."""
    columns = ", ".join(windowed.partition_by)
    job.session.execute(
        f"CREATE TEMP TABLE reach ON COMMIT DROP AS SELECT {columns}, {windowed.order_by} AS first_day,"
        f" {windowed.order_by} AS last_day FROM {job.dataset.clean_table} WITH NO DATA"
    )
    types = good_schema(job.dataset)
    names = [*windowed.partition_by, "first_day", "last_day"]
    kinds = [types.field(name).type for name in windowed.partition_by] + [pa.date32(), pa.date32()]
    columns_of = [pa.array([row[i] for row in reach], kind) for i, kind in enumerate(kinds)]
    copy_rows(job.session, "reach", names, iter([pa.RecordBatch.from_arrays(columns_of, names=names)]))
    job.session.execute("ANALYZE reach")


def _create_rewritten(job: Job, windowed: Windowed) -> str:
    names = ", ".join([*job.dataset.primary_key, *(c.name for c in windowed.columns)])
    return f"CREATE TEMP TABLE rewritten ON COMMIT DROP AS SELECT {names} FROM {job.dataset.clean_table} WITH NO DATA"


def _one_part(
    job: Job, windowed: Windowed, touched: Touched, reach: Sequence[tuple[Any, ...]], part: int, parts: int
) -> int:
    table = sorted_by_series(_fetch(job, windowed, touched, reach, part, parts), windowed)
    fresh = compute(table, windowed, job.sql)
    old = {name: table.column(name).combine_chunks() for name in fresh}
    mask = pa.array(differing(old, fresh)) if table.num_rows else pa.array([], pa.bool_())
    in_reach = table.column("_in_reach").combine_chunks()
    mask = pc.and_(mask, in_reach)
    if not pc.any(mask).as_py():
        return 0
    names = [*job.dataset.primary_key, *fresh]
    columns = [table.column(name).combine_chunks() for name in job.dataset.primary_key] + list(fresh.values())
    changed = pa.RecordBatch.from_arrays(columns, names=names).filter(mask)
    is_own = table.column("_is_own").filter(mask)
    neighbours = table.filter(mask).filter(pc.invert(is_own))
    touched.add_rows(neighbours)
    job.session.execute("TRUNCATE rewritten")
    copy_rows(job.session, "rewritten", names, iter([changed]))
    job.session.execute("ANALYZE rewritten")
    assignments = ", ".join(f"{name} = r.{name}" for name in fresh)
    on_key = " AND ".join(f"c.{name} = r.{name}" for name in job.dataset.primary_key)
    updated = job.session.execute(
        f"UPDATE {job.dataset.clean_table} c SET {assignments} FROM rewritten r WHERE {on_key}"
    )
    if updated != changed.num_rows:
        raise AssertionError(f"{changed.num_rows} windowed rows were to be rewritten but {updated} were found")
    return int(neighbours.num_rows)


def _fetch(
    job: Job, windowed: Windowed, touched: Touched, reach: Sequence[tuple[Any, ...]], part: int, parts: int
) -> pa.Table:
    """Read the touched stretches of the touched series, with the days before them that windows look back on."""
    schema = good_schema(job.dataset)
    types = {c.name: schema.field(c.name).type for c in job.dataset.columns}
    types |= {d.name: schema.field(d.name).type for d in job.dataset.derived}
    types |= {w.name: window_type(w) for w in windowed.columns}
    extra = [name for name in touched.group_columns if name not in types]
    names = [f"c.{name}" for name in [*types, *extra]]
    conditions = []
    if parts > 1:
        series = ", ".join(f"c.{name}" for name in windowed.partition_by)
        conditions.append(f"mod(abs(hashtextextended(ROW({series})::text, 0)), {parts}) = {part}")
    source, in_reach = f"{job.dataset.clean_table} c", "true"
    if not touched.is_every_series:
        on = " AND ".join(f"c.{name} = r.{name}" for name in windowed.partition_by)
        day, back = f"c.{windowed.order_by}", windowed.reach_days
        source += f" JOIN reach r ON {on} AND {day} BETWEEN r.first_day - {back} AND r.last_day"
        in_reach = f"{day} >= r.first_day"
        # The outer bounds as literals let the planner prune partitions and walk the primary key.
        first = shifted(min(row[-2] for row in reach), -back)
        conditions.append(f"{day} BETWEEN '{first}' AND '{max(row[-1] for row in reach)}'")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    own = f"c._object_id = '{job.obj.object_id}'"
    sink = io.BytesIO()
    job.session.copy_out(
        f"COPY (SELECT {', '.join(names)}, {own}, {in_reach} FROM {source}{where}) TO STDOUT (FORMAT csv)",
        sink,
    )
    types |= dict.fromkeys(extra, pa.string()) | {"_is_own": pa.bool_(), "_in_reach": pa.bool_()}
    if not sink.tell():
        return pa.table({name: pa.array([], kind) for name, kind in types.items()})
    sink.seek(0)
    return pacsv.read_csv(
        sink,
        read_options=pacsv.ReadOptions(column_names=list(types), use_threads=False, block_size=1 << 24),
        parse_options=pacsv.ParseOptions(newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(
            column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False,
            null_values=[""], true_values=["t"], false_values=["f"],
        ),
    )  # fmt: skip
