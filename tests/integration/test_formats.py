"""Every declared format on the real path: rows, verdicts with physical lines, and replay from the kept text."""

import gzip
from collections.abc import Callable

from shared import requests
from tests.pipeline import Pipeline

EVENTS = """
dataset: events
source: {url: "https://example.org/events.jsonl", poll_interval_seconds: 60}
format: {type: jsonl}
columns:
  - {name: event_id, from: id, type: integer}
  - {name: city, from: place.city, type: text, nullable: true}
  - {name: amount, type: decimal, precision: 12, scale: 2, nullable: true}
primary_key: [event_id]
limits: {bad_rows_max_share: 0.5}
"""


def quarantine(pipeline: Pipeline) -> list[tuple[object, ...]]:
    return pipeline.rows("SELECT line_number, reasons->0->>'rule', status FROM silver.quarantine ORDER BY 1")


def test_json_lines_are_loaded_with_their_physical_lines(pipeline_with: Callable[..., Pipeline]) -> None:
    pipeline = pipeline_with({"events": EVENTS})
    first = (
        '{"id": 1, "place": {"city": "Zürich"}, "amount": 1.50, "more": [1]}\n'
        '\n{"id": 2, "amount": "n/a"}\n{"id": 3, \n{"id": 4}\n'
    )
    object_id = pipeline.land("events", first.encode())
    assert pipeline.process(object_id) == ["done"]
    row = pipeline.ledger(object_id)
    assert (row["rows_read"], row["rows_inserted"], row["rows_quarantined"]) == (4, 2, 2)
    assert pipeline.rows(
        "SELECT event_id, city, amount::text, _line_number, _rescued FROM silver.clean_events ORDER BY 1"
    ) == [(1, "Zürich", "1.50", 1, {"more": [1]}), (4, None, None, 5, None)]
    assert quarantine(pipeline) == [(3, "type", "open"), (4, "malformed", "open")]
    pipeline.assert_invariants()


ACCOUNTS = """
dataset: accounts
format: {type: jsonl}
columns: [{name: id, type: integer}, {name: mail, type: text}]
primary_key: [id]
limits: {bad_rows_max_share: 1}
"""


def test_a_kept_line_is_replayed_by_itself(pipeline_with: Callable[..., Pipeline]) -> None:
    strict = pipeline_with({"accounts": ACCOUNTS})
    object_id = strict.land("accounts", gzip.compress(b'{"id": 1, "mail": "a@b.org"}\n{"id": 2}\n{"id": 3'), "merge")
    strict.process(object_id)
    assert quarantine(strict) == [(2, "not_null", "open"), (3, "malformed", "open")]
    lenient = pipeline_with({"accounts": ACCOUNTS.replace("mail, type: text", "mail, type: text, nullable: true")})
    requests.replay(lenient.session, dataset="accounts")
    assert lenient.process(object_id) == ["done"]
    assert quarantine(lenient) == [(2, "not_null", "replayed"), (3, "malformed", "open")]
    assert lenient.rows("SELECT id, mail, _line_number FROM silver.clean_accounts ORDER BY 1") == [
        (1, "a@b.org", 1), (2, None, 2),
    ]  # fmt: skip
    lenient.assert_invariants()


def test_a_newer_snapshot_of_json_lines_removes_what_it_lacks(pipeline_with: Callable[..., Pipeline]) -> None:
    contract = EVENTS.replace("bad_rows_max_share: 0.5", "removed_rows_max_share: 1")
    pipeline = pipeline_with({"events": contract})
    pipeline.load("events", b'{"id": 1}\n{"id": 2}\n')
    row = pipeline.load("events", b'{"id": 2}\n{"id": 3}', day=1)
    assert (row["rows_unchanged"], row["rows_inserted"], row["rows_deleted"]) == (1, 1, 1)
    empty = pipeline.load("events", b"\n", day=2)
    assert (empty["status"], "not even one object" in empty["error_message"]) == ("rejected", True)
    array = pipeline.load("events", b'[{"id": 2},\n {"id": 3}]\n', day=3)
    assert array["status"] == "rejected"
    assert "an array of them is `type: json`" in array["error_message"]
