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

from services.silver.batchsql import BatchSql
from services.silver.cast import Misfit, Typed, arrow_type, cast
from services.silver.record import Broken, Records, broken_whole, halves, without_rows
from services.silver.rowhash import HASH_TYPE, canonical, row_hashes
from shared.dataset import Dataset, Rule
from shared.errors import ConfigurationError
from shared.functions import DERIVATIONS, decimal_array

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
    rows_keyless: int = 0  # bad rows whose key cannot be read
    score_sum: float = 0
    rule_failures: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)  # (rule, column)
    examples: dict[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True)
class Checked:
    """A batch parted in two: `good` rows with all columns (see good_schema), `bad` rows with their reasons."""

    good: pa.RecordBatch
    bad: pa.RecordBatch


def good_schema(dataset: Dataset) -> pa.Schema:
    """Return the schema of good rows: declared, derived, score, lineage, raw text."""
    fields = [(c.name, arrow_type(c)) for c in dataset.columns]
    fields += [(d.name, _DERIVED_TYPES[DERIVATIONS[d.function].column_type]) for d in dataset.derived]
    fields += [
        ("data_quality_score", pa.decimal128(38, 4)),
        ("_line_number", pa.int64()),
        ("_row_hash", HASH_TYPE),
        ("_key_hash", HASH_TYPE),
        ("_rescued", pa.string()),
        ("_document", pa.string()),
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
        typed = cast(records.cells, self._dataset)
        batch = self._derived(typed.columns)
        held = {rule.name: self._held(batch, rule, values) for rule, values in self._rule_values(batch)}
        reasons = self._reasons(typed, held)
        for index in self._oversized_keys(typed.columns):
            message = f"its key is longer than the {KEY_BYTES_MAX:,} bytes that an index takes"
            reasons.setdefault(index, []).append(
                {"rule": "key_length", "column": None, "value": None, "message": message}
            )
        discarded = self._discarded(records)
        encoded = {name: canonical(column) for name, column in self._named(typed.columns)}
        # Rows without a key are told apart by object and line; their key hash is never looked up.
        key_hash = row_hashes([encoded[name] for name in self._key or encoded])
        good = self._good(records, batch, encoded, key_hash, self._scores(batch.num_rows, held))
        bad_rows = sorted(set(reasons) - discarded)
        keep = np.ones(batch.num_rows, bool)
        keep[list(set(reasons) | discarded)] = False
        bad = self._bad(records, typed, key_hash, bad_rows, reasons)
        if not keep.all():
            good = good.filter(pa.array(keep))
        self._count(records, good, bad, len(discarded))
        for name, kept in held.items():
            self.tally.rule_failures[name] += int(np.count_nonzero(~kept))
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

    def _rule_values(self, batch: pa.RecordBatch) -> list[tuple[Rule, pa.Array]]:
        rules = self._dataset.rules
        return list(zip(rules, self._sql.evaluate(batch, [rule.check for rule in rules]), strict=True))

    @staticmethod
    def _held(batch: pa.RecordBatch, rule: Rule, values: pa.Array) -> "np.ndarray[Any, np.dtype[np.bool_]]":
        """Return which rows keep a rule; NULL counts as broken."""
        del batch, rule
        result: np.ndarray[Any, np.dtype[np.bool_]] = pc.fill_null(values.cast(pa.bool_()), False).to_numpy(
            zero_copy_only=False
        )
        return result

    def _reasons(self, typed: Typed, held: dict[str, Any]) -> dict[int, list[dict[str, Any]]]:
        """Return why rows are bad: misfits, and broken rules of severity quarantine."""
        reasons: dict[int, list[dict[str, Any]]] = {}
        for misfit in typed.misfits:
            reasons.setdefault(misfit.index, []).append(_reason(misfit))
        for rule in self._dataset.rules:
            broken = np.flatnonzero(~held[rule.name])
            if rule.severity == "quarantine":
                for index in broken.tolist():
                    reasons.setdefault(index, []).append(
                        {"rule": rule.name, "column": None, "value": None, "message": f"breaks {rule.check}"}
                    )
        return reasons

    def _discarded(self, records: Records) -> set[int]:
        """Return the rows that `schema_contract.columns: discard_row` drops: those with unknown values."""
        if self._dataset.schema_contract.columns != "discard_row" or records.rescued is None:
            return set()
        return set(np.flatnonzero(records.rescued.is_valid().to_numpy(zero_copy_only=False)).tolist())

    def _scores(self, count: int, held: dict[str, Any]) -> pa.Array:
        scaled = np.full(count, 1_000_000, np.int64)
        for rule in self._dataset.rules:
            if rule.penalty:
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
            row_hashes(list(encoded.values())),
            key_hash,
            records.rescued if records.rescued is not None else pa.nulls(count, pa.string()),
            records.documents if records.documents is not None else pa.nulls(count, pa.string()),
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
                key := self._key_of(typed.columns, row),
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
        for reason in reasons:
            name = (str(reason["rule"]), str(reason["column"] or ""))
            self.tally.reasons[name] += 1
            self.tally.examples.setdefault(name, f"line {line}: {reason['message']}")

    def _key_of(self, typed: pa.RecordBatch, row: int) -> str | None:
        if not self._key:
            return None
        values = {name: typed.column(name)[row].as_py() for name in self._key}
        if any(value is None for value in values.values()):
            return None
        return json.dumps({n: v if isinstance(v, int | str) else str(v) for n, v in values.items()}, ensure_ascii=False)

    def _count(self, records: Records, good: pa.RecordBatch, bad: pa.RecordBatch, discarded: int) -> None:
        self.tally.rows_read += records.count
        self.tally.rows_bad += bad.num_rows
        self.tally.rows_discarded += discarded
        total = pc.sum(good.column("data_quality_score")).as_py()
        self.tally.score_sum += float(total or Decimal(0))


def _reason(misfit: Misfit) -> dict[str, Any]:
    return {"rule": misfit.rule, "column": misfit.column, "value": misfit.value, "message": misfit.message}


def _broken_reason(broken: Broken) -> dict[str, Any]:
    return {"rule": broken.rule, "column": None, "value": None, "message": broken.message}
