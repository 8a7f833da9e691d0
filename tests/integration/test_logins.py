"""The logins of services and readers on the real database: each does its work, and nothing else."""

import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest

from services.gold import refresh, views
from services.ingestor.service import Ingestor
from services.silver.claim import claim
from shared import requests
from shared.adapters.postgres import Postgres, PostgresSession
from shared.errors import Unavailable
from shared.migrate import migrate
from shared.queries import load_query
from shared.settings import BRONZE_BUCKET, Settings
from tests.pipeline import Pipeline

PASSWORDS = dict.fromkeys(("ingestor", "silver", "gold", "reader"), "the password of a test")
HEADER = b"Date,Country/Region,Province/State,Confirmed,Recovered,Deaths\n"
RAINFALL = """
dataset: rainfall
description: Rain by station.
format: {type: csv}
columns:
  - {name: station, from: Station, type: text}
  - {name: millimetres, from: Rain, type: decimal}
primary_key: [station]
"""

FROZEN = RAINFALL.replace("dataset: rainfall", "dataset: frozen")

LoginOf = Callable[[str], Postgres]


def figures(*lines: str) -> bytes:
    return HEADER + "".join(f"{line}\n" for line in lines).encode()


@pytest.fixture
def login_of(pipeline: Pipeline) -> LoginOf:
    """Connect as one of the logins, all of which `migrate` has made."""
    settings = pipeline.settings
    migrate(pipeline.session, settings.sql_dir, pipeline.catalog, pipeline.models, PASSWORDS)
    return lambda who: _as(settings, who)


def _as(settings: Settings, who: str) -> Postgres:
    assert settings.database_url is not None
    url = urlsplit(settings.database_url.get_secret_value())
    login = f"medallion_{who}:{PASSWORDS[who].replace(' ', '%20')}"
    return Postgres(urlunsplit(url._replace(netloc=f"{login}@{url.hostname}:{url.port}")))


@pytest.fixture
def sessions(login_of: LoginOf) -> Iterator[Callable[[str], PostgresSession]]:
    opened: list[PostgresSession] = []

    def open_as(who: str) -> PostgresSession:
        opened.append(login_of(who).connect(f"test-{who}"))
        return opened[-1]

    yield open_as
    for session in opened:
        session.rollback()
        session.close()


def test_each_service_does_its_work_with_its_own_login(pipeline: Pipeline, sessions: Callable[[str], PostgresSession],
                                                       login_of: LoginOf) -> None:  # fmt: skip
    settings, store = pipeline.settings, pipeline.store
    pipeline.warehouse = login_of("silver")
    worker, session = pipeline.worker("silver-test"), sessions("silver")
    days = [f"2021-01-{day:02},{land},,{day * 10},,1" for land in ("Chile", "Peru", "Fiji") for day in range(1, 29)]
    snapshot = pipeline.land("covid", figures(*days))
    later = pipeline.land("covid", figures(*days[5:]), day=1)
    correction = pipeline.land("covid", figures(*days[:40], "2021-01-09,Chile,,many,,1"), "merge", day=2)

    statuses = [worker.process(session, one) for one in (later, snapshot, correction)]

    assert statuses == ["done", "superseded", "done"]
    store.put_bytes(BRONZE_BUCKET, "covid/dropped.csv", figures("2021-02-01,Peru,,300,,1"), {})
    ingestor = Ingestor(settings, pipeline.catalog, login_of("ingestor"), store, pipeline.bus)
    assert ingestor.sweep_once().registered >= 1
    pipeline.session.execute(  # the bucket is all tests', and older snapshots would go first
        "DELETE FROM bronze.ingestion_metadata WHERE status = 'registered' AND object_key <> 'covid/dropped.csv'"
    )
    pipeline.session.commit()
    for _, _, event in [one for one in pipeline.bus.published if one[1] == "covid/dropped.csv"]:
        worker.handle([event])
    gold = sessions("gold")
    done = refresh.refresh_tables(gold, pipeline.models, pipeline.catalog)
    assert {one.model for one in done} >= {"covid_global_summary", "covid_country_trends"}
    assert views.refresh_view(gold, pipeline.models, "mv_daily_covid_summary")
    assert refresh.rebuild(gold, pipeline.models, pipeline.catalog, "monthly_kpis").is_rebuild
    shown = sessions("reader").rows(
        "SELECT total_confirmed FROM gold.covid_global_summary WHERE summary_date = '2021-02-01'"
    )
    assert shown == [(300,)]
    requests.withdraw(pipeline.session, correction)
    assert worker.process(session, correction) == "ignored"
    assert pipeline.rows("SELECT reason FROM bronze.dead_letters") == []


@pytest.mark.parametrize(
    ("who", "name"),
    [
        ("ingestor", "backlog"),
        ("ingestor", "alert_troubles"),
        ("ingestor", "arrivals"),
        ("silver", "overdue_silver"),
        ("silver", "standing_silver"),
        ("silver", "spare_silver"),
        ("silver", "stops"),
        ("gold", "overdue_gold"),
        ("gold", "standing_gold"),
    ],
)
def test_what_a_service_asks_while_idle_is_granted(
    pipeline: Pipeline, sessions: Callable[[str], PostgresSession], who: str, name: str
) -> None:
    parameters = {"after": 1.0, "idle": 1.0, "silence": 1.0, "worker": "", "tables": ["daily_aggregates"]}

    sessions(who).rows(load_query(pipeline.settings.sql_dir, name), parameters)


@pytest.mark.parametrize(
    ("who", "statement"),
    [
        ("reader", "SELECT * FROM bronze.raw_users"),
        ("reader", "DELETE FROM gold.daily_aggregates"),
        ("reader", "UPDATE silver.clean_users SET email = ''"),
        ("ingestor", "SELECT * FROM silver.clean_users"),
        ("ingestor", "UPDATE silver.change_sets SET groups = '[]'"),
        ("ingestor", "UPDATE silver.expectations SET passed = true"),
        ("ingestor", "DELETE FROM bronze.alert_messages"),
        ("silver", "UPDATE silver.quality_days SET records_failed = 0"),
        ("silver", "DELETE FROM silver.data_quality_logs"),
        ("silver", "DELETE FROM bronze.raw_users"),
        ("silver", "INSERT INTO gold.daily_aggregates (aggregate_date) VALUES ('2021-01-01')"),
        ("silver", "ALTER TABLE silver.clean_users DROP COLUMN email"),
        ("gold", "DELETE FROM silver.clean_users"),
        ("gold", "SELECT * FROM bronze.raw_users"),
        ("gold", "CREATE TABLE gold.mine (id int)"),
    ],
)
def test_nobody_may_do_more(sessions: Callable[[str], PostgresSession], who: str, statement: str) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        sessions(who).execute(statement)


def test_tables_that_come_later_are_granted_and_a_changed_password_holds(
    pipeline_with: Callable[..., Pipeline], settings: Settings
) -> None:
    first = pipeline_with({})
    migrate(first.session, settings.sql_dir, first.catalog, first.models, PASSWORDS)
    second = pipeline_with({"rainfall": RAINFALL})
    new = {**PASSWORDS, "reader": "another password"}
    migrate(second.session, settings.sql_dir, second.catalog, second.models, new)

    with pytest.raises(Exception, match="password authentication failed"):
        _as(settings, "reader").connect("test")
    silver = _as(settings, "silver").connect("test")
    silver.execute("INSERT INTO bronze.raw_rainfall (station, _object_id, _line_number, _row_hash)"
                   " VALUES ('x', gen_random_uuid(), 1, gen_random_uuid())")  # fmt: skip
    silver.execute("TRUNCATE silver.clean_rainfall")
    silver.close()


def test_silver_adds_columns_through_its_function_where_a_contract_lets_files_bring_some(
    pipeline_with: Callable[..., Pipeline], settings: Settings
) -> None:
    rain = pipeline_with({"rainfall": f"{RAINFALL}schema_contract: {{columns: evolve}}\n", "frozen": FROZEN})
    migrate(rain.session, settings.sql_dir, rain.catalog, rain.models, PASSWORDS)
    rain.warehouse = _as(settings, "silver")
    with rain.warehouse.session("test-silver") as session:
        landed = rain.land("rainfall", b"Station,Rain,Wind\nLeeds,1,NE\n")
        assert rain.worker("silver-test").process(session, landed) == "done"
        assert session.rows("SELECT station, wind FROM silver.clean_rainfall") == [("Leeds", "NE")]
        session.commit()
        for dataset, name in (("rainfall", "x; DROP"), ("rainfall", "station"), ("rainfall", "station__v_text"),
                              ("frozen", "wind"), ("nothing", "wind"), ("rainfall_2020", "wind")):  # fmt: skip
            with pytest.raises((psycopg2.Error, Unavailable), match=r"is no name|is another one|is not known"):
                session.rows("SELECT bronze.evolve(%s, ARRAY[%s], ARRAY['x'], NULL)", (dataset, name))
            session.rollback()
    with _as(settings, "reader").session("test") as session, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        session.rows("SELECT bronze.evolve('rainfall', ARRAY['gust'], ARRAY['x'], NULL)")


def test_a_worker_ends_the_session_of_another_that_fell_silent(
    pipeline: Pipeline, sessions: Callable[[str], PostgresSession]
) -> None:
    object_id = pipeline.land("covid", figures("2021-01-01,Chile,,1,,1"))
    frozen, other = sessions("silver"), sessions("silver")
    assert claim(frozen, pipeline.settings, object_id, "frozen") is not None
    frozen.execute(
        "INSERT INTO bronze.workers (worker_id, service, host, pid, backend_pid) VALUES ('frozen', 'silver', '', 1, %s)",
        (frozen.backend_pid,),
    )
    frozen.commit()
    hasty = pipeline.settings.model_copy(update={"heartbeat_silence_seconds": 0.0})

    deadline = time.monotonic() + 20
    while (taken := claim(other, hasty, object_id, "other")) is None:
        assert time.monotonic() < deadline, "the silent worker's session lives on"

    assert taken.obj.attempts == 2
