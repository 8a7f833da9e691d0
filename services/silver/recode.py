"""Files of another encoding, read as UTF-8; and what of them is no text.

In an encoding of one byte a character, what follows a byte that means nothing is certain: such a byte travels on as half a
surrogate pair, which is not UTF-8 either, and costs its record alone. Elsewhere it costs the file.
"""

import codecs
import io
import re
from functools import lru_cache
from typing import BinaryIO

from services.silver.record import text_of
from shared.errors import Rejected

UTF_8 = ("utf-8", "utf-8-sig")

_TRAVELLING = re.compile(rb"\xed([\xb2\xb3])([\x80-\xbf])")  # U+DC80 to U+DCFF for the bytes 80 to FF
_RUN = re.compile(rb"(?:\xed[\xb2\xb3][\x80-\xbf])+")


def in_utf8(file: BinaryIO, encoding: str, *, keeps_bad_bytes: bool) -> BinaryIO:
    """Return the file as UTF-8 bytes without a byte order mark, whatever encoding it declares.

    Reading raises Rejected at the first byte that the encoding does not know, unless it can be kept for its record.
    """
    if encoding in UTF_8:
        if file.read(3) != codecs.BOM_UTF8:
            file.seek(0)
        return file
    return io.BufferedReader(_Recoded(file, encoding, keeps_bad_bytes and _is_of_single_bytes(encoding)))


@lru_cache
def _is_of_single_bytes(encoding: str) -> bool:
    """Say whether every byte is one character, known or not, whatever stands beside it."""
    every = [bytes([value]) for value in range(256)]
    try:
        alone = [one.decode(encoding, "surrogateescape") for one in every]
        pairs = b"".join(one + other for one in every for other in every).decode(encoding, "surrogateescape")
    except UnicodeError:
        return False
    return all(len(one) == 1 for one in alone) and pairs == "".join(one + other for one in alone for other in alone)


class _Recoded(io.RawIOBase):
    """Bytes of another encoding read as UTF-8."""

    def __init__(self, file: BinaryIO, encoding: str, keeps_bad_bytes: bool) -> None:
        self._file, self._encoding = file, encoding
        self._decode = codecs.getincrementaldecoder(encoding)("surrogateescape" if keeps_bad_bytes else "strict")
        self._rest, self._offset = b"", 0

    def readable(self) -> bool:
        return True

    def readinto(self, target: "memoryview") -> int:  # type: ignore[override]
        while not self._rest:
            data = self._file.read(1 << 20)
            try:
                text = self._decode.decode(data, final=not data)
            except UnicodeDecodeError as error:
                raise Rejected(
                    f"byte {self._offset + error.start:,} is not {self._encoding}, the declared encoding: {error.reason}"
                ) from error
            self._rest = text.lstrip("\ufeff" if not self._offset else "").encode("utf-8", "surrogatepass")
            self._offset += len(data)
            if not data:
                break
        part, self._rest = self._rest[: len(target)], self._rest[len(target) :]
        target[: len(part)] = part
        return len(part)


def no_text(data: bytes, encoding: str) -> str | None:
    """Say which bytes of a record are not of its declared encoding, counted as they were delivered; None if all are."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        start, length, name = error.start, error.end - error.start, "UTF-8"
        if encoding not in UTF_8 and (run := _RUN.search(data)):
            start, length, name = len(data[: run.start()].decode("utf-8")), len(run[0]) // 3, encoding
        return f"{length} byte(s) at offset {start} of the record are not {name}"
    return None


def delivered_text(data: bytes, encoding: str) -> str:
    r"""Return a record as text; what is not of its declared encoding, and NUL, is escaped as \xNN."""
    if encoding not in UTF_8:
        data = _TRAVELLING.sub(lambda found: b"\\x%02x" % (0x80 | (found[1][0] & 1) << 6 | found[2][0] & 0x3F), data)
    return text_of(data)
