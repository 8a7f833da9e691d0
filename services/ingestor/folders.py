"""Which folders of a large bucket a sweep may leave out, and how the rest is listed.

The ingestor and `land` put an object under the day it came, and so a day that is over gets no more. Listing years of such
days over and over is what makes a sweep slow. A sweep that lists the whole bucket notes the past days of which the ledger
knew everything; sweeps after it leave those out. How often the whole is listed follows from how long that takes.
"""

import re
from collections.abc import Container, Iterator
from datetime import date, timedelta

from shared.ports import ObjectInfo, ObjectStore

_DAY_FOLDER = re.compile(r"[^/]+/ingest_date=(\d{4}-\d{2}-\d{2})/")
# Clocks and midnights: the day before today may still be added to.
OPEN_DAYS = 2


class PastDays:
    """The day folders that are over and wholly known to the ledger, and when the bucket was last listed as a whole."""

    def __init__(self) -> None:
        self.known: frozenset[str] = frozenset()
        self._found: set[str] = set()
        self._spoilt: set[str] = set()
        self._listed_at_seconds: float | None = None
        self._took_seconds = 0.0

    def may_be_left_out(self, now_seconds: float, share_max: float) -> bool:
        """Say whether listing the whole bucket again, now, would take more than its share of the time."""
        if self._listed_at_seconds is None or not self.known:
            return False
        return (now_seconds - self._listed_at_seconds) * share_max < self._took_seconds

    def note(self, key: str, today: date) -> None:
        """Note a listed key."""
        name = day_folder(key, today)
        if name:
            self._found.add(name)

    def spoil(self, key: str, today: date) -> None:
        """Note a key that the ledger could not be told of: its folder is listed again."""
        self._spoilt.add(day_folder(key, today) or "")

    def finish(self, began_seconds: float, now_seconds: float) -> None:
        """Keep what a listing of the whole bucket has shown."""
        self.known = frozenset(self._found - self._spoilt)
        self._listed_at_seconds, self._took_seconds = now_seconds, now_seconds - began_seconds
        self.give_up()

    def give_up(self) -> None:
        """Forget what a listing that did not come to its end has shown."""
        self._found, self._spoilt = set(), set()

    def clear(self) -> None:
        """Know nothing: the next sweep lists the whole bucket."""
        self.known, self._listed_at_seconds = frozenset(), None


def day_folder(key: str, today: date) -> str | None:
    """Return the folder of a past day that a key lies in; None for any other key."""
    found = _DAY_FOLDER.match(key)
    if found is None:
        return None
    try:
        day = date.fromisoformat(found[1])
    except ValueError:
        return None
    return found[0] if day <= today - timedelta(days=OPEN_DAYS) else None


def without(store: ObjectStore, bucket: str, left_out: Container[str]) -> Iterator[ObjectInfo]:
    """List the versions of a bucket but for some folders of the second level."""
    for entry in store.level(bucket):
        if isinstance(entry, ObjectInfo):
            yield entry
            continue
        for inner in store.level(bucket, entry.prefix):
            if isinstance(inner, ObjectInfo):
                yield inner
            elif inner.prefix not in left_out:
                yield from store.versions(bucket, inner.prefix)
