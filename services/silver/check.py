"""Derive, check and score typed rows; part the good from the bad."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.silver.batchsql import BatchSql, Mask
from services.silver.cast import Misfit, Typed, arrow_type, cast
from services.silver.diff import halves as hash_halves
from services.silver.record import Broken, Records, broken_whole, halves, without_rows
from services.silver.rowhash import HASH_TYPE, canonical, row_hashes
from services.silver.unfit import fitted
from services.silver.unique import SAMPLES_MAX, Seen, Values, values_of
from services.silver.unknown import EVOLVED_TYPE, packed, unpacked
from services.silver.verdicts import reason, verdicts
from shared.dataset import Dataset
from shared.errors import ConfigurationError
from shared.functions import DERIVATIONS, decimal_array
from shared.naming import VARIANT_SUFFIX

RAW_PREFIX = "raw:"
# A B-tree entry takes a third of a page, 2,704 bytes; texts in it may be compressed, but that is not to be relied on.
KEY_BYTES_MAX = 2_000
BAD_SCHEMA = pa.schema(
    [
        ("line_number", pa.int64()),
        ("raw", pa.string()),
        ("key", pa.string()),  # JSON object, NULL where the key cannot be read
        ("key_hash", HASH_TYPE),
        ("reasons", pa.string()),  # JSON array
    ]
)


@dataclass
class Tally:
    """What was counted while a file was read."""

    rows_read: int = 0
    rows_bad: int = 0
    rows_discarded: int = 0
    rows_orphaned: int = 0  # put aside until the row they refer to is there; not among rows_bad
    rows_keyless: int = 0  # bad rows whose key cannot be read
    score_sum: float = 0
    rule_failures: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)  # (rule, column)
    examples: dict[tuple[str, str], str] = field(default_factory=dict)
    samples: dict[str, list[Any]] = field(default_factory=dict)  # by rule: the first lines that break it
    unknown: dict[str, str] = field(default_factory=dict)  # columns that the contract lacks: their names in the file
    evolved: dict[str, str] = field(default_factory=dict)  # of these and of variants, those that good rows have
    uncast: Counter[str] = field(default_factory=Counter)  # cells by column that were kept as text elsewhere


@dataclass(frozen=True)
class Checked:
    """A batch parted in two: `good` rows with all columns (see good_schema), `bad` rows with their reasons."""

    good: pa.RecordBatch
    bad: pa.RecordBatch


def good_schema(dataset: Dataset) -> pa.Schema:
    """Return the schema of good rows: declared, derived, score, lineage, raw text."""
    if dataset.fingerprint not in _schemas:
        _schemas[dataset.fingerprint] = _good_schema(dataset)
    return _schemas[dataset.fingerprint]


_schemas: dict[str, pa.Schema] = {}  # by the contract's fingerprint: small files ask several times each


def _good_schema(dataset: Dataset) -> pa.Schema:
    fields = [(c.name, arrow_type(c)) for c in dataset.columns]
    fields += [(d.name, _DERIVED_TYPES[DERIVATIONS[d.function].column_type]) for d in dataset.derived]
    fields += [
        ("data_quality_score", pa.decimal128(38, 4)),
        ("_line_number", pa.int64()),
        ("_row_hash", HASH_TYPE),
        ("_key_hash", HASH_TYPE),
        ("_rescued", pa.string()),
        ("_document", pa.string()),
        ("_evolved", EVOLVED_TYPE),
    ]
    fields += [(RAW_PREFIX + c.name, pa.string()) for c in dataset.columns]
    return pa.schema(fields)


_DERIVED_TYPES = {
    "integer": pa.int64(),
    "decimal": pa.decimal128(38, 4),
    "text": pa.string(),
    "boolean": pa.bool_(),
}


class Checker:
    """The cast-and-check step of one dataset."""

    def __init__(self, dataset: Dataset, sql: BatchSql) -> None:
        self._dataset, self._sql = dataset, sql
        self._schema = good_schema(dataset)
        self._key = [c.name for c in dataset.columns if c.name in dataset.primary_key]
        self._unique = {rule.name: Seen() for rule in dataset.rules if rule.unique and rule.unique.within == "file"}
        self.tally = Tally()
        self.header: tuple[str, ...] = ()

    def check(self, records: Records) -> Iterator[Checked]:
        """Cast, derive, check, score and hash a batch; yield it whole, or in parts.

        A cell that breaks a function or a rule (a difference beyond 64 bits, say) must not cost the other rows: the
        batch is halved until the row stands alone, which then is a bad one.
        """
        self.header = records.header
        try:
            checked = self._check(records)
        except (ArithmeticError, ValueError, TypeError, pa.ArrowException, ConfigurationError) as error:
            self._check(without_rows(records))  # raises again when it is the contract that is wrong, not a row
            if records.cells.num_rows <= 1:
                yield self._check(broken_whole(records, error))
                return
            for half in halves(records):
                yield from self.check(half)
            return
        yield checked

    def _check(self, records: Records) -> Checked:
        discarded = self._discarded(records)
        typed, records, unfit = fitted(cast(records.cells, self._dataset), records, self._dataset)
        batch = self._derived(typed.columns)
        encoded = {name: canonical(column) for name, column in self._named(typed.columns)}
        # Rows without a key are told apart by object and line; their key hash is never looked up.
        key_hash = row_hashes([encoded[name] for name in self._key or encoded])
        held = verdicts(self._sql, self._dataset, batch)
        values = self._unique_values(batch, key_hash, records)
        held |= {name: self._unique[name].held(found) for name, found in values.items()}
        reasons = self._reasons(typed, batch, held)
        for index in self._oversized_keys(typed.columns):
            message = f"its key is longer than the {KEY_BYTES_MAX:,} bytes that an index takes"
            reasons.setdefault(index, []).append(
                {"rule": "key_length", "column": None, "value": None, "message": message}
            )
        discarded |= unfit.discarded
        good = self._good(records, batch, encoded, key_hash, self._scores(batch.num_rows, held))
        bad_rows = sorted(set(reasons) - discarded)
        keep = np.ones(batch.num_rows, bool)
        keep[list(set(reasons) | discarded)] = False
        bad = self._bad(records, typed, key_hash, bad_rows, reasons)
        if not keep.all():
            good = good.filter(pa.array(keep))
        self._count(records, good, bad, len(discarded))
        self.tally.uncast += unfit.kept
        for name, kept in held.items():
            self._count_failures(name, kept, records)
        for name, found in values.items():
            self._unique[name].add(found)
        return Checked(good, bad)

    def _oversized_keys(self, typed: pa.RecordBatch) -> list[int]:
        """Return the rows whose key PostgreSQL could not index."""
        texts = [typed.column(name) for name in self._key if pa.types.is_string(typed.column(name).type)]
        if not texts:
            return []
        lengths = sum(
            pc.fill_null(pc.binary_length(t), 0).to_numpy(zero_copy_only=False).astype(np.int64) for t in texts
        )
        return [int(index) for index in np.flatnonzero(lengths > KEY_BYTES_MAX)]

    def _named(self, batch: pa.RecordBatch) -> list[tuple[str, pa.Array]]:
        return list(zip(batch.schema.names, batch.columns, strict=True))

    def _derived(self, typed: pa.RecordBatch) -> pa.RecordBatch:
        columns = dict(self._named(typed))
        for derived in self._dataset.derived:
            result = DERIVATIONS[derived.function].apply([columns[name] for name in derived.of])
            columns[derived.name] = result.cast(self._schema.field(derived.name).type)
        return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))

    def _unique_values(self, batch: pa.RecordBatch, key_hash: pa.Array, records: Records) -> dict[str, Values]:
        """Return the values that must not be shared within the file, by rule."""
        if not self._unique:
            return {}
        holder = hash_halves(key_hash)[:, 0] if self._key else records.line_numbers.astype(np.uint64)
        return {r.name: values_of(r, batch, holder) for r in self._dataset.rules if r.name in self._unique}

    def _reasons(self, typed: Typed, batch: pa.RecordBatch, held: dict[str, Mask]) -> dict[int, list[dict[str, Any]]]:
        """Return why rows are bad: misfits, and broken rules of severity quarantine."""
        reasons: dict[int, list[dict[str, Any]]] = {}
        for misfit in typed.misfits:
            reasons.setdefault(misfit.index, []).append(_reason(misfit))
        for rule in self._dataset.rules:
            if rule.severity != "quarantine" or rule.name not in held:
                continue
            for index in np.flatnonzero(~held[rule.name]).tolist():
                row = {name: batch.column(name)[index].as_py() for name in rule.columns}
                reasons.setdefault(index, []).append(reason(rule, row))
        return reasons

    def _count_failures(self, name: str, kept: Mask, records: Records) -> None:
        """Count the rows that break a rule, and keep the lines of the first."""
        failed = int(np.count_nonzero(~kept))
        if not failed:
            self.tally.rule_failures[name] += 0
            return
        self.tally.rule_failures[name] += failed
        lines = self.tally.samples.setdefault(name, [])
        lines += records.line_numbers[np.flatnonzero(~kept)[: SAMPLES_MAX - len(lines)]].tolist()

    def _discarded(self, records: Records) -> set[int]:
        """Return the rows that `schema_contract.columns: discard_row` drops: those with unknown values."""
        if self._dataset.schema_contract.columns != "discard_row" or records.rescued is None:
            return set()
        return set(np.flatnonzero(records.rescued.is_valid().to_numpy(zero_copy_only=False)).tolist())

    def _scores(self, count: int, held: dict[str, Any]) -> pa.Array:
        scaled = np.full(count, 1_000_000, np.int64)
        for rule in self._dataset.rules:
            if rule.penalty and rule.name in held:
                scaled -= np.where(held[rule.name], 0, round(rule.penalty * 10_000)).astype(np.int64)
        return decimal_array(np.maximum(scaled, 0), pa.array(np.ones(count, bool)))

    def _good(
        self,
        records: Records,
        batch: pa.RecordBatch,
        encoded: dict[str, pa.Array],
        key_hash: pa.Array,
        scores: pa.Array,
    ) -> pa.RecordBatch:
        count = batch.num_rows
        columns = [
            *batch.columns,
            scores,
            pa.array(records.line_numbers, pa.int64()),
            row_hashes(list(encoded.values()), records.evolved),
            key_hash,
            records.rescued if records.rescued is not None else pa.nulls(count, pa.string()),
            records.documents if records.documents is not None else pa.nulls(count, pa.string()),
            packed(records.evolved, count),
            *records.cells.columns,
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)

    def _bad(
        self,
        records: Records,
        typed: Typed,
        key_hash: pa.Array,
        rows: Sequence[int],
        reasons: dict[int, list[dict[str, Any]]],
    ) -> pa.RecordBatch:
        found = [
            (
                int(records.line_numbers[row]),
                records.raw(row),
                key := key_text(typed.columns, self._key, row),
                key_hash[row].as_py() if key is not None else None,
                json.dumps(reasons[row], ensure_ascii=False),
            )
            for row in rows
        ]
        found += [(b.line_number, b.raw, None, None, json.dumps([_broken_reason(b)])) for b in records.broken]
        self.tally.rows_keyless += sum(1 for row in found if row[2] is None)
        for row in rows:
            self._remember(reasons[row], int(records.line_numbers[row]))
        for broken in records.broken:
            self._remember([_broken_reason(broken)], broken.line_number)
        columns = [pa.array([row[i] for row in found], BAD_SCHEMA.field(i).type) for i in range(len(BAD_SCHEMA))]
        return pa.RecordBatch.from_arrays(columns, schema=BAD_SCHEMA)

    def _remember(self, reasons: list[dict[str, Any]], line: int) -> None:
        for found in reasons:
            name = (str(found["rule"]), str(found["column"] or ""))
            self.tally.reasons[name] += 1
            self.tally.examples.setdefault(name, f"line {line}: {found['message']}")

    def _count(self, records: Records, good: pa.RecordBatch, bad: pa.RecordBatch, discarded: int) -> None:
        self.tally.rows_read += records.count
        self.tally.rows_bad += bad.num_rows
        self.tally.rows_discarded += discarded
        self.tally.unknown |= {n: o for n, o in records.origins.items() if not n.endswith(VARIANT_SUFFIX)}
        for name, origin in records.origins.items():
            if name not in self.tally.evolved and unpacked(good.column("_evolved"), name).null_count < good.num_rows:
                self.tally.evolved[name] = origin
        total = pc.sum(good.column("data_quality_score")).as_py()
        self.tally.score_sum += float(total or Decimal(0))


def key_text(batch: pa.RecordBatch, key: Sequence[str], row: int) -> str | None:
    """Return a row's key as a JSON object; None where it has none, or not all of it."""
    if not key:
        return None
    values = {name: batch.column(name)[row].as_py() for name in key}
    if any(value is None for value in values.values()):
        return None
    return json.dumps({n: v if isinstance(v, int | str) else str(v) for n, v in values.items()}, ensure_ascii=False)


def _reason(misfit: Misfit) -> dict[str, Any]:
    return {"rule": misfit.rule, "column": misfit.column, "value": misfit.value, "message": misfit.message}


def _broken_reason(broken: Broken) -> dict[str, Any]:
    return {"rule": broken.rule, "column": None, "value": None, "message": broken.message}
