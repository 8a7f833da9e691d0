"""A dataset's contract as frozen types: what one YAML file under config/datasets declares."""

import codecs
import hashlib
import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from shared.functions import DERIVATIONS, WINDOW_FUNCTIONS
from shared.naming import DATASET_NAME_CHARACTERS_MAX, Name
from shared.rules import Rule

# Columns that every clean table has beside those the contract declares.
LINEAGE_COLUMNS = (
    "_object_id", "_line_number", "_row_hash", "_key_hash", "_version", "_first_seen_at", "_loaded_at", "_stale", "_rescued",
)  # fmt: skip

Disposition = Literal["replace", "merge", "append"]
ColumnType = Literal["text", "integer", "decimal", "double", "boolean", "date", "timestamp", "json"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Source(_Part):
    """Where the ingestor fetches the dataset."""

    url: str  # http(s)://, file:// or a folder
    poll_interval_seconds: float = Field(gt=0)
    write_disposition: Disposition = "replace"

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: str) -> str:
        if not re.match(r"(https?|file)://", url):
            raise ValueError(f"{url!r} is neither http://, https:// nor file:// (a folder: file:///path/to/folder/)")
        return url


class Drops(_Part):
    """How files that people drop into the bucket are applied."""

    write_disposition: Disposition = "merge"


def _known_encoding(name: str) -> str:
    """Return Python's name of an encoding; raises ValueError for what is none, or none of text (base64, zip, …)."""
    sample = "a;1\n"
    try:
        if codecs.getincrementaldecoder(name)().decode(sample.encode(name), final=True) == sample:
            return codecs.lookup(name).name
    except (LookupError, ValueError, TypeError, AttributeError):
        pass
    raise ValueError(f"{name!r} is no text encoding that Python knows (utf-8, utf-16, latin-1, cp1252, shift_jis, …)")


Encoding = Annotated[str, AfterValidator(_known_encoding)]


class CsvFormat(_Part):
    """A CSV dialect, declared and never sniffed."""

    type: Literal["csv"]
    encoding: Encoding = "utf-8"
    delimiter: str = Field(",", min_length=1, max_length=1)
    quote: str | None = Field('"', min_length=1, max_length=1, description="null: cells are never quoted.")
    escape: str | None = Field(None, min_length=1, max_length=1, description="Takes the next character as it is.")
    header: bool = Field(True, description="false: the cells are the contract's columns, in their order.")
    skip_lines: int = Field(0, ge=0, le=1000, description="Lines before the header, or before the first record.")
    comment: str | None = Field(
        None, min_length=1, max_length=10, description="Lines that begin with it are no records."
    )
    null_values: tuple[str, ...] = ("",)
    decimal: Literal[".", ","] = "."
    thousands: str | None = Field(None, min_length=1, max_length=1, description="Between groups of three digits.")

    @model_validator(mode="after")
    def _characters_differ(self) -> "CsvFormat":
        marks = [mark for mark in (self.delimiter, self.quote, self.escape, self.comment) if mark is not None]
        if len(set(marks)) < len(marks) or any(c in mark for mark in marks for c in "\n\r\0"):
            raise ValueError("delimiter, quote, escape and comment must differ from each other and hold no line break")
        if self.thousands and (self.thousands == self.decimal or self.thousands in "+-0123456789"):
            raise ValueError(
                f"thousands: {self.thousands!r} cannot part the digits of a number; usual are . , ' and a space"
            )
        return self


class JsonFormat(_Part):
    """A JSON array of objects; a column's `from` is a dotted path into each."""

    type: Literal["json"]
    encoding: Encoding = "utf-8"


class JsonLinesFormat(_Part):
    """One JSON object a line; a column's `from` is a dotted path into each."""

    type: Literal["jsonl"]
    encoding: Encoding = "utf-8"


class Column(_Part):
    """A typed column and where its text comes from."""

    name: Name
    source: str = Field("", alias="from", description="Header name in CSV, dotted path in JSON; default: the name.")
    type: ColumnType
    format: str | None = Field(None, description="strptime pattern of dates and timestamps; default ISO 8601.")
    precision: int = Field(18, ge=1, le=38)
    scale: int = Field(4, ge=0, le=18)
    nullable: bool = False
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
    moment = datetime(2021, 11, 23)  # noqa: DTZ001
    try:
        return datetime.strptime(moment.strftime(pattern), pattern).date() == moment.date()  # noqa: DTZ007
    except ValueError:
        return False


class Derived(_Part):
    """A column computed from the same row by a named function (shared/functions.py)."""

    name: Name
    function: str
    of: tuple[str, ...]

    @field_validator("of", mode="before")
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


class WindowedColumn(_Part):
    """A column that depends on other rows of its series, or an expression over columns that do."""

    name: Name
    function: Literal["daily_change", "trailing_mean", "expression"]
    of: str | None = None
    days: int = Field(1, ge=1, le=366)
    sql: str | None = None
    type: ColumnType | None = None

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


class Windowed(_Part):
    """Series (`partition_by`), their order and the columns computed along them."""

    partition_by: tuple[str, ...]
    order_by: str
    columns: tuple[WindowedColumn, ...]

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


class SchemaContract(_Part):
    """What to do about columns that the contract does not know, in dlt's words."""

    columns: Literal["freeze", "discard_row", "discard_value"] = "discard_value"


class Limits(_Part):
    """How much a file may be or do before it is refused as a whole."""

    bad_rows_max_share: float = Field(0.05, ge=0, le=1)
    removed_rows_max_share: float = Field(0.20, ge=0, le=1)
    file_bytes_max: int = Field(10_000_000_000, ge=1, description="As landed, compressed or not.")
    decompressed_bytes_max: int = Field(10_000_000_000, ge=1, description="Of a gzip or zip file, unpacked.")
    decompression_ratio_max: float = Field(100, ge=1, description="Unpacked by packed bytes, looked at from 64 MiB on.")
    rows_max: int = Field(100_000_000, ge=1)
    record_bytes_max: int = Field(1_048_576, ge=1)


class Partitioning(_Part):
    """Range partitions of the clean table."""

    column: str
    by: Literal["year"] = "year"
    first_year: int = Field(alias="from", ge=1900, le=2200)
    last_year: int = Field(alias="to", ge=1900, le=2200)

    @model_validator(mode="after")
    def _in_order(self) -> "Partitioning":
        if self.first_year > self.last_year:
            raise ValueError(f"`from` {self.first_year} is after `to` {self.last_year}")
        return self


class Dataset(_Part):
    """One dataset: everything particular to it."""

    name: Name = Field(alias="dataset")
    description: str = ""
    source: Source | None = None
    drops: Drops = Drops()
    format: Annotated[CsvFormat | JsonFormat | JsonLinesFormat, Field(discriminator="type")]
    columns: tuple[Column, ...] = Field(min_length=1)
    primary_key: tuple[str, ...] = ()
    schema_contract: SchemaContract = SchemaContract()
    derived: tuple[Derived, ...] = ()
    windowed: Windowed | None = None
    rules: tuple[Rule, ...] = ()
    limits: Limits = Field(default_factory=lambda: Limits.model_validate({}))
    partitioning: Partitioning | None = None
    change_groups: tuple[str, ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()
    skip_superseded: bool = False

    @model_validator(mode="after")
    def _names_exist(self) -> "Dataset":
        declared = [c.name for c in self.columns]
        computed = [d.name for d in self.derived]
        windowed = [w.name for w in self.windowed.columns] if self.windowed else []
        everything = [*declared, *computed, *windowed, "data_quality_score"]
        repeated = sorted({name for name in everything if everything.count(name) > 1})
        if repeated:
            raise ValueError(f"declared more than once: {', '.join(repeated)}")
        if len(self.name) > DATASET_NAME_CHARACTERS_MAX:
            raise ValueError(
                f"the name has {len(self.name)} characters, at most {DATASET_NAME_CHARACTERS_MAX} are possible"
            )
        rules = [rule.name for rule in self.rules]
        twice = sorted({name for name in rules if rules.count(name) > 1})
        if twice:
            raise ValueError(f"rules of the same name: {', '.join(twice)}")
        self._require("primary_key", self.primary_key, declared)
        self._require("change_groups", self.change_groups, [*everything, "_first_seen_at"])
        for index in self.indexes:
            self._require("indexes", index, everything)
        for position, derived in enumerate(self.derived):
            self._require(f"derived.{derived.name}.of", derived.of, [*declared, *computed[:position]])
        if self.windowed:
            self._require("windowed.partition_by", self.windowed.partition_by, declared)
            self._require("windowed.order_by", (self.windowed.order_by,), declared)
            if {*self.windowed.partition_by, self.windowed.order_by} != set(self.primary_key):
                raise ValueError("windowed: partition_by and order_by together must be the primary_key")
            if self.column(self.windowed.order_by).type != "date":
                raise ValueError(f"windowed.order_by: {self.windowed.order_by} must be a date")
            for position, column in enumerate(self.windowed.columns):
                self._require(
                    f"windowed.{column.name}.of",
                    (column.of,) if column.of else (),
                    [*declared, *windowed[:position]],
                )
        if self.partitioning:
            self._require("partitioning.column", (self.partitioning.column,), self.primary_key)
            if self.column(self.partitioning.column).type not in ("date", "timestamp"):
                raise ValueError(f"partitioning.column: {self.partitioning.column} must be a date or a timestamp")
        return self

    @model_validator(mode="after")
    def _key_fits_disposition(self) -> "Dataset":
        dispositions = {self.drops.write_disposition} | ({self.source.write_disposition} if self.source else set())
        if "append" in dispositions:
            if dispositions != {"append"}:
                raise ValueError("an append dataset takes both its source and its drops as `append`")
            if self.windowed:
                raise ValueError("windowed columns need keyed rows; an append dataset has none")
            if self.primary_key:
                raise ValueError("an append dataset has no primary_key: its identity is (object, record)")
        elif not self.primary_key:
            raise ValueError("`primary_key` is missing: replace and merge tell rows apart by it")
        for name in self.primary_key:
            if self.column(name).nullable:
                raise ValueError(f"primary_key column {name} must not be nullable; give it a `default`")
        for name in (*self.primary_key, *(n for n in self.change_groups if n in {c.name for c in self.columns})):
            if self.column(name).type in ("json", "double"):
                raise ValueError(f"{name} is of type {self.column(name).type}: equality of such values is no safe key")
        return self

    @staticmethod
    def _require(field: str, names: tuple[str, ...], known: "list[str] | tuple[str, ...]") -> None:
        for name in names:
            if name not in known:
                raise ValueError(f"{field} names {name!r}, which is not among: {', '.join(known)}")

    def column(self, name: str) -> Column:
        """Return a declared column."""
        return next(c for c in self.columns if c.name == name)

    @property
    def references(self) -> tuple[Rule, ...]:
        """The rules that look a value up in another dataset."""
        return tuple(rule for rule in self.rules if rule.references)

    @property
    def rule_types(self) -> dict[str, str]:
        """The types of the columns that rules may be about: declared and derived ones."""
        declared: dict[str, str] = {c.name: c.type for c in self.columns}
        return declared | {d.name: DERIVATIONS[d.function].column_type for d in self.derived}

    @property
    def is_append(self) -> bool:
        """Whether rows are told apart by (object, record) and never replaced by key."""
        return self.drops.write_disposition == "append"

    @property
    def raw_table(self) -> str:
        """Qualified name of the raw history."""
        return f"bronze.raw_{self.name}"

    @property
    def clean_table(self) -> str:
        """Qualified name of the clean table."""
        return f"silver.clean_{self.name}"

    @property
    def fingerprint(self) -> str:
        """Digest of what decides a row's result: format, columns, derivations, windows, rules and their penalties."""
        parts = self.model_dump_json(include={"format", "columns", "derived", "windowed", "rules"})
        return hashlib.sha256(parts.encode()).hexdigest()[:16]

    def disposition_of(self, declared: str | None) -> Disposition:
        """Return how an object is applied: as its metadata says, else as a drop."""
        if declared in ("replace", "merge", "append") and (declared == "append") == self.is_append:
            return declared  # type: ignore[return-value]
        return self.drops.write_disposition


def parse_timestamp(text: str, pattern: str | None) -> datetime:
    """Read a timestamp by its declared pattern, or ISO 8601."""
    return datetime.strptime(text, pattern) if pattern else datetime.fromisoformat(text)  # noqa: DTZ007
