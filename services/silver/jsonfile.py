"""Read a JSON array of objects element by element, in bounded memory, keeping each element's text as delivered."""

import codecs
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from services.silver.record import Broken, Records, shortened, text_of
from shared.dataset import Dataset
from shared.errors import Rejected

_SPACE = " \t\r\n"
# Numbers keep the digits they were delivered with; casting decides what they are.
_DIGITS_MAX, _EXPONENT_DIGITS_MAX = 1_000, 2
# A batch ends at so many characters, however few elements that is: memory follows from it.
BATCH_CHARACTERS_MAX = 16_777_216


class _Unusable(str):
    """A number that other readers of JSON, PostgreSQL among them, do not take: NaN, Infinity, 1e999, 5,000 digits."""


def _number(text: str) -> str:
    mantissa, _, exponent = text.lower().partition("e")
    is_wild = len(mantissa) > _DIGITS_MAX or len(exponent.lstrip("+-")) > _EXPONENT_DIGITS_MAX
    return _Unusable(text) if is_wild else text


_DECODER = json.JSONDecoder(parse_float=_number, parse_int=_number, parse_constant=_Unusable)
# Only texts that match can hold something unusable; looking into the values costs more.
_SUSPICIOUS = re.compile(r"NaN|Infinity|[eE][+-]?[0-9]{3}|[0-9]{1000}|\\u0000|\x00|\\u[dD][89a-fA-F]")


def read_json(file: BinaryIO, dataset: Dataset, block_bytes: int, batch_rows_max: int) -> Iterator[Records]:
    """Yield the objects of a JSON array in batches; line numbers are 1-based element numbers.

    Raises Rejected when the file is not one JSON array of UTF-8 text.
    """
    batch = _Batch(dataset)
    for number, (text, value) in enumerate(_elements(_Text(file, block_bytes), dataset), start=1):
        batch.add(number, text, value)
        if batch.size >= batch_rows_max or batch.characters >= BATCH_CHARACTERS_MAX:
            yield batch.records()
            batch = _Batch(dataset)
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
            "An API's error page or a changed envelope looks like this; check the source"
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
            value, end = _DECODER.raw_decode(text.window, text.position)
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


class _Batch:
    """Elements gathered for one batch."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._paths = [tuple(c.origin.split(".")) for c in dataset.columns]
        self._known = _tree(self._paths)
        self._texts: list[str] = []
        self._values: list[dict[str, Any]] = []
        self._numbers: list[int] = []
        self._broken: list[Broken] = []
        self.characters = 0

    @property
    def size(self) -> int:
        return len(self._texts) + len(self._broken)

    def add(self, number: int, text: str, value: Any) -> None:
        """Take an element in, or note why it cannot be a record."""
        self.characters += len(text)
        problem = self._problem(text, value)
        if problem:
            self._broken.append(Broken(number, text_of(text.encode("utf-8", "surrogatepass")), *problem))
            return
        self._numbers.append(number)
        self._texts.append(text)
        self._values.append(value)

    def _problem(self, text: str, value: Any) -> tuple[str, str] | None:
        if not isinstance(value, dict):
            return "malformed", f"an object was expected, not {type(value).__name__}"
        if len(text) > self._dataset.limits.record_bytes_max:
            return (
                "too_long",
                f"longer than {self._dataset.limits.record_bytes_max:,} characters (limits.record_bytes_max)",
            )
        return _unusable(value) if _SUSPICIOUS.search(text) else None

    def records(self) -> Records:
        """Return what was gathered as columns of text."""
        columns = [pa.array([_cell(_at(value, path)) for value in self._values], pa.string()) for path in self._paths]
        texts = self._texts
        rescued = [
            # Decoded once more, so that numbers stay numbers where nobody casts them.
            json.dumps(_unknown(json.loads(text), self._known), ensure_ascii=False)
            if _unknown(value, self._known)
            else None
            for text, value in zip(texts, self._values, strict=True)
        ]
        return Records(
            pa.RecordBatch.from_arrays(columns, names=[c.name for c in self._dataset.columns]),
            np.array(self._numbers, np.int64),
            lambda index: texts[index],
            pa.array(rescued, pa.string()) if any(rescued) else None,
            pa.array(texts, pa.string()),
            self._broken,
        )


def _unusable(value: Any) -> tuple[str, str] | None:
    """Return why a value cannot be kept in PostgreSQL: a NUL, half a surrogate pair, a number out of all bounds."""
    if isinstance(value, _Unusable):
        return "number", f"{shortened(value)} is no number that JSON allows or a database takes"
    if isinstance(value, str):
        if "\x00" in value:
            return "nul", "a NUL character; text cannot hold it"
        if any("\ud800" <= character <= "\udfff" for character in value):
            return "encoding", "half a surrogate pair; text cannot hold it"
        return None
    parts = value if isinstance(value, list) else [*value, *value.values()] if isinstance(value, dict) else []
    return next((problem for part in parts if (problem := _unusable(part))), None)


def _at(value: Any, path: Sequence[str]) -> Any:
    for part in path:
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value


def _cell(value: Any) -> str | None:
    """Return a JSON value as the text that casting reads."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False)


def _tree(paths: Sequence[Sequence[str]]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path in paths:
        node = tree
        for part in path:
            node = node.setdefault(part, {})
    return tree


def _unknown(value: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of an object that no column's path reaches."""
    rest: dict[str, Any] = {}
    for name, part in value.items():
        if name not in known:
            rest[name] = part
        elif known[name] and isinstance(part, dict):
            inner = _unknown(part, known[name])
            if inner:
                rest[name] = inner
    return rest
