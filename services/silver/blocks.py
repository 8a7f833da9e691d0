"""A file in UTF-8 as blocks of whole lines."""

from typing import BinaryIO

from services.silver.record import shortened, text_of
from shared.errors import Rejected


class Blocks:
    """A file as blocks that end with a line, or with the file."""

    def __init__(self, file: BinaryIO, block_bytes: int) -> None:
        self._file, self._block_bytes = file, block_bytes
        self._carry = b""
        self.is_last = False

    def take(self) -> bytes:
        """Return the next block: what was given back, then new bytes up to the last line break."""
        while not self.is_last:
            fresh = self._file.read(self._block_bytes)
            self.is_last = not fresh
            data = self._carry + fresh
            end = len(data) if self.is_last else data.rfind(b"\n") + 1
            self._carry = data[end:]
            if end or self.is_last:
                return data[:end]
            if len(data) > 2 * self._block_bytes:
                return self._endless(data)
        block, self._carry = self._carry, b""
        return block

    def _endless(self, data: bytes) -> bytes:
        raise Rejected(
            f"a line of more than {len(data):,} bytes begins with {shortened(text_of(data[:80]))!r}: this is not a "
            "file of lines (limits.record_bytes_max bounds a record)"
        )

    def give_back(self, rest: bytes) -> None:
        """Put an unfinished record in front of what is read next."""
        self._carry = rest + self._carry
