"""A row of numbers as a row of bars."""

from collections.abc import Sequence
from itertools import pairwise

_BARS = "▁▂▃▄▅▆▇█"


def bars(values: Sequence[float], width: int) -> str:
    """Return a bar a value, the lowest of them lowest; more values than `width` are averaged into as many."""
    if not values:
        return ""
    if len(values) > width:
        edges = [round(place * len(values) / width) for place in range(width + 1)]
        parts = [values[start:end] for start, end in pairwise(edges)]
        values = [sum(part) / len(part) for part in parts]
    lowest, highest = min(values), max(values)
    if highest == lowest:
        return _BARS[-1] * len(values)
    return "".join(_BARS[round((value - lowest) / (highest - lowest) * (len(_BARS) - 1))] for value in values)
