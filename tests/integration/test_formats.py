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


SALES = """
dataset: sales
source: {url: "https://example.org/sales.csv", poll_interval_seconds: 60}
format: {type: csv, encoding: utf-16, delimiter: ";", decimal: ",", thousands: "."}
columns:
  - {name: town, from: Ort, type: text}
  - {name: amount, from: Betrag, type: decimal, precision: 12, scale: 2}
  - {name: pieces, from: Stück, type: integer}
primary_key: [town]
limits: {bad_rows_max_share: 1}
"""


def sales(pipeline: Pipeline) -> list[tuple[object, ...]]:
    return pipeline.rows("SELECT town, amount::text, pieces, _line_number FROM silver.clean_sales ORDER BY 1")


def test_a_spreadsheets_export_is_read_as_declared(pipeline_with: Callable[..., Pipeline]) -> None:
    pipeline = pipeline_with({"sales": SALES})
    text = 'Ort;Betrag;Stück\r\nKöln;1.234,50;1.000\r\n"Bonn; West";7;2\r\nUlm;1.5;3\r\n東京;-0,25;4\r\n'
    object_id = pipeline.land("sales", gzip.compress(text.encode("utf-16")), "merge")
    assert pipeline.process(object_id) == ["done"]
    assert sales(pipeline) == [("Bonn; West", "7.00", 2, 3), ("Köln", "1234.50", 1000, 2), ("東京", "-0.25", 4, 5)]
    assert pipeline.rows("SELECT raw, reasons->0->>'message' FROM silver.quarantine") == [
        ("Ulm;1.5;3", "'1.5' is not a decimal with at most 2 places and 12 digits written like 1.234,5")
    ]
    assert pipeline.rows("SELECT amount FROM bronze.raw_sales WHERE town = 'Köln'") == [("1.234,50",)]
    pointed = pipeline_with({"sales": SALES.replace('decimal: ",", thousands: "."', 'decimal: "."')})
    requests.replay(pointed.session, dataset="sales")
    assert pointed.process(object_id) == ["done"]
    assert sales(pointed)[2:] == [("Ulm", "1.50", 3, 4), ("東京", "-0.25", 4, 5)]
    pointed.assert_invariants()


def test_the_same_bytes_are_read_again_when_their_format_is_declared_anew(
    pipeline_with: Callable[..., Pipeline],
) -> None:
    content = "Ort;Betrag;Stück\nKöln;-1;1\n".encode("utf-16")
    contract = SALES.replace("scale: 2", "scale: 2, nullable: true")
    pipeline_with({"sales": contract}).load("sales", content)
    mended = pipeline_with({"sales": contract.replace('";"', '";", null_values: ["-1"]')})
    row = mended.load("sales", content, day=1)
    assert (row["rows_updated"], sales(mended)) == (1, [("Köln", None, 1, 2)])


READINGS = r"""
dataset: readings
format: {type: csv, delimiter: "\t", quote: null, header: false, skip_lines: 2, comment: "#"}
columns: [{name: id, type: integer}, {name: level, type: double}, {name: note, type: text, nullable: true}]
primary_key: [id]
limits: {bad_rows_max_share: 1}
"""


def test_a_file_without_a_header_is_read_by_position_and_replayed(pipeline_with: Callable[..., Pipeline]) -> None:
    pipeline = pipeline_with({"readings": READINGS})
    content = b'Station 7\n"exported\n# id level note\n1\t0.5\t"quoted"\n#2\t0.6\t\n3\tn/a\t\n4\t0.7\n'
    object_id = pipeline.land("readings", content, "merge")
    assert pipeline.process(object_id) == ["done"]
    query = "SELECT id, level, note, _line_number FROM silver.clean_readings ORDER BY 1"
    assert pipeline.rows(query) == [(1, 0.5, '"quoted"', 4)]
    assert pipeline.rows("SELECT line_number, reasons->0->>'message' FROM silver.quarantine ORDER BY 1") == [
        (6, "'n/a' is not a double"), (7, "2 cells where the contract has columns: 3"),
    ]  # fmt: skip
    lenient = READINGS.replace("type: double", "type: double, nullable: true").replace(
        '"#"', '"#", null_values: ["", n/a]'
    )
    mended = pipeline_with({"readings": lenient})
    requests.replay(mended.session, dataset="readings")
    assert mended.process(object_id) == ["done"]
    assert mended.rows(query) == [(1, 0.5, '"quoted"', 4), (3, None, None, 6)]
    assert quarantine(mended) == [(6, "type", "replayed"), (7, "ragged", "open")]
    mended.assert_invariants()
