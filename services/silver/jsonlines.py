"""Read JSON lines: one object a line, in bounded memory; a line that is none is one broken record."""

import json
from collections.abc import Iterator
from typing import BinaryIO

from services.silver.blocks import Blocks
from services.silver.jsonrecord import DECODER, Batch
from services.silver.recode import delivered_text, in_utf8, no_text
from services.silver.record import Records
from shared.dataset import Dataset
from shared.errors import Rejected
from shared.formats import JsonLinesFormat


def read_json_lines(file: BinaryIO, dataset: Dataset, block_bytes: int, batch_rows_max: int) -> Iterator[Records]:
    """Yield the objects of a file in batches; line numbers are physical, and blank lines are no records.

    Raises Rejected when the file has nothing but blank lines, is not of its declared encoding (where that costs more than
    a line: see recode.py), or holds a line that goes far beyond `limits.record_bytes_max`.
    """
    declared = dataset.format
    assert isinstance(declared, JsonLinesFormat)
    bytes_max = dataset.limits.record_bytes_max
    blocks = Blocks(in_utf8(file, declared.encoding, keeps_bad_bytes=True), max(block_bytes, 4 * bytes_max))
    batch, is_blank = Batch(dataset, batch_rows_max), True
    for number, line in _numbered(blocks):
        is_blank = False
        _add(batch, number, line, bytes_max, declared.encoding)
        if batch.is_full:
            yield batch.records()
            batch = Batch(dataset, batch_rows_max)
    if is_blank:
        raise Rejected("the file is empty: not even one object; a delivery without rows cannot be told from a lost one")
    if batch.size:
        yield batch.records()


def _numbered(blocks: Blocks) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank, with their numbers."""
    before = 0
    while block := blocks.take():
        lines = block.removesuffix(b"\n").split(b"\n")
        yield from ((before + i, line) for i, line in enumerate(lines, start=1) if line.strip())
        before += len(lines)


def _add(batch: Batch, number: int, line: bytes, bytes_max: int, encoding: str) -> None:
    """Add a line to a batch, as a value or as a broken record."""
    line = line.removesuffix(b"\r")
    if len(line) > bytes_max:
        message = f"a line of {len(line):,} bytes, more than limits.record_bytes_max ({bytes_max:,}) allows"
        batch.add_broken(number, delivered_text(line[:bytes_max], encoding), "too_long", message)
        return
    if problem := no_text(line, encoding):
        batch.add_broken(number, delivered_text(line, encoding), "encoding", problem)
        return
    try:
        text = line.decode()
        batch.add(number, text, DECODER.decode(text))
    except json.JSONDecodeError as error:
        message = (
            f"not one JSON object a line: {error.msg}, at character {error.colno}; an array of them is `type: json`"
        )
        batch.add_broken(number, delivered_text(line, encoding), "malformed", message)
    except RecursionError:
        batch.add_broken(number, delivered_text(line, encoding), "malformed", "nested too deeply")
