"""A file as blocks of whole lines in UTF-8, whatever encoding it declares."""

import codecs
import io
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


def in_utf8(file: BinaryIO, encoding: str) -> BinaryIO:
    """Return the file as UTF-8 bytes without a byte order mark, whatever encoding it declares."""
    if encoding in ("utf-8", "utf-8-sig"):
        if file.read(3) != codecs.BOM_UTF8:
            file.seek(0)
        return file
    return io.BufferedReader(_Recoded(file, encoding))


class _Recoded(io.RawIOBase):
    """Bytes of another encoding read as UTF-8; raises Rejected at the first that the encoding does not know."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._file, self._encoding = file, encoding
        self._decode = codecs.getincrementaldecoder(encoding)()
        self._rest, self._offset = b"", 0

    def readable(self) -> bool:
        return True

    def readinto(self, target: "memoryview") -> int:  # type: ignore[override]
        while not self._rest:
            data = self._file.read(1 << 20)
            try:
                self._rest = (
                    self._decode.decode(data, final=not data).lstrip("\ufeff" if not self._offset else "").encode()
                )
            except UnicodeDecodeError as error:
                raise Rejected(
                    f"byte {self._offset + error.start:,} is not {self._encoding}, the declared encoding: {error.reason}"
                ) from error
            self._offset += len(data)
            if not data:
                break
        part, self._rest = self._rest[: len(target)], self._rest[len(target) :]
        target[: len(part)] = part
        return len(part)
