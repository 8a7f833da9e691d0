"""A table of silver or gold as a file: which table is meant, and the statements that stream it."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from shared.errors import ConfigurationError
from shared.spreadsheet import escaped_sql

if TYPE_CHECKING:
    import pyarrow as pa

    from shared.ports import Session

Format = Literal["csv", "parquet", "jsonl"]
BLOCK_BYTES = 16_777_216  # of CSV turned into one batch of Parquet; no row may be larger
DECIMAL_DIGITS = 38
# Types whose text no spreadsheet can run: a number stays a number.
_HARMLESS = ("bigint", "integer", "smallint", "numeric", "double precision", "boolean", "date", "uuid",
             "timestamp with time zone", "timestamp without time zone")  # fmt: skip


@dataclass(frozen=True)
class Extract:
    """What is exported: columns with PostgreSQL's types, of rows in the order of the key."""

    table: str
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]
    where: str = ""

    def select(self, expressions: Sequence[str]) -> str:
        """Return the query of these expressions over the rows that are wanted."""
        condition = f" WHERE ({self.where}\n)" if self.where else ""
        order = f" ORDER BY {', '.join(self.key)}" if self.key else ""
        return f"SELECT {', '.join(expressions)} FROM {self.table}{condition}{order}"


def find_table(session: "Session", query: str, name: str) -> Extract:
    """Return the table that a name means: qualified, or a gold model, a dataset, another table of silver.

    Raises ConfigurationError when there is none.
    """
    schema, dot, bare = name.rpartition(".")
    candidates = [(schema, bare)] if dot else [("gold", name), ("silver", f"clean_{name}"), ("silver", name)]
    for schema, bare in candidates:
        found = session.rows(query, {"schema": schema, "name": bare})
        if found:
            key = sorted((place, column) for column, _, place in found if place is not None)
            columns = tuple((column, kind) for column, kind, _ in found)
            return Extract(f"{schema}.{bare}", columns, tuple(column for _, column in key))
    raise ConfigurationError(
        f"neither silver nor gold has a table {name!r}: name a gold model, a dataset, `quarantine`, or a table as "
        "silver.data_quality_logs"
    )


def narrowed(extract: Extract, names: Sequence[str], where: str) -> Extract:
    """Return the extract of these columns (all, if none) and rows; raises ConfigurationError for what cannot be."""
    types = dict(extract.columns)
    unknown = [name for name in names if name not in types]
    if unknown:
        raise ConfigurationError(
            f"--columns: {extract.table} has no column {unknown[0]!r}; there are: {', '.join(types)}"
        )
    columns = tuple((name, types[name]) for name in names) or extract.columns
    return Extract(extract.table, columns, extract.key, _condition(where))


def _condition(where: str) -> str:
    """Return a condition that is one expression and no statement."""
    if where:
        import sqlglot

        try:
            sqlglot.parse_one(where, into=sqlglot.exp.Condition, dialect="postgres")
        except sqlglot.errors.ParseError as error:
            said = error.errors[0].get("description", "") if error.errors else ""
            raise ConfigurationError(
                f"--where: {where!r} is no condition of SQL{f': {said}' if said else ''}"
            ) from error
    return where


def write_csv(session: "Session", extract: Extract, file: BinaryIO, *, is_raw: bool) -> None:
    """Stream a table as CSV with a header: NULL is an empty cell, an empty text a quoted one."""
    expressions = [f"{_csv_cell(name, kind, is_raw)} AS {name}" for name, kind in extract.columns]
    session.copy_out(f"COPY ({extract.select(expressions)}) TO STDOUT (FORMAT csv, HEADER)", file)


def _csv_cell(name: str, kind: str, is_raw: bool) -> str:
    if kind in _HARMLESS:
        return f"{name}::text" if kind == "boolean" else name
    return f"{name}::text" if is_raw else escaped_sql(f"{name}::text")


def write_json_lines(session: "Session", extract: Extract, file: BinaryIO) -> None:
    """Stream a table as one JSON object a line.

    COPY's CSV is a way to have lines as they are: JSON holds no bare control character, so that nothing is ever quoted.
    """
    rows = extract.select([name for name, _ in extract.columns])
    plain = "FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02'"
    session.copy_out(f"COPY (SELECT row_to_json(line)::text FROM ({rows}) AS line) TO STDOUT ({plain})", file)


def write_parquet(session: "Session", extract: Extract, path: Path) -> None:
    """Write a table as Parquet, batch by batch, by way of a temporary file; decimals keep all their places."""
    import pyarrow.parquet as pq

    from services.gold.export import batches

    schema = _arrow_schema(session, extract)
    expressions = [f"{name}::text" if kind == "text[]" else name for name, kind in extract.columns]
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        text = Path(folder) / "rows.csv"
        with text.open("wb") as file:
            session.copy_out(f"COPY ({extract.select(expressions)}) TO STDOUT (FORMAT csv)", file)
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            if text.stat().st_size:
                for batch in batches(text, schema, BLOCK_BYTES):
                    writer.write_batch(batch)


def _arrow_schema(session: "Session", extract: Extract) -> "pa.Schema":
    import pyarrow as pa

    types: Mapping[str, Any] = {
        "bigint": pa.int64(), "integer": pa.int64(), "smallint": pa.int64(), "double precision": pa.float64(),
        "boolean": pa.bool_(), "date": pa.date32(), "timestamp with time zone": pa.timestamp("us", "UTC"),
        "timestamp without time zone": pa.timestamp("us"),
    }  # fmt: skip
    decimals = [name for name, kind in extract.columns if kind == "numeric"]
    scales: dict[str, int] = {}
    if decimals:
        condition = f" WHERE ({extract.where}\n)" if extract.where else ""
        wanted = ", ".join(f"coalesce(max(scale({name})), 0)" for name in decimals)
        scales = dict(zip(decimals, session.rows(f"SELECT {wanted} FROM {extract.table}{condition}")[0], strict=True))
    return pa.schema(
        [
            (name, pa.decimal128(DECIMAL_DIGITS, scales[name]) if name in scales else types.get(kind, pa.string()))
            for name, kind in extract.columns
        ]
    )
