"""The schema contract applied to a CSV header: which cell feeds which column."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.dataset import Dataset
from shared.errors import Rejected


@dataclass(frozen=True)
class Layout:
    """How the cells of a record map to the contract's columns."""

    names: tuple[str, ...]  # as in the file
    positions: tuple[int | None, ...]  # per contract column: index of its cell, None where the file lacks it
    unknown: tuple[int, ...]  # indexes of cells that the contract does not know


def layout_of(dataset: Dataset, names: Sequence[str]) -> Layout:
    """Match a header against the contract; raises Rejected when it cannot be used."""
    repeated = sorted({name for name in names if list(names).count(name) > 1})
    if repeated:
        raise Rejected(f"the header names {_list(repeated)} more than once; which one counts cannot be known")
    index = {name: position for position, name in enumerate(names)}
    missing = [c.origin for c in dataset.columns if c.origin not in index and not c.optional]
    if missing:
        raise Rejected(
            f"the header lacks {_list(missing)} (it has: {_list(names)}). Restore the column at the source, rename it "
            f"in `from`, or declare it `optional: true` in config/datasets/{dataset.name}.yaml"
        )
    known = {c.origin for c in dataset.columns}
    unknown = tuple(position for name, position in index.items() if name not in known)
    if unknown and dataset.schema_contract.columns == "freeze":
        raise Rejected(
            f"the header has {_list([names[i] for i in unknown])}, which the contract does not know and "
            f"`schema_contract.columns: freeze` forbids. Add the column to config/datasets/{dataset.name}.yaml"
        )
    return Layout(tuple(names), tuple(index.get(c.origin) for c in dataset.columns), unknown)


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:20])
    return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown
