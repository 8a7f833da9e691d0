"""Columns along a series: daily change and trailing mean, and expressions over them.

A series is the rows that share `partition_by`; its rows are ordered by a date column and unique by it, because both
are part of the primary key. All arithmetic is on integers, so that the result is the same on every machine.
"""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.silver.batchsql import BatchSql
from shared.columns import Windowed, WindowedColumn
from shared.functions import RATE_TYPE, decimal_array, int64_values, rounded_quotient

_INT64_SAFE = 2**62
Ints = "np.ndarray[Any, np.dtype[np.int64]]"


def window_type(column: WindowedColumn) -> pa.DataType:
    """Return the Arrow type of a windowed column."""
    return {"integer": pa.int64(), "decimal": RATE_TYPE, "boolean": pa.bool_(), "text": pa.string()}[column.column_type]


def sorted_by_series(table: pa.Table, windowed: Windowed) -> pa.Table:
    """Return the rows sorted by series and date."""
    keys = [(name, "ascending") for name in (*windowed.partition_by, windowed.order_by)]
    return table.take(pc.sort_indices(table, keys)).combine_chunks()


def compute(table: pa.Table, windowed: Windowed, sql: BatchSql) -> dict[str, pa.Array]:
    """Return the windowed columns of a table sorted by series and date; whole series, or all the rows in reach."""
    if not table.num_rows:
        return {column.name: pa.array([], window_type(column)) for column in windowed.columns}
    series = _series_ids(table, windowed)
    days = _one(table, windowed.order_by).cast(pa.int32()).to_numpy().astype(np.int64)
    known: dict[str, pa.Array] = {}
    for column in windowed.columns:
        if column.function == "expression":
            context = _without(table, windowed)
            for name, values in known.items():
                context = context.append_column(name, values)
            known[column.name] = sql.evaluate(context, [str(column.sql)])[0].cast(window_type(column))
        else:
            name = str(column.of)
            values = known[name] if name in known else _one(table, name)
            function = {"daily_change": _daily_change, "trailing_mean": _trailing_mean}[column.function]
            known[column.name] = function(values, series, days, column.days)
    return known


def _without(table: pa.Table, windowed: Windowed) -> pa.Table:
    """Return the table without windowed columns of an earlier computation."""
    return table.drop_columns([c.name for c in windowed.columns if c.name in table.schema.names])


def _one(table: pa.Table, name: str) -> pa.Array:
    return table.column(name).combine_chunks() if table.column(name).num_chunks != 1 else table.column(name).chunk(0)


def _series_ids(table: pa.Table, windowed: Windowed) -> Any:
    """Return the number of each row's series, shape (n,): a new one wherever a partition column changes."""
    starts = np.zeros(table.num_rows, bool)
    for name in windowed.partition_by:
        codes = pc.dictionary_encode(_one(table, name)).indices.to_numpy()
        starts[1:] |= codes[1:] != codes[:-1]
    return np.cumsum(starts)


def _daily_change(values: pa.Array, series: Any, days: Any, _: int) -> pa.Array:
    """Return value minus the previous calendar day's; NULL where that day or either value is missing.

    NULL too where the difference leaves 64 bits: the column could not hold it.
    """
    numbers, valid = int64_values(values), values.is_valid().to_numpy(zero_copy_only=False)
    change = np.zeros(len(numbers), np.int64)
    known = np.zeros(len(numbers), bool)
    change[1:] = numbers[1:] - numbers[:-1]
    known[1:] = (series[1:] == series[:-1]) & (days[1:] - days[:-1] == 1) & valid[1:] & valid[:-1]
    # Wrapped around: the operands' signs differ and the result's is not that of the first.
    known[1:] &= ((numbers[1:] < 0) == (numbers[:-1] < 0)) | ((change[1:] < 0) == (numbers[1:] < 0))
    return pc.if_else(pa.array(known), pa.array(change), pa.scalar(None, pa.int64()))


def _trailing_mean(values: pa.Array, series: Any, days: Any, length: int) -> pa.Array:
    """Return the mean of the last `length` days, half away from zero to 4 places; NULL unless all are known."""
    numbers, valid = int64_values(values), values.is_valid().to_numpy(zero_copy_only=False)
    count = len(numbers)
    counts = np.concatenate(([0], np.cumsum(valid)))
    last = np.arange(count)
    first = last - (length - 1)
    inside = first >= 0
    start = np.maximum(first, 0)
    known = inside & (series[start] == series) & (days - days[start] == length - 1)
    known &= counts[last + 1] - counts[start] == length
    largest = int(np.abs(numbers.astype(np.float64)).max(initial=0))
    if largest * max(count, length * 20_000) > _INT64_SAFE:
        return _exact_means(numbers, known, length)
    sums = np.concatenate(([0], np.cumsum(np.where(valid, numbers, 0))))
    total = np.where(known, sums[last + 1] - sums[start], 0)
    return decimal_array(rounded_quotient(total * 10_000, length), pa.array(known))


def _exact_means(numbers: Any, known: Any, length: int) -> pa.Array:
    """Compute the means one by one, for numbers whose sums leave 64 bits."""
    integers = numbers.tolist()
    means = [
        (Decimal(sum(integers[i - length + 1 : i + 1])) / length).quantize(Decimal("0.0001"), ROUND_HALF_UP)
        if is_known
        else None
        for i, is_known in enumerate(known.tolist())
    ]
    return pa.array(means, RATE_TYPE)


def differing(old: Mapping[str, pa.Array], new: Mapping[str, pa.Array]) -> Any:
    """Return which rows differ in any of the columns, NULL being equal to NULL, shape (n,)."""
    result: Any = None
    for name, fresh in new.items():
        before = old[name].cast(fresh.type)
        both_null = pc.and_(pc.is_null(before), pc.is_null(fresh))
        equal = pc.or_(pc.fill_null(pc.equal(before, fresh), False), both_null)
        differs = pc.invert(equal).to_numpy(zero_copy_only=False)
        result = differs if result is None else result | differs
    return result
