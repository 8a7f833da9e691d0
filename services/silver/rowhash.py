"""Hashes of keys and rows: XXH3-128 over a canonical encoding of typed values.

The encoding of a value is a netstring, `<length in bytes>:<text>`, and `-` for NULL; values are joined by commas.
The text is the value's one canonical form: integers without leading zeros, dates as YYYY-MM-DD, decimals with all
places of their scale, timestamps as UTC microseconds since 1970, doubles as Python's shortest repr, booleans as true
and false. So (2020-01-22, "a,b", NULL, 7) is `10:2020-01-22,3:a,b,-,1:7`. It does not depend on batch, machine or
library version; tests/unit pins vectors.

Columns that a file brought and no contract declares follow in the order of their names, only those that have a value:
`;<netstring of the name>=<netstring of the value>`. So a column that comes later changes the hash of no row without it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

HASH_TYPE = pa.binary(16)


def canonical(column: pa.Array) -> pa.Array:
    """Return each value's netstring, `-` for NULL."""
    if pa.types.is_floating(column.type):
        text = pa.array([None if v is None else repr(v) for v in column.to_pylist()], pa.string())
    elif pa.types.is_timestamp(column.type):
        text = column.cast(pa.int64()).cast(pa.string())
    else:
        text = column.cast(pa.string())
    length = pc.binary_length(text).cast(pa.string())
    return pc.fill_null(pc.binary_join_element_wise(length, text, ":"), "-")


def row_hashes(encoded: Sequence[pa.Array], evolved: Mapping[str, pa.Array] | None = None) -> pa.Array:
    """Return the 16-byte hash of each row of canonical columns, and of evolved columns as text by name."""
    joined = encoded[0] if len(encoded) == 1 else pc.binary_join_element_wise(*encoded, ",")
    for name, texts in sorted((evolved or {}).items()):
        value = pc.binary_join_element_wise(f";{len(name)}:{name}=", canonical(texts), "")
        joined = pc.binary_join_element_wise(joined, pc.if_else(texts.is_valid(), value, ""), "")
    return hash_texts(joined)


def hash_texts(texts: pa.Array) -> pa.Array:
    """Return the 16-byte XXH3-128 of each text of an array without NULLs."""
    count = len(texts)
    if not count:
        return pa.array([], HASH_TYPE)
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + count + 1].tolist()
    view = memoryview(data) if data is not None else memoryview(b"")
    digest = xxhash.xxh3_128_digest
    start = bounds[0]
    digests = []
    for end in bounds[1:]:
        digests.append(digest(view[start:end]))
        start = end
    return pa.FixedSizeBinaryArray.from_buffers(HASH_TYPE, count, [None, pa.py_buffer(b"".join(digests))])
