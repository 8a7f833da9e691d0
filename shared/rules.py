"""Rules on rows as a contract declares them: kinds, severities, and what is wrong with a rule for the columns at hand.

A rule states its kind with what the kind needs, `range: {of: confirmed, min: 0}`; a kind that needs columns alone takes
them as they are, `not_null: title`. An absent value breaks `not_null` only, and an expression that it makes NULL.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    StrictFloat,
    StrictInt,
    field_validator,
    model_validator,
)

from shared.naming import Name
from shared.part import Part

Severity = Literal["warn", "quarantine", "reject"]
Bound = StrictInt | StrictFloat | datetime | date
Location = tuple[int | str, ...]

NUMBERS = ("integer", "decimal", "double")
MOMENTS = ("date", "timestamp")


def _as_columns(given: Any) -> Any:
    return {"of": given} if isinstance(given, str | list | tuple) else given


def _as_tuple(given: Any) -> Any:
    return (given,) if isinstance(given, str) else given


# One column, or several: what YAML may hold, which the schema for editors shows.
_Named = str | Annotated[tuple[str, ...], Field(min_length=1)]
Columns = Annotated[
    tuple[str, ...],
    Field(min_length=1),
    BeforeValidator(_as_tuple, json_schema_input_type=_Named),
    Field(description="The column, or several."),
]
_Column = Annotated[str, Field(description="The column.")]


class Of(Part):
    """The columns that a rule is about, and nothing else to say."""

    of: Columns


class Unique(Part):
    """A value, or several together, that no two rows share."""

    of: Columns
    within: Literal["file", "table"] = Field(
        "file", description="file: its earlier lines; table: all of its rows, as a finding after the merge."
    )


class Range(Part):
    """The least and the largest value, both allowed."""

    of: _Column
    min: Bound | None = Field(None, description="The least number, date or time.")
    max: Bound | None = Field(None, description="The largest number, date or time.")

    @field_validator("min", "max", mode="before")
    @classmethod
    def _is_a_bound(cls, bound: Any) -> Any:
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int | float | date)):
            raise ValueError(f"{bound!r} is neither a number nor a date; write dates without quotes: 2020-01-31")
        return bound

    @model_validator(mode="after")
    def _bounds_something(self) -> "Range":
        _in_order(self.min, self.max)
        return self


class Length(Part):
    """The least and the largest number of characters, both allowed."""

    of: _Column
    min: int | None = Field(None, ge=0, description="The fewest characters.")
    max: int | None = Field(None, ge=0, description="The most characters.")

    @model_validator(mode="after")
    def _bounds_something(self) -> "Length":
        _in_order(self.min, self.max)
        return self


def _in_order(least: Any, largest: Any) -> None:
    if least is None and largest is None:
        raise ValueError("`min`, `max` or both must say what is allowed")
    if None in (least, largest):
        return
    try:
        is_empty = least > largest
    except TypeError:
        raise ValueError("`min` and `max` must both be numbers, both dates or both times") from None
    if is_empty:
        raise ValueError(f"`min` {least} is above `max` {largest}: no value would do")


class Pattern(Part):
    """A regular expression (RE2) that the whole text must match."""

    of: _Column
    matches: str = Field(min_length=1, description="The regular expression.")


class AcceptedValues(Part):
    """The values there may be."""

    of: _Column
    values: tuple[StrictInt | str, ...] = Field(min_length=1, description="The values, in any order.")


class References(Part):
    """A value that is the key of another dataset: `in: users.user_id`."""

    of: _Column
    key: str = Field(alias="in", description="A dataset and its key column: users.user_id.")

    @field_validator("key")
    @classmethod
    def _names_a_column(cls, key: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*", key):
            raise ValueError(f"{key!r} must be a dataset and its key column, as in users.user_id")
        return key

    @property
    def parent(self) -> str:
        """The dataset whose key it is."""
        return self.key.partition(".")[0]

    @property
    def parent_column(self) -> str:
        """That dataset's key column."""
        return self.key.partition(".")[2]


_Of = Annotated[Of, BeforeValidator(_as_columns, json_schema_input_type=_Named | Of)]
KINDS = (
    "check", "not_null", "unique", "range", "length", "pattern", "accepted_values", "email", "phone", "url", "references",
)  # fmt: skip


class Rule(Part):
    """A condition on rows, how grave it is to break it, and what that costs."""

    name: Name = Field("", description="What results, logs and reasons call it; default: its kind and columns.")
    severity: Severity = Field(
        "warn", description="warn keeps the row, quarantine sets it aside, reject refuses the file."
    )
    penalty: float = Field(0, ge=0, le=100, description="Points off the row's score.")
    threshold: float | None = Field(
        None, ge=0, le=1, description="Share of broken rows above which a warning fails, else the file is rejected."
    )
    check: str | None = Field(None, alias="expression", description="SQL boolean over typed and derived columns.")
    not_null: _Of | None = Field(None, description="These have a value.")
    unique: Annotated[Unique, BeforeValidator(_as_columns, json_schema_input_type=_Named | Unique)] | None = Field(
        None, description="No two rows share the value, or the values together."
    )
    range: Range | None = Field(None, description="From `min` to `max`, both allowed.")
    length: Length | None = Field(None, description="So many characters.")
    pattern: Pattern | None = Field(None, description="The whole text matches a regular expression (RE2).")
    accepted_values: AcceptedValues | None = Field(None, description="One of these.")
    email: _Of | None = Field(None, description="The address of an e-mail, by its syntax.")
    phone: _Of | None = Field(None, description="A possible phone number.")
    url: _Of | None = Field(None, description="A whole http, https or ftp address.")
    references: References | None = Field(None, description="A row of the other dataset has, or once had, this key.")

    @model_validator(mode="after")
    def _of_one_kind(self) -> "Rule":
        kinds = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            given = " and ".join(kinds) or "none"
            raise ValueError(f"a rule is of one kind, here is {given}; there are: {', '.join(KINDS)}")
        if not self.name:
            if self.check is not None:
                raise ValueError("a `check` needs a `name`: a word for what it says")
            object.__setattr__(self, "name", "_".join((self.kind, *self.columns))[:63])
        if self.references and "severity" not in self.model_fields_set:
            object.__setattr__(self, "severity", "quarantine")
        self._refuse_what_depends_on_other_rows()
        return self

    def _refuse_what_depends_on_other_rows(self) -> None:
        """Keep verdicts that other objects could change away from what happens to a row, or to its file."""
        if self.unique and self.unique.within == "table" and (self.severity != "warn" or self.penalty):
            raise ValueError(
                "`within: table` is a finding about the table after a merge and takes `severity: warn` without a "
                "penalty: whether a row is kept must not depend on which other rows came first. "
                "`within: file` may quarantine or reject"
            )
        if self.references and (self.severity != "quarantine" or self.penalty or self.threshold is not None):
            raise ValueError(
                "`references` takes `severity: quarantine` and neither penalty nor threshold: an orphan waits in "
                "quarantine until its parent comes, and a file is never judged by which of two came first"
            )

    @property
    def kind(self) -> str:
        """What the rule asks for, as one of KINDS."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it is about; none for an expression, which says so itself."""
        declared = getattr(self, self.kind)
        return () if isinstance(declared, str) else _as_tuple(declared.of)

    @property
    def text(self) -> str:
        """The condition in words, for messages and logs; an expression as it stands."""
        if self.check is not None:
            return self.check
        declared = getattr(self, self.kind).model_dump(by_alias=True, exclude_none=True, exclude={"of"})
        said = ", ".join(f"{name} {_listed(value)}" for name, value in declared.items())
        return f"{self.kind} of {', '.join(self.columns)}" + (f": {said}" if said else "")


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def rule_problems(
    rules: tuple[Rule, ...], types: Mapping[str, str], key: tuple[str, ...]
) -> Iterator[tuple[Location, str]]:
    """Yield what is wrong with rules for columns of these types: where in the YAML, and what to do."""
    for index, rule in enumerate(rules):
        place: Location = ("rules", index, rule.kind)
        missing = [name for name in rule.columns if name not in types]
        if missing:
            yield place, f"no column is called {missing[0]!r}; there are: {', '.join(types)}"
            continue
        if rule.unique and rule.unique.within == "table" and not key:
            yield place, "`within: table` compares keys, and an append dataset has none; use `within: file`"
        for name in rule.columns:
            misfit = _misfit(rule, types[name])
            if misfit:
                yield place, f"{name} is of type {types[name]}: {misfit}"


def _misfit(rule: Rule, given: str) -> str | None:
    """Return why a column of this type cannot have the rule, if so."""
    if rule.kind in ("length", "pattern", "email", "phone", "url") and given != "text":
        return f"`{rule.kind}` is for text"
    unequal = {"unique": ("json", "double"), "references": ("json", "double", "decimal")}
    if given in unequal.get(rule.kind, ()):
        return f"`{rule.kind}` compares values, and equality of such ones is not to be relied on"
    if rule.accepted_values:
        wanted = {"text": str, "integer": int}.get(given)
        if wanted is None:
            return "`accepted_values` is for text and integers"
        strange = [v for v in rule.accepted_values.values if not isinstance(v, wanted)]
        return f"{strange[0]!r} cannot be one of its values; mind the quotes" if strange else None
    return _unbounded(rule.range, given) if rule.range else None


def _unbounded(declared: Range, given: str) -> str | None:
    for bound in (declared.min, declared.max):
        is_moment = isinstance(bound, date)
        if bound is None or (given in MOMENTS and is_moment) or (given in NUMBERS and not is_moment):
            continue
        if given in NUMBERS or given in MOMENTS:
            return f"{bound} cannot bound it"
        return "`range` is for numbers, dates and timestamps; `length` counts characters"
    return None
