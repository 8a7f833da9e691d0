"""A dataset's contract as frozen types: what one YAML file under config/datasets declares."""

import hashlib
import re
from functools import cached_property
from typing import Literal

from pydantic import Field, field_validator, model_validator

from shared.columns import Column, Derived, Windowed
from shared.expectations import Expectation
from shared.formats import Format
from shared.functions import DERIVATIONS
from shared.naming import DATASET_NAME_CHARACTERS_MAX, Name, variant_name
from shared.part import Part
from shared.rules import Rule

# Columns that every clean table has beside those the contract declares.
LINEAGE_COLUMNS = (
    "_object_id", "_line_number", "_row_hash", "_key_hash", "_version", "_first_seen_at", "_loaded_at", "_stale", "_rescued",
)  # fmt: skip

Disposition = Literal["replace", "merge", "append"]
_DISPOSITIONS = (
    "replace: a full snapshot, keys that it lacks are removed; merge: some rows, new ones and corrections; "
    "append: every file adds its rows."
)


class Source(Part):
    """Where the ingestor fetches the dataset."""

    url: str = Field(description="What is fetched: http://, https://, file:// or file:///path/to/folder/.")
    poll_interval_seconds: float = Field(gt=0, description="Pause between two polls.")
    write_disposition: Disposition = Field("replace", description=f"How what is fetched is applied. {_DISPOSITIONS}")

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: str) -> str:
        if not re.match(r"(https?|file)://", url):
            raise ValueError(f"{url!r} is neither http://, https:// nor file:// (a folder: file:///path/to/folder/)")
        return url


class Drops(Part):
    """How files that people drop into the bucket are applied."""

    write_disposition: Disposition = Field("merge", description=f"How dropped files are applied. {_DISPOSITIONS}")


SchemaMode = Literal["evolve", "freeze", "discard_row", "discard_value"]


class SchemaContract(Part):
    """What to do about tables, columns and values that do not fit the contract, in dlt's words."""

    tables: SchemaMode = Field(default="evolve", description="When the dataset's tables are missing or lack columns.")
    columns: SchemaMode = Field(default="discard_value", description="When a file has columns that are not declared.")
    data_type: SchemaMode | Literal["quarantine"] = Field(
        default="quarantine", description="When a cell is not of its column's type; keys are always set aside."
    )

    @property
    def may_evolve(self) -> bool:
        """Whether files may bring columns that the contract does not declare."""
        return "evolve" in (self.columns, self.data_type)


class Limits(Part):
    """How much a file may be or do before it is refused as a whole."""

    bad_rows_max_share: float = Field(
        0.05, ge=0, le=1, description="Share of quarantined rows above which the file is rejected."
    )
    removed_rows_max_share: float = Field(
        0.20, ge=0, le=1, description="Share of the last snapshot's rows above which a removal is held for `approve`."
    )
    file_bytes_max: int = Field(10_000_000_000, ge=1, description="As landed, compressed or not.")
    decompressed_bytes_max: int = Field(10_000_000_000, ge=1, description="Of a gzip or zip file, unpacked.")
    decompression_ratio_max: float = Field(100, ge=1, description="Unpacked by packed bytes, looked at from 64 MiB on.")
    rows_max: int = Field(100_000_000, ge=1, description="Records of one file.")
    record_bytes_max: int = Field(1_048_576, ge=1, description="Bytes of one record.")
    evolved_columns_max: int = Field(100, ge=0, le=1000, description="Columns that files may add to the dataset.")


class Partitioning(Part):
    """Range partitions of the clean table."""

    column: str = Field(description="A date or timestamp of the primary_key.")
    by: Literal["year"] = Field("year", description="The span of one partition.")
    first_year: int = Field(alias="from", ge=1900, le=2200, description="First year with a partition of its own.")
    last_year: int = Field(alias="to", ge=1900, le=2200, description="Last year with a partition of its own.")

    @model_validator(mode="after")
    def _in_order(self) -> "Partitioning":
        if self.first_year > self.last_year:
            raise ValueError(f"`from` {self.first_year} is after `to` {self.last_year}")
        return self


class Dataset(Part):
    """One dataset: everything particular to it."""

    name: Name = Field(alias="dataset", description="The file's name without .yaml; tables are called after it.")
    description: str = Field("", description="What the rows are, for people.")
    source: Source | None = Field(
        None, description="Where the ingestor fetches it; without one files are dropped only."
    )
    drops: Drops = Field(Drops.model_validate({}), description="How files that people drop are applied.")
    format: Format = Field(description="What a file looks like; never guessed.")
    columns: tuple[Column, ...] = Field(min_length=1, description="The typed columns that are read from the file.")
    primary_key: tuple[str, ...] = Field((), description="Columns that tell rows apart; none for `append`.")
    schema_contract: SchemaContract = Field(
        SchemaContract.model_validate({}), description="What happens to files that are not as declared."
    )
    derived: tuple[Derived, ...] = Field((), description="Columns computed from the same row by named functions.")
    windowed: Windowed | None = Field(None, description="Columns that depend on other rows of their series.")
    rules: tuple[Rule, ...] = Field((), description="What is asked of rows, how grave a breach is, and what it costs.")
    expectations: tuple[Expectation, ...] = Field((), description="What is expected of a delivery as a whole.")
    limits: Limits = Field(
        default_factory=lambda: Limits.model_validate({}), description="What refuses or holds a file as a whole."
    )
    partitioning: Partitioning | None = Field(None, description="Range partitions of the clean table.")
    change_groups: tuple[str, ...] = Field((), description="Columns by which gold is told what a change touched.")
    indexes: tuple[tuple[str, ...], ...] = Field((), description="Further indexes of the clean table.")
    skip_superseded: bool = Field(
        False,
        description="Of a backlog of snapshots only the newest is read, at the cost of the others' last good rows.",
    )

    @model_validator(mode="after")
    def _names_exist(self) -> "Dataset":
        declared = [c.name for c in self.columns]
        computed = [d.name for d in self.derived]
        windowed = [w.name for w in self.windowed.columns] if self.windowed else []
        variants = [variant_name(name) for name in declared if self.schema_contract.data_type == "evolve"]
        everything = [*declared, *computed, *windowed, *variants, "data_quality_score"]
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
        everything = [name for name in everything if name not in variants]
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

    def delivers_by(self, disposition: Disposition) -> bool:
        """Say whether objects of this disposition are deliveries, of which things are expected; others are corrections."""
        declared = self.source.write_disposition if self.source else self.drops.write_disposition
        return disposition in ("replace", declared)

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

    @cached_property
    def fingerprint(self) -> str:
        """Digest of what decides a row's result: format, columns, derivations, windows, rules, what may not fit."""
        parts = self.model_dump_json(include={"format", "columns", "derived", "windowed", "rules", "schema_contract"})
        return hashlib.sha256(parts.encode()).hexdigest()[:16]

    def disposition_of(self, declared: str | None) -> Disposition:
        """Return how an object is applied: as its metadata says, else as a drop."""
        if declared in ("replace", "merge", "append") and (declared == "append") == self.is_append:
            return declared  # type: ignore[return-value]
        return self.drops.write_disposition
