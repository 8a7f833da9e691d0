"""Judge a delivery by its dataset's expectations: pure comparison of profiles, the newest one with those before it.

An expectation that has nothing to compare with yet says nothing. What it finds is logged, and decides nothing.
"""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from services.silver.profile import Profile, distance
from shared.expectations import Expectation

_NAMES_MAX = 20  # in a message


@dataclass(frozen=True)
class Delivery:
    """A delivery, what it did to silver, and the ones before it."""

    profile: Profile
    landed_at: datetime
    rows_before: int  # live rows before it
    rows_removed: int
    rows_restated: int
    history: Sequence[Profile]  # of earlier deliveries, newest first


@dataclass(frozen=True)
class Finding:
    """What one check came to: so many of so many things are not as expected."""

    check: str
    kind: str
    severity: str
    passed: bool
    checked: int
    failed: int
    threshold: float | None  # largest share that passes, where the measure is a share
    message: str  # what was seen, whether or not it is as expected

    @property
    def failure_rate(self) -> float:
        """The share of things that are not as expected."""
        return min(self.failed / self.checked, 999.0) if self.checked else 0.0


@dataclass(frozen=True)
class _Seen:
    """What a check saw, before it has a name."""

    passed: bool
    checked: int
    failed: int
    threshold: float | None
    message: str


def judge(expectations: Sequence[Expectation], delivery: Delivery) -> list[Finding]:
    """Return what each expectation says of a delivery; `arrival` is asked of the clock, elsewhere."""
    return list(_judged(expectations, delivery))


def _judged(expectations: Sequence[Expectation], delivery: Delivery) -> Iterator[Finding]:
    for one in expectations:
        look = _LOOKS.get(one.kind)
        if look is None:
            continue
        for check, column in zip(one.checks, one.about or ("",), strict=True):
            seen = look(one, delivery, column)
            if seen is not None:
                yield Finding(check=check, kind=one.kind, severity=one.severity, **vars(seen))


def _volume(one: Expectation, delivery: Delivery, _: str) -> _Seen | None:
    asked, rows = one.volume, delivery.profile.rows
    assert asked is not None
    if asked.rows_min is not None and rows < asked.rows_min:
        return _one_thing(False, f"{rows:,} rows, fewer than {asked.rows_min:,}")
    if asked.rows_max is not None and rows > asked.rows_max:
        return _one_thing(False, f"{rows:,} rows, more than {asked.rows_max:,}")
    before = [profile.rows for profile in delivery.history[: asked.history] if profile.rows]
    if asked.change_share_max is None or not before:
        return _one_thing(True, f"{rows:,} rows")
    usual = statistics.median(before)
    change = rows - usual
    passed = abs(change) <= asked.change_share_max * usual
    message = f"{rows:,} rows, {change / usual:+.1%} from the median {usual:,.0f} of the last {len(before)}"
    return _Seen(passed, round(usual), round(abs(change)), asked.change_share_max, message)


def _freshness(one: Expectation, delivery: Delivery, column: str) -> _Seen | None:
    days = delivery.profile.days.get(column)
    if one.freshness is None or days is None:
        return None
    age = (delivery.landed_at.astimezone(UTC).date() - date.fromisoformat(days.last)).days
    message = f"the newest {column} is {days.last}, {age:,} day(s) before it was landed"
    return _one_thing(age <= one.freshness.days_max, message)


def _removed(one: Expectation, delivery: Delivery, _: str) -> _Seen | None:
    assert one.removed is not None
    return _share(delivery.rows_removed, delivery.rows_before, one.removed.share_max, "rows removed")


def _restated(one: Expectation, delivery: Delivery, _: str) -> _Seen | None:
    assert one.restated is not None
    return _share(delivery.rows_restated, delivery.rows_before, one.restated.share_max, "rows restated")


def _unknown(one: Expectation, delivery: Delivery, column: str) -> _Seen | None:
    if one.unknown is None or column not in delivery.profile.unknown:
        return None
    rows = f"rows without {column}"
    return _share(delivery.profile.unknown[column], delivery.profile.rows, one.unknown.share_max, rows)


def _drift(one: Expectation, delivery: Delivery, column: str) -> _Seen | None:
    assert one.drift is not None
    before = [profile.bins.get(column, {}) for profile in delivery.history[: one.drift.history]]
    found = distance(delivery.profile.bins.get(column, {}), before)
    if found is None:
        return None
    rows, limit = delivery.profile.rows, one.drift.distance_max
    message = f"the values of {column} are {found:.3f} away from those of the last {len(before)} (0 alike, 1 apart)"
    return _Seen(found <= limit, rows, round(found * rows), limit, message)


def _gap(one: Expectation, delivery: Delivery, column: str) -> _Seen | None:
    days = delivery.profile.days.get(column)
    if one.gap is None or days is None:
        return None
    limit = one.gap.days_max
    if days.widest_gap_days > limit:
        return _one_thing(False, f"after {days.gap_after} no {column} for {days.widest_gap_days - 1:,} day(s)")
    before = next((profile.days[column].last for profile in delivery.history if column in profile.days), days.last)
    step = (date.fromisoformat(days.last) - date.fromisoformat(before)).days
    if step > limit:
        return _one_thing(False, f"{step:,} days at once: the newest {column} was {before} and is {days.last}")
    return _one_thing(True, f"no day of {column} is missing up to {days.last}")


def _columns(_: Expectation, delivery: Delivery, __: str) -> _Seen | None:
    before = next((profile.columns for profile in delivery.history if profile.columns), ())
    if not before or not delivery.profile.columns:
        return None
    lost = sorted(set(before) - set(delivery.profile.columns))
    named = ", ".join(lost[:_NAMES_MAX]) + (f", … {len(lost):,} in all" if len(lost) > _NAMES_MAX else "")
    message = f"columns lost: {named}" if lost else f"all {len(before)} columns are there"
    return _Seen(not lost, len(before), len(lost), 0.0, message)


def _stops(one: Expectation, delivery: Delivery, column: str) -> _Seen | None:
    assert one.stops is not None
    along, end = one.stops.along, delivery.profile.ends.get(column)
    if along not in delivery.profile.days:
        return None
    if end is None or end.days < one.stops.days_min:
        return _one_thing(True, f"{column} goes on up to {delivery.profile.days[along].last}")
    last = f"its sum was {end.last_sum:,.0f} on {end.last_day}"
    return _one_thing(False, f"{column} stops: {last}, and nothing for the {end.days:,} day(s) since")


def _one_thing(passed: bool, message: str) -> _Seen:
    return _Seen(passed, 1, int(not passed), 0.0, message)


def _share(failed: int, checked: int, share_max: float, what: str) -> _Seen | None:
    if not checked:
        return None
    message = f"{failed:,} {what} of {checked:,} ({failed / checked:.2%})"
    return _Seen(failed <= share_max * checked, checked, failed, share_max, message)


_LOOKS: Mapping[str, Callable[[Expectation, Delivery, str], Any]] = {
    "volume": _volume, "freshness": _freshness, "removed": _removed, "restated": _restated, "unknown": _unknown,
    "drift": _drift, "gap": _gap, "columns": _columns, "stops": _stops,
}  # fmt: skip
