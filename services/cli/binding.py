"""Whether a dataset's expressions fit its types: each is evaluated on an empty batch, as silver would do it."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from services.silver.batchsql import BatchSql
from services.silver.check import good_schema
from services.silver.verdicts import rule_sql
from services.silver.window import window_type
from shared.columns import WindowedColumn
from shared.dataset import Dataset
from shared.errors import ConfigurationError
from shared.functions import DERIVATIONS


@dataclass(frozen=True)
class Misfit:
    """What does not fit, and where in the YAML."""

    location: tuple[int | str, ...]
    message: str


def misfits(dataset: Dataset) -> Iterator[Misfit]:
    """Yield what is wrong with derivations, rules and windowed columns of a dataset."""
    declared = {c.name: good_schema(dataset).field(c.name).type for c in dataset.columns}
    yield from _derivations(dataset, declared)
    derived = {d.name: good_schema(dataset).field(d.name).type for d in dataset.derived}
    sql = BatchSql()
    for index, rule in enumerate(dataset.rules):
        text = rule_sql(rule)
        if text is not None:
            yield from _bound(sql, {**declared, **derived}, text, pa.bool_(), ("rules", index, rule.kind))
    yield from _windowed(dataset, {**declared, **derived}, sql)


def _derivations(dataset: Dataset, types: dict[str, pa.DataType]) -> Iterator[Misfit]:
    known = dict(types)
    for index, derived in enumerate(dataset.derived):
        wanted = good_schema(dataset).field(derived.name).type
        try:
            arguments = [pa.array([], known[name]) for name in derived.of]
            DERIVATIONS[derived.function].apply(arguments).cast(wanted)
        except (pa.ArrowException, TypeError, ValueError) as error:
            given = ", ".join(f"{name} ({known[name]})" for name in derived.of)
            yield Misfit(
                ("derived", index, "of"), f"{derived.function} cannot take {given}: {str(error).splitlines()[0]}"
            )
        known[derived.name] = wanted


def _windowed(dataset: Dataset, types: dict[str, pa.DataType], sql: BatchSql) -> Iterator[Misfit]:
    known = dict(types)
    for index, column in enumerate(dataset.windowed.columns if dataset.windowed else ()):
        place: tuple[int | str, ...] = ("windowed", "columns", index)
        try:
            wanted = window_type(column)
        except KeyError:
            yield Misfit((*place, "type"), f"{column.column_type} is no type of a windowed column: integer, decimal, …")
            continue
        if column.function == "expression":
            yield from _bound(sql, known, str(column.sql), wanted, (*place, "sql"))
        else:
            yield from _along_series(column, known, place)
        known[column.name] = wanted


def _along_series(
    column: WindowedColumn, known: dict[str, pa.DataType], place: tuple[int | str, ...]
) -> Iterator[Misfit]:
    given = known.get(str(column.of))
    if given is not None and not pa.types.is_integer(given):
        yield Misfit(
            (*place, "of"), f"{column.function} counts in whole numbers; {column.of} is {given}, not an integer"
        )


def _bound(
    sql: BatchSql, types: dict[str, pa.DataType], text: str, wanted: pa.DataType, location: tuple[int | str, ...]
) -> Iterator[Misfit]:
    """Yield what is wrong with an expression over these columns that must give `wanted`."""
    empty = pa.schema(list(types.items())).empty_table()
    try:
        (result,) = sql.evaluate(empty, [text])
    except ConfigurationError as error:
        yield Misfit(location, f"{error}; the columns are: {', '.join(types)}")
        return
    given = result.type
    if pa.types.is_boolean(wanted) and not (pa.types.is_boolean(given) or pa.types.is_null(given)):
        yield Misfit(location, f"gives {given}, where true or false is wanted; write a comparison")
        return
    try:
        result.cast(wanted)
    except pa.ArrowException:
        yield Misfit(location, f"gives {given}, which cannot become {wanted}; cast it in the expression")
