"""Read a JSON array of objects element by element, in bounded memory, keeping each element's text as delivered."""

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from services.silver.jsonrecord import DECODER, Batch
from services.silver.recode import in_utf8
from services.silver.record import Records, shortened
from shared.dataset import Dataset
from shared.errors import Rejected
from shared.formats import JsonFormat

_SPACE = " \t\r\n"


def read_json(file: BinaryIO, dataset: Dataset, block_bytes: int, batch_rows_max: int) -> Iterator[Records]:
    """Yield the objects of a JSON array in batches; line numbers are 1-based element numbers.

    Raises Rejected when the file is not one JSON array in its declared encoding.
    """
    declared = dataset.format
    assert isinstance(declared, JsonFormat)
    batch = Batch(dataset, batch_rows_max)
    window = _Text(in_utf8(file, declared.encoding, keeps_bad_bytes=False), block_bytes)
    for number, (text, value) in enumerate(_elements(window, dataset), start=1):
        batch.add(number, text, value)
        if batch.is_full:
            yield batch.records()
            batch = Batch(dataset, batch_rows_max)
    if batch.size:
        yield batch.records()


class _Text:
    """A file as a sliding window of text."""

    def __init__(self, file: BinaryIO, block_bytes: int) -> None:
        self._file, self.block_bytes = file, block_bytes
        self._decode = codecs.getincrementaldecoder("utf-8")()
        self._bytes_read = 0
        self.window, self.position, self.is_complete = "", 0, False

    def more(self) -> bool:
        """Extend the window; False at the end of the file."""
        data = self._file.read(max(self.block_bytes, len(self.window)))
        try:
            fresh = self._decode.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise Rejected(f"byte {self._bytes_read + error.start:,} is not UTF-8: {error.reason}") from error
        if not self._bytes_read:
            fresh = fresh.removeprefix("\ufeff")
        self._bytes_read += len(data)
        self.window = self.window[self.position :] + fresh
        self.position = 0
        self.is_complete = not data
        return bool(data)

    def peek(self) -> str:
        """Return the next character that is not white space, '' at the end of the file."""
        while True:
            while self.position < len(self.window) and self.window[self.position] in _SPACE:
                self.position += 1
            if self.position < len(self.window):
                return self.window[self.position]
            if not self.more():
                return ""


def _elements(text: _Text, dataset: Dataset) -> Iterator[tuple[str, Any]]:
    """Yield each element's text and value."""
    opening = text.peek()
    if not opening:
        raise Rejected("the file is empty: a JSON array was expected")
    if opening != "[":
        kind = {"{": "an object", '"': "a string"}.get(opening, "something else")
        raise Rejected(
            f"a JSON array was expected, the file begins with {kind}: {shortened(text.window[:80])!r}. "
            "An API's error page or a changed envelope looks like this; check the source. One object a line is `type: jsonl`"
        )
    text.position += 1
    if text.peek() == "]":
        text.position += 1
    else:
        number = 0
        while True:
            number += 1
            yield _element(text, number, dataset.limits.record_bytes_max)
            separator = text.peek()
            text.position += 1
            if separator == "]":
                break
            if separator != ",":
                raise Rejected(_broken_off(number, separator))
    if text.peek():
        raise Rejected("there is more after the JSON array's end")


def _broken_off(number: int, found: str) -> str:
    if not found:
        return f"the array breaks off after element {number}: the file is truncated"
    return f"after element {number} a comma or ] was expected, not {found!r}"


def _element(text: _Text, number: int, bytes_max: int) -> tuple[str, Any]:
    """Decode the element at the window's position, reading on until it is whole."""
    if not text.peek():
        raise Rejected(_broken_off(number - 1, ""))
    while True:
        try:
            value, end = DECODER.raw_decode(text.window, text.position)
            # A bare number at the window's end may go on behind it.
            if end < len(text.window) or text.is_complete:
                raw = text.window[text.position : end]
                text.position = end
                return raw, value
            text.more()
            continue
        except RecursionError:
            raise Rejected(f"element {number} is nested too deeply") from None
        except json.JSONDecodeError as error:
            reason = error.msg
        if len(text.window) - text.position > max(4 * bytes_max, 2 * text.block_bytes):
            raise Rejected(
                f"element {number} is not JSON or longer than {bytes_max:,} bytes (limits.record_bytes_max): {reason}"
            )
        if not text.more():
            raise Rejected(f"element {number} is not JSON, or the file is truncated: {reason}")
