"""From a row of gold or silver back to the text as it was delivered: gathered here as plain data, shown by `explain`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.catalog import Catalog
from shared.dataset import Dataset
from shared.ddl import business_columns, postgres_type
from shared.errors import ConfigurationError
from shared.evolving import taken_names
from shared.modelfile import PARAMETER, Model
from shared.models import Models
from shared.naming import VARIANT_SUFFIX
from shared.ports import Session

DEPTH_MAX = 6
_LINEAGE = ("_object_id", "_line_number", "_row_hash", "_key_hash", "_version", "_first_seen_at", "_stale", "_rescued")
# By these any row can be asked for: the only way to one of an append dataset, or to one whose key cannot be read.
_PLACE = {"_object_id": "uuid", "_line_number": "bigint"}
_OBJECT_COLUMNS = (
    "object_id", "dataset", "object_key", "version_id", "source_url", "landed_at", "registered_at", "finished_at",
    "discovered_by", "write_disposition", "status", "content_sha256",
)  # fmt: skip
_OBJECT = f"SELECT {', '.join(_OBJECT_COLUMNS)} FROM bronze.ingestion_metadata"


@dataclass(frozen=True)
class Explorer:
    """What is needed to walk back: the database, the contracts, the models, and how many rows to show a level."""

    session: Session
    catalog: Catalog
    models: Models
    rows_max: int

    def explain(self, name: str, keys: Sequence[str]) -> dict[str, Any]:
        """Return the rows of a model or clean table with these key values, and what they are made of."""
        bare = name.removeprefix("gold.").removeprefix("silver.").removeprefix("clean_")
        if bare in self.models.by_name:
            return self._of_model(self.models[bare], keys)
        if bare in self.catalog.datasets:
            return self._of_dataset(self.catalog[bare], keys)
        raise ConfigurationError(
            f"{name!r} is neither a gold model nor a dataset; there are: "
            f"{', '.join([*sorted(self.models.by_name), *sorted(self.catalog.datasets)])}"
        )

    def _of_model(self, model: Model, keys: Sequence[str]) -> dict[str, Any]:
        types = {c.name: c.type for c in model.columns}
        condition, parameters = _key_condition(model.name, {name: types[name] for name in model.grain}, keys)
        return self._gold(model, condition, parameters, 0)

    def _of_dataset(self, dataset: Dataset, keys: Sequence[str]) -> dict[str, Any]:
        types = {name: postgres_type(dataset.column(name).type) for name in dataset.primary_key}
        condition, parameters = _key_condition(dataset.name, types or _PLACE, keys, _PLACE)
        found = self._silver(dataset, condition, parameters)
        found["quarantined"] = self._quarantined(dataset, condition, parameters)
        return found

    def _gold(self, model: Model, condition: str, parameters: Mapping[str, Any], depth: int) -> dict[str, Any]:
        columns = [c.name for c in model.columns]
        order = ", ".join(model.grain)
        rows, count = self._rows(model.table, columns, condition, parameters, order)
        explained = []
        for row in rows:
            values = dict(zip(columns, row, strict=True))
            made_of = [self._ingredient(model, values, i, depth) for i in range(len(model.made_of))]
            explained.append({"values": values, "made_of": made_of})
        return {"table": model.table, "grain": list(model.grain), "rows_total": count, "rows": explained}

    def _ingredient(self, model: Model, values: Mapping[str, Any], index: int, depth: int) -> dict[str, Any]:
        """Return the rows that one line of the model's `made of` names for a row."""
        part, types = model.made_of[index], {c.name: c.type for c in model.columns}
        escaped = part.condition.replace("%", "%%")
        condition = PARAMETER.sub(lambda match: f"%({match[1]})s::{types[match[1]]}", escaped)
        parameters = {name: values[name] for name in PARAMETER.findall(part.condition)}
        schema, _, table = part.table.partition(".")
        if schema == "gold" and depth < DEPTH_MAX:
            return self._gold(self.models[table], condition, parameters, depth + 1)
        return self._silver(self.catalog[table.removeprefix("clean_")], condition, parameters)

    def _rows(
        self, table: str, columns: Sequence[str], condition: str, parameters: Mapping[str, Any], order: str
    ) -> tuple[list[tuple[Any, ...]], int]:
        count = self.session.rows(f"SELECT count(*) FROM {table} WHERE {condition}", parameters)[0][0]
        sql = f"SELECT {', '.join(columns)} FROM {table} WHERE {condition} ORDER BY {order} LIMIT {self.rows_max:d}"
        return self.session.rows(sql, parameters), count

    def _silver(self, dataset: Dataset, condition: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        evolved = self._evolved(dataset)
        business = [*(name for name, _ in business_columns(dataset)), *evolved]
        weight = _weight(dataset)
        order = f"{weight} DESC NULLS LAST, {', '.join(_key(dataset))}" if weight else ", ".join(_key(dataset))
        columns = [*business, *_LINEAGE]
        rows, count = self._rows(dataset.clean_table, columns, condition, parameters, order)
        found = [dict(zip(columns, row, strict=True)) for row in rows]
        return {
            "table": dataset.clean_table,
            "grain": list(_key(dataset)),
            "rows_total": count,
            "ordered_by": weight,
            "rows": [self._silver_row(dataset, one, business, evolved) for one in found],
        }

    def _evolved(self, dataset: Dataset) -> dict[str, str]:
        """Return the columns that files brought to a dataset, with their names there."""
        found = self.session.rows(
            "SELECT column_name, origin FROM bronze.evolved_columns JOIN pg_attribute"
            " ON attrelid = to_regclass(%s) AND attname = column_name WHERE dataset = %s ORDER BY attnum",
            (dataset.clean_table, dataset.name),
        )
        return {name: origin for name, origin in found if name not in taken_names(dataset)}

    def _silver_row(
        self, dataset: Dataset, row: Mapping[str, Any], business: Sequence[str], evolved: Mapping[str, str]
    ) -> dict[str, Any]:
        delivered, raw = self._raw(dataset, row, evolved)
        results = rule_results(dataset, row)
        return {
            "values": {name: row[name] for name in business},
            "rescued": row["_rescued"],
            "is_stale": row["_stale"],
            "held_back": self._held_back(dataset, row) if row["_stale"] else [],
            "first_seen_at": row["_first_seen_at"],
            "rules": results,
            "rules_broken": [one for one in results if one["held"] is False],
            "delivered": delivered,
            "raw": raw,
            "line_number": row["_line_number"],
            "object": self._object("object_id = %s", row["_object_id"]),
            "confirmed_by": self._confirmation(row),
        }

    def _raw(self, dataset: Dataset, row: Mapping[str, Any], evolved: Mapping[str, str]) -> tuple[dict[str, Any], Any]:
        """Return the delivered text by the file's column names, and the whole record where the format keeps it."""
        brought = {n: o for n, o in evolved.items() if row[n] is not None and not n.endswith(VARIANT_SUFFIX)}
        origins = {c.name: c.origin for c in dataset.columns} | brought
        found = self.session.rows(
            f"SELECT {', '.join(origins)}, raw_data FROM {dataset.raw_table}"
            " WHERE _object_id = %s AND _line_number = %s ORDER BY _row_hash = %s DESC, ingestion_id DESC LIMIT 1",
            (row["_object_id"], row["_line_number"], row["_row_hash"]),
        )
        if not found:
            return {}, None
        return dict(zip(origins.values(), found[0][:-1], strict=True)), found[0][-1]

    def _object(self, condition: str, parameter: Any) -> dict[str, Any] | None:
        found = self.session.rows(f"{_OBJECT} WHERE {condition}", (parameter,))
        return dict(zip(_OBJECT_COLUMNS, found[0], strict=True)) if found else None

    def _confirmation(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the newer object that delivered the same row again unchanged, if there is one."""
        found = self._object("version = %s", row["_version"])
        return found if found and found["object_id"] != row["_object_id"] else None

    def _quarantined(self, dataset: Dataset, condition: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return open quarantine entries of the rows in question: of a key that is missing or stale, or of a place."""
        columns = ["object_id AS _object_id", "line_number AS _line_number"]
        for name in dataset.primary_key:
            kind = postgres_type(dataset.column(name).type)
            text = f"key ->> '{name}'"
            columns.append(f"CASE WHEN pg_input_is_valid({text}, '{kind}') THEN ({text})::{kind} END AS {name}")
        return self._entries(
            f"(SELECT quarantine.*, {', '.join(columns)} FROM silver.quarantine"
            " WHERE dataset = %(dataset)s AND status = 'open') AS held",
            condition,
            {**parameters, "dataset": dataset.name},
        )

    def _held_back(self, dataset: Dataset, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the newer deliveries of a stale row's key, which are in quarantine."""
        return self._entries(
            "silver.quarantine",
            "dataset = %(dataset)s AND status = 'open' AND key_hash = %(key)s AND version > %(version)s",
            {"dataset": dataset.name, "key": row["_key_hash"], "version": row["_version"]},
        )

    def _entries(self, source: str, condition: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        names = ("quarantine_id", "line_number", "raw", "reasons", "created_at", "object_id")
        found = self.session.rows(
            f"SELECT {', '.join(names)} FROM {source} WHERE {condition}"
            f" ORDER BY version DESC, line_number LIMIT {self.rows_max:d}",
            parameters,
        )
        entries = [dict(zip(names, row, strict=True)) for row in found]
        objects = {one["object_id"]: self._object("object_id = %s", one["object_id"]) for one in entries}
        return [{**one, **_named(objects[one["object_id"]])} for one in entries]


def _named(origin: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"object": origin, "object_key": origin["object_key"] if origin else None}


def rule_results(dataset: Dataset, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what each rule says of a clean row, evaluated as silver does it.

    `held` is None for rules that look beyond the row: unique and references.
    """
    held = _held(dataset, row)
    return [
        {
            "rule": rule.name, "check": rule.text, "severity": rule.severity, "penalty": rule.penalty,
            "held": held.get(rule.name),
        }
        for rule in dataset.rules
    ]  # fmt: skip


def _held(dataset: Dataset, row: Mapping[str, Any]) -> dict[str, bool]:
    import pyarrow as pa

    from services.silver.batchsql import BatchSql
    from services.silver.check import good_schema
    from services.silver.verdicts import verdicts

    schema = good_schema(dataset)
    names = [c.name for c in dataset.columns] + [d.name for d in dataset.derived]
    kinds = [schema.field(name).type for name in names]
    documents = {c.name for c in dataset.columns if c.type == "json"}
    texts = {name: json.dumps(row[name], ensure_ascii=False) for name in documents if row[name] is not None}
    values = [pa.array([texts.get(name, row[name])]).cast(kind) for name, kind in zip(names, kinds, strict=True)]
    batch = pa.RecordBatch.from_arrays(values, names=names)
    return {name: bool(kept[0]) for name, kept in verdicts(BatchSql(), dataset, batch).items()}


def _key(dataset: Dataset) -> tuple[str, ...]:
    return dataset.primary_key or ("_object_id", "_line_number")


def _weight(dataset: Dataset) -> str | None:
    """Return the figure that is followed along the series, if any: the rows with most of it explain most of a total."""
    return next((c.of for c in dataset.windowed.columns if c.of), None) if dataset.windowed else None


def _key_condition(
    name: str, types: Mapping[str, str], keys: Sequence[str], others: Mapping[str, str] | None = None
) -> tuple[str, dict[str, Any]]:
    """Return a condition on key columns, given as values in their order or as NAME=VALUE; some may be left out.

    `others` are columns beside the key, which are given as NAME=VALUE only.
    """
    wanted: dict[str, str] = {}
    order, known = ", ".join(types), {**types, **(others or {})}
    for position, text in enumerate(keys):
        column, equals, value = text.partition("=")
        if equals and column in known:
            wanted[column] = value
        elif position < len(types):
            wanted[list(types)[position]] = text
        else:
            raise ConfigurationError(f"{name} has {len(types)} key columns ({order}), {len(keys)} values were given")
    for column, value in wanted.items():
        _check_value(name, column, known[column], value)
    condition = " AND ".join(f"{column} = %(key_{column})s::{known[column]}" for column in wanted) or "true"
    return condition, {f"key_{column}": value for column, value in wanted.items()}


def _check_value(name: str, column: str, kind: str, value: str) -> None:
    import uuid
    from datetime import date, datetime

    readers: Mapping[str, Any] = {"bigint": int, "date": date.fromisoformat, "timestamptz": datetime.fromisoformat,
                                  "uuid": uuid.UUID}  # fmt: skip
    try:
        readers.get(kind, str)(value)
    except ValueError:
        raise ConfigurationError(f"{name}: {value!r} is no {kind}, which the key column {column} is") from None
