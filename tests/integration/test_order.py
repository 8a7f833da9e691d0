"""Silver is a function of the set of objects: any order of processing ends as the fold over versions says."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.silver import passes
from tests.pipeline import DAY_ZERO, Pipeline

CONTRACT = """
dataset: counts
source: {url: "https://example.org/counts.csv", poll_interval_seconds: 60, write_disposition: replace}
format: {type: csv}
columns:
  - {name: day, type: date}
  - {name: series, type: text}
  - {name: total, type: integer, nullable: true}
primary_key: [day, series]
windowed:
  partition_by: [series]
  order_by: day
  columns:
    - {name: change, function: daily_change, of: total}
    - {name: pace, function: trailing_mean, of: change, days: 2}
    - {name: is_high, function: expression, type: boolean, sql: "coalesce(change > 3, false)"}
limits: {bad_rows_max_share: 1, removed_rows_max_share: 1}
change_groups: [day, series]
"""
DAYS = ("2020-01-01", "2020-01-02", "2020-01-03", "2020-01-05")
BAD, UNREADABLE = "x", "no date"


@dataclass(frozen=True)
class File:
    """A landed file: (day, series, total or BAD) by line; a day of UNREADABLE spoils the row's key."""

    disposition: str
    rows: tuple[tuple[str, str, str], ...]

    @property
    def content(self) -> bytes:
        return ("day,series,total\n" + "".join(f"{d},{s},{t}\n" for d, s, t in self.rows)).encode()

    @property
    def good(self) -> dict[tuple[str, str], str]:
        """The last good row of each key."""
        return {(d, s): t for d, s, t in self.rows if t != BAD and d != UNREADABLE}

    @property
    def spoiled(self) -> set[tuple[str, str]]:
        """Keys held in bad rows only."""
        return {(d, s) for d, s, t in self.rows if t == BAD and d != UNREADABLE} - set(self.good)

    @property
    def says_what_exists(self) -> bool:
        return self.disposition == "replace" and all(d != UNREADABLE for d, _, _ in self.rows)


def fold(files: list[File]) -> tuple[dict[Any, Any], set[Any]]:
    """Apply files in version order: (key → (total, is stale, first seen)), open quarantine as (version, line)."""
    rows: dict[Any, Any] = {}
    seen: dict[Any, int] = {}
    open_entries: dict[tuple[int, int], Any] = {}
    for version, file in enumerate(files):
        if file.says_what_exists:
            rows = {k: v for k, v in rows.items() if k in file.good or k in file.spoiled}
        for key, total in file.good.items():
            seen.setdefault(key, version)
            rows[key] = (total, False)
        for key in file.spoiled & set(rows):
            rows[key] = (rows[key][0], True)
        is_snapshot = file.disposition == "replace"
        open_entries = {e: k for e, k in open_entries.items() if not is_snapshot and k not in file.good}
        for line, (day, series, total) in enumerate(file.rows, start=2):
            key = None if day == UNREADABLE else (day, series)
            conflicts = key is not None and total not in (BAD, file.good.get(key))
            if total == BAD or key is None or conflicts:
                open_entries[version, line] = key
    return {k: (t, stale, seen[k]) for k, (t, stale) in rows.items()}, set(open_entries)


def windows(rows: dict[Any, Any]) -> dict[Any, Any]:
    """Compute change, pace and is_high one row at a time."""
    ordinal = {"2020-01-01": 1, "2020-01-02": 2, "2020-01-03": 3, "2020-01-05": 5}
    total = {(ordinal[d], s): (int(v[0]) if v[0] else None) for (d, s), v in rows.items()}

    def change(day: int, series: str) -> int | None:
        now, before = total.get((day, series)), total.get((day - 1, series))
        return None if now is None or before is None else now - before

    result = {}
    for day, series in rows:
        last, prior = change(ordinal[day], series), change(ordinal[day] - 1, series)
        pace = None if last is None or prior is None else (Decimal(last + prior) / 2).quantize(Decimal("0.0001"))
        result[day, series] = (last, pace, last is not None and last > 3)
    return result


rows_ = st.tuples(
    st.sampled_from([*DAYS, *DAYS, UNREADABLE]),
    st.sampled_from("ab"),
    st.sampled_from(["1", "2", "9", "", BAD]),
)
file_ = st.builds(File, st.sampled_from(["replace", "replace", "merge"]), st.lists(rows_, max_size=6).map(tuple))


# Either files of all kinds, or a few that come again and again, byte for byte.
files_ = st.one_of(
    st.lists(file_, min_size=1, max_size=6),
    st.lists(file_, min_size=1, max_size=2).flatmap(
        lambda pool: st.lists(st.sampled_from(pool), min_size=2, max_size=6)
    ),
)


def state_of(pipeline: Pipeline, ids: list[Any]) -> tuple[Any, Any, Any]:
    """Return what the fold predicts, as silver has it."""
    found = pipeline.rows(
        "SELECT day::text, series, total, _stale, _first_seen_at, change, pace, is_high FROM silver.clean_counts"
    )
    rows = {
        (day, series): ("" if total is None else str(total), stale, (seen - DAY_ZERO).days)
        for day, series, total, stale, seen, *_ in found
    }
    windowed = {(r[0], r[1]): (r[5], r[6], r[7]) for r in found}
    entries = pipeline.rows("SELECT object_id, line_number FROM silver.quarantine WHERE status = 'open'")
    return rows, windowed, {(ids.index(object_id), line) for object_id, line in entries}


@pytest.fixture
def counts(pipeline_with: Callable[..., Pipeline]) -> Pipeline:
    return pipeline_with({"counts": CONTRACT})


@pytest.mark.parametrize("diff_rows_in_memory_max", [2_000_000, 0], ids=["diff in memory", "diff in postgres"])
def test_any_order_ends_as_the_fold_over_versions(
    pipeline_with: Callable[..., Pipeline], diff_rows_in_memory_max: int
) -> None:
    counts = pipeline_with({"counts": CONTRACT}, diff_rows_in_memory_max=diff_rows_in_memory_max)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
    @given(files_, st.randoms(use_true_random=False))
    @example(  # a removed key that comes back was first seen before it was removed
        [
            File("replace", ((DAYS[0], "a", "1"),)),
            File("replace", ()),
            File("replace", ((DAYS[0], "a", "2"),)),
        ],
        random.Random(0),
    )
    def check(files: list[File], rng: random.Random) -> None:
        counts.reset()
        ids = [counts.land("counts", f.content, f.disposition, day) for day, f in enumerate(files)]
        order = list(range(len(files)))
        rng.shuffle(order)
        for position in order:
            # One at a time, so that "older snapshots go first" does not undo the shuffle.
            counts.process(ids[position])
            if rng.random() < 0.3:
                counts.process_again(ids[rng.choice(order[: order.index(position) + 1])])
        rows, windowed, entries = state_of(counts, ids)
        expected_rows, expected_entries = fold(files)
        assert rows == expected_rows, order
        assert windowed == windows(expected_rows), order
        assert entries == expected_entries, order
        counts.assert_invariants()

    check()


def test_processing_an_object_again_changes_nothing(counts: Pipeline) -> None:
    content = File("replace", ((DAYS[0], "a", "1"), (DAYS[1], "a", "7"), (DAYS[1], "b", BAD))).content
    first = counts.land("counts", content, day=0)
    counts.process(first)
    before = state_of(counts, [first])
    assert counts.process(first) == [None]
    assert state_of(counts, [first]) == before


def test_the_same_bytes_again_write_nothing(counts: Pipeline) -> None:
    content = File("replace", ((DAYS[0], "a", "1"), (DAYS[1], "a", "7"))).content
    counts.load("counts", content, day=0)
    again = counts.load("counts", content, day=0.1)
    assert (again["rows_unchanged"], again["rows_inserted"], again["rows_updated"]) == (2, 0, 0)
    assert counts.rows("SELECT count(*) FROM silver.change_sets") == [(1,)]
    assert counts.rows("SELECT count(*) FROM bronze.raw_counts") == [(2,)]


def test_the_same_bytes_are_read_again_once_something_else_was_applied(counts: Pipeline) -> None:
    content = File("replace", ((DAYS[0], "a", "1"), (DAYS[1], "a", "7"))).content
    counts.load("counts", content, day=0)
    counts.load("counts", File("merge", ((DAYS[1], "a", "9"),)).content, "merge", day=1)
    again = counts.load("counts", content, day=2)
    assert (again["rows_unchanged"], again["rows_updated"]) == (1, 1)
    assert counts.rows("SELECT total FROM silver.clean_counts ORDER BY day") == [(1,), (7,)]


def test_a_repeat_that_is_overtaken_before_its_lock_is_read_after_all(
    counts: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = File("replace", ((DAYS[0], "a", "1"),)).content
    counts.load("counts", content, day=0)
    repeat = counts.land("counts", content, day=2)
    between = counts.land("counts", File("merge", ((DAYS[0], "a", "5"),)).content, "merge", day=1)
    other = counts.worker("other")

    def overtake(session: object, obj: Any, wait_seconds: float) -> None:
        if obj.object_id == repeat:
            monkeypatch.undo()
            with counts.warehouse.session("other") as theirs:
                assert other.process(theirs, between) == "done"

    monkeypatch.setattr(passes, "wait_for_older_snapshots", overtake)
    assert counts.process(repeat) == ["done"]
    row = counts.ledger(repeat)
    assert (row["rows_updated"], row["rows_unchanged"]) == (1, 0)
    assert counts.rows("SELECT total FROM silver.clean_counts") == [(1,)]
    counts.assert_invariants()


def test_a_restated_day_corrects_the_days_after_it_and_says_so(counts: Pipeline) -> None:
    counts.load("counts", File("replace", tuple((d, "a", "1") for d in DAYS[:3])).content, day=0)
    row = counts.load("counts", File("merge", ((DAYS[0], "a", "5"),)).content, "merge", day=1)
    assert (row["rows_updated"], row["rows_read"]) == (1, 1)
    groups, rewritten = counts.rows(
        "SELECT groups, rows_rewritten FROM silver.change_sets ORDER BY created_at DESC LIMIT 1"
    )[0]
    assert (groups, rewritten) == ([[d, "a"] for d in DAYS[:3]], 2)
    assert json.dumps(groups)


def test_a_truncated_snapshot_is_held_and_changes_nothing(pipeline_with: Callable[..., Pipeline]) -> None:
    careful = CONTRACT.replace("removed_rows_max_share: 1", "removed_rows_max_share: 0.2")
    counts = pipeline_with({"counts": careful})
    whole = tuple((d, s, "1") for d in DAYS for s in "ab")
    counts.load("counts", File("replace", whole).content, day=0)
    held = counts.load("counts", File("replace", whole[:4]).content, day=1)
    assert held["status"] == "held"
    assert "would remove 4 of the last one's 8 rows (50.0%)" in held["error_message"]
    assert counts.rows("SELECT count(*) FROM silver.clean_counts") == [(8,)]
