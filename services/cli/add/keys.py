"""Columns that tell all records of a sample apart, found over the whole of it in bounded memory.

Every cell of a column that may belong to a key is kept as a hash of 64 bits, on disk. Whether some columns are unique
together is then a question of sorting: part by part of the hashes, so that memory does not depend on the file. Two
different rows of one hash would only hide a key, and never make one up.
"""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.silver.rowhash import hash_texts

Hashes = np.ndarray[tuple[int], np.dtype[np.uint64]]

COLUMNS_MAX, COMBINED_MAX, COMBINED_FROM_MAX = 64, 4, 12
_CHUNK_ROWS = 1_000_000
_PART_ROWS = 4_000_000  # hashes sorted at a time: 32 MB
_FIRST_ROWS = 100_000  # most combinations repeat within these
_MULTIPLIER, _SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(29)


class Cells:
    """The hashes of the cells of some columns, on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._positions: dict[str, int] = {}
        self.rows = 0

    def take(self, columns: dict[str, pa.Array], rows: int) -> None:
        """Add the cells of some records; columns that the first records lack are left out."""
        if not self.rows:
            self._positions = {name: i for i, name in enumerate(list(columns)[:COLUMNS_MAX])}
        for name, position in self._positions.items():
            texts = columns.get(name)
            hashes = np.zeros(rows, np.uint64) if texts is None else _hashes(texts)
            with (self._folder / str(position)).open("ab") as file:
                hashes.tofile(file)
        self.rows += rows

    def __contains__(self, name: str) -> bool:
        return name in self._positions

    def is_unique(self, columns: Sequence[str]) -> bool:
        """Say whether no two records have the same cells in all of some columns."""
        found = [np.memmap(self._folder / str(self._positions[name]), np.uint64, "r") for name in columns]
        if self.rows > _FIRST_ROWS and not _distinct(_combined([f[:_FIRST_ROWS] for f in found])):
            return False
        parts = -(-self.rows // _PART_ROWS)
        return all(_distinct(self._part(found, part, parts)) for part in range(parts))

    def _part(self, columns: Sequence[Hashes], part: int, parts: int) -> Hashes:
        """Return the combined hashes of all records that fall into one of some parts."""
        kept = []
        for start in range(0, self.rows, _CHUNK_ROWS):
            hashes = _combined([column[start : start + _CHUNK_ROWS] for column in columns])
            kept.append(hashes[hashes % np.uint64(parts) == part] if parts > 1 else hashes)
        return np.concatenate(kept)


def _hashes(texts: pa.Array) -> Hashes:
    """Return a hash for each cell; an absent one has the hash of the empty text, as it would have in a key."""
    encoded = pc.fill_null(texts, "").dictionary_encode()
    digests = hash_texts(encoded.dictionary)
    found = np.frombuffer(b"".join(digests.to_pylist()), np.uint64)[::2]
    chosen: Hashes = found[encoded.indices.to_numpy(zero_copy_only=False)]
    return chosen


def _combined(columns: Sequence[Hashes]) -> Hashes:
    combined: Hashes = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        combined = (combined ^ (combined >> _SHIFT)) * _MULTIPLIER + np.asarray(column)
    return combined


def _distinct(hashes: Hashes) -> bool:
    ordered = np.sort(hashes)
    return not bool((ordered[1:] == ordered[:-1]).any())


def key_candidates(
    cells: Cells, single: Sequence[str], combined: Sequence[str], measures: Sequence[str]
) -> list[tuple[str, ...]]:
    """Return the keys found, the likeliest first: single columns, else the fewest that do together.

    `single` and `combined` are the columns that may be one, the likelier first; those that are also `measures` are
    believed last, because amounts are different by chance.
    """
    found: list[tuple[str, ...]] = [(name,) for name in single if name in cells and cells.is_unique((name,))]
    if found:
        return found
    names = [name for name in combined if name in cells][:COMBINED_FROM_MAX]
    chance: list[tuple[str, ...]] = []
    for size in range(2, COMBINED_MAX + 1):
        unique = [some for some in combinations(names, size) if cells.is_unique(some)]
        certain = [some for some in unique if not set(some) & set(measures)]
        chance += [
            some for some in unique if some not in certain and not any(set(fewer) <= set(some) for fewer in chance)
        ]
        if certain:
            return [*certain, *chance]
    return chance
