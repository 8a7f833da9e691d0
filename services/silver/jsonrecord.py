"""JSON values as records: which of them can be, the text of each column, and what no column reads."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from services.silver.record import Broken, Records, shortened, text_of
from services.silver.unknown import by_column, evolving
from shared.dataset import Dataset
from shared.errors import Rejected

# Numbers keep the digits they were delivered with; casting decides what they are.
_DIGITS_MAX, _EXPONENT_DIGITS_MAX = 1_000, 2
# A batch ends at so many characters, however few elements that is: memory follows from it.
BATCH_CHARACTERS_MAX = 16_777_216


class _Digits(str):
    """A number, with the digits that it was delivered with."""


class _Unusable(str):
    """A number that other readers of JSON, PostgreSQL among them, do not take: NaN, Infinity, 1e999, 5,000 digits."""


def _number(text: str) -> str:
    mantissa, _, exponent = text.lower().partition("e")
    is_wild = len(mantissa) > _DIGITS_MAX or len(exponent.lstrip("+-")) > _EXPONENT_DIGITS_MAX
    return _Unusable(text) if is_wild else _Digits(text)


DECODER = json.JSONDecoder(parse_float=_number, parse_int=_number, parse_constant=_Unusable)
# Only texts that match can hold something unusable; looking into the values costs more.
_SUSPICIOUS = re.compile(r"NaN|Infinity|[eE][+-]?[0-9]{3}|[0-9]{1000}|\\u0000|\x00|\\u[dD][89a-fA-F]")


class Batch:
    """JSON values gathered for one batch of records."""

    def __init__(self, dataset: Dataset, rows_max: int) -> None:
        self._dataset, self._rows_max = dataset, rows_max
        self._paths = [tuple(c.origin.split(".")) for c in dataset.columns]
        self._known = _tree(self._paths)
        self._mode = dataset.schema_contract.columns
        self._named: dict[frozenset[str], Mapping[str, str]] = {}  # what the columns of records are called
        self._origins: dict[str, str] = {}
        self._texts: list[str] = []
        self._values: list[dict[str, Any]] = []
        self._numbers: list[int] = []
        self._broken: list[Broken] = []
        self._characters = 0

    @property
    def size(self) -> int:
        """Records, broken ones included."""
        return len(self._texts) + len(self._broken)

    @property
    def is_full(self) -> bool:
        """Whether no more should be added, for the sake of memory."""
        return self.size >= self._rows_max or self._characters >= BATCH_CHARACTERS_MAX

    def add(self, number: int, text: str, value: Any) -> None:
        """Take a value in, or note why it cannot be a record."""
        problem = self._problem(text, value)
        if problem:
            self.add_broken(number, text_of(text.encode("utf-8", "surrogatepass")), *problem)
            return
        self._characters += len(text)
        self._numbers.append(number)
        self._texts.append(text)
        self._values.append(value)

    def add_broken(self, number: int, raw: str, rule: str, message: str) -> None:
        """Take in a record that is none."""
        self._characters += len(raw)
        self._broken.append(Broken(number, raw, rule, message))

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
        rescued = [self._rescued(text, value) for text, value in zip(texts, self._values, strict=True)]
        does_evolve = self._mode == "evolve"
        evolved = [self._evolved(place, kept) for place, kept in enumerate(rescued)] if does_evolve else []
        return Records(
            pa.RecordBatch.from_arrays(columns, names=[c.name for c in self._dataset.columns]),
            np.array(self._numbers, np.int64),
            lambda index: texts[index],
            pa.array(rescued, pa.string()) if any(rescued) and not does_evolve else None,
            pa.array(texts, pa.string()),
            self._broken,
            evolved=by_column(evolved),
            origins=self._origins,
        )

    def _rescued(self, text: str, value: dict[str, Any]) -> str | None:
        """Return what no column reads, as JSON text."""
        if not _unknown(value, self._known):
            return None
        # Decoded once more, so that numbers stay numbers where nobody casts them.
        rest = _unknown(json.loads(text), self._known)
        if self._mode == "freeze":
            names = ", ".join(repr(name) for name in list(_leaves(rest, self._known))[:20])
            raise Rejected(
                f"{shortened(text)} has {names}, which the contract does not know and `schema_contract.columns: freeze` "
                f"forbids. Add the column to config/datasets/{self._dataset.name}.yaml"
            )
        return json.dumps(rest, ensure_ascii=False)

    def _evolved(self, place: int, rescued: str | None) -> dict[str, str]:
        """Return the texts of a record that become columns: scalars as delivered, objects and arrays as JSON."""
        if rescued is None:
            return {}
        whole = _leaves(json.loads(rescued), self._known)
        delivered = _leaves(_unknown(self._values[place], self._known), self._known)
        parts = {
            origin: text
            for origin, part in delivered.items()
            if (text := _cell(whole[origin] if isinstance(part, dict | list) else part)) is not None
        }
        origins = frozenset(parts)
        if origins not in self._named:
            named = evolving(self._dataset, sorted(origins), f"record {self._numbers[place]}")
            self._origins |= {name: origin for origin, name in named.items()}
            evolving(self._dataset, self._origins, "the file")  # bounds what a batch can hold
            self._named[origins] = named
        return {self._named[origins][origin]: text for origin, text in parts.items()}


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
    return _json(value)


def _json(value: Any) -> str:
    """Return a list or an object as JSON again, its numbers as they were delivered."""
    if isinstance(value, _Digits):
        return str(value)
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(n, ensure_ascii=False)}: {_json(part)}' for n, part in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_json, value))}]"
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


def _leaves(rest: dict[str, Any], known: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return what `_unknown` found by dotted path; a dot within a name has a backslash before it."""
    leaves: dict[str, Any] = {}
    for name, part in rest.items():
        path = prefix + name.replace(".", "\\.")
        leaves |= _leaves(part, known[name], f"{path}.") if name in known else {path: part}
    return leaves
