"""What a delivery looks like: counted batch by batch while it is read, in memory that does not grow with its rows.

Only what the dataset's expectations ask for is counted. A distribution is kept as counts in bins that grow with the
values, eight to every doubling: the upper bits of the number as a 64-bit float, which sort like the numbers.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shared.dataset import Dataset

_BIN_SHIFT = np.uint64(49)  # leaves 11 bits of exponent and 3 of the mantissa
_ZERO_BIN = 1 << 14
_BINS = 2 * _ZERO_BIN
_PARTS_MAX = 16  # sums by day of so many batches are brought together
_RESCUED_LOOKED_AT = 100  # rows of a batch: a column that the file has is there from its first rows on
_COLUMNS_MAX = 2_000  # names kept; a file with more has no columns to speak of


@dataclass(frozen=True)
class Days:
    """The days that a date column has."""

    first: str
    last: str
    widest_gap_days: int = 0  # between two neighbouring days; 1 where none is missing
    gap_after: str | None = None  # the day before the widest gap


@dataclass(frozen=True)
class End:
    """Where the sums by day of a column end in nothing, though the days go on."""

    last_day: str  # the last one with anything
    last_sum: float
    days: int  # since then


@dataclass(frozen=True)
class Profile:
    """A delivery as later ones are compared with it; the keys are column names."""

    rows: int
    columns: tuple[str, ...]  # as the file has them, those unknown to the contract among them
    unknown: Mapping[str, int] = field(default_factory=dict)
    bins: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    days: Mapping[str, Days] = field(default_factory=dict)
    ends: Mapping[str, End] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the profile as it is kept in silver.profiles."""
        return json.dumps(asdict(self), ensure_ascii=False)


def profile_of(kept: Mapping[str, Any]) -> Profile:
    """Return a profile from its JSON."""
    return Profile(
        rows=kept["rows"],
        columns=tuple(kept["columns"]),
        unknown=kept["unknown"],
        bins={name: {int(bin_): count for bin_, count in bins.items()} for name, bins in kept["bins"].items()},
        days={name: Days(**days) for name, days in kept["days"].items()},
        ends={name: End(**end) for name, end in kept["ends"].items()},
    )


class Profiler:
    """Counts what the expectations of a dataset ask of its good rows."""

    def __init__(self, dataset: Dataset) -> None:
        self._origins = {column.name: column.origin for column in dataset.columns}
        wanted = dataset.expectations
        self._unknown = {name: 0 for one in wanted if one.unknown for name in one.about}
        self._bins = {name: np.zeros(_BINS, np.int64) for one in wanted if one.drift for name in one.about}
        self._summed: dict[str, list[str]] = {
            name: [] for one in wanted if one.kind in ("freshness", "gap") for name in one.about
        }
        for one in wanted:
            if one.stops:
                self._summed.setdefault(one.stops.along, []).extend(one.about)
        self._by_day: dict[str, list[pa.Table]] = {along: [] for along in self._summed}
        self._has_columns = any(one.columns for one in wanted)
        self._seen: set[str] = set()
        self._rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in a batch of good rows."""
        if not batch.num_rows:
            return
        self._rows += batch.num_rows
        for name in self._unknown:
            self._unknown[name] += batch.column(name).null_count
        for name, bins in self._bins.items():
            bins += np.bincount(_bins_of(batch.column(name)), minlength=_BINS)
        for along, columns in self._summed.items():
            parts = self._by_day[along]
            parts.append(_sums_by_day(batch, along, columns))
            if len(parts) > _PARTS_MAX:
                parts[:] = [_together(parts, columns)]
        if self._has_columns:
            self._note_columns(batch)

    def _note_columns(self, batch: pa.RecordBatch) -> None:
        for name, origin in self._origins.items():
            if origin not in self._seen and batch.column(name).null_count < batch.num_rows:
                self._seen.add(origin)
        for text in batch.column("_rescued").slice(0, _RESCUED_LOOKED_AT).to_pylist():
            if text and len(self._seen) < _COLUMNS_MAX:
                self._seen |= set(json.loads(text))

    def profile(self, header: Sequence[str]) -> Profile:
        """Return what was counted; a CSV file's header says which columns there are, else their values do."""
        days: dict[str, Days] = {}
        ends: dict[str, End] = {}
        for along, columns in self._summed.items():
            parts = self._by_day[along]
            table = _together(parts, columns).sort_by("day") if parts else None
            if table is not None and table.num_rows:
                days[along] = _days(table)
                ends |= {name: end for name in columns if (end := _end(table, name))}
        return Profile(
            self._rows,
            _names(header or self._seen) if self._has_columns else (),
            dict(self._unknown),
            {name: {int(b): int(bins[b]) for b in np.flatnonzero(bins)} for name, bins in self._bins.items()},
            days,
            ends,
        )


def _names(given: Iterable[str]) -> tuple[str, ...]:
    """Return names in order, as PostgreSQL's JSON takes them."""
    return tuple(sorted({name.replace("\x00", "\\x00") for name in given})[:_COLUMNS_MAX])


def _bins_of(column: pa.Array) -> Any:
    """Return the bins of the known values, which sort like them."""
    numbers = pc.cast(column.drop_null(), pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    size = (np.abs(numbers).view(np.uint64) >> _BIN_SHIFT).astype(np.int64)
    return np.where(numbers < 0, _ZERO_BIN - 1 - size, np.minimum(_ZERO_BIN + size, _BINS - 1))


def _sums_by_day(batch: pa.RecordBatch, along: str, columns: Sequence[str]) -> pa.Table:
    """Return a row a day that the batch has: the sum of each column, NULL where no value is known."""
    days = pc.cast(batch.column(along), pa.date32(), safe=False)
    numbers = {name: pc.cast(batch.column(name), pa.float64(), safe=False) for name in columns}
    return _together([pa.table({"day": days, **numbers})], columns)


def _together(parts: Sequence[pa.Table], columns: Sequence[str]) -> pa.Table:
    whole = pa.concat_tables(parts)
    summed = whole.filter(pc.is_valid(whole.column("day"))).group_by("day").aggregate([(n, "sum") for n in columns])
    return summed.rename_columns([name.removesuffix("_sum") for name in summed.column_names]).select(["day", *columns])


def _days(table: pa.Table) -> Days:
    days = pc.cast(table.column("day"), pa.int32()).to_numpy()
    steps = np.diff(days)
    if not len(steps):
        return Days(_text(days[0]), _text(days[-1]))
    widest = int(np.argmax(steps))
    return Days(_text(days[0]), _text(days[-1]), int(steps[widest]), _text(days[widest]))


def _end(table: pa.Table, name: str) -> End | None:
    """Return where the sums of a column stop; None while its newest day has something, or no day ever had."""
    sums = pc.fill_null(table.column(name), 0).to_numpy()
    known = np.flatnonzero(sums)
    if not len(known) or known[-1] == len(sums) - 1:
        return None
    days = pc.cast(table.column("day"), pa.int32()).to_numpy()
    last = int(known[-1])
    return End(_text(days[last]), float(np.nan_to_num(sums[last])), len(days) - 1 - last)


def _text(days_since_1970: Any) -> str:
    return date.fromordinal(date(1970, 1, 1).toordinal() + int(days_since_1970)).isoformat()


def distance(one: Mapping[int, int], others: Sequence[Mapping[int, int]]) -> float | None:
    """Return the Kolmogorov-Smirnov distance of a distribution from the mean of others; None where one has no values.

    It is the largest difference between the two shares of values below any limit. A few wild values move it by their
    share only, and it needs no assumption about the distribution; what moves within a bin is not seen.
    """
    filled = [counts for counts in others if counts]
    if not one or not filled:
        return None
    places = sorted({bin_ for counts in (one, *filled) for bin_ in counts})
    shares = [np.cumsum([counts.get(place, 0) for place in places]) / sum(counts.values()) for counts in (one, *filled)]
    return float(np.max(np.abs(shares[0] - np.mean(shares[1:], axis=0))))
