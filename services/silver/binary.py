"""Arrow to and from PostgreSQL's binary COPY, in fixed-width records where that is possible."""

import contextlib
import io
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

import numpy as np
import pgpq
import pyarrow as pa
import pyarrow.compute as pc

from services.silver.diff import halves

# pgpq has no uuid, but a uuid travels as 16 bytes, as bytea of that length does.
UUID_TYPE = pa.binary(16)
_SLICE_ROWS = 16_384  # a few of them wait for the server at a time
_COPY_HEADER_BYTES, _COPY_TRAILER_BYTES = 19, 2


class Ahead:
    """Chunks that a thread makes while the server takes the ones before; at most `chunks_max` wait.

    Encoding and COPY then overlap: one runs in this process, the other in the server's. The thread starts at once, so
    that it can make the next stream's chunks while the server is still busy with this one.
    """

    def __init__(self, chunks: Iterator[bytes], chunks_max: int) -> None:
        self._chunks = chunks
        self._waiting: queue.Queue[bytes | BaseException | None] = queue.Queue(chunks_max)
        self._is_given_up = threading.Event()
        self._maker = threading.Thread(target=self._make, name="encode", daemon=True)
        self._maker.start()

    def __iter__(self) -> Iterator[bytes]:
        while (item := self._waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def close(self) -> None:
        """Stop making chunks that nobody will take."""
        self._is_given_up.set()
        self._maker.join()

    def _make(self) -> None:
        try:
            for chunk in self._chunks:
                if not self._put(chunk):
                    return
            self._put(None)
        except BaseException as error:  # noqa: BLE001  raised again where the chunks are read
            self._put(error)

    def _put(self, item: bytes | BaseException | None) -> bool:
        while not self._is_given_up.is_set():
            with contextlib.suppress(queue.Full):
                self._waiting.put(item, timeout=0.1)
                return True
        return False


def encode(batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """Yield the chunks of one binary COPY stream: header, rows, trailer."""
    encoder: Any = None
    for batch in batches:
        if encoder is None:
            encoder = pgpq.ArrowToPostgresBinaryEncoder(batch.schema)
            yield encoder.write_header()
        for start in range(0, batch.num_rows, _SLICE_ROWS):
            yield encoder.write_batch(batch.slice(start, _SLICE_ROWS))
    if encoder is None:
        yield b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\xff\xff"
    else:
        yield encoder.finish()


def jsonb(texts: pa.Array) -> pa.Array:
    """Return JSON texts as jsonb travels: a version byte before the text."""
    return pc.binary_join_element_wise(pa.scalar(b"\x01"), texts.cast(pa.binary()), b"")


def constant_uuid(value: UUID, count: int) -> pa.Array:
    """Return n times the same id."""
    return pa.FixedSizeBinaryArray.from_buffers(UUID_TYPE, count, [None, pa.py_buffer(value.bytes * count)])


def constant_time(microseconds: int, count: int) -> pa.Array:
    """Return n times the same moment, given in microseconds since 1970."""
    return pa.array(np.full(count, microseconds, np.int64)).cast(pa.timestamp("us"))


class FixedRecords(io.RawIOBase):
    """A sink for COPY … TO STDOUT (FORMAT binary) of NOT NULL columns of fixed width.

    `columns` are (name, bytes of the value); `table()` gives the values as numpy fields without parsing.
    """

    def __init__(self, columns: Sequence[tuple[str, int]]) -> None:
        self._buffer = bytearray()
        fields: list[tuple[str, str]] = [("_count", ">i2")]
        for name, width in columns:
            fields += [(f"_{name}_length", ">i4"), (name, f"V{width}")]
        self._dtype = np.dtype(fields)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._buffer += data
        return len(data)

    def table(self) -> Any:
        """Return the rows as a structured array, shape (n,)."""
        body = memoryview(self._buffer)[_COPY_HEADER_BYTES:]
        if len(body) < _COPY_TRAILER_BYTES or bytes(body[-2:]) != b"\xff\xff":
            raise AssertionError("a binary COPY ended without its trailer")
        body = body[:-_COPY_TRAILER_BYTES]
        if len(body) % self._dtype.itemsize:
            raise AssertionError("a binary COPY is not made of whole fixed-width records")
        return np.frombuffer(body, self._dtype)


def hash_column(table: Any, name: str) -> Any:
    """Return a 16-byte field of a structured array as (n, 2) uint64."""
    return np.ascontiguousarray(table[name]).view(">u8").reshape(-1, 2).astype(np.uint64)


def hash_array(values: Any) -> pa.Array:
    """Return (n, 2) uint64 as 16-byte Arrow values; the inverse of `diff.halves`."""
    data = np.ascontiguousarray(values).astype(">u8").tobytes()
    return pa.FixedSizeBinaryArray.from_buffers(UUID_TYPE, len(values), [None, pa.py_buffer(data)])


__all__ = [
    "FixedRecords",
    "constant_time",
    "constant_uuid",
    "encode",
    "halves",
    "hash_array",
    "hash_column",
    "jsonb",
]


def transportable(column: pa.Array, is_json: bool) -> pa.Array:
    """Return a column in the form that binary COPY takes."""
    if is_json:
        return jsonb(column)
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("us", tz="UTC")).cast(pa.timestamp("us"))
    return column
