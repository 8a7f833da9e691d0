"""What a file holds and its contract does not know, when it is to become columns: names, texts, and how they travel."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shared.dataset import Dataset
from shared.errors import Rejected
from shared.evolving import column_names, taken_names

# Evolved values of one row, by column: in one field, since a spool's schema cannot depend on what a file may hold.
EVOLVED_TYPE = pa.map_(pa.string(), pa.string())


def evolving(dataset: Dataset, origins: Collection[str], where: str) -> Mapping[str, str]:
    """Return the column of each unknown name that stands in one header or record.

    Raises Rejected when it alone has more of them than the dataset may ever get.
    """
    most = dataset.limits.evolved_columns_max
    if len(origins) > most:
        raise Rejected(
            f"{where} has {len(origins):,} columns that the contract does not know, more than the {most:,} that "
            "limits.evolved_columns_max allows: is it a file of this dataset? Else raise the limit in "
            f"config/datasets/{dataset.name}.yaml"
        )
    return column_names(origins, taken_names(dataset))


def packed(evolved: Mapping[str, pa.Array], count: int) -> pa.Array:
    """Return n texts by column as one map a row, which holds the columns that have a value there."""
    if not evolved or not count:
        nothing = pa.array([], pa.string())
        return pa.MapArray.from_arrays(pa.array(np.zeros(count + 1, np.int32)), nothing, nothing)
    names = sorted(evolved)
    texts = pa.concat_arrays([evolved[name] for name in names])
    is_held = texts.is_valid().to_numpy(zero_copy_only=False).reshape(len(names), count).T
    places = np.arange(len(names) * count).reshape(len(names), count).T[is_held]
    offsets = np.concatenate(([0], np.cumsum(is_held.sum(axis=1)))).astype(np.int32)
    keys = pa.array(names, pa.string()).take(pa.array(np.nonzero(is_held)[1]))
    return pa.MapArray.from_arrays(pa.array(offsets), keys, texts.take(pa.array(places)))


def unpacked(maps: pa.Array, name: str) -> pa.Array:
    """Return the texts of one evolved column, NULL where a row has none."""
    return pc.map_lookup(maps, name, "first")


def by_column(rows: Sequence[Mapping[str, str | None]]) -> dict[str, pa.Array]:
    """Return texts by row and column as texts by column, NULL where a row lacks one."""
    names: dict[str, Any] = dict.fromkeys(name for row in rows for name in row)
    return {name: pa.array([row.get(name) for row in rows], pa.string()) for name in names}
