"""Datasets that have landed nothing for longer than their contract expects: the one expectation asked of the clock."""

from collections.abc import Iterable, Sequence

from shared.alerts import Trouble
from shared.catalog import Catalog

Arrived = tuple[
    str, float | None, float | None
]  # dataset, hours since it landed, hours since a poll found it unchanged


def stale(catalog: Catalog, arrived: Iterable[Arrived]) -> Sequence[Trouble]:
    """Return the datasets that are stale; one that has never landed anything is not waited for."""
    found = []
    for name, landed, unchanged in arrived:
        dataset = catalog.datasets.get(name)
        for one in dataset.expectations if dataset else ():
            if one.arrival is None or landed is None:
                continue
            heard = min(landed, unchanged) if one.arrival.or_unchanged and unchanged is not None else landed
            if heard > one.arrival.hours_max:
                said = f"{name} has landed nothing for {landed:,.0f} h" + (
                    f", and its source was last found unchanged {unchanged:,.0f} h ago"
                    if one.arrival.or_unchanged and unchanged is not None
                    else ""
                )
                message = f"{said}; {one.arrival.hours_max:g} h are expected at most"
                found.append(Trouble("stale", f"{name} {one.checks[0]}", name, one.severity, message))
    return found
