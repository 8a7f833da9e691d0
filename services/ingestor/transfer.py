"""The body of an HTTP answer as the file that it carries, which may be compressed on the way.

urllib3 (2.8) would take the beginning of a compressed body for the whole: its decoder does not ask whether the end came.
"""

import zlib
from collections.abc import Iterator
from typing import Protocol

CHUNK_BYTES = 65_536
PLAIN, COMPRESSED = ("", "identity"), ("gzip", "x-gzip", "deflate")
_GZIP_BEGINS, _GZIP_OR_ZLIB = b"\x1f", zlib.MAX_WBITS | 32


class CutOff(Exception):
    """The compressed body ends before its end, or is damaged."""


class Wire(Protocol):
    """What arrives, as it arrives."""

    def read1(self, amt: int, *, decode_content: bool) -> bytes:
        """Return some of what has arrived, at most `amt` bytes; nothing at the end."""
        ...


def body(wire: Wire, encoding: str) -> Iterator[bytes]:
    """Yield the file in pieces of at most CHUNK_BYTES, as they arrive; raises CutOff.

    `encoding` is one of PLAIN or COMPRESSED.
    """
    return _arriving(wire) if encoding in PLAIN else _unpacked(_arriving(wire))


def _arriving(wire: Wire) -> Iterator[bytes]:
    # read1 returns what has arrived: a source that drips a byte a second meets the deadline.
    while chunk := wire.read1(CHUNK_BYTES, decode_content=False):
        yield chunk


def _unpacked(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the content of one compressed member after the other; what follows the last one is nobody's."""
    decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
    for chunk in chunks:
        data, piece = chunk, b""
        while data or len(piece) == CHUNK_BYTES:
            if decoder.eof and not data.startswith(_GZIP_BEGINS):
                break
            if decoder.eof:
                decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
            try:
                piece = decoder.decompress(data, CHUNK_BYTES)
            except zlib.error as error:
                raise CutOff(f"the compressed transfer is damaged ({error})") from error
            if piece:
                yield piece
            data = decoder.unconsumed_tail or decoder.unused_data
    if not decoder.eof:
        raise CutOff("the compressed transfer is cut off")
