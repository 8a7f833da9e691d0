"""Rows that refer to rows of another dataset: they wait for their parent, and the order of coming leaves no trace."""

import random
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.silver import load
from services.silver.state import lock_key
from shared import requests
from shared.adapters.s3 import S3
from tests.pipeline import DAY_ZERO, Pipeline

PEOPLE = """
dataset: people
format: {type: csv}
columns:
  - {name: person_id, type: integer}
  - {name: height, type: integer, nullable: true}
primary_key: [person_id]
limits: {bad_rows_max_share: 1, removed_rows_max_share: 1}
"""
NOTES = """
dataset: notes
format: {type: csv}
columns:
  - {name: note_id, type: text}
  - {name: author, type: integer, nullable: true}
  - {name: words, type: integer}
primary_key: [note_id]
rules:
  - {references: {of: author, in: people.person_id}}
limits: {bad_rows_max_share: 1, removed_rows_max_share: 1}
"""
REPLIES = """
dataset: replies
format: {type: csv}
columns:
  - {name: reply_id, type: integer}
  - {name: note, type: text}
primary_key: [reply_id]
rules:
  - {name: known_note, references: {of: note, in: notes.note_id}}
limits: {bad_rows_max_share: 0}
"""
BAD, ORPHAN, CONFLICT = "type", "references_author", "duplicate_key"


@dataclass(frozen=True)
class File:
    """A landed file; people are rows of (person, height), notes of (note, author, words)."""

    dataset: str
    disposition: str
    rows: tuple[tuple[str, ...], ...]

    @property
    def content(self) -> bytes:
        header = "person_id,height" if self.dataset == "people" else "note_id,author,words"
        return "".join(f"{','.join(row)}\n" for row in ((header,), *self.rows)).encode()


def fold(files: list[File]) -> tuple[dict[str, Any], dict[Any, list[str]]]:
    """Apply notes in version order, all people known: (note → (author, words, stale, first seen)), open reasons."""
    people = {row[0] for file in files if file.dataset == "people" for row in file.rows if row[1] != "x"}
    rows: dict[str, Any] = {}
    seen: dict[str, int] = {}
    entries: dict[Any, tuple[str, list[str]]] = {}
    for version, file in enumerate(files):
        if file.dataset == "people":
            continue
        verdicts = [
            BAD if words == "x" else ORPHAN if author and author not in people else None
            for _, author, words in file.rows
        ]
        good = {row[0]: row for row, verdict in zip(file.rows, verdicts, strict=True) if verdict is None}
        spoiled = {row[0] for row in file.rows} - set(good)
        is_snapshot = file.disposition == "replace"
        if is_snapshot:
            rows = {k: v for k, v in rows.items() if k in good or k in spoiled}
        for key, (_, author, words) in good.items():
            seen.setdefault(key, version)
            rows[key] = (author, words, False, seen[key])
        for key in spoiled & set(rows):
            rows[key] = (*rows[key][:2], True, rows[key][3])
        entries = {e: held for e, held in entries.items() if not is_snapshot and held[0] not in good}
        for line, (row, verdict) in enumerate(zip(file.rows, verdicts, strict=True), start=2):
            reason = verdict or (CONFLICT if row != good[row[0]] else None)
            if reason:
                entries[version, line] = (row[0], [reason])
    return rows, {entry: reasons for entry, (_, reasons) in entries.items()}


def state_of(pipeline: Pipeline, ids: list[uuid.UUID]) -> tuple[dict[str, Any], dict[Any, list[str]]]:
    """Return what the fold predicts, as silver has it."""
    found = pipeline.rows("SELECT note_id, author, words, _stale, _first_seen_at FROM silver.clean_notes")
    rows = {
        note: ("" if author is None else str(author), str(words), stale, (seen - DAY_ZERO).days)
        for note, author, words, stale, seen in found
    }
    entries = pipeline.rows(
        "SELECT object_id, line_number, reasons FROM silver.quarantine WHERE status = 'open' AND dataset = 'notes'"
    )
    return rows, {(ids.index(o), line): [r["rule"] for r in reasons] for o, line, reasons in entries}


def drain(pipeline: Pipeline, rounds_max: int = 10) -> int:
    """Process what was asked for again until nothing is; return how many passes that took."""
    passes = 0
    for _ in range(rounds_max):
        waiting = pipeline.rows("SELECT object_id FROM bronze.ingestion_metadata WHERE status = 'registered'")
        if not waiting:
            return passes
        passes += len(pipeline.process(*(object_id for (object_id,) in waiting)))
    raise AssertionError("objects are asked for again and again")


people_ = st.tuples(st.sampled_from("123"), st.sampled_from(["170", "180", "x"]))
note_ = st.tuples(st.sampled_from("ab"), st.sampled_from(["1", "2", "3", ""]), st.sampled_from(["5", "6", "x"]))
dispositions = st.sampled_from(["replace", "replace", "merge"])
file_ = st.one_of(
    st.builds(File, st.just("people"), dispositions, st.lists(people_, max_size=3).map(tuple)),
    st.builds(File, st.just("notes"), dispositions, st.lists(note_, max_size=5).map(tuple)),
)


@pytest.fixture
def library(pipeline_with: Callable[..., Pipeline]) -> Pipeline:
    return pipeline_with({"people": PEOPLE, "notes": NOTES, "replies": REPLIES})


def test_any_order_of_parents_and_children_ends_as_the_fold(library: Pipeline) -> None:
    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
    @given(st.lists(file_, min_size=2, max_size=6), st.randoms(use_true_random=False))
    @example(  # the orphan's note was removed before its author came, and comes back: it was first seen as an orphan
        [
            File("notes", "replace", (("a", "1", "5"),)),
            File("notes", "replace", ()),
            File("people", "merge", (("1", "170"),)),
            File("notes", "replace", (("a", "", "6"),)),
        ],
        random.Random(0),
    )
    @example(  # the later line of a note is an orphan, so that the earlier one counts until the author comes
        [File("notes", "merge", (("a", "", "5"), ("a", "1", "6"))), File("people", "merge", (("1", "170"),))],
        random.Random(1),
    )
    @example(  # the later line of a note was an orphan when a newer file spoiled the note
        [
            File("people", "replace", (("1", "170"),)),
            File("notes", "replace", (("a", "", "5"), ("a", "1", "5"))),
            File("notes", "replace", (("a", "1", "x"),)),
        ],
        random.Random(67),
    )
    @example(  # the author was removed before the note came
        [
            File("people", "replace", (("1", "170"),)),
            File("people", "replace", ()),
            File("notes", "merge", (("a", "1", "5"),)),
        ],
        random.Random(0),
    )
    def check(files: list[File], rng: random.Random) -> None:
        library.reset()
        ids = [library.land(f.dataset, f.content, f.disposition, day) for day, f in enumerate(files)]
        order = list(range(len(files)))
        rng.shuffle(order)
        for position in order:
            library.process(ids[position])
            if rng.random() < 0.3:
                library.process_again(ids[rng.choice(order[: order.index(position) + 1])])
            if rng.random() < 0.3:
                asked = "SELECT object_id FROM bronze.ingestion_metadata WHERE status = 'registered' AND request IS NOT NULL"
                library.process(*(object_id for (object_id,) in library.rows(asked)))
        drain(library)
        assert state_of(library, ids) == fold(files), order
        library.assert_invariants()

    check()


def test_whether_a_snapshot_is_held_does_not_depend_on_when_the_parents_came(
    pipeline_with: Callable[..., Pipeline],
) -> None:
    careful = NOTES.replace("removed_rows_max_share: 1", "removed_rows_max_share: 0.4")
    library = pipeline_with({"people": PEOPLE, "notes": careful, "replies": REPLIES})

    def verdicts(notes: list[File], place: int) -> list[str]:
        """Return what becomes of files of notes, in version order, when all people are made known at a place."""
        library.reset()
        ids = [library.land("notes", file.content, file.disposition, day) for day, file in enumerate(notes)]
        people = library.land("people", b"person_id,height\n1,170\n2,170\n", "merge", len(notes))
        for object_id in [*ids[:place], people, *ids[place:]]:
            library.process(object_id)
            drain(library)
        library.assert_invariants()
        return [library.ledger(object_id)["status"] for object_id in ids]

    authored = st.tuples(
        st.sampled_from("abcdef"), st.sampled_from(["1", "2", "3", ""]), st.sampled_from(["5", "5", "x"])
    )
    written = st.lists(authored, max_size=9).map(tuple)

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
    @given(st.lists(st.builds(File, st.just("notes"), dispositions, written), min_size=2, max_size=4), st.data())
    @example(  # nothing of the first file lives before its authors come
        [File("notes", "replace", (("a", "1", "5"), ("b", "1", "5"))), File("notes", "replace", (("a", "1", "5"),))],
        None,
    )
    def check(notes: list[File], data: Any) -> None:
        place = data.draw(st.integers(1, len(notes))) if data else len(notes)
        assert verdicts(notes, place) == verdicts(notes, 0)

    check()


def test_children_before_their_parents_are_freed_without_a_hand(library: Pipeline) -> None:
    ids = [
        library.land("replies", b"reply_id,note\n1,a\n2,b\n", day=0),
        library.land("notes", b"note_id,author,words\na,1,5\nb,,6\n", day=1),
        library.land("people", b"person_id,height\n1,170\n", day=2),
    ]
    assert library.process(*ids[:2]) == ["done", "done"]  # a file of orphans only breaks no limit
    assert library.rows("SELECT reasons FROM silver.quarantine WHERE dataset = 'notes'") == [
        ([{"rule": "references_author", "column": "author", "value": "1", "message": "1 is not in people.person_id"}],)
    ]
    drain(library)
    assert library.rows("SELECT reply_id FROM silver.clean_replies ORDER BY 1") == [(1,), (2,)]
    assert library.rows("SELECT note_id FROM silver.clean_notes ORDER BY 1") == [("a",), ("b",)]
    assert library.rows("SELECT DISTINCT status FROM silver.quarantine") == [("replayed",)]
    assert library.rows("SELECT count(*) FROM silver.orphans") == [(0,)]
    library.assert_invariants()


def test_a_file_that_is_rejected_for_its_bad_rows_does_not_blame_its_orphans(
    pipeline_with: Callable[..., Pipeline],
) -> None:
    strict = NOTES.replace("bad_rows_max_share: 1", "bad_rows_max_share: 0.3")
    library = pipeline_with({"people": PEOPLE, "notes": strict, "replies": REPLIES})
    row = library.load("notes", b"note_id,author,words\na,1,5\nb,1,5\nc,,x\n")
    assert row["status"] == "rejected"
    assert "1 of 3 rows (33.3%) cannot be used" in row["error_message"]
    assert "1 × type of words, first" in row["error_message"]
    assert "references_author" not in row["error_message"]


def test_the_freed_object_is_announced_at_once(library: Pipeline) -> None:
    library.load("notes", b"note_id,author,words\na,1,5\n")
    library.bus.published.clear()
    library.load("people", b"person_id,height\n1,170\n")
    assert any(topic == "bronze-ready" and key.startswith("notes/") for topic, key, _ in library.bus.published)


def test_a_parent_of_other_keys_asks_for_nothing(library: Pipeline) -> None:
    library.load("notes", b"note_id,author,words\na,1,5\n")
    library.load("people", b"person_id,height\n2,170\n", day=1)
    assert drain(library) == 0
    assert library.rows("SELECT status, parent_key FROM silver.quarantine JOIN silver.orphans USING (object_id)") == [
        ("open", "1")
    ]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1), (0, 2, 1), (1, 0, 2)])
def test_a_removed_parent_has_been_there(library: Pipeline, order: tuple[int, ...]) -> None:
    ids = [
        library.land("people", b"person_id,height\n1,170\n", day=0),
        library.land("people", b"person_id,height\n2,170\n", day=1),
        library.land("notes", b"note_id,author,words\na,1,5\n", day=2),
    ]
    for position in order:
        library.process(ids[position])
    drain(library)
    assert library.rows("SELECT note_id FROM silver.clean_notes") == [("a",)]
    assert library.rows("SELECT person_id FROM silver.clean_people") == [(2,)]


def test_a_replay_by_hand_leaves_orphans_where_they_are(library: Pipeline) -> None:
    notes = library.load("notes", b"note_id,author,words\na,1,5\nb,,6\n")
    assert requests.replay(library.session, dataset="notes")[0] == 1
    drain(library)
    assert library.rows("SELECT status, is_requested FROM silver.quarantine") == [("open", False)]
    assert library.ledger(uuid.UUID(notes["object_id"]))["status"] == "done"
    library.assert_invariants()


def test_a_discarded_orphan_is_not_fetched_by_its_parent(library: Pipeline) -> None:
    library.load("notes", b"note_id,author,words\na,1,5\n")
    requests.discard(library.session, [row[0] for row in library.rows("SELECT quarantine_id FROM silver.quarantine")])
    library.load("people", b"person_id,height\n1,170\n")
    assert drain(library) == 0
    assert library.rows("SELECT status FROM silver.quarantine") == [("discarded",)]


def test_an_object_that_is_gone_waits_no_longer(library: Pipeline) -> None:
    notes = library.load("notes", b"note_id,author,words\na,1,5\n")
    assert isinstance(library.store, S3)
    library.store._client.remove_object(notes["bucket"], notes["object_key"], version_id=notes["version_id"])
    library.load("people", b"person_id,height\n1,170\n")
    assert drain(library) == 1
    row = library.ledger(uuid.UUID(notes["object_id"]))
    assert (row["status"], row["error_message"]) == ("done", "deleted before it was read")
    assert library.rows("SELECT status, count FROM silver.quarantine, (SELECT count(*) FROM silver.orphans)") == [
        ("open", 0)
    ]


def test_a_parent_waits_for_children_that_are_being_merged_and_they_for_it(
    library: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held by who merges: notes exclusively their own lock and shared that of people; people their own."""
    seen: list[tuple[str, bool, bool]] = []
    with library.warehouse.session("onlooker") as onlooker:

        def look(point: str) -> None:
            if point == "silver.merged":
                key = lock_key("dataset:people")
                free = onlooker.rows("SELECT pg_try_advisory_xact_lock(%s)", (key,))[0][0]
                onlooker.rollback()
                shared = onlooker.rows("SELECT pg_try_advisory_xact_lock_shared(%s)", (key,))[0][0]
                onlooker.rollback()
                seen.append((point, free, shared))

        monkeypatch.setattr(load, "hit", look)
        library.load("notes", b"note_id,author,words\na,1,5\n")
        library.load("people", b"person_id,height\n1,170\n")
    assert seen == [("silver.merged", False, True), ("silver.merged", False, False)]


def test_parents_and_children_that_come_at_the_same_moment_never_miss_each_other(library: Pipeline) -> None:
    workers = [library.worker(f"worker-{n}") for n in range(3)]
    for turn in range(12):
        ids = [
            library.land("notes", f"note_id,author,words\n{turn},{turn},5\n".encode(), "merge", turn, "notes"),
            library.land("people", f"person_id,height\n{turn},170\n".encode(), "merge", turn, "people"),
            library.land("replies", f"reply_id,note\n{turn},{turn}\n".encode(), "merge", turn, "replies"),
        ]
        barrier = Barrier(len(ids))

        def take(worker: Any, object_id: uuid.UUID, barrier: Barrier = barrier) -> None:
            with library.warehouse.session("racer") as session:
                barrier.wait()
                worker.process(session, object_id)

        with ThreadPoolExecutor(len(ids)) as pool:
            for done in [pool.submit(take, *pair) for pair in zip(workers, ids, strict=True)]:
                done.result()
    drain(library)
    assert library.rows("SELECT count(*) FROM silver.clean_replies") == [(12,)]
    assert library.rows("SELECT count(*) FROM silver.quarantine WHERE status = 'open'") == [(0,)]
    library.assert_invariants()
