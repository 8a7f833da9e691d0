"""Replay and backfill: kept rows under today's contract, newer wins as ever, history kept."""

from collections.abc import Callable

from shared import requests
from tests.pipeline import Pipeline

CONTRACT = """
dataset: prices
source: {url: "https://example.org/prices.csv", poll_interval_seconds: 60}
format: {type: csv}
columns:
  - {name: item, type: text}
  - {name: price, type: integer}
primary_key: [item]
limits: {bad_rows_max_share: 1, removed_rows_max_share: 1}
"""
LENIENT = CONTRACT.replace("{name: price, type: integer}", "{name: price, type: integer, nullable: true}").replace(
    "{type: csv}", '{type: csv, null_values: ["", "n/a"]}'
)


def prices(pipeline: Pipeline) -> list[tuple[object, ...]]:
    return pipeline.rows("SELECT item, price, _stale FROM silver.clean_prices ORDER BY item")


def quarantine(pipeline: Pipeline) -> list[tuple[object, ...]]:
    return pipeline.rows("SELECT line_number, status FROM silver.quarantine ORDER BY line_number")


def test_replayed_rows_pass_or_stay_under_todays_contract(pipeline_with: Callable[..., Pipeline]) -> None:
    strict = pipeline_with({"prices": CONTRACT})
    object_id = strict.land("prices", b'item,price\n"a, b",1\nc,n/a\nd,many\n')
    strict.process(object_id)
    before = strict.ledger(object_id)
    lenient = pipeline_with({"prices": LENIENT})

    asked, refs = requests.replay(lenient.session, dataset="prices")
    lenient.process(object_id)

    assert (asked, [ref.key for ref in refs]) == (2, [before["object_key"]])
    assert prices(lenient) == [("a, b", 1, False), ("c", None, False)]
    assert quarantine(lenient) == [(3, "replayed"), (4, "open")]
    after = lenient.ledger(object_id)
    assert {k: v for k, v in after.items() if k.startswith("rows_") or k == "status"} == {
        k: v for k, v in before.items() if k.startswith("rows_") or k == "status"
    }
    kinds = lenient.rows(
        "SELECT kind, rows_read, rows_inserted, rows_quarantined FROM bronze.processing_runs ORDER BY run_id"
    )
    assert kinds == [("first", 3, 1, 2), ("replay", 2, 1, 1)]
    lenient.assert_invariants()


def test_a_replayed_row_does_not_undo_what_came_later(pipeline_with: Callable[..., Pipeline]) -> None:
    strict = pipeline_with({"prices": CONTRACT})
    first = strict.land("prices", b"item,price\na,1\nb,n/a\nc,n/a\n", day=0)
    strict.process(first)
    strict.load("prices", b"item,price\nb,7\n", "merge", day=1)
    lenient = pipeline_with({"prices": LENIENT})
    requests.replay(lenient.session, object_id=first)
    lenient.process(first)
    assert prices(lenient) == [("a", 1, False), ("b", 7, False), ("c", None, False)]
    lenient.assert_invariants()


def test_a_replayed_row_becomes_the_last_good_row_of_a_spoiled_key(pipeline_with: Callable[..., Pipeline]) -> None:
    strict = pipeline_with({"prices": CONTRACT})
    first = strict.land("prices", b"item,price\na,n/a\n", day=0)
    strict.process(first)
    strict.load("prices", b"item,price\na,broken\n", "merge", day=1)
    assert prices(strict) == []
    lenient = pipeline_with({"prices": LENIENT})
    requests.replay(lenient.session, object_id=first)
    lenient.process(first)
    assert prices(lenient) == [("a", None, True)]
    lenient.assert_invariants()


def test_rows_whose_text_is_not_what_was_delivered_are_not_replayed(pipeline_with: Callable[..., Pipeline]) -> None:
    strict = pipeline_with({"prices": CONTRACT})
    object_id = strict.land("prices", b"item,price\na,1\na,2\n\xff,3\n")
    strict.process(object_id)
    assert requests.replay(strict.session, dataset="prices") == (0, [])
    assert (
        requests.discard(strict.session, [row[0] for row in strict.rows("SELECT quarantine_id FROM silver.quarantine")])
        == 2
    )
    assert quarantine(strict) == [(2, "discarded"), (4, "discarded")]


def test_a_backfill_runs_old_objects_again_and_changes_nothing(pipeline_with: Callable[..., Pipeline]) -> None:
    pipeline = pipeline_with({"prices": CONTRACT})
    ids = [
        pipeline.land("prices", b"item,price\na,1\nb,2\n", day=0),
        pipeline.land("prices", b"item,price\nb,3\nc,x\n", "merge", day=1),
        pipeline.land("prices", b"item,price\nb,4\nd,5\n", day=2),
    ]
    pipeline.process(*ids)
    before, raw = prices(pipeline), pipeline.rows("SELECT count(*) FROM bronze.raw_prices")
    refs = requests.backfill(pipeline.session, "prices")
    pipeline.process(*ids)
    assert len(refs) == 3
    assert prices(pipeline) == before
    assert pipeline.rows("SELECT count(*) FROM bronze.raw_prices") == raw
    assert pipeline.rows("SELECT status, request FROM bronze.ingestion_metadata") == [("done", None)] * 3
    pipeline.assert_invariants()


def test_a_held_snapshot_is_let_through(pipeline_with: Callable[..., Pipeline]) -> None:
    pipeline = pipeline_with({"prices": CONTRACT.replace("removed_rows_max_share: 1", "removed_rows_max_share: 0")})
    pipeline.load("prices", b"item,price\na,1\nb,2\n", day=0)
    held = pipeline.land("prices", b"item,price\na,1\n", day=1)
    assert pipeline.process(held) == ["held"]
    requests.approve(pipeline.session, held)
    assert pipeline.process(held) == ["done"]
    assert prices(pipeline) == [("a", 1, False)]
