"""The published data of ../shared/data, and what silver and gold make of it, computed with plain pandas and integers."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.integration import oracle_gold as oracle

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
COVID = DATA / "covid"
FINAL = COVID / "time-series-19-covid-combined_2022-04-16.csv"
real_data = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason="the published data is not there: ../shared/data is absent"),
]

Table = dict[Any, tuple[Any, ...]]
COUNTS = ["confirmed", "recovered", "deaths"]
_RENAMED = {"Date": "record_date", "Country/Region": "country", "Province/State": "province"}


def delivery(number: str) -> Path:
    """Return a delivery of the COVID file by its number of three digits."""
    (path,) = (COVID / "deliveries").glob(f"{number}_*.csv")
    return path


def deliveries() -> list[Path]:
    """Return the usable deliveries in the order in which they were published, the final file last."""
    return [*(delivery(number) for number in ("009", "048", "049", "192")), FINAL]


def people(name: str) -> list[dict[str, Any]]:
    """Return what the endpoint `users` or `posts` returns."""
    found: list[dict[str, Any]] = json.loads((DATA / "jsonplaceholder" / f"{name}.json").read_text())
    return found


def covid_frame(source: Path | io.StringIO) -> pd.DataFrame:
    """Read a COVID file with pandas: days, texts and whole numbers, NA where a cell is empty."""
    frame = pd.read_csv(
        source,
        keep_default_na=False,
        na_values={name.capitalize(): [""] for name in COUNTS},
        dtype={name.capitalize(): "Int64" for name in COUNTS},
    )
    frame = frame.rename(columns={**_RENAMED, **{name.capitalize(): name for name in COUNTS}})
    frame["record_date"] = pd.to_datetime(frame["record_date"], format="%Y-%m-%d")
    return frame[["record_date", "country", "province", *COUNTS]]


def records(path: Path) -> tuple[list[str], dict[tuple[str, ...], list[str]]]:
    """Return a file's header and its records by (day, country, province)."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        header = next(reader)
        return header, {tuple(record[:3]): record for record in reader}


def csv_bytes(header: list[str], rows: Iterable[list[str]]) -> bytes:
    """Write records as a CSV file."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def clean_covid(file: pd.DataFrame) -> Table:
    """Return silver.clean_covid by (day, country, province): its business columns and `_stale`."""
    rows = oracle.with_daily_changes(file)
    week = [_new_cases_before(rows, days) for days in range(7)]
    rows["week"] = sum(week[1:], start=week[0])  # unknown where any of the seven is
    names = ["record_date", "country", "province", *COUNTS, "new_cases", "new_deaths", "week"]
    columns = [_plain(rows[name]) for name in names]
    return {
        (day.date(), country, province): (
            confirmed, deaths, recovered,
            None if recovered is None or confirmed is None or deaths is None else confirmed - deaths - recovered,
            oracle.percent(deaths, confirmed), oracle.percent(recovered, confirmed),
            new_cases, new_deaths, _seventh(week),
            (confirmed or 0) > 10_000_000 or (deaths or 0) > 500_000 or (new_cases or 0) > 500_000,
            _score(confirmed, deaths, recovered), False,
        )
        for day, country, province, confirmed, recovered, deaths, new_cases, new_deaths, week
        in zip(*columns, strict=True)
    }  # fmt: skip


def _new_cases_before(rows: pd.DataFrame, days: int) -> pd.Series:
    """Return each row's series' new cases so many days before."""
    keys = ["record_date", "country", "province"]
    before = rows[[*keys, "new_cases"]].copy()
    before["record_date"] += pd.Timedelta(days=days)
    return rows[keys].merge(before, on=keys, how="left")["new_cases"]


def _plain(column: pd.Series) -> list[Any]:
    return [None if value is pd.NA else value for value in column.astype(object)]


def _seventh(week: int | None) -> Decimal | None:
    return None if week is None else oracle.percent(week, 700)


def _score(confirmed: int | None, deaths: int | None, recovered: int | None) -> Decimal:
    known = [count for count in (confirmed, deaths, recovered) if count is not None]
    lost = 30 if any(count < 0 for count in known) else 0
    if confirmed is not None:
        lost += 20 if deaths is not None and deaths > confirmed else 0
        lost += 20 if recovered is not None and recovered > confirmed else 0
    lost += 10 if (confirmed or 0) > 10_000_000 or (deaths or 0) > 500_000 else 0
    return Decimal(100 - lost)


def country_trends(file: pd.DataFrame) -> Table:
    """Return gold.covid_country_trends by (country, day); as the oracle of small tables, whole columns at a time."""
    days = oracle.totals(oracle.with_daily_changes(file), ["country", "record_date"])
    new = days["new_cases"].unstack("country").asfreq("D").astype("Float64")
    fortnight = [new.shift(n) for n in range(14)]
    last, before = sum(fortnight[1:7], start=fortnight[0]), sum(fortnight[8:], start=fortnight[7])
    weeks = pd.DataFrame({"last": last.unstack(), "before": before.unstack()}).astype("Int64")
    table = days.join(weeks)
    keys = [(country, day.date()) for country, day in table.index]
    names = [
        "confirmed", "deaths", "recovered", "active", "confirmed_where_recovered", "new_cases", "new_deaths",
        "last", "before",
    ]  # fmt: skip
    columns = [_plain(table[name]) for name in names]
    return {
        key: (
            confirmed, deaths, recovered, active,
            oracle.percent(deaths, confirmed), oracle.percent(recovered, known),
            new_cases, new_deaths, _seventh(last), _trend(last, before), oracle._severity(confirmed),
        )
        for key, confirmed, deaths, recovered, active, known, new_cases, new_deaths, last, before
        in zip(keys, *columns, strict=True)
    }  # fmt: skip


def _trend(last: int | None, before: int | None) -> str | None:
    if last is None or before is None:
        return None
    if before <= 0:
        rises, falls = last > before, last < before
    else:
        rises, falls = 10 * last > 11 * before, 10 * last < 9 * before
    return "INCREASING" if rises else "DECREASING" if falls else "STABLE"


def daily_view(silver: Table) -> Table:
    """Return gold.mv_daily_covid_summary by day, from the rows of clean_covid."""
    by_day: dict[Any, list[tuple[str, tuple[Any, ...]]]] = {}
    for (day, country, _), row in silver.items():
        by_day.setdefault(day, []).append((country, row))
    return {
        day: (
            len({country for country, _ in rows}),
            *(_sum(row[place] for _, row in rows) for place in range(3)),
            _mean([row[4] for _, row in rows if row[4] is not None]),
        )
        for day, rows in by_day.items()
    }


def _sum(values: Iterator[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _mean(values: list[Decimal]) -> Decimal | None:
    return oracle.percent(sum(int(10_000 * v) for v in values), 1_000_000 * len(values)) if values else None


def differences(found: Table, expected: Table, shown: int = 5) -> list[str]:
    """Return the first differing rows, in words; none when the tables are equal."""
    keys = [key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)]
    head = [f"{len(keys)} of {len(expected)} rows differ"] if keys else []
    return head + [f"{key}: found {found.get(key)}, expected {expected.get(key)}" for key in sorted(keys)[:shown]]
