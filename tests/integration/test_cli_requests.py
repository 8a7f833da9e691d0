"""What people do after a fix, on a stack of its own: replay, discard, approve, backfill, dead letters, resume."""

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from shared.adapters.kafka import KafkaBus, tail
from shared.adapters.postgres import Postgres
from tests.integration.test_cli import Medallion, started

WAIT_SECONDS = 30.0
pytestmark = pytest.mark.embedded("`medallion up` starts it here, as users do")
HEADER = "Station;Day;Rain (mm);Observer\n"


@pytest.fixture(scope="module")
def medallion(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Medallion]:
    """A stack for all tests of this module."""
    with started(tmp_path_factory.mktemp("requests")) as made:
        yield made


def rain(station: str, bad_day: int | None = None, days: int = 25) -> str:
    lines = [f"{station};{day:02}.05.2026;{'1O' if day == bad_day else 1};a@b.org\n" for day in range(1, days + 1)]
    return HEADER + "".join(lines)


def land(medallion: Medallion, text: str, *options: str) -> str:
    """Land a file of rainfall; return its object id."""
    path = medallion.folder / "rain.csv"
    path.write_text(text, encoding="utf-8")
    (landed,) = medallion.json("land", "rainfall", str(path), *options)
    return str(landed["object_id"])


def eventually(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + WAIT_SECONDS
    while not (value := found()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
    return value


def execute(medallion: Medallion, *statements: str) -> None:
    with Postgres(medallion.json("env")["MEDALLION_DATABASE_URL"]).session("test") as session:
        for statement in statements:
            session.execute(statement)
        session.commit()


@contextmanager
def broken(medallion: Medallion, *tables: str) -> Iterator[None]:
    """Break a deployment: tables that the code does not know any more."""
    execute(medallion, *(f"ALTER TABLE {table} RENAME COLUMN _line_number TO line" for table in tables))
    try:
        yield
    finally:
        execute(medallion, *(f"ALTER TABLE {table} RENAME COLUMN line TO _line_number" for table in tables))


def silver(medallion: Medallion) -> list[dict[str, Any]]:
    return [one for one in medallion.json("status")["workers"] if one["service"] == "silver" and one["is_alive"]]


def test_rows_are_shown_and_replayed_after_the_contract_was_mended(medallion: Medallion):
    land(medallion, rain("Lima", bad_day=17))
    medallion("settle")
    (listed,) = medallion.json("quarantine", "list", "rainfall")
    number = str(listed["quarantine_id"])
    shown = medallion.json("quarantine", "show", number)
    assert (shown["raw"], shown["line_number"], shown["status"]) == ("Lima;17.05.2026;1O;a@b.org", 18, "open")
    text = medallion("quarantine", "show", number)
    assert "millimetres: '1O' is not a" in text
    assert "line 18 of rainfall/" in text
    assert "source: file:///" in text

    asked = {"rows_asked": 1, "rows_not_replayable": 0, "objects": 1, "rows_closed": 0, "failure": None}
    assert medallion.json("quarantine", "replay", "rainfall", "--wait") == asked | {"rows_passed": 0, "rows_open": 1}

    contract = medallion.config_dir / "datasets" / "rainfall.yaml"
    contract.write_text(contract.read_text().replace("type: csv", 'type: csv\n  null_values: ["", "1O"]'))
    (before,) = silver(medallion)
    os.kill(before["pid"], signal.SIGTERM)
    eventually(lambda: [one for one in silver(medallion) if one["pid"] != before["pid"]])
    text = medallion("quarantine", "replay", "rainfall", "--object", listed["object_key"], "--wait")
    assert "1 row(s) of 1 object(s) will be checked again." in text
    assert "1 passed, 0 stay open." in text
    assert medallion.json("quarantine", "show", number)["status"] == "replayed"
    assert "there is no open row of rainfall" in medallion("quarantine", "replay", "rainfall", status=1)


def test_rows_are_discarded_when_a_person_says_so(medallion: Medallion):
    object_id = land(medallion, rain("Quito").replace("01.05.2026", "first of May").replace("02.05.2026", "second"))
    medallion("settle", status=0)
    assert medallion.json("status")["quarantine_open"] == 0, "a file of which 8 % is bad is rejected as a whole"
    land(medallion, rain("Quito", days=30).replace("01.05.2026", "first of May"))
    medallion("settle")
    (row,) = medallion.json("quarantine", "list", "rainfall")
    number = str(row["quarantine_id"])
    rule = row["reasons"][0]["rule"]
    assert "Discard 1 open row(s)?" in medallion("quarantine", "discard", "rainfall", "--rule", rule, status=1)
    assert medallion.json("quarantine", "show", number)["status"] == "open"
    assert "1 row(s) discarded." in medallion("quarantine", "discard", number, "--yes")
    assert f"{number} (discarded)" in medallion("quarantine", "discard", number, "--yes", status=1)
    assert f"object {object_id} is not held: it is rejected" in medallion("approve", object_id, status=2)


def test_a_held_object_is_approved_by_its_key(medallion: Medallion):
    object_id = land(medallion, rain("Oslo"), "--landed-at", "2099-01-01")
    assert f"medallion approve {object_id}" in medallion("settle", status=1)
    (held,) = [one for one in medallion.json("status")["trouble"] if one["status"] == "held"]
    assert f"Approved: {held['object_key']}" in medallion("approve", held["object_key"])
    medallion("settle")
    assert len(medallion.json("explain", "rainfall", "Oslo", "2026-05-01")["rows"]) == 1


def test_a_backfill_runs_all_objects_again_and_changes_nothing(medallion: Medallion):
    land(medallion, rain("Riva"))
    medallion("settle")
    rows = {one["dataset"]: one["rows_live"] for one in medallion.json("status")["datasets"]}
    found = medallion.json("backfill", "rainfall")
    medallion("settle")
    kinds = [one["kind"] for one in medallion.json("runs", "rainfall", "--rows", str(len(found["objects"])))]
    assert (set(kinds), len(kinds)) == ({"backfill"}, len(found["objects"]))
    assert {one["dataset"]: one["rows_live"] for one in medallion.json("status")["datasets"]} == rows
    assert "nothing to run again" in medallion("backfill", "rainfall", "--since", "2100-01-01", status=1)


def test_dead_letters_are_sent_on_their_way_again(medallion: Medallion):
    assert "nothing to replay" in medallion("dead-letters", "replay", "--all")
    with broken(medallion, "bronze.raw_rainfall"):
        lost = land(medallion, rain("Bern"))
        medallion("settle", status=1)
    kafka = medallion.json("env")["MEDALLION_KAFKA_BOOTSTRAP_SERVERS"]
    bus = KafkaBus(kafka)
    bus.publish("bronze-ready", "any", b"not an event")
    bus.close()
    event, failed = eventually(lambda: found if len(found := medallion.json("dead-letters", "list")) == 2 else None)
    assert (failed["dataset"], failed["object_status"], event["topic"]) == ("rainfall", "failed", "bronze-ready")
    announced = [json.loads(one.value)["data"] for one in tail(kafka, "dead-letters", from_start=True, idle_seconds=1)]
    assert [one["dead_letter_id"] for one in announced] == [failed["dead_letter_id"], event["dead_letter_id"]]
    shown = medallion.done("dead-letters", "show", str(failed["dead_letter_id"])).stdout
    for part in ("reason: UndefinedColumn", "Traceback (most recent call last)", "merge_object", "object " + lost):
        assert part in shown
    assert "UndefinedColumn" in medallion("dead-letters", "list")
    assert medallion.json("dead-letters", "show", str(event["dead_letter_id"]))["payload"] == "not an event"

    done = medallion.json("dead-letters", "replay", "--all")
    assert done == {"dead_letters": 2, "objects_announced": 1, "events_published": 1}
    medallion("settle")
    (again,) = eventually(lambda: medallion.json("dead-letters", "list"))
    assert again["reason"] == event["reason"], "an event that cannot be read is a new dead letter"
    medallion("dead-letters", "replay", str(failed["dead_letter_id"]))
    execute(medallion, "UPDATE bronze.dead_letters SET status = 'replayed'")


def test_a_worker_that_meets_bug_after_bug_stops_until_it_is_told_to_go_on(medallion: Medallion):
    with broken(medallion, "bronze.raw_rainfall", "bronze.raw_users"):
        land(medallion, rain("Rome"))
        land(medallion, rain("Riga"))
        medallion("land", "users", str(medallion.folder / "users.json"))
        (stop,) = eventually(lambda: medallion.json("status")["stopped"])
        waiting = land(medallion, rain("Reno"))
        text = medallion("status")
        assert re.search(r"\d objects or events of 2 datasets \(rainfall, users\) failed in a row", text)
        assert "then `medallion dead-letters resume`" in text
        assert stop["service"] == "silver"
        assert "dead-letters resume" in medallion("settle", "--timeout-seconds", "1", status=1)
    assert waiting not in {one["object_id"] for one in medallion.json("runs", "rainfall")}
    assert "1 worker(s) told to go on." in medallion("dead-letters", "resume")
    assert "failed object(s) announced" in medallion("dead-letters", "replay", "--all")
    medallion("settle")
    assert {"done"} == {one["outcome"] for one in medallion.json("runs", "rainfall") if one["object_id"] == waiting}
    assert (medallion.json("status")["stopped"], medallion.json("status")["dead_letters"]) == ([], 0)
    assert "No worker is stopped" in medallion("dead-letters", "resume")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("quarantine", "show", "99999"), 2, "there is no quarantined row 99999"),
        (("quarantine", "replay", "nonsense"), 2, "no dataset is called 'nonsense'"),
        (("quarantine", "replay", "--object", "nonsense"), 2, "the ledger knows no object 'nonsense'"),
        (("quarantine", "discard"), 2, "say which rows"),
        (("quarantine", "discard", "99999", "--yes"), 2, "there is no quarantined row 99999; nothing was done"),
        (("quarantine", "discard", "covid", "--yes"), 1, "there is no open row of covid"),
        (("approve", "nonsense"), 2, "the ledger knows no object 'nonsense'"),
        (("backfill", "nonsense"), 2, "no dataset is called 'nonsense'"),
        (("backfill", "covid", "--since", "yesterday"), 2, "--since: 'yesterday' is no time"),
        (("dead-letters", "show", "99999"), 2, "there is no dead letter 99999"),
        (("dead-letters", "replay"), 2, "give the ids of dead letters, or --all"),
        (("dead-letters", "replay", "99998", "99999"), 2, "there is no dead letter 99998, 99999; nothing was done"),
    ],
)
def test_errors_say_what_to_do(medallion: Medallion, arguments: tuple[str, ...], status: int, message: str):
    assert message in " ".join(medallion(*arguments, status=status).split())


def test_prune_counts_first_and_then_forgets_what_is_old(medallion: Medallion):
    land(medallion, rain("Cusco"))
    medallion("settle")
    execute(medallion, "UPDATE bronze.processing_runs SET finished_at = finished_at - interval '400 days'")
    counted = medallion.json("prune", "--dry-run")
    assert (counted["dry_run"], [one["kind"] for one in counted["kinds"] if one["count"]]) == (True, ["runs"])
    assert "would go" in medallion("prune", "--dry-run")
    removed = medallion.json("prune")
    assert removed == {"dry_run": False, "kinds": counted["kinds"]}
    assert [one["kind"] for one in medallion.json("prune")["kinds"] if one["count"]] == []
    assert "Cusco" in medallion("explain", "clean_rainfall", "Cusco", "2026-05-01")
