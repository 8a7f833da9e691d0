"""A listing in stretches that stay the same: what the last sweep knew as a whole costs the next one no question.

A stretch ends behind a key whose checksum says so, wherever it lies. A new object then changes the stretch it falls into
and no other, which pages of a thousand would all shift.
"""

import hashlib
import zlib
from collections.abc import Iterable, Iterator

from shared.ports import ObjectInfo

STRETCH_VERSIONS_MEAN = 512
STRETCH_VERSIONS_MAX = 4096


def stretches(versions: Iterable[ObjectInfo]) -> Iterator[list[ObjectInfo]]:
    """Cut a listing into stretches of some hundred versions, by what is in them."""
    stretch: list[ObjectInfo] = []
    for info in versions:
        stretch.append(info)
        is_end = zlib.crc32(f"{info.key}\n{info.version_id}".encode()) % STRETCH_VERSIONS_MEAN == 0
        if is_end or len(stretch) >= STRETCH_VERSIONS_MAX:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def digest(stretch: Iterable[ObjectInfo]) -> bytes:
    """Return 16 bytes that stand for exactly these versions."""
    sum_ = hashlib.blake2b(digest_size=16)
    for info in stretch:
        sum_.update(f"{info.key}\n{info.version_id}\n{info.etag}\n{info.last_modified.timestamp()}\n".encode())
    return sum_.digest()


class Memory:
    """The stretches of which the ledger knew every version: 16 bytes for some hundred objects."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()
        self._seen: set[bytes] = set()

    def has(self, stretch_digest: bytes) -> bool:
        """Say whether an earlier sweep found this stretch known, and keep it for the next one."""
        is_known = stretch_digest in self._known
        if is_known:
            self._seen.add(stretch_digest)
        return is_known

    def add(self, stretch_digest: bytes) -> None:
        """Remember a stretch whose versions are all in the ledger."""
        self._seen.add(stretch_digest)

    def finish(self) -> None:
        """Forget what this sweep, which saw the whole bucket, did not come by."""
        self._known, self._seen = self._seen, set()

    def give_up(self) -> None:
        """Forget what a sweep that did not come to its end has learnt."""
        self._seen = set()

    def clear(self) -> None:
        """Know nothing: the next sweep asks the ledger about everything."""
        self._known, self._seen = set(), set()
