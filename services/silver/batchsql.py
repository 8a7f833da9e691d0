"""SQL expressions over a typed batch, evaluated by DuckDB inside the worker.

This is the one dialect of rule checks and windowed expressions; `medallion validate` binds each of them against an
empty batch of the right types.
"""

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from shared.errors import ConfigurationError


class BatchSql:
    """An engine without files, network or extensions: expressions see the batch and nothing else."""

    def __init__(self) -> None:
        self._connection = duckdb.connect(
            ":memory:", config={"threads": 1, "enable_external_access": False, "memory_limit": "512MB"}
        )

    def evaluate(self, batch: pa.Table | pa.RecordBatch, expressions: Sequence[str]) -> list[pa.Array]:
        """Return one array a expression, each as long as the batch; raises ConfigurationError when one is wrong."""
        if not expressions:
            return []
        table = pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch
        self._connection.register("batch", table)
        try:
            select = ", ".join(f"({text}) AS e{i}" for i, text in enumerate(expressions))
            result = self._connection.sql(f"SELECT {select} FROM batch").to_arrow_table()
            if result.num_columns != len(expressions) or result.num_rows != table.num_rows:
                raise ConfigurationError(
                    "an expression must give one value a row: no aggregates, no commas, no subqueries"
                )
        except duckdb.Error as error:
            raise ConfigurationError(f"an expression cannot be evaluated: {str(error).splitlines()[0]}") from error
        finally:
            self._connection.unregister("batch")
        return [column.combine_chunks() for column in result.columns]
