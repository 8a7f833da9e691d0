"""Which rows of a typed batch keep which rule, and what is said of those that do not.

Everything that SQL can say goes into one SELECT over the batch; e-mail, phone and URL are the functions of
shared/functions.py, or the column derived by them. What other rows decide is in unique.py and orphans.py.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.silver.batchsql import BatchSql, Mask
from services.silver.record import shortened
from shared.dataset import Dataset
from shared.functions import DERIVATIONS
from shared.rules import Rule

# The named function that decides a kind of rule, and what a text is not when it says no.
FUNCTIONS = {"email": "email_valid", "phone": "phone_plausible", "url": "url_valid"}
_CALLED = {"email": "e-mail address", "phone": "phone number that can exist", "url": "whole URL"}


def verdicts(sql: BatchSql, dataset: Dataset, batch: pa.RecordBatch) -> dict[str, Mask]:
    """Return by rule which rows keep it, (n,) each; without the rules that need to know of other rows."""
    asked = {rule.name: text for rule in dataset.rules if (text := rule_sql(rule)) is not None}
    held = dict(zip(asked, sql.judge(batch, list(asked.values())), strict=True))
    for rule in dataset.rules:
        if rule.kind in FUNCTIONS:
            held[rule.name] = _by_function(rule, dataset, batch)
    return held


def rule_sql(rule: Rule) -> str | None:
    """Return the boolean expression that a row must fulfil; None where SQL over the row cannot say."""
    if rule.check is not None:
        return rule.check
    if rule.not_null:
        return " AND ".join(f"{name} IS NOT NULL" for name in rule.columns)
    conditions = _conditions(rule)
    return f"coalesce({' AND '.join(conditions)}, true)" if conditions else None


def _conditions(rule: Rule) -> list[str]:
    """Return what must be true of a value that is there."""
    if rule.range:
        return _bounded(rule.range.of, rule.range.min, rule.range.max)
    if rule.length:
        return _bounded(f"length({rule.length.of})", rule.length.min, rule.length.max)
    if rule.pattern:
        return [f"regexp_full_match({rule.pattern.of}, {literal(rule.pattern.matches)})"]
    if rule.accepted_values:
        return [f"{rule.accepted_values.of} IN ({', '.join(map(literal, rule.accepted_values.values))})"]
    return []


def _bounded(value: str, least: Any, largest: Any) -> list[str]:
    bounds = ((">=", least), ("<=", largest))
    return [f"{value} {sign} {literal(bound)}" for sign, bound in bounds if bound is not None]


def literal(value: Any) -> str:
    """Return a value of the contract as SQL; a time without a zone is UTC."""
    if isinstance(value, datetime):
        return f"TIMESTAMPTZ '{value.isoformat()}{'' if value.tzinfo else '+00:00'}'"
    if isinstance(value, date):
        return f"DATE '{value.isoformat()}'"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)


def _by_function(rule: Rule, dataset: Dataset, batch: pa.RecordBatch) -> Mask:
    """Evaluate a named function once per distinct value, or take the column that was derived by it anyway."""
    held = np.ones(batch.num_rows, bool)
    for name in rule.columns:
        derived = (d.name for d in dataset.derived if d.function == FUNCTIONS[rule.kind] and d.of == (name,))
        known = next(derived, None)
        column = batch.column(name)
        answer = batch.column(known) if known else DERIVATIONS[FUNCTIONS[rule.kind]].apply([column])
        held &= pc.fill_null(pc.or_(answer, column.is_null()), False).to_numpy(zero_copy_only=False)
    return held


def reason(rule: Rule, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return why a row is put aside: rule, column, value as text, message."""
    if rule.check is not None:
        return {"rule": rule.name, "column": None, "value": None, "message": f"breaks {rule.check}"}
    columns = [name for name in rule.columns if row[name] is None] if rule.not_null else rule.columns
    values = [_text(row[name]) for name in columns]
    value = None if rule.not_null else ", ".join(text for text in values if text is not None)
    message = f"{', '.join(columns)} must have a value" if value is None else _message(rule, value)
    return {"rule": rule.name, "column": ", ".join(columns), "value": value, "message": message}


def _text(value: Any) -> str | None:
    return None if value is None else value.isoformat() if isinstance(value, date) else str(value)


def _message(rule: Rule, value: str) -> str:
    said = shortened(value)
    if rule.references:
        return f"{said} is not in {rule.references.key}"
    if rule.unique:
        return f"{said} stands in an earlier row of the file"
    if rule.range:
        return f"{said} {_outside(rule.range.min, rule.range.max)}"
    if rule.length:
        return f"its length, {len(value):,}, {_outside(rule.length.min, rule.length.max)}"
    if rule.pattern:
        return f"{said!r} does not match {rule.pattern.matches}"
    if rule.accepted_values:
        quoted = repr(said) if isinstance(rule.accepted_values.values[0], str) else said
        return f"{quoted} is none of {shortened(', '.join(map(str, rule.accepted_values.values)), 200)}"
    return f"{said!r} is no {_CALLED[rule.kind]}"


def _outside(least: Any, largest: Any) -> str:
    if largest is None:
        return f"is below {least}"
    return f"is above {largest}" if least is None else f"is not within {least} to {largest}"
