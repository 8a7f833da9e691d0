"""Send rows to the server by binary COPY, and see that it took every one."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain

import pyarrow as pa

from services.silver.binary import Ahead, encode
from shared.errors import MedallionError
from shared.ports import Session

# So few rows are sent without a thread that encodes ahead: starting one takes longer.
ALONE_ROWS_MAX = 4_096


class RowsLost(MedallionError):
    """The server took another number of rows than were sent."""


class Stream:
    """Rows on their way into a table by binary COPY, encoded ahead from the moment the stream is made."""

    def __init__(self, batches: Iterator[pa.RecordBatch], chunks_max: int = 4) -> None:
        self._sent = 0
        self._chunks = Ahead(encode(self._counted(batches)), chunks_max)

    def _counted(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            self._sent += batch.num_rows
            yield batch

    def into(self, session: Session, table: str, columns: Sequence[str]) -> int:
        """Send the rows; raises RowsLost unless the server took every one. Return how many."""
        taken = session.copy_in(f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT binary)", self._chunks)
        return _all_taken(taken, self._sent, table)

    def close(self) -> None:
        """Stop encoding, sent or not."""
        self._chunks.close()


def copy_rows(session: Session, table: str, columns: Sequence[str], batches: Iterator[pa.RecordBatch]) -> int:
    """Send batches by binary COPY; raises RowsLost unless the server took every row. Return how many."""
    first, second = next(batches, None), next(batches, None)
    if first is not None and second is None and first.num_rows <= ALONE_ROWS_MAX:
        statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT binary)"
        return _all_taken(session.copy_in(statement, list(encode([first]))), first.num_rows, table)
    read = [batch for batch in (first, second) if batch is not None]
    with closing(Stream(chain(read, batches))) as stream:
        return stream.into(session, table, columns)


def _all_taken(taken: int, sent: int, table: str) -> int:
    if taken != sent:
        raise RowsLost(f"{sent} rows were sent to {table} but the server took {taken}")
    return taken
