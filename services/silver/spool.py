"""Checked batches between reading and merging: in memory while small, on disk beyond that."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import pyarrow as pa


class Spool:
    """Batches of one schema, written once and read as often as needed; memory stays below `memory_bytes_max`."""

    def __init__(self, schema: pa.Schema, folder: Path, memory_bytes_max: int) -> None:
        self._schema, self._folder, self._memory_bytes_max = schema, folder, memory_bytes_max
        self._batches: list[pa.RecordBatch] = []
        self._bytes = 0
        self._path: Path | None = None
        self._writer: pa.ipc.RecordBatchFileWriter | None = None
        self.rows = 0

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    @property
    def memory_bytes(self) -> int:
        """What the batches hold of the memory."""
        return self._bytes if self._path is None else 0

    @property
    def is_in_memory(self) -> bool:
        """Whether nothing was written to disk."""
        return self._path is None

    def add(self, batch: pa.RecordBatch) -> None:
        """Keep a batch."""
        if not batch.num_rows:
            return
        self.rows += batch.num_rows
        if self._writer is not None:
            self._writer.write_batch(batch)
            return
        self._batches.append(batch)
        self._bytes += batch.nbytes
        if self._bytes > self._memory_bytes_max:
            self._spill()

    def _spill(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix="spool-", suffix=".arrow", delete=False) as file:
            self._path = Path(file.name)
        self._writer = pa.ipc.new_file(str(self._path), self._schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))
        for batch in self._batches:
            self._writer.write_batch(batch)
        self._batches = []

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the batches in the order they came."""
        if self._path is None:
            yield from self._batches
            return
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        with pa.OSFile(str(self._path)) as source:
            reader = pa.ipc.open_file(source)
            for index in range(reader.num_record_batches):
                yield reader.get_batch(index)
