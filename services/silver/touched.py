"""What a merge touched: the groups that gold must refresh, and the stretches of series to compute again."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa

from shared.dataset import Dataset
from shared.ports import Session


class Touched:
    """Groups and series gathered from written and removed rows; beyond a bound it just says `everything`."""

    def __init__(self, dataset: Dataset, groups_max: int) -> None:
        self._dataset, self._groups_max = dataset, groups_max
        self.group_columns = dataset.change_groups
        self._groups: set[tuple[str, ...]] = set()
        self.is_everything = False
        self.has_changes = False
        self._series: dict[tuple[Any, ...], tuple[date, date]] = {}
        self.is_every_series = False

    @property
    def series_columns(self) -> tuple[str, ...]:
        """Partition columns and order column of windowed datasets."""
        windowed = self._dataset.windowed
        return (*windowed.partition_by, windowed.order_by) if windowed else ()

    def add_rows(self, rows: pa.Table) -> None:
        """Take in written rows; the columns needed are group_columns and series_columns."""
        if not rows.num_rows:
            return
        self.has_changes = True
        if not self.is_everything and self.group_columns:
            distinct = rows.select(list(self.group_columns)).group_by(list(self.group_columns)).aggregate([])
            if distinct.num_rows > self._groups_max:
                self._give_up_listing()
            else:
                self._add_groups(zip(*(distinct.column(n).to_pylist() for n in self.group_columns), strict=True))
        if self.series_columns and not self.is_every_series:
            *series, day = self.series_columns
            grouped = rows.select(list(self.series_columns)).group_by(series)
            ranges = grouped.aggregate([(day, "min"), (day, "max")])
            names = [*series, f"{day}_min", f"{day}_max"]
            self._add_series(zip(*(ranges.column(n).to_pylist() for n in names), strict=True))

    def add_query(self, session: Session, table: str) -> None:
        """Take in the rows of a temporary table that has the group and series columns."""
        if not session.rows(f"SELECT EXISTS (SELECT FROM {table})")[0][0]:
            return
        self.has_changes = True
        if self.group_columns and not self.is_everything:
            columns = ", ".join(self.group_columns)
            self._add_groups(session.rows(f"SELECT DISTINCT {columns} FROM {table} LIMIT %s", (self._groups_max + 1,)))
        if self.series_columns and not self.is_every_series:
            *series, day = self.series_columns
            by = ", ".join(series)
            self._add_series(session.rows(f"SELECT {by}, min({day}), max({day}) FROM {table} GROUP BY {by}"))

    def _add_groups(self, rows: Iterable[tuple[Any, ...]]) -> None:
        self._groups.update(tuple(_text(value) for value in row) for row in rows)
        if len(self._groups) > self._groups_max:
            self._give_up_listing()

    def _give_up_listing(self) -> None:
        self.is_everything, self._groups = True, set()

    def _add_series(self, rows: Iterable[tuple[Any, ...]]) -> None:
        for *series, first, last in rows:
            key = tuple(series)
            known = self._series.get(key)
            self._series[key] = (min(first, known[0]), max(last, known[1])) if known else (first, last)
        if len(self._series) > self._groups_max:
            self.is_every_series, self._series = True, {}

    @property
    def groups(self) -> list[list[str | None]]:
        """The groups in a fixed order."""
        return [list(group) for group in sorted(self._groups, key=lambda g: tuple(v or "" for v in g))]

    def reaches(self, days: int) -> list[tuple[Any, ...]]:
        """Return (series…, first, last) of the dates whose windowed values may differ, `days` beyond each change."""
        return [(*series, first, shifted(last, days)) for series, (first, last) in sorted(self._series.items())]


def shifted(day: date, days: int) -> date:
    """Return a date so many days later, or earlier; the calendar's first or last where there is none."""
    try:
        return day + timedelta(days=days)
    except OverflowError:
        return date.max if days > 0 else date.min


def _text(value: Any) -> Any:
    """Return a group value as text that PostgreSQL reads back as the column's type."""
    if value is None or isinstance(value, str):
        return value
    return value.isoformat() if isinstance(value, date | datetime) else str(value)
