"""The columns of a dataset: declared ones, ones derived from their row, ones that depend on other rows of their series."""

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from shared.functions import DERIVATIONS, WINDOW_FUNCTIONS
from shared.naming import Name
from shared.part import Part

ColumnType = Literal["text", "integer", "decimal", "double", "boolean", "date", "timestamp", "json"]


class Column(Part):
    """A typed column and where its text comes from."""

    name: Name = Field(description="Its name in the clean table.")
    source: str = Field("", alias="from", description="Header name in CSV, dotted path in JSON; default: the name.")
    type: ColumnType = Field(description="Type of the values; text that does not cast sets the row aside.")
    format: str | None = Field(None, description="strptime pattern of dates and timestamps; default ISO 8601.")
    precision: int = Field(18, ge=1, le=38, description="Digits of a decimal.")
    scale: int = Field(4, ge=0, le=18, description="Digits of a decimal behind its point.")
    nullable: bool = Field(False, description="A value may be absent.")
    default: str | None = Field(None, description="Text to read instead of an absent value.")
    optional: bool = Field(False, description="The file may lack the column altogether.")

    @model_validator(mode="after")
    def _format_fits(self) -> "Column":
        if self.format and self.type not in ("date", "timestamp"):
            raise ValueError(f"`format` is for dates and timestamps, not for {self.type}")
        if self.format and not _reads_back(self.format):
            raise ValueError(f"`format`: {self.format!r} is no strptime pattern that tells one day from another")
        if self.optional and not self.nullable and self.default is None:
            raise ValueError("an optional column needs `nullable: true` or a `default`")
        return self

    @property
    def origin(self) -> str:
        """The column's name in the file."""
        return self.source or self.name


def _reads_back(pattern: str) -> bool:
    """Say whether a strptime pattern gives back the date that it wrote."""
    moment = datetime(2021, 11, 23, tzinfo=UTC)  # with a zone, for %z to write
    try:
        return datetime.strptime(moment.strftime(pattern), pattern).date() == moment.date()  # noqa: DTZ007
    except ValueError:
        return False


class Derived(Part):
    """A column computed from the same row by a named function (shared/functions.py)."""

    name: Name = Field(description="Its name in the clean table.")
    function: str = Field(description="A function of the table in README.md, Derived columns.")
    of: tuple[str, ...] = Field(description="The columns that it takes, declared or derived before it.")

    @field_validator("of", mode="before", json_schema_input_type=str | tuple[str, ...])
    @classmethod
    def _one_or_many(cls, of: Any) -> Any:
        return (of,) if isinstance(of, str) else of

    @model_validator(mode="after")
    def _known(self) -> "Derived":
        known = DERIVATIONS.get(self.function)
        if known is None:
            raise ValueError(f"no function is called {self.function!r}; there are: {', '.join(sorted(DERIVATIONS))}")
        if not known.arguments_min <= len(self.of) <= known.arguments_max:
            raise ValueError(f"{self.function} takes {known.arity}, {len(self.of)} given in `of`")
        return self


class WindowedColumn(Part):
    """A column that depends on other rows of its series, or an expression over columns that do."""

    name: Name = Field(description="Its name in the clean table.")
    function: Literal["daily_change", "trailing_mean", "expression"] = Field(
        description="daily_change: minus the calendar day before; trailing_mean: of the last `days` days; "
        "expression: `sql` over the row's columns and the windowed ones before it."
    )
    of: str | None = Field(None, description="The column that it reads along the series.")
    days: int = Field(1, ge=1, le=366, description="Days of a trailing_mean, its own included.")
    sql: str | None = Field(None, description="The SQL (DuckDB's) of an expression.")
    type: ColumnType | None = Field(None, description="Type of an expression's values.")

    @model_validator(mode="after")
    def _complete(self) -> "WindowedColumn":
        if self.function == "expression":
            if not self.sql or not self.type:
                raise ValueError("an expression needs `sql` and `type`")
        elif not self.of:
            raise ValueError(f"{self.function} needs `of`, the column it reads")
        return self

    @property
    def column_type(self) -> ColumnType:
        """The type of the values."""
        return self.type or WINDOW_FUNCTIONS[self.function]


class Windowed(Part):
    """Series (`partition_by`), their order and the columns computed along them."""

    partition_by: tuple[str, ...] = Field(description="Columns of the primary_key that name a series.")
    order_by: str = Field(description="The date of the primary_key along which a series runs.")
    columns: tuple[WindowedColumn, ...] = Field(description="The columns, each after those that it reads.")

    @property
    def reach_days(self) -> int:
        """How many days after a change a windowed value can still differ."""
        reach: dict[str, int] = {}
        for column in self.columns:
            if column.function == "expression":
                continue
            own = 1 if column.function == "daily_change" else column.days - 1
            reach[column.name] = own + reach.get(column.of or "", 0)
        return max(reach.values(), default=0)


def parse_timestamp(text: str, pattern: str | None) -> datetime:
    """Read a timestamp by its declared pattern, or ISO 8601."""
    return datetime.strptime(text, pattern) if pattern else datetime.fromisoformat(text)  # noqa: DTZ007
