"""The gold worker's parts on a real PostgreSQL: events, failures, views and snapshots."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from services.gold.announce import announce_forgotten
from services.gold.refresh import pending_count, refresh_tables
from services.gold.service import Gold
from services.gold.upkeep import Upkeep
from shared.adapters.postgres import Postgres, PostgresSession
from shared.catalog import Catalog, load_catalog
from shared.errors import Unavailable
from shared.events import SilverChange, silver_ready
from shared.models import Models, load_models
from shared.session import KeptSession
from shared.settings import GOLD_BUCKET, GOLD_READY, Settings
from tests.fakes import FakeBus, FakeStore
from tests.integration.silver_rows import Silver

DAY = (date(2024, 3, 4), "Österreich", "")
NOON = datetime(2024, 3, 4, 12, tzinfo=UTC)
WAIT_SECONDS = 10.0


class Worker:
    """One gold worker without a process: its event side and its upkeep, on a database of its own."""

    def __init__(self, settings: Settings) -> None:
        assert settings.database_url is not None
        self.settings = settings.model_copy(update={"retry_total_seconds": 0.5, "view_refresh_interval_seconds": 0.0})
        self.warehouse = Postgres(settings.database_url.get_secret_value())
        self.catalog: Catalog = load_catalog(settings.dataset_dir)
        self.models: Models = load_models(settings.sql_dir, self.catalog.datasets)
        self.store, self.bus = FakeStore(), FakeBus()
        self.store.ensure_bucket(GOLD_BUCKET, versioned=False)
        self.upkeep = Upkeep(KeptSession(self.warehouse, "upkeep"), self.store, self.bus, self.models, self.settings)
        self.session = KeptSession(self.warehouse, "gold")
        self.gold = Gold(self.session, self.bus, self.catalog, self.models, self.settings, self.upkeep.wake)

    def said(self) -> list[list[str]]:
        """Return the models of every gold-ready event, in the order of publishing."""
        return [json.loads(value)["data"]["models"] for topic, _, value in self.bus.published if topic == GOLD_READY]


@pytest.fixture
def worker(settings: Settings) -> Iterator[Worker]:
    made = Worker(settings)
    yield made
    made.session.close()


@pytest.fixture
def session(worker: Worker) -> Iterator[PostgresSession]:
    with worker.warehouse.session("test") as session:
        yield session


@pytest.fixture
def silver(worker: Worker, session: PostgresSession) -> Silver:
    return Silver(session, worker.catalog, worker.models)


def event(dataset: str = "covid") -> bytes:
    return silver_ready(SilverChange(dataset=dataset, change_set_id="any"), NOON)


def eventually(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen in time"
        threading.Event().wait(0.02)


def test_an_event_refreshes_the_tables_and_announces_them_once(worker: Worker, silver: Silver) -> None:
    silver.apply_covid({DAY: (5, 1, 0)})
    for _ in range(3):
        worker.gold.handle([event()])
    order = [
        "covid_country_trends",
        "covid_global_summary",
        "daily_aggregates",
        "monthly_kpis",
        "weekly_aggregates",
    ]
    assert worker.said() == [order]


def test_start_takes_up_what_nobody_announced(worker: Worker, silver: Silver, session: PostgresSession) -> None:
    silver.apply_covid({DAY: (5, 1, 0)})
    session.execute("UPDATE gold.pending SET model = 'of_yesterday' WHERE model = 'daily_aggregates'")
    session.commit()
    worker.gold.start()
    assert [row[0] for row in session.rows("SELECT model FROM gold.pending")] == ["mv_daily_covid_summary"]


def test_a_model_without_any_refresh_is_computed_at_start(
    worker: Worker, silver: Silver, session: PostgresSession
) -> None:
    silver.apply_users({}, landed_day=0)
    silver.apply_covid({DAY: (5, 1, 0)})
    session.execute("DELETE FROM gold.pending")
    session.commit()
    worker.gold.start()
    assert session.rows("SELECT total_confirmed FROM gold.covid_global_summary") == [(5,)]


def test_an_event_nobody_can_read_becomes_a_dead_letter(worker: Worker, session: PostgresSession) -> None:
    worker.gold.handle([b"\x00\xffnot an event"])
    rows = session.rows("SELECT topic, payload, status FROM bronze.dead_letters")
    assert rows == [("silver-ready", "\\x00\\xffnot an event", "open")]


def test_an_unexpected_failure_is_kept_once_and_the_change_set_stays_pending(
    worker: Worker, silver: Silver, session: PostgresSession
) -> None:
    silver.apply_covid({DAY: (5, 1, 0)})
    session.execute("ALTER TABLE gold.weekly_aggregates ADD CHECK (new_cases IS NOT NULL)")
    session.commit()
    for _ in range(2):
        worker.gold.handle([event()])
    rows = session.rows("SELECT dataset, attempts, reason FROM bronze.dead_letters")
    assert [row[:2] for row in rows] == [("covid", 2)]
    assert "weekly_aggregates" in rows[0][2]
    assert pending_count(session) == 6
    assert session.rows("SELECT count(*) FROM gold.covid_country_trends") == [(0,)]


def test_a_broker_that_is_away_is_waited_for_and_told_later(
    worker: Worker, silver: Silver, session: PostgresSession
) -> None:
    silver.apply_covid({DAY: (5, 1, 0)})
    worker.bus.is_away = True
    with pytest.raises(Unavailable):
        worker.gold.handle([event()])
    assert session.rows("SELECT count(*) FROM gold.covid_country_trends") == [(1,)]
    session.rollback()
    worker.bus.is_away = False
    worker.gold.handle([event()])
    assert len(worker.said()) == 1


def test_what_a_crash_left_unsaid_is_said_with_the_same_event(
    worker: Worker, silver: Silver, session: PostgresSession
) -> None:
    silver.apply_covid({DAY: (5, 1, 0)})
    worker.gold.handle([event()])
    said = worker.bus.published[0]
    moved = "UPDATE gold.refreshes SET announced_at = NULL, finished_at = finished_at - interval '1 hour'"
    session.execute(moved)
    session.commit()
    assert announce_forgotten(session, worker.bus, worker.models) == 1
    assert announce_forgotten(session, worker.bus, worker.models) == 0
    first, again = json.loads(said[2]), json.loads(worker.bus.published[1][2])
    assert (first["id"], first["data"]) == (again["id"], again["data"])


def test_two_workers_share_the_work_and_do_it_once(worker: Worker, silver: Silver, session: PostgresSession) -> None:
    rows = {}
    for number in range(10):
        rows[DAY[0], f"Country {number}", ""] = (number, 0, 0)
        silver.apply_covid(rows)

    def work() -> None:
        with worker.warehouse.session("racer") as own:
            refresh_tables(own, worker.models, worker.catalog)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert session.rows("SELECT count(*), sum(confirmed_cases) FROM gold.covid_country_trends") == [(10, 45)]
    taken = session.rows(
        "SELECT model, count(DISTINCT one) FROM gold.refreshes, unnest(change_sets) AS one GROUP BY model"
    )
    assert {row[1] for row in taken} == {10}
    assert pending_count(session) == 10  # the materialized view's


def test_views_and_snapshots_follow_without_a_further_event(
    worker: Worker, silver: Silver, session: PostgresSession
) -> None:
    worker.upkeep.start()
    try:
        silver.apply_covid({DAY: (5, 1, 0)})
        worker.gold.handle([event()])
        eventually(lambda: ["mv_daily_covid_summary"] in worker.said())
        assert session.rows("SELECT total_confirmed FROM gold.mv_daily_covid_summary") == [(5,)]
        session.rollback()
        eventually(lambda: len(keys(worker.store)) == 5)
    finally:
        worker.upkeep.stop()
    assert keys(worker.store) == {
        "covid_country_trends/latest.parquet", "covid_global_summary/latest.parquet",
        "daily_aggregates/latest.parquet", "monthly_kpis/latest.parquet", "weekly_aggregates/latest.parquet",
    }  # fmt: skip


def test_stopping_exports_what_changed_last(worker: Worker, silver: Silver, tmp_path: Path) -> None:
    worker.upkeep.start()
    silver.apply_covid({DAY: (5, 1, 0)})
    worker.gold.handle([event()])
    worker.upkeep.stop()
    assert len(keys(worker.store)) == 5
    stored = len(worker.store.entries)
    worker.upkeep.step()  # nothing has changed: nothing is stored
    assert len(worker.store.entries) == stored


def keys(store: FakeStore) -> set[str]:
    return {info.key for info, _ in store.entries}
