"""An object is taken back: silver becomes the fold over the others, wherever it stood among them."""

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.silver.write import write_raw
from shared import requests
from shared.errors import ConfigurationError
from shared.events import bronze_ready, read_bronze_ready
from shared.ledger import close_deleted
from shared.settings import BRONZE_READY
from tests.integration.test_order import BAD, CONTRACT, DAYS, File, files_, fold, state_of, windows
from tests.pipeline import DAY_ZERO, Pipeline

APPENDED = """
dataset: readings
drops: {write_disposition: append}
format: {type: csv}
columns:
  - {name: at, type: date}
  - {name: value, type: integer}
limits: {bad_rows_max_share: 1}
"""
FIRST = File("replace", ((DAYS[0], "a", "1"), (DAYS[1], "a", "7")))
CHILD = """
dataset: notes
drops: {write_disposition: merge}
format: {type: csv}
columns:
  - {name: id, type: integer}
  - {name: about, type: integer}
primary_key: [id]
rules:
  - {name: known, references: {of: about, in: people.id}, severity: quarantine}
"""
PARENT = """
dataset: people
drops: {write_disposition: merge}
format: {type: csv}
columns: [{name: id, type: integer}]
primary_key: [id]
"""


@pytest.fixture
def counts(pipeline_with: Callable[..., Pipeline]) -> Pipeline:
    return pipeline_with({"counts": CONTRACT})


def withdraw(pipeline: Pipeline, object_id: uuid.UUID) -> list[str | None]:
    return pipeline.process(object_id) if requests.withdraw(pipeline.session, object_id) else []


def take_in_again(pipeline: Pipeline, object_id: uuid.UUID) -> list[str | None]:
    requests.take_in_again(pipeline.session, object_id)
    return pipeline.process(object_id)


class Changes:
    """Objects processed in any order, and between that withdrawn, taken in again, gone through again."""

    def __init__(self, pipeline: Pipeline, ids: list[uuid.UUID], rng: random.Random) -> None:
        self._pipeline, self._ids, self._rng = pipeline, ids, rng
        self.withdrawn: set[int] = set()
        self.said: list[str] = []

    def make(self) -> None:
        order = list(range(len(self._ids)))
        self._rng.shuffle(order)
        for place, position in enumerate(order):
            self.said.append(f"process {position}")
            self._pipeline.process(self._ids[position])
            if self._rng.random() < 0.5:
                self._change(self._rng.choice(order), order[: place + 1])
        self._change(self._rng.choice(order), order)

    def _change(self, position: int, processed: list[int]) -> None:
        again = self._rng.choice(processed)
        if position in self.withdrawn:
            self._say(f"undo {position}", take_in_again(self._pipeline, self._ids[position]))
            self.withdrawn.discard(position)
        elif self._rng.random() < 0.7:
            self._say(f"withdraw {position}", withdraw(self._pipeline, self._ids[position]))
            self.withdrawn.add(position)
        elif again not in self.withdrawn:
            self.said.append(f"again {again}")
            self._pipeline.process_again(self._ids[again])

    def _say(self, what: str, came_to: list[str | None]) -> None:
        self.said.append(what)
        assert "rejected" not in came_to, "; ".join(self.said)


def test_what_is_left_is_the_fold_over_the_others(counts: Pipeline) -> None:
    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
    @given(files_, st.randoms(use_true_random=False))
    def check(files: list[File], rng: random.Random) -> None:
        counts.reset()
        ids = [counts.land("counts", f.content, f.disposition, day) for day, f in enumerate(files)]
        changes = Changes(counts, ids, rng)
        changes.make()
        # Withdrawn, a file is like an empty merge: it says nothing of any key.
        left = [File("merge", ()) if n in changes.withdrawn else file for n, file in enumerate(files)]
        rows, windowed, entries = state_of(counts, ids)
        expected_rows, expected_entries = fold(left)
        assert rows == expected_rows, "; ".join(changes.said)
        assert windowed == windows(expected_rows), "; ".join(changes.said)
        assert entries == expected_entries, "; ".join(changes.said)
        assert {n for n, one in enumerate(ids) if counts.ledger(one)["status"] == "ignored"} == changes.withdrawn
        counts.assert_invariants()

    check()


@dataclass(frozen=True)
class Appended:
    """A version of an appended file: which file, and its values by line, BAD among them."""

    name: str
    values: tuple[str, ...]

    @property
    def content(self) -> bytes:
        return ("at,value\n" + "".join(f"2026-01-01,{value}\n" for value in self.values)).encode()


def appended_fold(files: list[Appended], withdrawn: set[int]) -> tuple[set[Any], set[Any]]:
    """Return rows as (version, line, value) and open quarantine as (version, line): each name's newest version counts."""
    newest = {file.name: n for n, file in enumerate(files) if n not in withdrawn}
    lines = [(n, line, v) for n in newest.values() for line, v in enumerate(files[n].values, start=2)]
    return {one for one in lines if one[2] != BAD}, {(n, line) for n, line, v in lines if v == BAD}


def test_what_is_left_of_appended_files_is_the_newest_version_of_each(pipeline_with: Callable[..., Pipeline]) -> None:
    pipeline = pipeline_with({"readings": APPENDED})
    file_ = st.builds(
        Appended, st.sampled_from("ab"), st.lists(st.sampled_from(["1", "2", BAD]), max_size=3).map(tuple)
    )

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
    @given(st.lists(file_, min_size=1, max_size=5), st.randoms(use_true_random=False))
    def check(files: list[Appended], rng: random.Random) -> None:
        pipeline.reset()
        folder = f"readings/{uuid.uuid4()}"
        ids = [pipeline.drop(f"{folder}/{f.name}.csv", f.content).object_id for f in files]
        changes = Changes(pipeline, ids, rng)
        changes.make()
        rows = pipeline.rows("SELECT _object_id, _line_number, value::text FROM silver.clean_readings")
        entries = pipeline.rows("SELECT object_id, line_number FROM silver.quarantine WHERE status = 'open'")
        expected_rows, expected_entries = appended_fold(files, changes.withdrawn)
        assert sorted((ids.index(one), line, value) for one, line, value in rows) == sorted(expected_rows), "; ".join(
            changes.said
        )
        assert {(ids.index(one), line) for one, line in entries} == expected_entries, "; ".join(changes.said)
        pipeline.assert_invariants()

    check()


def test_taken_in_again_it_is_as_if_nothing_had_been(counts: Pipeline) -> None:
    first = counts.land("counts", FIRST.content, day=0)
    wrong = counts.land("counts", File("merge", ((DAYS[0], "a", "9"), (DAYS[2], "b", "2"))).content, "merge", day=1)
    last = counts.land("counts", File("merge", ((DAYS[1], "a", BAD),)).content, "merge", day=2)
    ids = [first, wrong, last]
    counts.process(*ids)
    before = state_of(counts, ids)
    raw = counts.rows("SELECT count(*) FROM bronze.raw_counts")
    withdraw(counts, wrong)
    assert state_of(counts, ids) != before
    assert counts.rows("SELECT count(*) FROM bronze.raw_counts") == raw, "the history was written twice"
    counts.process(*ids)  # announced once more, it stays withdrawn
    assert counts.rows("SELECT total FROM silver.clean_counts ORDER BY day") == [(1,), (7,)]
    requests.take_in_again(counts.session, wrong)
    assert counts.process(wrong) == ["done"]
    assert state_of(counts, ids) == before
    counts.assert_invariants()


def test_gold_hears_of_it_as_a_change_of_everything(counts: Pipeline) -> None:
    counts.process(counts.land("counts", FIRST.content, day=0))
    wrong = counts.land("counts", File("merge", ((DAYS[0], "a", "9"),)).content, "merge", day=1)
    counts.process(wrong)
    withdraw(counts, wrong)
    changes = counts.rows(
        "SELECT is_everything FROM silver.change_sets WHERE object_id = %s ORDER BY created_at", (wrong,)
    )
    assert changes == [(False,), (True,)]
    runs = counts.rows(
        "SELECT kind, outcome FROM bronze.processing_runs WHERE object_id = %s ORDER BY run_id", (wrong,)
    )
    assert runs == [("first", "done"), ("withdraw", "withdrawn")]


def test_an_appended_file_goes_and_the_version_before_it_comes_back(pipeline_with: Callable[..., Pipeline]) -> None:
    pipeline = pipeline_with({"readings": APPENDED})
    old = pipeline.drop("readings/a.csv", b"at,value\n2026-01-01,1\n").object_id
    new = pipeline.drop("readings/a.csv", b"at,value\n2026-01-01,2\n").object_id
    pipeline.drop("readings/b.csv", b"at,value\n2026-01-01,3\n")
    pipeline.process(
        *(row[0] for row in pipeline.rows("SELECT object_id FROM bronze.ingestion_metadata ORDER BY version"))
    )
    assert sorted(pipeline.rows("SELECT value FROM silver.clean_readings")) == [(2,), (3,)]
    withdraw(pipeline, new)
    assert sorted(pipeline.rows("SELECT value FROM silver.clean_readings")) == [(1,), (3,)]
    assert pipeline.ledger(old)["status"] in ("done", "superseded")
    pipeline.assert_invariants()


def test_it_is_refused_when_another_object_is_gone_and_nothing_changes(counts: Pipeline) -> None:
    first = counts.land("counts", FIRST.content, day=0)
    wrong = counts.land("counts", File("merge", ((DAYS[0], "a", "9"),)).content, "merge", day=1)
    counts.process(first, wrong)
    before, row = state_of(counts, [first, wrong]), counts.ledger(first)
    counts.store._client.remove_object(row["bucket"], row["object_key"], version_id=row["version_id"])  # type: ignore[attr-defined]
    withdraw(counts, wrong)
    assert state_of(counts, [first, wrong]) == before
    after = counts.ledger(wrong)
    assert after["status"] == "done"
    assert f"cannot be rebuilt, because {row['object_key']}" in after["error_message"]


def test_a_crash_in_the_middle_changes_nothing_and_the_next_attempt_finishes(
    counts: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = counts.land("counts", FIRST.content, day=0)
    wrong = counts.land("counts", File("merge", ((DAYS[0], "a", "9"),)).content, "merge", day=1)
    counts.process(first, wrong)
    before = state_of(counts, [first, wrong])
    requests.withdraw(counts.session, wrong)

    class Killed(BaseException):
        """What no handler catches."""

    def die(*arguments: Any) -> int:
        write_raw(*arguments)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("services.silver.merge.write_raw", die)
        with pytest.raises(Killed), counts.warehouse.session("dying") as session:
            counts.silver.process(session, wrong)
    assert state_of(counts, [first, wrong]) == before
    assert counts.process(wrong) == ["ignored"]
    assert counts.rows("SELECT total FROM silver.clean_counts ORDER BY day") == [(1,), (7,)]


def test_what_is_not_in_the_ledger_or_gone_already_is_said(counts: Pipeline) -> None:
    first = counts.land("counts", FIRST.content, day=0)
    assert requests.withdraw(counts.session, first) == []
    with pytest.raises(ConfigurationError, match="withdrawn already"):
        requests.withdraw(counts.session, first)
    with pytest.raises(ConfigurationError, match="does not know it"):
        requests.withdraw(counts.session, uuid.uuid4())
    with pytest.raises(ConfigurationError, match="is not withdrawn"):
        requests.take_in_again(counts.session, uuid.uuid4())


def test_taken_in_again_its_bad_lines_are_open_again_but_for_those_a_person_discarded(counts: Pipeline) -> None:
    file = File("merge", ((DAYS[0], "a", BAD), (DAYS[1], "a", BAD), (DAYS[2], "a", "2")))
    wrong = counts.load("counts", file.content, "merge")["object_id"]
    discarded = counts.rows("SELECT quarantine_id FROM silver.quarantine WHERE line_number = 2")[0][0]
    requests.discard(counts.session, [discarded])
    withdraw(counts, wrong)
    entries = "SELECT line_number, status FROM silver.quarantine ORDER BY line_number"
    assert counts.rows(entries) == [(2, "discarded"), (3, "superseded")]
    take_in_again(counts, wrong)
    assert counts.rows(entries) == [(2, "discarded"), (3, "open")]
    assert counts.rows("SELECT count(*) FROM silver.quarantine WHERE status = 'open' AND closed_at IS NOT NULL") == [
        (0,)
    ]


def test_what_cannot_be_taken_in_again_stays_withdrawn(counts: Pipeline) -> None:
    first = counts.land("counts", FIRST.content, day=0)
    wrong = counts.land("counts", File("merge", ((DAYS[0], "a", "9"),)).content, "merge", day=1)
    counts.process(first, wrong)
    withdraw(counts, wrong)
    row = counts.ledger(wrong)
    counts.store._client.remove_object(row["bucket"], row["object_key"], version_id=row["version_id"])  # type: ignore[attr-defined]
    assert take_in_again(counts, wrong) == ["ignored"]
    after = counts.ledger(wrong)
    assert (after["status"], after["is_withdrawn"], after["request"]) == ("ignored", True, None)
    assert after["error_message"] == "deleted before it was read"
    assert counts.rows("SELECT total FROM silver.clean_counts ORDER BY day") == [(1,), (7,)]


def test_what_meets_a_bug_or_is_found_gone_while_it_is_taken_in_again_stays_withdrawn(
    counts: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = counts.land("counts", FIRST.content, day=0)
    counts.process(wrong)
    withdraw(counts, wrong)
    requests.take_in_again(counts.session, wrong)
    with monkeypatch.context() as patched:
        patched.setattr("services.silver.load.merge_keyed", lambda job: 1 / 0)
        assert counts.silver.process(counts.session, wrong) == "failed"
    row = counts.ledger(wrong)
    assert (row["status"], row["is_withdrawn"], row["request"]) == ("failed", True, "backfill")  # and is tried again
    counts.session.execute("DELETE FROM bronze.dead_letters")
    assert close_deleted(counts.session, wrong)  # as the sweep does
    assert (counts.ledger(wrong)["status"], counts.ledger(wrong)["is_withdrawn"]) == ("ignored", True)
    take_in_again(counts, wrong)
    assert counts.rows("SELECT count(*) FROM silver.clean_counts") == [(2,)]


def test_a_request_to_take_it_in_again_can_be_withdrawn(counts: Pipeline) -> None:
    wrong = counts.land("counts", FIRST.content, day=0)
    counts.process(wrong)
    withdraw(counts, wrong)
    requests.take_in_again(counts.session, wrong)
    assert requests.withdraw(counts.session, wrong) == []
    assert counts.process(wrong) == [None]
    assert counts.rows("SELECT count(*) FROM silver.clean_counts") == [(0,)]
    take_in_again(counts, wrong)
    assert counts.rows("SELECT count(*) FROM silver.clean_counts") == [(2,)]


def test_snapshots_that_were_skipped_take_their_turn_when_what_superseded_them_goes(
    pipeline_with: Callable[..., Pipeline],
) -> None:
    counts = pipeline_with({"counts": CONTRACT + "skip_superseded: true\n"})
    ids = [counts.land("counts", File("replace", ((DAYS[0], "a", n),)).content, day=int(n)) for n in "1259"]
    assert counts.process(ids[0], ids[3], ids[1], ids[2]) == ["done", "done", "superseded", "superseded"]
    assert [counts.ledger(one)["rows_read"] for one in ids] == [1, None, None, 1]
    counts.bus.published.clear()
    assert withdraw(counts, ids[3]) == ["ignored"]
    assert counts.rows("SELECT total FROM silver.clean_counts") == [(1,)]
    announced = [read_bronze_ready(value)[0].key for topic, _, value in counts.bus.published if topic == BRONZE_READY]
    keys = [counts.ledger(one)["object_key"] for one in ids]
    assert announced == [keys[2], keys[1]], "the newest goes first, so that it may supersede the others"
    for _, _, value in [one for one in counts.bus.published if one[0] == BRONZE_READY]:
        counts.handle(value)
    assert counts.rows("SELECT total FROM silver.clean_counts") == [(5,)]
    assert [counts.ledger(one)["status"] for one in ids] == ["done", "superseded", "done", "ignored"]
    take_in_again(counts, ids[3])
    assert counts.rows("SELECT total FROM silver.clean_counts") == [(9,)]
    assert withdraw(counts, ids[0]) == ["ignored"], "also of those that are superseded by now"
    counts.assert_invariants()


def test_an_object_whose_bytes_are_gone_is_withdrawn_all_the_same(counts: Pipeline) -> None:
    first = counts.land("counts", FIRST.content, day=0)
    wrong = counts.land("counts", File("merge", ((DAYS[0], "a", "9"),)).content, "merge", day=1)
    counts.process(first, wrong)
    row = counts.ledger(wrong)
    counts.store._client.remove_object(row["bucket"], row["object_key"], version_id=row["version_id"])  # type: ignore[attr-defined]
    (ref,) = requests.withdraw(counts.session, wrong)
    counts.handle(bronze_ready(ref, DAY_ZERO))
    assert counts.ledger(wrong)["status"] == "ignored"
    assert counts.rows("SELECT total FROM silver.clean_counts ORDER BY day") == [(1,), (7,)]


def test_an_unversioned_object_that_was_overwritten_is_withdrawn_all_the_same(counts: Pipeline) -> None:
    first = counts.land("counts", FIRST.content, day=0)
    wrong = counts.land("counts", File("merge", ((DAYS[0], "a", "9"),)).content, "merge", day=1)
    counts.process(first, wrong)
    # As the ledger has objects of a bucket without versions; what lies under the key by now is another object.
    counts.session.execute("UPDATE bronze.ingestion_metadata SET version_id = '' WHERE object_id = %s", (wrong,))
    row = counts.ledger(wrong)
    counts.store._client.remove_object(row["bucket"], row["object_key"])  # type: ignore[attr-defined]
    (ref,) = requests.withdraw(counts.session, wrong)
    assert ref.version_id == ""
    counts.handle(bronze_ready(ref, DAY_ZERO))
    assert counts.ledger(wrong)["status"] == "ignored"
    assert counts.rows("SELECT total FROM silver.clean_counts ORDER BY day") == [(1,), (7,)]


def test_an_orphan_whose_parent_came_meanwhile_is_closed_when_another_object_is_withdrawn(
    pipeline_with: Callable[..., Pipeline],
) -> None:
    pipeline = pipeline_with({"notes": CHILD, "people": PARENT})
    orphan = pipeline.load("notes", b"id,about\n1,7\n2,8\n", "merge", day=0)["object_id"]
    other = pipeline.load("notes", b"id,about\n", "merge", day=1)["object_id"]
    pipeline.load("people", b"id\n7\n", "merge", day=2)  # asks for the orphan to be gone through again: not yet done
    withdraw(pipeline, other)
    assert pipeline.rows("SELECT id FROM silver.clean_notes") == [(1,)]
    entries = "SELECT line_number, status FROM silver.quarantine ORDER BY line_number"
    assert pipeline.rows(entries) == [(2, "replayed"), (3, "open")]
    assert pipeline.process(orphan) == ["done"]
    assert pipeline.rows(entries) == [(2, "replayed"), (3, "open")]
    pipeline.assert_invariants()
