"""The published data through the whole pipeline: its control figures, any order of deliveries, the same file twice."""

import itertools
import os
import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pandas as pd
import pytest

from shared.events import ObjectRef
from shared.ledger import register
from tests.integration import oracle_gold as oracle
from tests.integration import published
from tests.integration.equality import Expected, forget_everything, gold, ledger, refresh_gold, silver
from tests.integration.published import FINAL, deliveries, delivery, differences
from tests.pipeline import DAY_ZERO, Pipeline

pytestmark = published.real_data

LAST_DAY = date(2022, 4, 16)
# Of the whole deliveries; an order takes 8 to 15 s on two cores. REAL_DATA_ORDERS=12 tries three times as many.
ORDERS = int(os.environ.get("REAL_DATA_ORDERS", "4"))
CUT_ROWS = [31, 34, 37, 45, 48]


def load_final(pipeline: Pipeline) -> dict[str, Any]:
    row = pipeline.load("covid", FINAL)
    refresh_gold(pipeline)
    return row


def test_the_final_file_gives_the_published_figures(pipeline: Pipeline) -> None:
    row = load_final(pipeline)
    assert (row["status"], row["rows_read"], row["rows_inserted"]) == ("done", 231_744, 231_744)
    world = pipeline.rows(
        """
        SELECT total_confirmed, total_deaths, total_recovered, daily_new_cases, daily_new_deaths, total_countries,
            week_over_week_change, global_recovery_rate, top_5_countries, bottom_5_countries
        FROM gold.covid_global_summary WHERE summary_date = %s
        """,
        (LAST_DAY,),
    )
    top = [
        ("US", 80_625_120),
        ("India", 43_042_097),
        ("Brazil", 30_250_077),
        ("France", 27_874_269),
        ("Germany", 23_416_663),
    ]
    bottom = [("Micronesia", 1), ("Marshall Islands", 7), ("MS Zaandam", 9), ("Antarctica", 11), ("Holy See", 29)]
    assert world == [
        (
            504_155_459, 6_197_159, 0, 549_063, 1_512, 198, Decimal("1.1751"), Decimal("0.0000"),
            [{"country": country, "confirmed": count} for country, count in top],
            [{"country": country, "confirmed": count} for country, count in bottom],
        )
    ]  # fmt: skip
    assert pipeline.rows(
        "SELECT total_confirmed FROM gold.covid_global_summary WHERE summary_date = %s", (LAST_DAY - timedelta(days=7),)
    ) == [(498_299_996,)]
    figures = pipeline.rows(
        """
        SELECT count(*), count(DISTINCT (record_date, country, province)), count(DISTINCT country),
            count(DISTINCT (country, province)), count(DISTINCT record_date),
            count(*) FILTER (WHERE province <> ''), count(*) FILTER (WHERE recovered IS NULL),
            count(*) FILTER (WHERE deaths > confirmed), count(*) FILTER (WHERE recovered > confirmed),
            count(*) FILTER (WHERE daily_new_cases < 0), count(*) FILTER (WHERE daily_new_deaths < 0),
            sum(confirmed) FILTER (WHERE record_date = %s AND recovered IS NOT NULL)
        FROM silver.clean_covid
        """,
        (LAST_DAY,),
    )
    assert figures == [(231_744, 231_744, 198, 284, 816, 72_624, 13_056, 725, 517, 262, 192, 500_521_511)]
    broken = (
        "SELECT quality_check, records_failed FROM silver.data_quality_logs"
        " WHERE table_name = 'silver.clean_covid' AND kind = 'rule'"
    )
    assert dict(pipeline.rows(broken)) == {
        "counts_not_negative": 0, "deaths_within_confirmed": 725, "recovered_within_confirmed": 517,
        "plausible_size": 2_166, "readable_rows": 0,
    }  # fmt: skip
    pipeline.assert_invariants()


def test_the_publishers_own_world_totals_agree_and_the_end_of_recoveries_is_flagged(pipeline: Pipeline) -> None:
    load_final(pipeline)
    theirs = pd.read_csv(published.COVID / "worldwide-aggregate.csv", parse_dates=["Date"])
    ours = gold(pipeline, "covid_global_summary")
    assert [day.date() for day in theirs["Date"]] == sorted(ours)
    world = [ours[day.date()] for day in theirs["Date"]]
    assert [row[1] for row in world] == theirs["Confirmed"].tolist()
    assert [row[2] for row in world] == theirs["Deaths"].tolist()
    missing = {
        day.date(): int(recovered) - row[3]
        for day, recovered, row in zip(theirs["Date"], theirs["Recovered"], world, strict=True)
        if recovered != row[3]
    }
    assert (len(theirs) - len(missing), len(missing)) == (276, 540)
    assert (min(missing), max(missing)) == (date(2020, 2, 12), date(2021, 8, 4))
    assert (min(missing.values()) > 0, max(missing.values())) == (True, 1_405_971)
    flagged = pipeline.rows(
        "SELECT details -> 'sample' FROM silver.data_quality_logs WHERE quality_check = 'recovered_does_not_collapse'"
    )
    stopped = {"summary_date": "2021-08-05", "recovered_before": 129_493_090, "total_recovered": 0}
    assert [stopped in sample for (sample,) in flagged] == [True]


def test_silver_and_gold_equal_an_independent_computation_row_by_row(pipeline: Pipeline) -> None:
    load_final(pipeline)
    assert_all_rows(pipeline, published.covid_frame(FINAL))
    pipeline.assert_invariants()


def assert_all_rows(pipeline: Pipeline, file: pd.DataFrame) -> None:
    """Hold silver and every COVID model against pandas."""
    clean = published.clean_covid(file)
    assert differences(silver(pipeline, "covid"), clean) == []
    summary = {day: row[:-1] for day, row in gold(pipeline, "covid_global_summary").items()}  # the score is silver's
    expected = {
        "covid_country_trends": published.country_trends(file),
        "daily_aggregates": oracle.periods(file, "D"),
        "weekly_aggregates": oracle.periods(file, "W-SUN"),
        "monthly_kpis": oracle.periods(file, "M"),
        "mv_daily_covid_summary": published.daily_view(clean),
    }
    assert differences(summary, oracle.global_summary(file)) == []
    for model, rows in expected.items():
        assert differences(gold(pipeline, model), rows) == [], model


def test_users_and_posts_arrive_whole_and_gold_counts_them(pipeline: Pipeline) -> None:
    for dataset in ("users", "posts"):
        row = pipeline.load(dataset, published.DATA / "jsonplaceholder" / f"{dataset}.json")
        assert (row["status"], row["rows_inserted"]) == ("done", {"users": 10, "posts": 100}[dataset])
    refresh_gold(pipeline)
    users, posts = published.people("users"), published.people("posts")
    found = pipeline.rows(
        "SELECT user_id, full_name, username, email, phone, company_name, geo_lat, geo_lng, data_quality_score"
        " FROM silver.clean_users ORDER BY user_id"
    )
    assert found == [
        (
            user["id"], user["name"], user["username"], user["email"], user["phone"], user["company"]["name"],
            Decimal(user["address"]["geo"]["lat"]), Decimal(user["address"]["geo"]["lng"]), 100,
        )
        for user in users
    ]  # fmt: skip
    found = pipeline.rows(
        "SELECT post_id, user_id, title, body, title_length, body_length, word_count, has_links, data_quality_score"
        " FROM silver.clean_posts ORDER BY post_id"
    )
    assert found == [
        (
            post["id"], post["userId"], post["title"], post["body"], len(post["title"]), len(post["body"]),
            len(post["body"].split()), False, 100,
        )
        for post in posts
    ]  # fmt: skip
    day = DAY_ZERO.date()
    assert gold(pipeline, "user_engagement_metrics") == engagement(day, posts)
    names = [len(user["name"]) for user in users]
    companies = sorted(user["company"]["name"] for user in users)
    assert gold(pipeline, "user_analytics_summary") == {
        day: (
            10, 10, 10, {user["email"].rpartition("@")[2].lower(): 1 for user in users},
            oracle.percent(sum(names), 1000), companies[0], dict.fromkeys(companies, 1), 100,
        )
    }  # fmt: skip
    assert gold(pipeline, "mv_user_company_analysis") == {
        user["company"]["name"]: (1, len(user["name"]), [user["email"].rpartition("@")[2].lower()]) for user in users
    }
    pipeline.assert_invariants()


def engagement(day: date, posts: list[dict[str, Any]]) -> published.Table:
    """Compute user_engagement_metrics of posts that were all first seen on one day."""
    bodies: dict[int, list[str]] = {}
    for post in posts:
        bodies.setdefault(post["userId"], []).append(post["body"])
    size = {user: (len(own), sum(len(body.split()) for body in own)) for user, own in bodies.items()}
    rows: published.Table = {}
    for user, own in bodies.items():
        score = oracle.percent(sum(other < size[user] for other in size.values()), len(size) - 1)
        assert score is not None
        level = "HIGH" if score >= Decimal("66.67") else "MEDIUM" if score >= Decimal("33.33") else "LOW"
        length = oracle.percent(sum(map(len, own)), 100 * len(own))
        rows[day, user] = (len(own), length, size[user][1], score, level, day)
    return rows


class Landed:
    """Files that lie in the bucket, landed a day apart, and can be processed in any order again and again."""

    def __init__(self, pipeline: Pipeline, files: Sequence[bytes | Path]) -> None:
        self._pipeline = pipeline
        for day, content in enumerate(files):
            pipeline.land("covid", content, day=day)
        self._refs = [
            ObjectRef(bucket=bucket, key=key, version_id=version)
            for bucket, key, version in ledger(pipeline, "bucket", "object_key", "version_id")
        ]

    def registered_anew(self) -> list[UUID]:
        """Empty all tables and enter the files into the ledger; return their ids, oldest first."""
        forget_everything(self._pipeline)
        store, catalog = self._pipeline.store, self._pipeline.catalog
        found = [register(self._pipeline.session, store, catalog, ref, "event") for ref in self._refs]
        return [one.object_id for one in found if one is not None]


def expect_what_the_newest_alone_gives(pipeline: Pipeline, landed: Landed) -> Expected:
    pipeline.process(landed.registered_anew()[-1])
    refresh_gold(pipeline)
    return Expected(pipeline, "covid")


def test_deliveries_in_order_end_as_the_final_file_and_are_counted(pipeline: Pipeline) -> None:
    landed = Landed(pipeline, deliveries())
    expected = expect_what_the_newest_alone_gives(pipeline, landed)
    for object_id in landed.registered_anew():
        pipeline.process(object_id)
        refresh_gold(pipeline)
        pipeline.assert_invariants()
    expected.assert_equal("all deliveries in order")
    counts = ledger(pipeline, "status", "rows_inserted", "rows_updated", "rows_unchanged", "rows_deleted")
    assert counts == [
        ("done", 59_850, 0, 0, 0),
        ("done", 10_374, 265, 59_585, 0),
        ("done", 3_201, 133, 70_091, 0),
        ("done", 41_656, 2_180, 70_970, 275),
        ("done", 116_938, 8_262, 106_544, 0),
    ]


def test_deliveries_in_other_orders_end_as_the_final_file(pipeline: Pipeline) -> None:
    landed = Landed(pipeline, deliveries())
    expected = expect_what_the_newest_alone_gives(pipeline, landed)
    rng = random.Random(3)
    orders = rng.sample(list(itertools.permutations(range(5)))[1:], ORDERS)
    for order in orders:
        ids = landed.registered_anew()
        for place in order:
            pipeline.process(ids[place])
            if rng.random() < 0.25:
                refresh_gold(pipeline)
        refresh_gold(pipeline)
        expected.assert_equal(order)
        pipeline.assert_invariants()


def cuts() -> list[bytes]:
    """Cut each delivery to at most 50 rows: restated ones with the days around them, new ones and one that vanishes."""
    files = [published.records(path) for path in deliveries()]
    rng = random.Random(50)
    chosen: dict[tuple[str, ...], None] = {}
    for (_, older), (_, newer) in itertools.pairwise(files):
        restated = sorted(key for key in older.keys() & newer.keys() if older[key][-3:] != newer[key][-3:])
        for day, country, province in rng.sample(restated, 3):
            for days in range(-1, 2):
                chosen[(date.fromisoformat(day) + timedelta(days=days)).isoformat(), country, province] = None
        vanishing, new = sorted(older.keys() - newer.keys()), sorted(newer.keys() - older.keys())
        chosen.update(dict.fromkeys(rng.sample(vanishing, min(1, len(vanishing))) + rng.sample(new, 3)))
    return [published.csv_bytes(header, [rows[key] for key in chosen if key in rows]) for header, rows in files]


def test_cuts_of_the_deliveries_end_the_same_in_all_120_orders(pipeline: Pipeline) -> None:
    files = cuts()
    assert [content.count(b"\n") - 1 for content in files] == CUT_ROWS
    landed = Landed(pipeline, files)
    expected = expect_what_the_newest_alone_gives(pipeline, landed)
    for order in itertools.permutations(range(5)):
        ids = landed.registered_anew()
        for place in order:
            pipeline.process(ids[place])
        refresh_gold(pipeline)
        expected.assert_equal(order)
        pipeline.assert_invariants()


def test_dates_with_day_and_month_swapped_are_refused_with_the_file_and_change_nothing(pipeline: Pipeline) -> None:
    pipeline.load("covid", delivery("009"), day=1)
    refresh_gold(pipeline)
    before = Expected(pipeline, "covid")
    row = pipeline.load("covid", delivery("001"), day=2)
    assert row["status"] == "rejected"
    assert row["error_message"].startswith(
        "36,974 of 59,318 rows (62.3%) cannot be used, more than the 5% that limits.bad_rows_max_share allows: "
        "36,974 × type of record_date, first line 2: '2020-22-01' is not a date written as %Y-%m-%d."
    )
    assert refresh_gold(pipeline) == []
    before.assert_equal("a rejected file")
    assert pipeline.rows("SELECT count(*) FROM silver.change_sets") == [(1,)]
    assert pipeline.rows("SELECT count(*) FROM bronze.raw_covid") == [(59_850,)]
    pipeline.assert_invariants()


def test_columns_that_disappear_change_only_the_rows_that_were_restated(pipeline: Pipeline) -> None:
    pipeline.load("covid", delivery("048"), day=0)
    row = pipeline.load("covid", delivery("049"), day=1)
    assert (row["rows_inserted"], row["rows_updated"], row["rows_deleted"]) == (3_201, 133, 0)
    assert row["rows_unchanged"] == 70_091
    _, older = published.records(delivery("048"))
    _, newer = published.records(delivery("049"))
    kept = {key for key in older.keys() & newer.keys() if older[key][-3:] == newer[key][-3:]}
    rescued = pipeline.rows("SELECT record_date::text, country, province, _rescued FROM silver.clean_covid")
    expected = {key: {"Lat": older[key][3], "Long": older[key][4]} if key in kept else None for key in newer}
    assert {tuple(r[:3]): r[3] for r in rescued} == expected
    assert differences(silver(pipeline, "covid"), published.clean_covid(published.covid_frame(delivery("049")))) == []
    pipeline.assert_invariants()


HAND_MADE = """\
Date,Country/Region,Province/State,Confirmed,Recovered,Deaths
2020-03-01,Italy,,5000,83,34
2020-06-15,Australia,Victoria,2000,,19
2020-10-20,Zimbabwe,,9000,7797,236
"""


def test_a_hand_made_correction_changes_its_rows_and_the_days_after_them_until_the_next_snapshot(
    pipeline: Pipeline,
) -> None:
    pipeline.load("covid", delivery("049"))
    refresh_gold(pipeline)
    snapshot = Expected(pipeline, "covid")
    before = silver(pipeline, "covid")
    dropped = pipeline.drop("covid/correction.csv", HAND_MADE.encode())
    pipeline.process(dropped.object_id)
    row = pipeline.ledger(dropped.object_id)
    assert (row["status"], row["write_disposition"], row["rows_read"], row["rows_updated"], row["rows_deleted"]) == (
        "done", "merge", 3, 3, 0,
    )  # fmt: skip
    file = published.covid_frame(delivery("049"))
    correction = published.covid_frame(StringIO(HAND_MADE))
    keys = ["record_date", "country", "province"]
    corrected = pd.concat([file, correction]).drop_duplicates(keys, keep="last", ignore_index=True)
    after = silver(pipeline, "covid")
    changed = {key for key in after if after[key] != before[key]}
    # New cases differ that day and, the other way, the next; means over seven days hold one of the two on days 0 and 7.
    reached = {
        (day.date() + timedelta(days=days), country, province)
        for day, country, province in correction[keys].itertuples(index=False)
        for days in (0, 1, 7)
        if (day.date() + timedelta(days=days), country, province) in before
    }
    assert changed == reached
    assert after.keys() == before.keys()
    refresh_gold(pipeline)
    assert_all_rows(pipeline, corrected)
    pipeline.assert_invariants()
    landed = datetime.fromisoformat(row["landed_at"]) + timedelta(seconds=1)
    again = pipeline.load("covid", delivery("049"), day=(landed.astimezone(UTC) - DAY_ZERO) / timedelta(days=1))
    assert (again["status"], again["rows_updated"], again["rows_inserted"], again["rows_deleted"]) == ("done", 3, 0, 0)
    refresh_gold(pipeline)
    snapshot.assert_equal("the next snapshot")
    pipeline.assert_invariants()


@pytest.mark.parametrize("dataset", ["covid", "users", "posts"])
def test_the_same_file_again_writes_nothing_and_tells_nobody(pipeline: Pipeline, dataset: str) -> None:
    people = published.DATA / "jsonplaceholder"
    path = FINAL if dataset == "covid" else people / f"{dataset}.json"
    if dataset == "posts":
        pipeline.load("users", people / "users.json")  # posts wait for their authors
    first = pipeline.load(dataset, path, day=0.25)
    assert refresh_gold(pipeline) != []
    said = list(pipeline.bus.published)
    before = Expected(pipeline, dataset)
    written = written_rows(pipeline, dataset)
    again = pipeline.load(dataset, path, day=0.5)
    assert (again["status"], again["rows_read"], again["rows_unchanged"]) == ("done", *[first["rows_inserted"]] * 2)
    assert refresh_gold(pipeline) == []
    assert pipeline.bus.published == said
    assert written_rows(pipeline, dataset) == written
    before.assert_equal("the same file again")
    pipeline.assert_invariants()


def written_rows(pipeline: Pipeline, dataset: str) -> list[Any]:
    """Return what would show a write: rows of history, change sets, and when and where each clean row was written."""
    contract = pipeline.catalog[dataset]
    return pipeline.rows(
        f"SELECT (SELECT count(*) FROM {contract.raw_table}), (SELECT count(*) FROM silver.change_sets),"
        " (SELECT count(*) FROM gold.pending), count(*), count(DISTINCT xmin::text), sum(hashtextextended(ctid::text, 0))"
        f" FROM {contract.clean_table}"
    )
