"""Verdicts on bad files, datasets added as data, append: what the ledger says, and that the rest goes on."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.silver import load
from shared.errors import Unavailable
from shared.events import ObjectRef, bronze_ready
from shared.landing import database_now
from shared.settings import BRONZE_BUCKET, SILVER_BUCKET, SILVER_READY
from tests.pipeline import DAY_ZERO, Pipeline

HEADER = b"Date,Country/Region,Province/State,Confirmed,Recovered,Deaths\n"
GOOD = HEADER + b"2020-01-22,France,,2,0,0\n2020-01-23,France,,3,,1\n"


@pytest.mark.parametrize(
    ("dataset", "content", "status", "said"),
    [
        ("covid", b"", "rejected", "the file is empty: not even a header"),
        ("covid", HEADER, "done", None),
        ("covid", b"Day,Land\n2020-01-22,France\n", "rejected", "the header lacks 'Date', 'Country/Region'"),
        ("covid", b"\x89PNG\r\n\x1a\n\x00\x00", "rejected", "the header cannot be read as utf-8 CSV"),
        ("covid", HEADER + b"\xff\xfe\x00\x01" * 40, "rejected", "1 of 1 rows (100.0%) cannot be used"),
        ("covid", HEADER + b"2020-22-01,France,,2,0,0\n", "rejected", "'2020-22-01' is not a date written as %Y-%m-%d"),
        (
            "users",
            b'{"error": "rate limited"}',
            "rejected",
            "a JSON array was expected, the file begins with an object",
        ),
        ("users", b"<html>sorry</html>", "rejected", "a JSON array was expected"),
        ("users", b'[{"id": 1, "name": "A"}', "rejected", "the array breaks off after element 1"),
        ("users", b'[{"id": 1, "name": "A"}, {"id": ', "rejected", "element 2 is not JSON, or the file is truncated"),
        ("users", b"", "rejected", "the file is empty"),
        ("users", b"[]", "done", None),
    ],
)
def test_a_file_gets_a_verdict_that_says_why(
    pipeline: Pipeline, dataset: str, content: bytes, status: str, said: str | None
) -> None:
    row = pipeline.load(dataset, content, "merge")
    assert row["status"] == status, row["error_message"]
    assert (said or "") in (row["error_message"] or "")
    assert pipeline.rows(f"SELECT count(*) FROM silver.clean_{dataset}") == [(0,)]
    good = GOOD if dataset == "covid" else b'[{"id": 1, "name": "Ada"}]'
    assert pipeline.load(dataset, good, "merge", day=1)["status"] == "done", "the worker did not go on"
    pipeline.assert_invariants()


def test_a_line_of_200_megabytes_is_rejected_without_being_read_whole(pipeline: Pipeline) -> None:
    row = pipeline.load("covid", HEADER + b"2020-01-22," + b"x" * 200_000_000)
    assert row["status"] == "rejected"
    assert "this is not a file of lines" in row["error_message"]


def test_a_key_that_no_dataset_claims_is_recorded_as_ignored(pipeline: Pipeline) -> None:
    found = pipeline.drop("nobody/file.csv", GOOD)
    row = pipeline.ledger(found.object_id)
    assert (row["status"], row["dataset"]) == ("ignored", None)
    assert "no dataset claims 'nobody/file.csv'" in row["error_message"]


def test_a_drop_is_merged_and_announced_whatever_its_key_looks_like(pipeline: Pipeline) -> None:
    key = "covid/a b+ü%20.csv"
    info = pipeline.store.put_bytes(BRONZE_BUCKET, key, GOOD, {})
    event = bronze_ready(
        ObjectRef(bucket=BRONZE_BUCKET, key=key, version_id=info.version_id), database_now(pipeline.session)
    )
    pipeline.handle(event)
    pipeline.handle(event)
    rows = pipeline.rows("SELECT status, write_disposition, rows_inserted, attempts FROM bronze.ingestion_metadata")
    assert rows == [("done", "merge", 2, 1)]
    assert [topic for topic, *_ in pipeline.bus.published] == [SILVER_READY]
    exported = [info.key for info in pipeline.store.versions(SILVER_BUCKET, "covid/")]
    change_set = pipeline.rows("SELECT change_set_id, exported_at IS NOT NULL FROM silver.change_sets")
    assert change_set[0][1]
    assert f"covid/change_set={change_set[0][0]}.parquet" in exported


def test_an_event_lets_older_snapshots_go_first(pipeline: Pipeline) -> None:
    ids = [pipeline.land("covid", GOOD, day=day) for day in range(3)]
    key = pipeline.ledger(ids[2])["object_key"]
    pipeline.handle(bronze_ready(ObjectRef(bucket=BRONZE_BUCKET, key=key), database_now(pipeline.session)))
    rows = pipeline.rows("SELECT object_id, status FROM bronze.ingestion_metadata ORDER BY started_at")
    assert rows == [(object_id, "done") for object_id in ids]


def test_skip_superseded_goes_straight_to_the_newest(pipeline_with: Callable[..., Pipeline]) -> None:
    contract = ORDERS.replace("drops: {write_disposition: merge}", SOURCE) + "skip_superseded: true\n"
    pipeline = pipeline_with({"orders": contract})
    content = b"Order No;Date;Mail;Amount;Paid\n1;01.01.2026;n/a;3;\n"
    old, new = pipeline.land("orders", content), pipeline.land("orders", content, day=1)
    key = pipeline.ledger(new)["object_key"]
    pipeline.handle(bronze_ready(ObjectRef(bucket=BRONZE_BUCKET, key=key), database_now(pipeline.session)))
    assert pipeline.process(old) == ["superseded"]
    row = pipeline.ledger(old)
    assert (row["rows_read"], "skip_superseded" in row["error_message"]) == (None, True)


def test_an_undecodable_event_becomes_a_dead_letter(pipeline: Pipeline) -> None:
    pipeline.handle(b"\xff not json")
    found = pipeline.rows("SELECT topic, payload, reason, status FROM bronze.dead_letters")
    assert found[0][:2] == ("bronze-ready", "\\xff not json")
    assert found[0][2].startswith("UndecodableEvent: not JSON")


def test_a_bug_becomes_a_dead_letter_and_the_next_object_loads(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = pipeline.land("covid", GOOD)

    def explode(*_: Any) -> Iterator[Any]:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(load, "read_records", explode)
        assert pipeline.silver.process(pipeline.session, poison) == "failed"
    row = pipeline.ledger(poison)
    assert (row["status"], row["error_message"]) == ("failed", "unexpected ZeroDivisionError: a bug")
    letters = pipeline.rows("SELECT dataset, reason, traceback FROM bronze.dead_letters")
    assert letters[0][:2] == ("covid", "ZeroDivisionError: a bug")
    assert "explode" in letters[0][2]
    other = pipeline.land("covid", GOOD, day=1)
    assert pipeline.silver.process(pipeline.session, other) == "done"
    assert pipeline.silver.process(pipeline.session, poison) == "superseded", "a failed object can be tried again"


def test_an_object_store_that_is_away_costs_no_attempt(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    object_id = pipeline.land("covid", GOOD)

    def away(*_: Any) -> str:
        raise Unavailable("the object store", "connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline.store, "fetch", away)
        with pytest.raises(Unavailable):
            pipeline.silver.process(pipeline.session, object_id)
    row = pipeline.ledger(object_id)
    assert (row["status"], row["attempts"]) == ("registered", 0)
    assert pipeline.process(object_id) == ["done"]


def test_an_object_deleted_before_it_was_read_is_ignored(pipeline: Pipeline) -> None:
    found = pipeline.drop("covid/gone.csv", GOOD)
    version = pipeline.ledger(found.object_id)["version_id"]
    pipeline.store._client.remove_object(BRONZE_BUCKET, "covid/gone.csv", version)
    assert pipeline.process(found.object_id) == ["ignored"]
    assert pipeline.ledger(found.object_id)["error_message"] == "deleted before it was read"


def test_bytes_that_are_not_those_declared_are_rejected(pipeline: Pipeline) -> None:
    metadata = {"landed-at": DAY_ZERO.isoformat(), "content-sha256": "0" * 64}
    info = pipeline.store.put_bytes(BRONZE_BUCKET, "covid/other.csv", GOOD, metadata)
    pipeline.handle(
        bronze_ready(
            ObjectRef(bucket=info.bucket, key=info.key, version_id=info.version_id), database_now(pipeline.session)
        )
    )
    assert (
        "was declared when it was landed" in pipeline.rows("SELECT error_message FROM bronze.ingestion_metadata")[0][0]
    )


def test_bytes_damaged_on_the_way_are_asked_for_once_more(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    object_id = pipeline.land("covid", GOOD)
    fetch, tries = pipeline.store.fetch, list[str]()

    def damaged_once(info: Any, target: Any) -> str:
        sha256 = fetch(info, target)
        tries.append(sha256)
        if len(tries) > 1:
            return sha256
        target.write_bytes(b"other bytes")
        return "0" * 64

    monkeypatch.setattr(pipeline.store, "fetch", damaged_once)
    assert pipeline.process(object_id) == ["done"]
    assert pipeline.ledger(object_id)["rows_inserted"] == 2


def test_an_object_from_the_future_is_held(pipeline: Pipeline) -> None:
    ahead = (datetime.now(UTC) + timedelta(hours=2) - DAY_ZERO) / timedelta(days=1)
    held = pipeline.land("covid", GOOD, day=ahead)
    assert pipeline.process(held) == [None]
    row = pipeline.ledger(held)
    assert row["status"] == "held"
    assert "in the future" in row["error_message"]


def test_a_bad_row_is_quarantined_whole_and_the_rest_goes_on(pipeline: Pipeline) -> None:
    rows = b"".join(b"2020-02-%02d,Peru,,%d,0,0\n" % (day, day) for day in range(1, 29))
    object_id = pipeline.land("covid", HEADER + rows + b'2020-02-29,"Peru",,many,0,0\n')
    pipeline.process(object_id)
    found = pipeline.rows("SELECT line_number, raw, key, reasons, status, object_id FROM silver.quarantine")
    reason = {
        "rule": "type", "column": "confirmed", "value": "many", "message": "'many' is not an integer",
    }  # fmt: skip
    key = {"record_date": "2020-02-29", "country": "Peru", "province": ""}
    assert found == [(30, '2020-02-29,"Peru",,many,0,0', key, [reason], "open", object_id)]
    row = pipeline.ledger(object_id)
    assert (row["rows_read"], row["rows_inserted"], row["rows_quarantined"]) == (29, 28, 1)
    logged = pipeline.rows(
        "SELECT records_checked, records_failed, passed FROM silver.data_quality_logs WHERE quality_check = 'readable_rows'"
    )
    assert logged == [(29, 1, True)]


ORDERS = """
dataset: orders
description: A fourth dataset, declared in one file.
drops: {write_disposition: merge}
format: {type: csv, delimiter: ";", null_values: ["", "n/a"]}
columns:
  - {name: order_id, from: "Order No", type: integer}
  - {name: placed_on, from: Date, type: date, format: "%d.%m.%Y"}
  - {name: buyer_email, from: Mail, type: text, nullable: true}
  - {name: amount, from: Amount, type: decimal, precision: 12, scale: 2}
  - {name: is_paid, from: Paid, type: boolean, default: "false"}
primary_key: [order_id]
schema_contract: {columns: discard_row}
derived:
  - {name: buyer_domain, function: email_domain, of: buyer_email}
rules:
  - {name: amount_positive, check: "amount > 0", severity: quarantine}
  - {name: known_buyer, check: "buyer_email IS NOT NULL", severity: warn, penalty: 12.5}
limits: {bad_rows_max_share: 0.5}
"""


def test_a_fourth_dataset_is_one_file_and_no_python(pipeline_with: Callable[..., Pipeline]) -> None:
    pipeline = pipeline_with({"orders": ORDERS})
    content = (
        "Order No;Date;Mail;Amount;Paid\n"
        "7;31.12.2025;Ada@Example.org;12.5;yes\n8;01.01.2026;n/a;3;\n9;01.01.2026;;-1;no\n"
    )
    row = pipeline.load("orders", content.encode(), "merge")
    assert (row["status"], row["rows_inserted"], row["rows_quarantined"]) == ("done", 2, 1)
    found = pipeline.rows(
        "SELECT order_id, placed_on::text, buyer_email, amount::text, is_paid, buyer_domain, data_quality_score::float"
        " FROM silver.clean_orders ORDER BY 1"
    )
    assert found == [
        (7, "2025-12-31", "Ada@Example.org", "12.50", True, "example.org", 100.0),
        (8, "2026-01-01", None, "3.00", False, None, 87.5),
    ]
    assert pipeline.rows("SELECT reasons->0->>'rule' FROM silver.quarantine") == [("amount_positive",)]
    assert pipeline.rows("SELECT order_id, amount FROM bronze.raw_orders ORDER BY 1") == [("7", "12.5"), ("8", "3")]
    wider = "Order No;Date;Mail;Amount;Paid;Note\n10;01.01.2026;a@b.org;1;yes;hello\n11;01.01.2026;a@b.org;1;yes;\n"
    row = pipeline.load("orders", wider.encode(), "merge", day=1)
    assert (row["rows_read"], row["rows_discarded"], row["rows_inserted"]) == (2, 2, 0)
    pipeline.assert_invariants()


CLICKS = """
dataset: clicks
drops: {write_disposition: append}
format: {type: json}
columns:
  - {name: page, type: text}
  - {name: at, from: meta.at, type: timestamp, nullable: true}
change_groups: [page]
"""


def test_append_keeps_every_record_and_a_new_version_replaces_its_own(pipeline_with: Callable[..., Pipeline]) -> None:
    pipeline = pipeline_with({"clicks": CLICKS})
    body = json.dumps([{"page": "a", "meta": {"at": "2026-01-01T00:00:00Z"}}, {"page": "a", "extra": 1}]).encode()
    first, second = pipeline.drop("clicks/1.json", body), pipeline.drop("clicks/2.json", body)
    assert pipeline.process(first.object_id, second.object_id) == ["done", "done"]
    assert pipeline.rows("SELECT count(*) FROM silver.clean_clicks") == [(4,)]
    assert pipeline.rows("SELECT _rescued FROM silver.clean_clicks WHERE _rescued IS NOT NULL LIMIT 1") == [
        ({"extra": 1},)
    ]
    newer = pipeline.drop("clicks/1.json", b'[{"page": "b"}]')
    assert pipeline.process(newer.object_id) == ["done"]
    assert pipeline.rows("SELECT page, count(*) FROM silver.clean_clicks GROUP BY 1 ORDER BY 1") == [("a", 2), ("b", 1)]
    assert pipeline.ledger(newer.object_id)["rows_deleted"] == 2
    pipeline.assert_invariants()


def test_changed_rules_rewrite_the_rows_whose_result_differs(pipeline_with: Callable[..., Pipeline]) -> None:
    pipeline = pipeline_with({"orders": ORDERS.replace("drops: {write_disposition: merge}", SOURCE)})
    content = b"Order No;Date;Mail;Amount;Paid\n1;01.01.2026;n/a;3;\n2;01.01.2026;a@b.org;3;\n"
    pipeline.load("orders", content)
    stricter = pipeline_with(
        {"orders": ORDERS.replace("drops: {write_disposition: merge}", SOURCE).replace("12.5", "20")}
    )
    row = stricter.load("orders", content, day=1)
    assert (row["rows_unchanged"], row["rows_updated"]) == (2, 0)
    found = stricter.rows("SELECT order_id, data_quality_score::int FROM silver.clean_orders ORDER BY 1")
    assert found == [(1, 80), (2, 100)]
    assert stricter.rows("SELECT count(*) FROM silver.change_sets") == [(2,)]


SOURCE = 'source: {url: "https://example.org/orders.csv", poll_interval_seconds: 60}'


def test_a_worker_keeps_its_session_from_one_message_to_the_next_and_replaces_a_lost_one(pipeline: Pipeline) -> None:
    def backend() -> list[Any]:
        return pipeline.rows(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'silver-test-worker' AND state = 'idle'"
        )

    objects = [pipeline.land("covid", GOOD, day=day) for day in range(3)]
    refs = pipeline.rows("SELECT bucket, object_key, version_id FROM bronze.ingestion_metadata ORDER BY version")
    events = [bronze_ready(ObjectRef(bucket=b, key=k, version_id=v), DAY_ZERO) for b, k, v in refs]
    pipeline.handle(events[0])
    first = backend()
    pipeline.handle(events[1])
    assert (len(first), backend()) == (1, first)

    pipeline.rows("SELECT pg_terminate_backend(%s)", (first[0][0],))
    with pytest.raises(Unavailable):
        pipeline.handle(events[2])
    pipeline.handle(events[2])

    assert [pipeline.ledger(one)["status"] for one in objects] == ["done"] * 3
    assert len(backend()) == 1
    assert backend() != first
