"""What gold must hold, computed from the rows of a COVID file with pandas and whole numbers."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pandas as pd

Table = dict[Any, tuple[Any, ...]]
_DAY = pd.Timedelta(days=1)


def percent(part: Any, whole: Any) -> Decimal | None:
    """Return 100 × part / whole to 4 places, half up; None where either is unknown or the whole is 0."""
    if pd.isna(part) or pd.isna(whole) or whole == 0:
        return None
    return (Decimal(100 * int(part)) / Decimal(int(whole))).quantize(Decimal("0.0001"), ROUND_HALF_UP)


def number(value: Any) -> int | None:
    """Return a whole number, or None where it is unknown."""
    return None if pd.isna(value) else int(value)


def with_daily_changes(file: pd.DataFrame) -> pd.DataFrame:
    """Add new_cases and new_deaths: against the series' previous calendar day, unknown without it."""
    before = file[["record_date", "country", "province", "confirmed", "deaths"]].copy()
    before["record_date"] += _DAY
    joined = file.merge(before, on=["record_date", "country", "province"], how="left", suffixes=("", "_before"))
    joined["new_cases"] = joined["confirmed"] - joined["confirmed_before"]
    joined["new_deaths"] = joined["deaths"] - joined["deaths_before"]
    return joined


def totals(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Sum the counts by groups; a sum is unknown where all its values are."""
    known = rows.assign(
        active=rows["confirmed"] - rows["deaths"] - rows["recovered"],
        confirmed_where_recovered=rows["confirmed"].where(rows["recovered"].notna()),
    )
    names = [
        "confirmed",
        "deaths",
        "recovered",
        "active",
        "confirmed_where_recovered",
        "new_cases",
        "new_deaths",
    ]
    return known.groupby(by, sort=True)[names].sum(min_count=1)


def country_trends(file: pd.DataFrame) -> Table:
    """Return gold.covid_country_trends by (country, day)."""
    days = totals(with_daily_changes(file), ["country", "record_date"])
    expected: Table = {}
    for country, table in days.groupby(level="country"):
        table = table.droplevel("country")
        new = {day: number(value) for day, value in table["new_cases"].items()}
        for day, row in table.iterrows():
            last = [new.get(day - n * _DAY) for n in range(7)]
            before = [new.get(day - n * _DAY) for n in range(7, 14)]
            expected[country, day.date()] = (
                number(row["confirmed"]), number(row["deaths"]),
                number(row["recovered"]), number(row["active"]),
                percent(row["deaths"], row["confirmed"]),
                percent(row["recovered"], row["confirmed_where_recovered"]),
                number(row["new_cases"]), number(row["new_deaths"]),
                _mean(last), _trend(last, before), _severity(number(row["confirmed"])),
            )  # fmt: skip
    return expected


def global_summary(file: pd.DataFrame) -> Table:
    """Return gold.covid_global_summary by day, without the quality score."""
    rows = with_daily_changes(file)
    world, by_country = totals(rows, ["record_date"]), totals(rows, ["record_date", "country"])
    expected: Table = {}
    for day, row in world.iterrows():
        countries = by_country.loc[day]["confirmed"]
        known = sorted((int(v), str(c).encode(), str(c)) for c, v in countries.items() if not pd.isna(v))
        top = sorted(known, key=lambda entry: (-entry[0], entry[1]))
        week_ago = world["confirmed"].get(day - 7 * _DAY)
        change = None if week_ago is None or pd.isna(week_ago) else row["confirmed"] - week_ago
        expected[day.date()] = (
            len(countries), number(row["confirmed"]), number(row["deaths"]), number(row["recovered"]),
            percent(row["deaths"], row["confirmed"]),
            percent(row["recovered"], row["confirmed_where_recovered"]),
            [{"country": name, "confirmed": count} for count, _, name in top[:5]],
            [{"country": name, "confirmed": count} for count, _, name in known[:5]],
            number(row["new_cases"]), number(row["new_deaths"]),
            None if change is None else percent(change, week_ago),
        )  # fmt: skip
    return expected


def periods(file: pd.DataFrame, frequency: str) -> Table:
    """Return daily ('D'), weekly ('W-SUN') or monthly ('M') aggregates by the first day of the period."""
    rows = with_daily_changes(file)
    world = totals(rows, ["record_date"])
    starts = world.index.to_period(frequency)
    new = {p: number(g["new_cases"].sum(min_count=1)) for p, g in world.groupby(starts)}
    reporting = rows.groupby(rows["record_date"].dt.to_period(frequency))["country"].nunique()
    expected: Table = {}
    for period, group in world.groupby(starts):
        known = [(int(v), day) for day, v in group["new_cases"].items() if not pd.isna(v)]
        peak = max(known, key=lambda entry: (entry[0], -entry[1].value), default=None)
        before, end = new.get(period - 1), group.iloc[-1]
        has_change = before is not None and before > 0 and new[period] is not None
        expected[period.start_time.date()] = (
            new[period], number(group["new_deaths"].sum(min_count=1)),
            number(end["confirmed"]), number(end["deaths"]),
            peak[1].date() if peak else None, peak[0] if peak else None,
            percent(new[period] - before, before) if has_change else None,
            int(reporting[period]),
        )  # fmt: skip
    return expected


def _mean(week: list[int | None]) -> Decimal | None:
    if any(value is None for value in week):
        return None
    total = sum(value for value in week if value is not None)
    return (Decimal(total) / 7).quantize(Decimal("0.0001"), ROUND_HALF_UP)


def _trend(last_week: list[int | None], week_before: list[int | None]) -> str | None:
    if None in last_week or None in week_before:
        return None
    last, before = sum(v or 0 for v in last_week), sum(v or 0 for v in week_before)
    rises, falls = (last > before, last < before) if before <= 0 else (10 * last > 11 * before, 10 * last < 9 * before)
    return "INCREASING" if rises else "DECREASING" if falls else "STABLE"


def _severity(confirmed: int | None) -> str | None:
    if confirmed is None:
        return None
    levels = (("CRITICAL", 1_000_000), ("HIGH", 100_000), ("MEDIUM", 10_000))
    return next((name for name, floor in levels if confirmed > floor), "LOW")
