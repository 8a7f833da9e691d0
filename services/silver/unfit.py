"""Cells that are not of their column's type, treated as `schema_contract.data_type` says.

A cell of a key is a verdict on its row whatever the contract says, and so is one whose column must have a value.
"""

import json
from collections import Counter
from dataclasses import dataclass, field, replace

import pyarrow as pa

from services.silver.cast import Misfit, Typed
from services.silver.record import Records
from services.silver.unknown import by_column
from shared.dataset import Dataset
from shared.naming import variant_name


@dataclass(frozen=True)
class Unfit:
    """What became of a batch's cells of another type, where they did not spoil their rows."""

    discarded: set[int] = field(default_factory=set)  # rows to drop
    kept: Counter[str] = field(default_factory=Counter)  # texts by column that are kept beside a NULL


def fitted(typed: Typed, records: Records, dataset: Dataset) -> tuple[Typed, Records, Unfit]:
    """Return the batch without the misfits that the contract deals with, the texts it keeps, and what was done.

    Under `quarantine` and `freeze` nothing is: such rows are bad, and the merge refuses the file of a frozen dataset.
    """
    mode = dataset.schema_contract.data_type
    if mode in ("quarantine", "freeze") or not typed.misfits:
        return typed, records, Unfit()
    if mode == "discard_row":
        keyless = {m.index for m in typed.misfits if m.column in dataset.primary_key}
        dropped = {m.index for m in typed.misfits if _may_differ(m, dataset)} - keyless
        return typed, records, Unfit(discarded=dropped)
    movable = [m for m in typed.misfits if _may_differ(m, dataset) and dataset.column(m.column).nullable]
    moved = {id(m) for m in movable}
    left = replace(typed, misfits=[m for m in typed.misfits if id(m) not in moved])
    keep = _with_variants if mode == "evolve" else _rescuing
    return left, keep(records, movable, dataset), Unfit(kept=Counter(m.column for m in movable))


def _may_differ(misfit: Misfit, dataset: Dataset) -> bool:
    return misfit.rule == "type" and misfit.column not in dataset.primary_key


def _rescuing(records: Records, misfits: list[Misfit], dataset: Dataset) -> Records:
    """Return the records with the texts of misfits among the rescued values, by the column's name in the file."""
    rescued = records.rescued.to_pylist() if records.rescued is not None else [None] * records.cells.num_rows
    for misfit in misfits:
        known = json.loads(rescued[misfit.index] or "{}")
        known[dataset.column(misfit.column).origin] = misfit.value
        rescued[misfit.index] = json.dumps(known, ensure_ascii=False)
    return replace(records, rescued=pa.array(rescued, pa.string()))


def _with_variants(records: Records, misfits: list[Misfit], dataset: Dataset) -> Records:
    """Return the records with the texts of misfits in the columns' variants."""
    rows: list[dict[str, str]] = [{} for _ in range(records.cells.num_rows)]
    for misfit in misfits:
        if misfit.value is not None:
            rows[misfit.index][variant_name(misfit.column)] = misfit.value
    origins = {variant_name(c.name): c.origin for c in dataset.columns if any(m.column == c.name for m in misfits)}
    return replace(records, evolved={**records.evolved, **by_column(rows)}, origins={**records.origins, **origins})
