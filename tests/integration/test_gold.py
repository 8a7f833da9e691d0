"""Gold on a real PostgreSQL: incremental equals rebuild equals an independent computation."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.gold import export, refresh, statements, views
from services.gold.transaction import Refreshed
from services.stack import Stack
from shared.adapters.postgres import Postgres, PostgresSession
from shared.catalog import Catalog, load_catalog
from shared.migrate import migrate
from shared.models import Models, load_models
from shared.settings import data_file_root
from tests.integration import oracle_gold as oracle
from tests.integration.silver_rows import Counts, CovidKey, Post, Silver, User

FIRST = date(2024, 3, 4)
FEW = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def warehouse(stack: Stack) -> Iterator[Postgres]:
    """A database of this module's own, migrated."""
    name = f"gold_{uuid4().hex[:12]}"
    server_url = stack.endpoints["MEDALLION_DATABASE_URL"]
    server = Postgres(server_url)
    _outside_transactions(server, f"CREATE DATABASE {name}")
    database = Postgres(urlunsplit(urlsplit(server_url)._replace(path=f"/{name}")))
    with database.session("test") as session:
        migrate(session, data_file_root("sql"), CATALOG, MODELS)
    yield database
    _outside_transactions(server, f"DROP DATABASE {name} WITH (FORCE)")


def _outside_transactions(server: Postgres, statement: str) -> None:
    with server.session("test") as session:
        session._connection.cursor().execute(statement)


CATALOG: Catalog = load_catalog(data_file_root("config") / "datasets")
MODELS: Models = load_models(data_file_root("sql"), CATALOG.datasets)


@pytest.fixture
def session(warehouse: Postgres) -> Iterator[PostgresSession]:
    with warehouse.session("test") as session:
        empty(session)
        yield session


@pytest.fixture
def silver(session: PostgresSession) -> Silver:
    return Silver(session, CATALOG, MODELS)


def empty(session: PostgresSession) -> None:
    session.rollback()
    tables = [*(d.clean_table for d in CATALOG.datasets.values()), *(m.table for m in MODELS.tables)]
    tables += [
        "silver.datasets",
        "silver.change_sets",
        "silver.data_quality_logs",
        "gold.pending",
        "gold.refreshes",
    ]
    session.execute(f"TRUNCATE {', '.join(tables)}")
    session.commit()


def refreshed(session: PostgresSession) -> dict[str, tuple[int, int]]:
    """Refresh the tables; return rows written and deleted by model, where there were any."""
    done = refresh.refresh_tables(session, MODELS, CATALOG)
    return {d.model: (d.rows_written, d.rows_deleted) for d in done if d.rows_written or d.rows_deleted}


def contents(session: PostgresSession, model: str) -> dict[Any, tuple[Any, ...]]:
    """Return a table by its key, without `_refreshed_at`."""
    keys = len(MODELS[model].grain)
    names = ", ".join(column.name for column in MODELS[model].columns)
    rows = session.rows(f"SELECT {names} FROM {MODELS[model].table}")
    session.rollback()
    return {row[0] if keys == 1 else row[:keys]: row[keys:] for row in rows}


def everything(session: PostgresSession) -> dict[str, dict[Any, tuple[Any, ...]]]:
    return {model.name: contents(session, model.name) for model in MODELS.tables}


def from_scratch(session: PostgresSession) -> dict[str, dict[Any, tuple[Any, ...]]]:
    """Empty gold's tables, except for history that cannot be computed again, and rebuild all."""
    session.execute(f"TRUNCATE {', '.join(m.table for m in MODELS.tables if not m.keeps_history)}")
    session.commit()
    for model in MODELS.tables:
        refresh.rebuild(session, MODELS, CATALOG, model.name)
    return everything(session)


def series(country: str, province: str, counts: list[int], first: date = FIRST) -> dict[CovidKey, Counts]:
    """Return one series: cumulated counts, a tenth of them dead, half of them recovered."""
    rows: dict[CovidKey, Counts] = {}
    total = 0
    for number, new in enumerate(counts):
        total += new
        rows[first + timedelta(days=number), country, province] = (total, total // 10, total // 2)
    return rows


BASE = {
    **series("Österreich", "", [7 * n % 50 for n in range(40)]),
    **series("Zürich, Canton of", "", [5_000 - 90 * n for n in range(40)]),
    **series("Canada", "Ontario", [n % 3 for n in range(40)]),
    **series("Canada", "Québec", [40_000] * 30, FIRST + timedelta(days=5)),
}
COUNTRIES = [
    ("Österreich", ""),
    ("Zürich, Canton of", ""),
    ("Canada", "Ontario"),
    ("Canada", "Québec"),
    ("a", "b"),
]
count = st.one_of(st.none(), st.integers(-5, 60_000))
edits = st.dictionaries(
    st.tuples(st.integers(-2, 46), st.sampled_from(COUNTRIES)),
    st.one_of(st.none(), st.tuples(count, count, count)),
    max_size=8,
)


def edited(rows: dict[CovidKey, Counts], edit: dict[Any, Any]) -> dict[CovidKey, Counts]:
    result = dict(rows)
    for (day, place), counts in edit.items():
        key = (FIRST + timedelta(days=day), *place)
        result.pop(key, None)
        if counts is not None:
            result[key] = counts
    return result


@FEW
@given(st.lists(st.tuples(edits, st.booleans()), min_size=1, max_size=3))
def test_covid_incremental_equals_rebuild_and_the_oracle(session: PostgresSession, batches: Any) -> None:
    empty(session)
    silver = Silver(session, CATALOG, MODELS)
    silver.apply_covid(BASE, is_everything=True)
    refreshed(session)
    for edit, is_everything in batches:
        silver.apply_covid(edited(silver.covid, edit), is_everything=is_everything)
        refreshed(session)
    incremental = everything(session)
    assert_matches_oracle(incremental, silver)
    assert from_scratch(session) == incremental


def assert_matches_oracle(gold: dict[str, dict[Any, tuple[Any, ...]]], silver: Silver) -> None:
    file = silver.covid_file()
    assert gold["covid_country_trends"] == oracle.country_trends(file)
    assert {day: row[:-1] for day, row in gold["covid_global_summary"].items()} == oracle.global_summary(file)
    assert gold["daily_aggregates"] == oracle.periods(file, "D")
    assert gold["weekly_aggregates"] == oracle.periods(file, "W-SUN")
    assert gold["monthly_kpis"] == oracle.periods(file, "M")


users = st.dictionaries(
    st.integers(1, 6),
    st.builds(
        User,
        st.sampled_from([None, "Ärzte", "Zeta", "alpha"]),
        st.sampled_from([None, "x.org"]),
        st.integers(0, 3),
    ),
    max_size=6,
)
posts = st.dictionaries(st.integers(1, 12), st.builds(Post, st.integers(1, 6), st.integers(0, 4), st.integers(0, 3)))


@FEW
@given(st.lists(st.one_of(st.tuples(st.just("users"), users), st.tuples(st.just("posts"), posts)), max_size=6))
def test_people_incremental_equals_rebuild(session: PostgresSession, batches: Any) -> None:
    empty(session)
    silver = Silver(session, CATALOG, MODELS)
    for day, (dataset, rows) in enumerate(batches):
        if dataset == "users":
            silver.apply_users(rows, landed_day=day // 2)
        else:
            silver.apply_posts(rows, landed_day=day // 2)
        if day % 2:
            refreshed(session)
    refreshed(session)
    incremental = everything(session)
    assert incremental["user_engagement_metrics"] == engagement(silver.posts)
    assert from_scratch(session) == incremental


def engagement(all_posts: dict[int, Post]) -> dict[Any, tuple[Any, ...]]:
    """Compute user_engagement_metrics one author and day at a time."""
    groups: dict[tuple[date, int], list[Post]] = {}
    for post in all_posts.values():
        groups.setdefault(((SEEN + timedelta(days=post.seen_day)), post.user_id), []).append(post)
    size = {key: (len(own), sum(p.words for p in own)) for key, own in groups.items()}
    expected = {}
    for (day, user), own in groups.items():
        same_day = [size[key] for key in groups if key[0] == day]
        below = sum(other < size[day, user] for other in same_day)
        score = oracle.percent(below, len(same_day) - 1) if len(same_day) > 1 else oracle.percent(0, 1)
        assert score is not None
        level = "HIGH" if 100 * score >= 6667 else "MEDIUM" if 100 * score >= 3333 else "LOW"
        posts_count, words = size[day, user]
        length = oracle.percent(sum(5 * p.words for p in own), 100 * posts_count)
        newest = max(key[0] for key in groups if key[1] == user)
        expected[day, user] = (posts_count, length, words, score, level, newest)
    return expected


SEEN = date(2024, 5, 1)


def test_analytics_keep_the_rows_of_earlier_days(session: PostgresSession, silver: Silver) -> None:
    silver.apply_users({1: User("b", "x.org", 0), 2: User("a", "y.org", 0)}, landed_day=0)
    silver.apply_posts({1: Post(1, 3, 0), 2: Post(9, 3, 0)}, landed_day=0)
    refreshed(session)
    first = (
        2,
        2,
        1,
        {"x.org": 1, "y.org": 1},
        oracle.percent(6, 100),
        "a",
        {"a": 1, "b": 1},
        oracle.percent(100, 100),
    )
    assert contents(session, "user_analytics_summary") == {SEEN: first}
    silver.apply_users({1: User("b", "x.org", 0), 3: User("b", None, 31)}, landed_day=31)
    refreshed(session)
    refresh.rebuild(session, MODELS, CATALOG, "user_analytics_summary")
    assert contents(session, "user_analytics_summary") == {
        SEEN: first,
        SEEN + timedelta(days=31): (
            2,
            1,
            0,
            {"x.org": 1},
            oracle.percent(6, 100),
            "b",
            {"b": 2},
            oracle.percent(85, 100),
        ),
    }


def test_only_rows_that_differ_are_written(session: PostgresSession, silver: Silver) -> None:
    silver.apply_covid(BASE, is_everything=True)
    assert refreshed(session)["covid_country_trends"] == (3 * 40, 0)
    silver.announce("covid", [], is_everything=True)
    assert refreshed(session) == {}
    day = FIRST + timedelta(days=20)
    silver.apply_covid({**BASE, (day, "Österreich", ""): (9_999, 1, 1)})
    written = refreshed(session)
    # Two days' new cases differ, hence the averages of eight days and the totals of that day
    # and of a week later.
    assert written["covid_country_trends"][0] <= 15
    assert written["covid_global_summary"] == (3, 0)
    assert written["daily_aggregates"] == (3, 0)


def test_a_vanished_group_is_deleted(session: PostgresSession, silver: Silver) -> None:
    silver.apply_covid({**BASE, **series("Atlantis", "", [1] * 20)}, is_everything=True)
    refreshed(session)
    silver.apply_covid(BASE)
    assert refreshed(session)["covid_country_trends"] == (0, 20)
    silver.apply_covid({key: row for key, row in BASE.items() if key[1] != "Canada"}, is_everything=True)
    assert refreshed(session)["covid_country_trends"] == (0, 40)
    silver.apply_covid({})
    refreshed(session)
    assert all(contents(session, model) == {} for model in ("covid_country_trends", "monthly_kpis", "daily_aggregates"))


def test_exactly_what_was_taken_in_is_no_longer_pending(
    session: PostgresSession, silver: Silver, warehouse: Postgres
) -> None:
    silver.apply_covid(BASE, is_everything=True)
    refreshed(session)
    with warehouse.session("other") as other:
        late = Silver(other, CATALOG, MODELS)
        late.announce("users", [("1",)])
        other.rollback()
    left = {row[0] for row in session.rows("SELECT model FROM gold.pending")}
    assert left == {"mv_daily_covid_summary", "mv_user_company_analysis", "user_analytics_summary"}
    assert refresh.pending_count(session) == 3


def test_ten_loads_are_one_refresh_of_a_materialized_view(session: PostgresSession, silver: Silver) -> None:
    for number in range(10):
        silver.apply_covid({**BASE, (FIRST, "Österreich", ""): (number, 0, 0)})
    assert views.has_table_work(session, MODELS)
    refreshed(session)
    assert not views.has_table_work(session, MODELS)
    assert [w.model for w in views.waiting(session, MODELS, 60)] == ["mv_daily_covid_summary"]
    done = views.refresh_view(session, MODELS, "mv_daily_covid_summary")
    assert isinstance(done, Refreshed)
    assert len(done.change_sets) == 10
    assert views.refresh_view(session, MODELS, "mv_daily_covid_summary") is None
    assert refresh.pending_count(session) == 0
    silver.announce("covid", [])
    assert 50 < views.waiting(session, MODELS, 60)[0].wait_seconds <= 60
    assert session.rows("SELECT total_confirmed FROM gold.mv_daily_covid_summary ORDER BY record_date LIMIT 1") == [
        (5_009,)
    ]


def test_an_audit_that_finds_rows_is_logged_and_stops_nothing(session: PostgresSession, silver: Silver) -> None:
    day = FIRST + timedelta(days=20)
    silver.apply_covid({**BASE, (day, "Zürich, Canton of", ""): (1, 0, 0)}, is_everything=True)
    refreshed(session)
    logged = session.rows(
        "SELECT table_name, quality_check, severity, records_checked, records_failed, passed, details"
        " FROM silver.data_quality_logs WHERE quality_check = 'cases_do_not_vanish'"
    )
    assert [row[:6] for row in logged] == [("gold.covid_country_trends", "cases_do_not_vanish", "warn", 120, 2, False)]
    # Canada's is the end of Québec's series, ten days before the others'.
    assert {row["country"] for row in logged[0][6]["sample"]} == {"Canada", "Zürich, Canton of"}
    assert contents(session, "covid_country_trends")["Zürich, Canton of", day][0] == 1


def test_a_snapshot_holds_the_whole_table(session: PostgresSession, silver: Silver, tmp_path: Any) -> None:
    silver.apply_covid(BASE, is_everything=True)
    refreshed(session)
    path = export.write_parquet(session, MODELS["covid_country_trends"], tmp_path)
    table = pq.read_table(path).to_pylist()
    keyed = {(row["country"], row["trend_date"]): tuple(row.values())[2:] for row in table}
    assert keyed == contents(session, "covid_country_trends")


def test_declared_columns_are_those_of_the_database(session: PostgresSession) -> None:
    long_names = {"timestamptz": "timestamp with time zone"}
    for model in MODELS:
        found = session.rows(
            """
            SELECT attname::text, format_type(atttypid, atttypmod)
            FROM pg_attribute
            WHERE attrelid = to_regclass(%s) AND attnum > 0 AND attname <> '_refreshed_at'
            ORDER BY attnum
            """,
            (model.table,),
        )
        assert found == [(c.name, long_names.get(c.type, c.type)) for c in model.columns], model.name


def test_a_restated_day_is_found_through_the_primary_key(session: PostgresSession) -> None:
    session.execute(
        """
        INSERT INTO silver.clean_covid
            (record_date, country, province, data_quality_score, _object_id, _line_number, _row_hash,
             _key_hash, _version, _first_seen_at, _loaded_at)
        SELECT date '2021-01-01' + day, 'country ' || country, '', 100, id, 1, id, id, id, now(), now()
        FROM generate_series(0, 364) AS day
        CROSS JOIN generate_series(1, 150) AS country
        CROSS JOIN (SELECT '00000000-0000-0000-0000-000000000001'::uuid AS id) AS ids
        """
    )
    session.execute("ANALYZE silver.clean_covid")
    session.execute("SET LOCAL random_page_cost = 1.1")
    session.execute(statements.create_changes("covid", ("record_date", "country")))
    session.execute("INSERT INTO changes_covid VALUES (date '2021-06-01', 'country 7')")
    for name in ("covid_country_trends", "covid_global_summary", "weekly_aggregates"):
        session.execute(statements.create_scope(MODELS[name]))
        session.execute("ANALYZE scope")
        plan = "\n".join(row[0] for row in session.rows(f"EXPLAIN {statements.refresh(MODELS[name], is_full=False)}"))
        assert "clean_covid_2021_pkey" in plan, plan
        assert "Seq Scan on clean_covid_2021" not in plan, plan
        session.execute("DROP TABLE scope")


def test_every_view_can_be_read(session: PostgresSession, silver: Silver) -> None:
    silver.apply_covid(BASE, is_everything=True)
    silver.apply_users({1: User("a", None, 0)}, landed_day=0)
    refreshed(session)
    assert len(session.rows("SELECT * FROM gold.v_trend_analysis")) == 3
    known = dict(session.rows("SELECT column_name, share_known FROM gold.v_data_completeness WHERE dataset = 'users'"))
    assert (known["company_name"], known["email_domain"]) == (1, 0)
    assert session.rows("SELECT * FROM gold.v_pipeline_performance") == []
