"""Ledger and merge against a model of ten lines: whatever happens to objects, events and workers, silver is the fold."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from shared import requests
from shared.described import LANDED_AT, WRITE_DISPOSITION
from shared.errors import ConfigurationError, Unavailable
from shared.events import ObjectRef, bronze_ready
from shared.settings import BRONZE_BUCKET, Settings
from tests.fakes import FakeStore
from tests.integration.arena import OPEN_POINTS, POINTS, Arena, Died
from tests.integration.model import BAD, CONTRACTS, File, Row, fold
from tests.integration.view import View, group_of
from tests.pipeline import DAY_ZERO, Pipeline

EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", "25"))
STEPS = int(os.environ.get("MACHINE_STEPS", "25"))
WITHDRAWS = bool(os.environ.get("MACHINE_WITHDRAWS"))
DAYS_MAX = 40
FUTURE_DAYS = 40_000
SETTLING_ROUNDS_MAX = 12

rows = st.lists(
    st.builds(Row, st.sampled_from(["1", "2", "3", "4", "1", "2", "3", BAD]), st.sampled_from(["", "1", "2", "3"]),
              st.sampled_from(["5", "5", "6", "7", BAD])),
    max_size=5,
).map(tuple)  # fmt: skip
keyed = st.builds(File, st.sampled_from(["people", "notes"]), st.sampled_from(["replace", "merge"]), rows)
appended = st.builds(File, st.just("readings"), st.just("append"), rows, st.sampled_from("ab"))
unreadable = st.builds(
    File, st.sampled_from(list(CONTRACTS)), st.just("merge"), st.just(()), st.just("a"),
    st.sampled_from([b"", b"key,value\n1,5\n", b"\x1f\x8b\x08cut"]),
)  # fmt: skip
files = st.one_of(keyed, keyed, keyed, appended, unreadable)
seldom = st.sampled_from([False] * 9 + [True])
number = st.integers(0, 99)  # of one among what is there, modulo how many there are


@dataclass
class Landed:
    """A file in the bucket."""

    file: File
    ref: ObjectRef
    is_removed: bool = False


class Machine(RuleBasedStateMachine):
    """What may happen, in any order; `settle` looks at what came of it."""

    def __init__(self, arena: Arena) -> None:
        super().__init__()
        self.arena, self.bus, self.pipeline, store = arena, arena.bus, arena.pipeline, arena.pipeline.store
        assert isinstance(store, FakeStore)
        self.store = store
        self.landed: dict[int, Landed] = {}
        self.view = View(
            self.pipeline,
            lambda key, version_id: next(
                day for day, one in self.landed.items() if (one.ref.key, one.ref.version_id) == (key, version_id)
            ),
        )
        self.discarded: set[tuple[int, int]] = set()
        self.withdrawn: set[int] = set()  # at some time; whether for good is the ledger's to say
        self.mirror: dict[str, set[Any]] = {name: set() for name in CONTRACTS}
        self.sweeper = arena.new_sweeper()
        store.empty()
        arena.bus.empty()
        arena.pipeline.reset()
        arena.pipeline.session.execute("TRUNCATE bronze.dead_letters")
        arena.pipeline.session.commit()

    # ---- what comes into the bucket, and goes

    @rule(file=files, day=st.integers(1, DAYS_MAX), is_future=seldom, events=st.sampled_from([1, 1, 1, 0, 2]))
    def land(self, file: File, day: int, is_future: bool, events: int) -> None:
        day += FUTURE_DAYS if is_future else 0
        while day in self.landed:
            day += 1
        key = f"{file.dataset}/{file.name if file.disposition == 'append' else day}.csv"
        moment = (DAY_ZERO + timedelta(days=day)).isoformat()
        info = self.store.put_bytes(
            BRONZE_BUCKET, key, file.content, {LANDED_AT: moment, WRITE_DISPOSITION: file.disposition}
        )
        self.landed[day] = Landed(file, ObjectRef(bucket=info.bucket, key=info.key, version_id=info.version_id))
        self.bus.waiting += [bronze_ready(self.landed[day].ref, DAY_ZERO)] * events

    @precondition(lambda self: self.landed)
    @rule(which=number, day=st.integers(1, DAYS_MAX))
    def land_the_same_again(self, which: int, day: int) -> None:
        self.land(list(self.landed.values())[which % len(self.landed)].file, day, False, 1)

    @precondition(lambda self: self.landed)
    @rule(which=number)
    def remove(self, which: int) -> None:
        day = sorted(self.landed)[which % len(self.landed)]
        one = self.landed[day]
        if one.file.dataset == "notes" and self.view.ledger().get(day, ("", None))[1]:
            return  # whether its orphans are ever freed would depend on the moment
        self.store.remove(one.ref.bucket, one.ref.key, one.ref.version_id)
        one.is_removed = True
        if which % 2:
            self.bus.waiting.append(bronze_ready(one.ref.model_copy(update={"is_removal": True}), DAY_ZERO))

    # ---- events, and the workers that get them

    @precondition(lambda self: self.bus.waiting)
    @rule(which=number, is_kept=st.booleans())
    def deliver(self, which: int, is_kept: bool) -> None:
        event = self._event(which)
        self.arena.handle(event)
        if not is_kept:
            self.bus.waiting.remove(event)

    @precondition(lambda self: self.bus.waiting)
    @rule(which=number)
    def lose(self, which: int) -> None:
        self.bus.waiting.remove(self._event(which))

    @precondition(lambda self: self.bus.waiting)
    @rule(which=number, point=st.sampled_from(POINTS), how=st.sampled_from(["dies", "dies", "server away", "bug"]))
    def fail_on(self, which: int, point: str, how: str) -> None:
        """The worker dies at a point, finds a server away there, or meets a bug."""
        event = self._event(which)
        try:
            self.arena.handle_until(event, point, lambda: self.arena.fail(point, how))
        except (Died, Unavailable):
            return
        self.bus.waiting.remove(event)

    @precondition(lambda self: self.bus.waiting)
    @rule(
        which=number, point=st.sampled_from(OPEN_POINTS), dies=st.booleans(),
        acts=st.lists(st.tuples(st.sampled_from(["deliver", "deliver", "remove", "backfill", "replay", "sweep",
                                                 "approve", "land_the_same_again"]), number), max_size=3),
    )  # fmt: skip
    def meanwhile(self, which: int, point: str, dies: bool, acts: list[tuple[str, int]]) -> None:
        """While one worker is at a point, another one and people do things; then it goes on, or dies."""

        def happen() -> None:
            for name, chosen in acts:
                if name in ("deliver", "remove", "land_the_same_again") and not self.bus.waiting:
                    continue
                arguments = {"deliver": (True,), "sweep": (), "land_the_same_again": (chosen % DAYS_MAX + 1,)}
                getattr(self, name)(*(() if name == "sweep" else (chosen,)), *arguments.get(name, ()))

        def act() -> None:
            self.arena.in_turn(happen)
            if dies:
                self.arena.die()

        try:
            self.arena.handle_until(self._event(which), point, act)
        except (Died, Unavailable):
            return

    @rule(is_restarted=st.booleans())
    def sweep(self, is_restarted: bool = False) -> None:
        if is_restarted:
            self.sweeper = self.arena.new_sweeper()
        self.sweeper.sweep()

    # ---- what people ask for

    @rule(which=number)
    def backfill(self, which: int) -> None:
        self._announce(requests.backfill(self.pipeline.session, list(CONTRACTS)[which % len(CONTRACTS)]))

    @rule(which=number)
    def replay(self, which: int) -> None:
        self._announce(requests.replay(self.pipeline.session, list(CONTRACTS)[which % len(CONTRACTS)])[1])

    @rule(which=number)
    def approve(self, which: int) -> None:
        held = self.pipeline.rows(
            "SELECT object_id FROM bronze.ingestion_metadata WHERE status = 'held' ORDER BY version"
        )
        if held:
            self._announce(requests.approve(self.pipeline.session, held[which % len(held)][0]))

    @rule(which=number)
    def discard(self, which: int) -> None:
        """Set a row aside for good that is no orphan: those are taken in with their whole object."""
        still_open = self.pipeline.rows(
            "SELECT quarantine_id, object_key, version_id, line_number FROM silver.quarantine JOIN bronze.ingestion_metadata"
            " USING (object_id) WHERE quarantine.status = 'open' AND quarantine.dataset <> 'notes' ORDER BY 1"
        )
        if still_open:
            identity, key, version_id, line = still_open[which % len(still_open)]
            assert requests.discard(self.pipeline.session, [identity]) == 1
            self.discarded.add((self.view.day(key, version_id), line))

    @precondition(lambda self: WITHDRAWS)
    @rule(which=number, is_undone=st.booleans())
    def withdraw(self, which: int, is_undone: bool) -> None:
        known = self.pipeline.rows(
            "SELECT object_id, object_key, version_id FROM bronze.ingestion_metadata ORDER BY version"
        )
        if known:
            object_id, key, version_id = known[which % len(known)]
            with suppress(ConfigurationError):  # it is not in a state for that
                ask = requests.take_in_again if is_undone else requests.withdraw
                self._announce(ask(self.pipeline.session, object_id))
                self.withdrawn.add(self.view.day(key, version_id))

    @rule()
    def consume(self) -> None:
        """Be gold: take what is pending, and bring the touched groups of a mirror up to date."""
        session = self.pipeline.session
        pending = session.rows(
            "DELETE FROM gold.pending p USING silver.change_sets c WHERE c.change_set_id = p.change_set_id"
            " RETURNING c.dataset, c.is_everything, c.groups, c.group_columns"
        )
        for dataset, is_everything, groups, columns in pending:
            touched = {group_of(columns, group) for group in groups}
            fresh = self.view.grouped(dataset, columns)
            if is_everything:
                self.mirror[dataset] = fresh
            else:
                kept = {row for row in self.mirror[dataset] if row[0] not in touched}
                self.mirror[dataset] = kept | {row for row in fresh if row[0] in touched}
        session.commit()

    # ---- what must come of it

    @rule()
    def settle(self) -> None:
        """Sweep and deliver until nothing is left to do, and compare everything."""
        for _ in range(SETTLING_ROUNDS_MAX):
            self.sweep()
            while self.bus.waiting:
                self.arena.handle(self.bus.waiting.pop(0))
            if not self.view.outstanding():
                break
        assert self.view.outstanding() == []
        self._compare()

    def teardown(self) -> None:
        if sys.exc_info()[0] is None:  # else something has failed already, and that is what is to be told
            self.settle()

    def _compare(self) -> None:
        ledger = self.view.ledger()
        assert set(self.landed) - set(ledger) == {day for day in self.landed if self._never_seen(day, ledger)}
        for day, (status, _) in ledger.items():
            assert status in self._possible(day), (day, self.landed[day], status)
        counted = {
            day: one.file for day, one in self.landed.items()
            if one.file.is_accepted and ledger.get(day, ("",))[0] in ("done", "superseded")
        }  # fmt: skip
        expected = fold(counted)
        for name in CONTRACTS:
            assert self.view.live(name) == expected[name].rows, name
            assert self.view.waiting(name) == set(expected[name].waiting) - self.discarded, name
        self.pipeline.assert_invariants()
        bugs = self.pipeline.rows("SELECT traceback FROM bronze.dead_letters WHERE reason NOT LIKE 'FailpointHit%'")
        assert not bugs, bugs[0][0]
        told = {json.loads(event)["data"]["change_set_id"] for event in self.bus.told}
        committed = self.pipeline.rows("SELECT change_set_id::text, dataset, group_columns FROM silver.change_sets")
        assert {row[0] for row in committed} <= told
        self.consume()
        for name, columns in {row[1]: row[2] for row in committed}.items():
            assert self.mirror[name] == self.view.grouped(name, columns), name

    def _never_seen(self, day: int, ledger: dict[int, Any]) -> bool:
        return self.landed[day].is_removed and day not in ledger

    def _possible(self, day: int) -> set[str]:
        """Return the states in which an object may end."""
        one = self.landed[day]
        states = {"done", "superseded"} if one.file.is_accepted else {"rejected"}
        if one.is_removed or day in self.withdrawn:
            states.add("ignored")
        if day > FUTURE_DAYS or (one.file.dataset, one.file.disposition) == ("people", "replace"):
            states.add("held")
        return states

    # ---- looking

    def _event(self, which: int) -> bytes:
        return self.bus.waiting[which % len(self.bus.waiting)]

    def _announce(self, refs: list[ObjectRef]) -> None:
        self.bus.waiting += [bronze_ready(ref, DAY_ZERO) for ref in refs]


@pytest.fixture
def arena(settings: Settings, tmp_path: Path) -> Iterator[Arena]:
    folder = tmp_path / "config" / "datasets"
    folder.mkdir(parents=True)
    for name, text in CONTRACTS.items():
        (folder / f"{name}.yaml").write_text(text)
    hasty = {
        "config_dir": tmp_path / "config", "reannounce_after_seconds": 1e-6, "failed_pause_seconds": 1e-6,
        "snapshot_order_wait_seconds": 0.0, "retry_total_seconds": 0.1, "stop_objects_min": 1_000_000,
    }  # fmt: skip
    pipeline = Pipeline(settings.model_copy(update=hasty), store=FakeStore())
    (database,) = pipeline.rows("SELECT current_database()")[0]
    pipeline.migrate()
    # Nothing here looks at what a server remembers that was killed; half of the time would go into waiting for the disk.
    pipeline.session.execute(f"ALTER DATABASE {database} SET synchronous_commit = off")
    pipeline.session.commit()
    yield Arena(pipeline)
    pipeline.close()


def test_whatever_happens_silver_is_the_fold_over_the_accepted_objects(arena: Arena) -> None:
    class Here(Machine):
        def __init__(self) -> None:
            super().__init__(arena)

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )  # fmt: skip
