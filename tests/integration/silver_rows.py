"""Silver as gold sees it, written directly: clean rows and the change sets that announce them."""

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd

from shared.catalog import Catalog
from shared.models import Models, models_depending_on
from shared.ports import Session

CovidKey = tuple[date, str, str]
Counts = tuple[int | None, int | None, int | None]  # confirmed, deaths, recovered
_DAY = timedelta(days=1)
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Post:
    """What gold reads of a post."""

    user_id: int
    words: int
    seen_day: int  # days after NOON on which it was first seen


@dataclass(frozen=True)
class User:
    """What gold reads of a user."""

    company: str | None
    domain: str | None
    seen_day: int


class Silver:
    """The clean tables of a test database; every `apply` is one committed merge."""

    def __init__(self, session: Session, catalog: Catalog, models: Models) -> None:
        self._session, self._catalog, self._models = session, catalog, models
        self.covid: dict[CovidKey, Counts] = {}
        self._covid_rows: dict[CovidKey, tuple[Any, ...]] = {}
        self.users: dict[int, User] = {}
        self.posts: dict[int, Post] = {}

    def apply_covid(self, wanted: Mapping[CovidKey, Counts], *, is_everything: bool = False) -> None:
        """Make the wanted rows the table's, touching only rows that differ and their windowed neighbours."""
        rows = _covid_rows(wanted)
        changed = [key for key in {*rows, *self._covid_rows} if rows.get(key) != self._covid_rows.get(key)]
        delete = "DELETE FROM silver.clean_covid WHERE (record_date, country, province) = (%s, %s, %s)"
        for key in changed:
            self._session.execute(delete, key)
        self._insert("covid", [_covid_record(key, rows[key]) for key in changed if key in rows])
        groups = sorted({(day.isoformat(), country) for day, country, _ in changed})
        self.covid, self._covid_rows = dict(wanted), rows
        self.announce("covid", [] if is_everything else groups, is_everything=is_everything)

    def apply_users(self, wanted: Mapping[int, User], *, landed_day: int) -> None:
        """Make the wanted users the table's."""
        changed = [key for key in {*wanted, *self.users} if wanted.get(key) != self.users.get(key)]
        self._session.execute("DELETE FROM silver.clean_users WHERE user_id = ANY(%s)", (changed,))
        self._insert("users", [_user_record(key, wanted[key]) for key in changed if key in wanted])
        self.users = dict(wanted)
        self._land("users", landed_day)
        self.announce("users", [(str(key),) for key in changed])

    def apply_posts(self, wanted: Mapping[int, Post], *, landed_day: int) -> None:
        """Make the wanted posts the table's."""
        changed = [key for key in {*wanted, *self.posts} if wanted.get(key) != self.posts.get(key)]
        touched = [posts[key] for posts in (wanted, self.posts) for key in changed if key in posts]
        self._session.execute("DELETE FROM silver.clean_posts WHERE post_id = ANY(%s)", (changed,))
        self._insert("posts", [_post_record(key, wanted[key]) for key in changed if key in wanted])
        self.posts = dict(wanted)
        self._land("posts", landed_day)
        self.announce("posts", sorted({(str(p.user_id), str(NOON + p.seen_day * _DAY)) for p in touched}))

    def announce(self, dataset: str, groups: Iterable[tuple[str, ...]], *, is_everything: bool = False) -> str:
        """Write a change set and its rows of gold.pending, and commit; return the change set's id."""
        identity = str(uuid.uuid4())
        self._session.execute(
            """
            INSERT INTO silver.change_sets
                (change_set_id, dataset, is_everything, groups, group_columns,
                 rows_inserted, rows_updated, rows_deleted, rows_rewritten)
            VALUES (%s, %s, %s, %s::jsonb, %s, 0, 0, 0, 0)
            """,
            (
                identity,
                dataset,
                is_everything,
                json.dumps(list(groups)),
                list(self._catalog[dataset].change_groups),
            ),
        )
        for model in models_depending_on(self._models, dataset):
            self._session.execute(
                "INSERT INTO gold.pending (model, change_set_id, dataset) VALUES (%s, %s, %s)",
                (model, identity, dataset),
            )
        self._session.commit()
        return identity

    def _land(self, dataset: str, day: int) -> None:
        self._session.execute(
            """
            INSERT INTO silver.datasets (dataset, newest_landed_at) VALUES (%s, %s)
            ON CONFLICT (dataset) DO UPDATE
            SET newest_landed_at = greatest(datasets.newest_landed_at, excluded.newest_landed_at)
            """,
            (dataset, NOON + day * _DAY),
        )

    def _insert(self, dataset: str, records: Iterable[dict[str, Any]]) -> None:
        for record in records:
            row = {
                **record,
                "_object_id": uuid.UUID(int=1), "_line_number": 1, "_row_hash": uuid.UUID(int=1),
                "_key_hash": uuid.UUID(int=1), "_version": uuid.UUID(int=1), "_loaded_at": NOON,
            }  # fmt: skip
            row.setdefault("_first_seen_at", NOON)
            names = ", ".join(row)
            marks = ", ".join(["%s"] * len(row))
            sql = f"INSERT INTO silver.clean_{dataset} ({names}) VALUES ({marks})"
            self._session.execute(sql, tuple(row.values()))

    def covid_file(self) -> pd.DataFrame:
        """Return the COVID rows as the file that they could have come from."""
        rows = [(pd.Timestamp(key[0]), *key[1:], *counts) for key, counts in self.covid.items()]
        names = ["record_date", "country", "province", "confirmed", "deaths", "recovered"]
        frame = pd.DataFrame(rows, columns=names)
        return frame.astype({"confirmed": "Int64", "deaths": "Int64", "recovered": "Int64"})


def _covid_rows(rows: Mapping[CovidKey, Counts]) -> dict[CovidKey, tuple[Any, ...]]:
    """Add the windowed columns to the counts, as silver has them."""
    new = {key: _change(rows, key, 0) for key in rows}
    result = {}
    for key, counts in rows.items():
        day, *series = key
        week = [new.get((day - n * _DAY, *series)) for n in range(7)]  # type: ignore[call-overload]
        average = None if None in week else round(Decimal(sum(v or 0 for v in week)) / 7, 4)
        result[key] = (*counts, new[key], _change(rows, key, 1), average)
    return result


def _change(rows: Mapping[CovidKey, Counts], key: CovidKey, column: int) -> int | None:
    before = rows.get((key[0] - _DAY, key[1], key[2]))
    now, then = rows[key][column], before[column] if before else None
    return None if now is None or then is None else now - then


def _covid_record(key: CovidKey, row: tuple[Any, ...]) -> dict[str, Any]:
    confirmed, deaths, recovered, new_cases, new_deaths, average = row
    is_active_known = None not in (confirmed, deaths, recovered)
    has_rate = bool(confirmed) and deaths is not None
    return {
        "record_date": key[0], "country": key[1], "province": key[2],
        "confirmed": confirmed, "deaths": deaths, "recovered": recovered,
        "active_cases": confirmed - deaths - recovered if is_active_known else None,
        "mortality_rate": round(Decimal(100 * deaths) / confirmed, 4) if has_rate else None,
        "daily_new_cases": new_cases, "daily_new_deaths": new_deaths, "weekly_avg_cases": average,
        "data_quality_score": 100 if (confirmed or 0) >= (deaths or 0) else 80,
    }  # fmt: skip


def _user_record(key: int, user: User) -> dict[str, Any]:
    return {
        "user_id": key, "full_name": f"User {key}", "company_name": user.company, "email_domain": user.domain,
        "name_length": len(f"User {key}"), "data_quality_score": 100 if user.domain else 70,
        "_first_seen_at": NOON + user.seen_day * _DAY,
    }  # fmt: skip


def _post_record(key: int, post: Post) -> dict[str, Any]:
    return {
        "post_id": key, "user_id": post.user_id, "body_length": 5 * post.words, "word_count": post.words,
        "data_quality_score": 100, "_first_seen_at": NOON + post.seen_day * _DAY,
    }  # fmt: skip
