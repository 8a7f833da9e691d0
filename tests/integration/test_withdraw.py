"""An object is taken back: silver becomes the fold over the others, wherever it stood among them."""

import random
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.silver.write import write_raw
from shared import requests
from shared.errors import ConfigurationError
from tests.integration.test_order import BAD, CONTRACT, DAYS, File, files_, fold, state_of, windows
from tests.pipeline import Pipeline

APPENDED = """
dataset: readings
drops: {write_disposition: append}
format: {type: csv}
columns:
  - {name: at, type: date}
  - {name: value, type: integer}
"""
FIRST = File("replace", ((DAYS[0], "a", "1"), (DAYS[1], "a", "7")))


@pytest.fixture
def counts(pipeline_with: Callable[..., Pipeline]) -> Pipeline:
    return pipeline_with({"counts": CONTRACT})


def withdraw(pipeline: Pipeline, object_id: uuid.UUID) -> list[str | None]:
    return pipeline.process(object_id) if requests.withdraw(pipeline.session, object_id) else []


def test_what_is_left_is_the_fold_over_the_others(counts: Pipeline) -> None:
    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
    @given(files_, st.randoms(use_true_random=False))
    def check(files: list[File], rng: random.Random) -> None:
        counts.reset()
        ids = [counts.land("counts", f.content, f.disposition, day) for day, f in enumerate(files)]
        order = list(range(len(files)))
        rng.shuffle(order)
        gone = rng.choice(order)
        when = rng.randrange(len(order) + 1)
        for place, position in enumerate(order):
            if place == when:
                withdraw(counts, ids[gone])
            counts.process(ids[position])
        if when == len(order):
            assert withdraw(counts, ids[gone]) == ["ignored"]
        # Withdrawn, a file is like an empty merge: it says nothing of any key.
        without = [File("merge", ()) if n == gone else file for n, file in enumerate(files)]
        rows, windowed, entries = state_of(counts, ids)
        expected_rows, expected_entries = fold(without)
        assert rows == expected_rows, (order, gone, when)
        assert windowed == windows(expected_rows), (order, gone, when)
        assert entries == expected_entries, (order, gone, when)
        assert counts.ledger(ids[gone])["status"] == "ignored"
        counts.assert_invariants()

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
