"""Stretches of a listing: a new object changes one of them, and a sweep that broke off has learnt nothing."""

from datetime import UTC, datetime

from services.ingestor.stretches import STRETCH_VERSIONS_MAX, Memory, digest, stretches
from shared.ports import ObjectInfo

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def listing(keys: list[str]) -> list[ObjectInfo]:
    return [ObjectInfo("bronze-layer", key, "v", "e", 1, NOON) for key in keys]


def test_a_stretch_has_bounded_length_and_nothing_is_left_out() -> None:
    infos = listing([f"users/{n:06}" for n in range(20_000)])
    cut = list(stretches(infos))
    assert [info for stretch in cut for info in stretch] == infos
    assert max(map(len, cut)) <= STRETCH_VERSIONS_MAX
    assert 20 < len(cut) < 80


def test_a_new_object_changes_only_the_stretch_it_falls_into() -> None:
    keys = [f"users/{n:06}" for n in range(20_000)]
    before = {digest(stretch) for stretch in stretches(listing(keys))}
    after = {digest(stretch) for stretch in stretches(listing(sorted([*keys, "users/010000b"])))}
    assert len(after - before) <= 2


def test_the_same_length_and_keys_with_another_version_are_another_stretch() -> None:
    one, other = listing(["a"]), [ObjectInfo("bronze-layer", "a", "w", "e", 1, NOON)]
    assert digest(one) != digest(other)


def test_a_sweep_that_breaks_off_forgets_what_it_learnt_and_keeps_what_was_known() -> None:
    memory = Memory()
    memory.add(b"old")
    memory.finish()
    memory.add(b"new")
    memory.give_up()
    assert (memory.has(b"old"), memory.has(b"new")) == (True, False)


def test_what_a_whole_sweep_did_not_come_by_is_forgotten() -> None:
    memory = Memory()
    memory.add(b"a")
    memory.add(b"b")
    memory.finish()
    assert memory.has(b"a")
    memory.finish()
    assert (memory.has(b"a"), memory.has(b"b")) == (True, False)
