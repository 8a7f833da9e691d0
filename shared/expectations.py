"""What a contract expects of its deliveries: of a file as a whole, beside those before it.

An expectation states its kind with what the kind needs, as a rule does. It is a finding and never a verdict: it looks at
history and at clocks, and what becomes of a row or a file must depend on neither.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import Field, model_validator

from shared.naming import Name
from shared.part import Part
from shared.rules import MOMENTS, NUMBERS, Columns, Location, Rule

ExpectationSeverity = Literal["warn", "error"]
# Checks that silver logs under names of its own.
RESERVED_NAMES = ("readable_rows",)
HISTORY_MAX = 30
_HISTORY = "So many of the newest deliveries before it are compared with."


class Volume(Part):
    """How many rows a delivery has, and how far that is from the median of those before it."""

    rows_min: int | None = Field(None, ge=0, description="Fewest rows.")
    rows_max: int | None = Field(None, ge=0, description="Most rows.")
    change_share_max: float | None = Field(None, ge=0, description="Largest share by which the median is missed.")
    history: int = Field(7, ge=1, le=HISTORY_MAX, description=_HISTORY)

    @model_validator(mode="after")
    def _asks_something(self) -> "Volume":
        if self.rows_min is None and self.rows_max is None and self.change_share_max is None:
            raise ValueError("`rows_min`, `rows_max` or `change_share_max` must say what is expected")
        return self


class Freshness(Part):
    """How old the newest value of a column may be when its file is landed."""

    of: str = Field(description="A date or a timestamp.")
    days_max: int = Field(ge=0, description="Days between its newest value and the landing.")


class Arrival(Part):
    """How long ago the dataset may have landed something; asked of the clock, in `status` and by alerts."""

    hours_max: float = Field(gt=0, description="Hours without anything landed.")
    or_unchanged: bool = Field(False, description="A poll that found the source unchanged counts as well.")


class ShareMax(Part):
    """The largest share of the rows there were before."""

    share_max: float = Field(ge=0, le=1, description="Share of the rows there were, 0 to 1.")


class Unknown(Part):
    """The largest share of rows without a value."""

    of: Columns = Field(description="Columns, each judged by itself.")
    share_max: float = Field(ge=0, le=1, description="Share of the delivery's rows, 0 to 1.")


class Drift(Part):
    """How far a column's distribution may be from those before it: the Kolmogorov-Smirnov distance, 0 to 1."""

    of: Columns = Field(description="Columns of numbers, each judged by itself.")
    distance_max: float = Field(0.1, gt=0, le=1, description="Largest distance from the mean of the deliveries before.")
    history: int = Field(7, ge=1, le=HISTORY_MAX, description=_HISTORY)


class Gap(Part):
    """How many days may lie between two days that a file has, and between the newest days of two deliveries."""

    of: str = Field(description="A date or a timestamp.")
    days_max: int = Field(1, ge=1, description="Days from one to the next; 1: none is missing.")


class Stops(Part):
    """A column whose sum by day must not end in nothing while the days go on."""

    of: Columns = Field(description="Columns of numbers, each judged by itself.")
    along: str = Field(description="A date or a timestamp: the days.")
    days_min: int = Field(1, ge=1, description="So many of the newest days without anything are a stop.")


KINDS = ("volume", "freshness", "arrival", "removed", "restated", "unknown", "drift", "gap", "columns", "stops")


class Expectation(Part):
    """One expectation, and how grave it is when it fails."""

    name: Name = Field("", description="What results and logs call it; default: its kind and column.")
    severity: ExpectationSeverity = Field(
        "warn", description="How grave it is; `error` lets `medallion quality` exit with 1."
    )
    volume: Volume | None = Field(None, description="So many rows, and not far from the deliveries before.")
    freshness: Freshness | None = Field(
        None, description="The newest value of a column is not old when the file is landed."
    )
    arrival: Arrival | None = Field(None, description="Something was landed lately.")
    removed: ShareMax | None = Field(None, description="A snapshot removes no larger share of the rows.")
    restated: ShareMax | None = Field(None, description="It changes no larger share of the rows.")
    unknown: Unknown | None = Field(None, description="No larger share of the rows lacks a value.")
    drift: Drift | None = Field(None, description="Values are spread as in the deliveries before.")
    gap: Gap | None = Field(None, description="No days are missing.")
    columns: Literal["kept"] | None = Field(None, description="kept: no column of the delivery before is gone.")
    stops: Stops | None = Field(None, description="A series does not end in nothing while the days go on.")

    @model_validator(mode="after")
    def _of_one_kind(self) -> "Expectation":
        kinds = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            given = " and ".join(kinds) or "none"
            raise ValueError(f"an expectation is of one kind, here is {given}; there are: {', '.join(KINDS)}")
        return self

    @property
    def kind(self) -> str:
        """What is expected, as one of KINDS."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def about(self) -> tuple[str, ...]:
        """The columns that it is about, each of which is judged by itself; none where it is about the whole file."""
        declared = getattr(self, self.kind)
        of = getattr(declared, "of", ())
        return (of,) if isinstance(of, str) else of

    @property
    def checks(self) -> tuple[str, ...]:
        """What results and logs call it: one name a column that it is about."""
        if not self.about:
            return (self.name or self.kind,)
        if self.name and len(self.about) == 1:
            return (self.name,)
        return tuple(f"{self.name or self.kind}_{column}" for column in self.about)


def expectation_problems(
    expectations: tuple[Expectation, ...], types: Mapping[str, str], rules: tuple[Rule, ...], is_append: bool
) -> Iterator[tuple[Location, str]]:
    """Yield what is wrong with expectations of columns of these types: where in the YAML, and what to do."""
    taken = {rule.name for rule in rules} | set(RESERVED_NAMES)
    for index, one in enumerate(expectations):
        place: Location = ("expectations", index, one.kind)
        clash = [check for check in one.checks if check in taken]
        if clash:
            yield (
                place,
                f"a rule or an expectation before it is called {clash[0]!r} already; give this one another `name`",
            )
        taken |= set(one.checks)
        if is_append and one.kind in ("removed", "restated"):
            yield place, f"an append dataset never has rows {one.kind}; remove the expectation"
        yield from ((place, said) for said in _misfits(one, types))


def _misfits(one: Expectation, types: Mapping[str, str]) -> Iterator[str]:
    """Yield why its columns cannot be looked at so."""
    wanted = {"freshness": MOMENTS, "gap": MOMENTS, "drift": NUMBERS, "stops": NUMBERS}.get(one.kind)
    of = [(name, wanted) for name in one.about]
    for name, kinds in [*of, *([(one.stops.along, MOMENTS)] if one.stops else [])]:
        if name not in types:
            yield f"no column is called {name!r}; there are: {', '.join(types)}"
        elif kinds and types[name] not in kinds:
            yield f"{name} is of type {types[name]}; `{one.kind}` needs one of {', '.join(kinds)}"
