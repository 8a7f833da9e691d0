"""Both diffs give the same action for every record; here the one in memory against a dictionary."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.silver.diff import Action, Existing, HashCollision, Incoming, in_memory

small = st.integers(0, 6)


def pairs(values: list[int]) -> np.ndarray:
    return np.array([(v + 1, v * 7) for v in values], np.uint64).reshape(-1, 2)


@given(
    st.lists(st.tuples(small, small), max_size=12),
    st.dictionaries(small, st.tuples(small, st.booleans()), max_size=7),
)
def test_actions_are_those_of_a_dictionary(
    incoming: list[tuple[int, int]], existing: dict[int, tuple[int, bool]]
) -> None:
    last = dict(incoming)
    expected = []
    position_of_last = {key: i for i, (key, _) in enumerate(incoming)}
    for position, (key, row) in enumerate(incoming):
        if position != position_of_last[key]:
            expected.append(Action.DUPLICATE if row == last[key] else Action.CONFLICT)
        elif key not in existing:
            expected.append(Action.INSERT)
        elif existing[key][1]:
            expected.append(Action.SUPERSEDED)
        else:
            expected.append(Action.UNCHANGED if existing[key][0] == row else Action.UPDATE)
    keys = list(existing)
    decision = in_memory(
        Incoming(pairs([k for k, _ in incoming]), pairs([r for _, r in incoming])),
        Existing(pairs(keys), pairs([existing[k][0] for k in keys]), np.array([existing[k][1] for k in keys], bool)),
    )
    assert [Action(a) for a in decision.actions] == expected
    assert {keys[i] for i in decision.absent} == set(existing) - set(last)


def test_keys_that_share_half_a_hash_are_not_taken_for_one() -> None:
    key = np.array([[5, 1], [5, 2]], np.uint64)
    nothing = Existing(np.empty((0, 2), np.uint64), np.empty((0, 2), np.uint64), np.empty(0, bool))
    with pytest.raises(HashCollision):
        in_memory(Incoming(key, key), nothing)
    with pytest.raises(HashCollision):
        in_memory(Incoming(key[:1], key[:1]), Existing(key[1:], key[1:], np.array([False])))
