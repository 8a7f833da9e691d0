"""Values that no two rows may share: within the file a verdict on rows, within the table a finding about the table.

Within the file the verdict is a function of the file: of the lines that hold a value under different keys, all but those
of the first key break the rule. Which rows of *other* objects hold it depends on what has been loaded, so that never
decides what becomes of a row: findings.py looks at it after the merge.
"""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.silver.batchsql import Mask
from services.silver.diff import halves
from services.silver.rowhash import canonical, row_hashes
from shared.rules import Rule

SAMPLES_MAX = 5


class _Run(NamedTuple):
    """Distinct values by the upper half of their hash, ascending, and who held each first; (n,) uint64 each."""

    upper: Any
    lower: Any
    holder: Any


class Values(NamedTuple):
    """A batch's values as hashes (n, 2), the key that holds each (n,), and the rows that have a value (k,)."""

    hashes: Any
    holder: Any
    rows: Any


def values_of(rule: Rule, batch: pa.RecordBatch, holder: Any) -> Values:
    """Hash the columns of a rule; a row where one of them is absent has no value."""
    columns = [batch.column(name) for name in rule.columns]
    known = np.ones(batch.num_rows, bool)
    for column in columns:
        known &= pc.is_valid(column).to_numpy(zero_copy_only=False)
    hashes = halves(row_hashes([canonical(column) for column in columns])).reshape(-1, 2)
    return Values(hashes, holder, np.flatnonzero(known))


class Seen:
    """The values of the lines so far, 24 bytes each; runs are merged as they grow, so that few are searched."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []

    def held(self, values: Values) -> Mask:
        """Return which rows hold no value that an earlier line holds under another key, (n,)."""
        mask = np.ones(len(values.hashes), bool)
        if not len(values.rows):
            return mask
        upper, lower = values.hashes[values.rows].T
        holder = values.holder[values.rows]
        first = _firsts(upper)
        lower_then, holder_then = lower[first], holder[first]
        for run in reversed(self._runs):  # the oldest has the last word
            place = np.minimum(np.searchsorted(run.upper, upper), len(run.upper) - 1)
            found = (run.upper[place] == upper) & (run.lower[place] == lower)
            lower_then = np.where(found, lower, lower_then)
            holder_then = np.where(found, run.holder[place], holder_then)
        mask[values.rows] = ~((lower_then == lower) & (holder_then != holder))
        return mask

    def add(self, values: Values) -> None:
        """Remember a batch's values; the first holder of each stays."""
        upper, lower = values.hashes[values.rows].T
        self._runs.append(_merged([_Run(upper, lower, values.holder[values.rows])]))
        while len(self._runs) > 1 and len(self._runs[-2].upper) <= 2 * len(self._runs[-1].upper):
            newer, older = self._runs.pop(), self._runs.pop()
            self._runs.append(_merged([older, newer]))
        self._runs = [run for run in self._runs if len(run.upper)]


def _firsts(upper: Any) -> Any:
    """Return for each value the position of the first equal one, (n,)."""
    order = np.argsort(upper, kind="stable")
    ordered = upper[order]
    starts = np.concatenate(([True], ordered[1:] != ordered[:-1]))
    leader = np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
    first = np.empty(len(order), np.int64)
    first[order] = order[leader]
    return first


def _merged(runs: list[_Run]) -> _Run:
    """Return one run of what is distinct; of equal values the one that came first."""
    upper, lower, holder = (np.concatenate(parts) for parts in zip(*runs, strict=True))
    order = np.argsort(upper, kind="stable")
    ordered = upper[order]
    keep = order[np.concatenate(([True], ordered[1:] != ordered[:-1]))] if len(order) else order
    return _Run(upper[keep], lower[keep], holder[keep])
