"""Cast text columns to the contract's types, vectorised; what does not cast is a verdict, never a silent NULL."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Context, Decimal, InvalidOperation
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.silver.numerals import POINT, Marks, marks_of, with_point
from services.silver.record import shortened
from shared.columns import Column, parse_timestamp
from shared.dataset import Dataset
from shared.formats import CsvFormat

_INTEGER = r"^[+-]?[0-9]{1,18}$"
_INTEGER_EXACT = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUMBERS = ("integer", "decimal", "double")
_BOOLEANS = {
    "true": True,
    "false": False,
    "t": True,
    "f": False,
    "yes": True,
    "no": False,
    "1": True,
    "0": False,
}
_INT64_MAX = 2**63 - 1
_EXACT = Context(prec=76)  # Python's default of 28 digits would refuse decimals that PostgreSQL and Arrow hold


@dataclass(frozen=True)
class Misfit:
    """A cell that is not of its column's type."""

    index: int  # row within the batch
    column: str
    value: str | None
    rule: str
    message: str


@dataclass(frozen=True)
class Typed:
    """Typed columns of n rows, NULL where a cell did not cast, and the misfits."""

    columns: pa.RecordBatch
    misfits: list[Misfit]


def arrow_type(column: Column) -> pa.DataType:
    """Return the Arrow type in which a column's values travel."""
    if column.type == "decimal":
        return pa.decimal128(38, column.scale)
    return {
        "text": pa.string(),
        "integer": pa.int64(),
        "double": pa.float64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "json": pa.string(),
    }[column.type]


def cast(cells: pa.RecordBatch, dataset: Dataset) -> Typed:
    """Cast a batch of text columns; misfits come by column, then by row."""
    misfits: list[Misfit] = []
    columns = []
    null_values = dataset.format.null_values if isinstance(dataset.format, CsvFormat) else ()
    marks = marks_of(dataset.format)
    for column in dataset.columns:
        typed, found = cast_column(cells.column(column.name), column, null_values, marks)
        columns.append(typed)
        misfits.extend(found)
    return Typed(pa.RecordBatch.from_arrays(columns, names=[c.name for c in dataset.columns]), misfits)


def cast_column(
    texts: pa.Array, column: Column, null_values: tuple[str, ...], marks: Marks = POINT
) -> tuple[pa.Array, list[Misfit]]:
    """Cast one text column: absent values first (null_values, default), then by type, then the NULL check."""
    if null_values:
        is_null = pc.is_in(texts, value_set=pa.array(null_values, pa.string()))
        if pc.any(is_null).as_py():
            texts = pc.if_else(is_null, pa.scalar(None, pa.string()), texts)
    if column.default is not None and texts.null_count:
        texts = pc.fill_null(texts, column.default)
    is_marked = marks != POINT and column.type in _NUMBERS
    plain = with_point(texts, marks) if is_marked else texts
    typed = _fast(plain, column)
    if typed is None:
        typed = _by_distinct_value(plain, column)
    misfits = []
    if typed.null_count > texts.null_count:
        bad = pc.and_(texts.is_valid(), pc.invert(typed.is_valid()))
        written = f" written like {marks.sample}" if is_marked else ""
        misfits = [_misfit(index, texts[index].as_py(), column, written) for index in _indices(bad)]
    if not column.nullable and texts.null_count:
        message = f"{column.name} must have a value"
        misfits += [Misfit(i, column.name, None, "not_null", message) for i in _indices(pc.invert(texts.is_valid()))]
    return typed, misfits


def _indices(mask: pa.Array) -> list[int]:
    found: list[int] = np.flatnonzero(mask.to_numpy(zero_copy_only=False)).tolist()
    return found


def _misfit(index: int, value: str, column: Column, written: str) -> Misfit:
    wanted = {"decimal": f"decimal with at most {column.scale} places and {column.precision} digits"}.get(
        column.type, column.type
    )
    if column.type in ("date", "timestamp"):
        written = f" written as {column.format or 'ISO 8601'}"
    return Misfit(index, column.name, value, "type", f"{shortened(value)!r} is not {_article(wanted)}{written}")


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _fast(texts: pa.Array, column: Column) -> pa.Array | None:
    """Cast a column whose values are all plain, or return None to have each distinct value looked at."""
    if column.type in ("text",):
        return texts
    if column.type == "integer" and pc.all(pc.match_substring_regex(texts, _INTEGER)).as_py() is not False:
        if pc.any(pc.starts_with(texts, "+")).as_py():
            texts = pc.utf8_ltrim(texts, "+")
        return texts.cast(pa.int64())
    # Distinct amounts are many: reading each in Python takes five times as long as all the rest of the cast.
    if (
        column.type == "decimal"
        and column.scale <= column.precision
        and pc.all(pc.match_substring_regex(texts, _plain_decimal(column))).as_py() is not False
    ):
        return texts.cast(arrow_type(column))
    return None


def _plain_decimal(column: Column) -> str:
    """Return the pattern of decimals that fit the column for certain, whatever their digits."""
    before = column.precision - column.scale
    whole = rf"[0-9]{{1,{before}}}" if before else "0"
    places = rf"(\.[0-9]{{1,{column.scale}}})?" if column.scale else ""
    return rf"^[+-]?{whole}{places}$"


def _by_distinct_value(texts: pa.Array, column: Column) -> pa.Array:
    """Cast each distinct text once with the exact scalar reader; dates and categories have few."""
    encoded = pc.dictionary_encode(texts)
    read = _READERS[column.type]
    values = [read(text, column) for text in encoded.dictionary.to_pylist()]
    return pa.array(values, arrow_type(column)).take(encoded.indices)


def read_integer(text: str, column: Column) -> int | None:  # noqa: ARG001
    """Read an integer of at most 64 bits; None where it is not one."""
    if not _INTEGER_EXACT.fullmatch(text) or len(text) > 20:
        return None
    value = int(text)
    return value if -_INT64_MAX - 1 <= value <= _INT64_MAX else None


def read_decimal(text: str, column: Column) -> Decimal | None:
    """Read a decimal of the column's digits and places, an exponent allowed; None where it is not one."""
    if not _NUMBER.fullmatch(text):
        return None
    try:
        value = Decimal(text)
        rounded = value.quantize(Decimal(1).scaleb(-column.scale), context=_EXACT)
    except InvalidOperation:
        return None
    too_long = value.copy_abs() >= Decimal(10) ** (column.precision - column.scale)
    return None if rounded != value or too_long else rounded


def _read_double(text: str, column: Column) -> float | None:  # noqa: ARG001
    value = float(text) if _NUMBER.fullmatch(text) else None
    # 0.0 and -0.0 are one key to PostgreSQL; infinity is what a number too large becomes.
    return None if value is None or math.isinf(value) else value + 0.0


def _read_boolean(text: str, column: Column) -> bool | None:  # noqa: ARG001
    return _BOOLEANS.get(text.lower())


def _read_date(text: str, column: Column) -> date | None:
    pattern = column.format or "%Y-%m-%d"
    try:
        if pattern == "%Y-%m-%d":
            # strptime would take 2020-1-2 as well; the declared form has two digits.
            return date.fromisoformat(text) if _ISO_DATE.fullmatch(text) else None
        return datetime.strptime(text, pattern).date()  # noqa: DTZ007
    except ValueError:
        return None


def _read_timestamp(text: str, column: Column) -> datetime | None:
    try:
        moment = parse_timestamp(text, column.format)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _read_json(text: str, column: Column) -> str | None:  # noqa: ARG001
    """Read JSON that PostgreSQL takes as jsonb: no NaN, no NUL, no half surrogates."""
    try:
        value = json.loads(text, parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
    return None if "\\u0000" in text else text


def _refuse(constant: str) -> float:
    raise ValueError(constant)


_READERS: Mapping[str, Callable[[str, Column], Any]] = {
    "text": lambda text, column: text,  # noqa: ARG005
    "integer": read_integer,
    "decimal": read_decimal,
    "double": _read_double,
    "boolean": _read_boolean,
    "date": _read_date,
    "timestamp": _read_timestamp,
    "json": _read_json,
}
