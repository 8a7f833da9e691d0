"""SQL expressions over a typed batch, evaluated by DuckDB inside the worker.

This is the one dialect of rule checks and windowed expressions; `medallion validate` binds each of them against an
empty batch of the right types.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import duckdb
import numpy as np
import pyarrow as pa

from shared.errors import ConfigurationError

Batch: TypeAlias = pa.Table | pa.RecordBatch
Mask = np.ndarray[Any, np.dtype[np.bool_]]

_PREPARED_MAX = 200  # statements kept; there are two or so a dataset


class BatchSql:
    """An engine without files, network or extensions: expressions see the batch and nothing else.

    Statements are prepared once: planning one costs several times what a small file's rows do.
    """

    def __init__(self) -> None:
        self._connection, self._prepared = _connected(), dict[tuple[pa.Schema, tuple[str, ...]], _Source]()

    def evaluate(self, batch: Batch, expressions: Sequence[str]) -> list[pa.Array]:
        """Return one array a expression, each as long as the batch; raises ConfigurationError when one is wrong."""
        if not expressions:
            return []
        with self._executed(batch, expressions) as result, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of one more copy: less than what a relation costs
            table = result.to_arrow_table()
        _expect_shape(table.num_columns, table.num_rows, batch, expressions)
        return [column.combine_chunks() for column in table.columns]

    def judge(self, batch: Batch, conditions: Sequence[str]) -> list[Mask]:
        """Return for each condition which rows fulfil it; NULL counts as no. Raises ConfigurationError when one is wrong."""
        if not conditions:
            return []
        with self._executed(batch, [f"coalesce(CAST(({one}) AS BOOLEAN), false)" for one in conditions]) as result:
            columns = list(result.fetchnumpy().values())
        _expect_shape(len(columns), len(columns[0]), batch, conditions)
        return [np.asarray(column, dtype=bool) for column in columns]

    @contextmanager
    def _executed(self, batch: Batch, expressions: Sequence[str]) -> Iterator[Any]:
        try:
            source = self._source(batch.schema, tuple(expressions))
            source.batch = batch
            try:
                yield self._connection.execute(f"EXECUTE {source.statement}")
            finally:
                source.batch = None
        except duckdb.Error as error:
            raise ConfigurationError(f"an expression cannot be evaluated: {str(error).splitlines()[0]}") from error

    def _source(self, schema: pa.Schema, expressions: tuple[str, ...]) -> "_Source":
        if (schema, expressions) not in self._prepared:
            if len(self._prepared) >= _PREPARED_MAX:
                self._connection, self._prepared = _connected(), {}
            number = len(self._prepared)
            source = _Source(schema, f"statement_{number}")
            self._connection.register(f"batch_{number}", source)
            select = ", ".join(f"({text}) AS e{i}" for i, text in enumerate(expressions))
            self._connection.execute(f"PREPARE {source.statement} AS SELECT {select} FROM batch_{number} AS batch")
            self._prepared[schema, expressions] = source
        return self._prepared[schema, expressions]


def _connected() -> duckdb.DuckDBPyConnection:
    settings = {"threads": 1, "enable_external_access": False, "memory_limit": "512MB"}
    return duckdb.connect(":memory:", config=settings)


@dataclass
class _Source:
    """What a prepared statement reads: Arrow data of one schema that is exchanged before each execution."""

    schema: pa.Schema
    statement: str
    batch: Batch | None = None

    def __arrow_c_schema__(self) -> object:
        return self.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        batch = self.schema.empty_table() if self.batch is None else self.batch
        return batch.__arrow_c_stream__(requested_schema)


def _expect_shape(columns: int, rows: int, batch: Batch, expressions: Sequence[str]) -> None:
    if columns != len(expressions) or rows != batch.num_rows:
        raise ConfigurationError("an expression must give one value a row: no aggregates, no commas, no subqueries")
