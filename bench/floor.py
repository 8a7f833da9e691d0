"""The floor: the server takes ready-made binary rows into an unlogged table without an index. Nothing can be faster."""

import io
import time

from shared.adapters.postgres import PostgresSession

CHUNK_BYTES = 1 << 20


def floor_seconds(session: PostgresSession, table: str, columns: str) -> float:
    """Time COPY and commit of all of a table's rows, with bytes that were made before the clock starts."""
    ready = io.BytesIO()
    session.copy_out(f"COPY (SELECT {columns} FROM {table}) TO STDOUT (FORMAT binary)", ready)
    session.execute(f"CREATE UNLOGGED TABLE public.floor AS SELECT {columns} FROM {table} WITH NO DATA")
    session.commit()
    view = ready.getbuffer()
    chunks = (bytes(view[start : start + CHUNK_BYTES]) for start in range(0, len(view), CHUNK_BYTES))
    prepared = list(chunks)
    began = time.monotonic()
    taken = session.copy_in("COPY public.floor FROM STDIN (FORMAT binary)", prepared)
    session.commit()
    seconds = time.monotonic() - began
    assert taken > 0
    session.execute("DROP TABLE public.floor")
    session.commit()
    return seconds
