"""A dataset's page: what its contract says, for people who have not read the YAML."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from services.cli.docs.document import Block, Code, Drawing, Heading, Link, Page, Paragraph, Table, Text, codes, plain
from services.cli.docs.document import separated as joined
from shared.columns import Column, WindowedColumn
from shared.dataset import Dataset
from shared.ddl import postgres_type
from shared.functions import DERIVATIONS
from shared.rules import Rule

DISPOSITIONS: Mapping[str, str] = {
    "replace": "a full snapshot: keys that it lacks are removed",
    "merge": "some rows: new ones and corrections, none removed",
    "append": "every file adds its rows",
}
UNKNOWN_COLUMNS: Mapping[str, str] = {
    "freeze": "A column that the contract does not know rejects the file.",
    "discard_row": "Rows with a value that the contract does not know are quarantined.",
    "discard_value": "Values that the contract does not know travel in `_rescued`.",
}
LINEAGE: Mapping[str, tuple[str, str]] = {
    "data_quality_score": ("numeric", "100 minus the penalties of the rules that the row breaks"),
    "_object_id": ("uuid", "the object that the row came in: a row of `bronze.ingestion_metadata`"),
    "_line_number": ("bigint", "its line there, the header being 1; in a JSON array the element"),
    "_row_hash": ("uuid", "of its typed source columns: equal rows have equal ones"),
    "_key_hash": ("uuid", "of its primary key"),
    "_version": ("uuid", "of the newest object that delivered it so; they sort by time"),
    "_first_seen_at": ("timestamptz", "when the first valid object that holds the key landed"),
    "_loaded_at": ("timestamptz", "when the row was written"),
    "_stale": ("boolean", "the key's newest delivery is in quarantine; this is its last good row"),
    "_rescued": ("jsonb", "values that no column of the contract takes"),
}
_SEVERITIES: Mapping[str, str] = {
    "warn": "the row stays",
    "quarantine": "the row is set aside",
    "reject": "the file is refused",
}
# What the page says in its own words; whatever else a contract declares is listed as it stands.
_TOLD = {
    "name", "description", "source", "drops", "format", "columns", "primary_key", "schema_contract", "derived",
    "windowed", "rules", "limits", "partitioning", "change_groups", "indexes", "skip_superseded",
}  # fmt: skip
Readers = Mapping[str, Sequence[tuple[str, str]]]  # by column: the models and their columns that are computed from it


def dataset_page(dataset: Dataset, read_by: Sequence[str], referred_by: Sequence[str], readers: Readers,
                 drawing: Drawing) -> Page:  # fmt: skip
    """Return a dataset's page; `read_by` are models, `referred_by` datasets."""
    blocks: list[Block] = [
        Paragraph(plain(dataset.description or "No description.")),
        Table(("", ""), tuple(((name,), text) for name, text in _facts(dataset, read_by, referred_by))),
        Heading("Columns"),
        Table(
            ("column", "type", "from", "what it is", "read by"),
            tuple(_column_rows(dataset, readers)),
            anchors=tuple(name for name, *_ in _columns(dataset)),
        ),
    ]
    if dataset.rules:
        blocks += [
            Heading("Rules"),
            Table(("rule", "asks for", "when broken", "penalty"), tuple(_rule_row(r) for r in dataset.rules)),
        ]
    blocks += _limits(dataset)
    blocks += _further(dataset)
    return Page(f"datasets/{dataset.name}", "dataset", dataset.name, (*blocks, Heading("Lineage"), drawing))


def _facts(dataset: Dataset, read_by: Sequence[str], referred_by: Sequence[str]) -> Iterator[tuple[str, Text]]:
    yield "tables", (Code(dataset.clean_table), " (clean), ", Code(dataset.raw_table), " (as delivered)")
    if dataset.source:
        often = f", every {_seconds(dataset.source.poll_interval_seconds)}"
        yield "source", (Code(dataset.source.url), often)
        yield "what is fetched is", (DISPOSITIONS[dataset.source.write_disposition],)
    yield "dropped files are", (DISPOSITIONS[dataset.drops.write_disposition],)
    yield "format", tuple(_format(dataset))
    yield "primary key", codes(dataset.primary_key) or ("none: a row is told by its object and line",)
    parents = [rule.references for rule in dataset.references if rule.references]
    if parents:
        yield (
            "refers to",
            joined(
                (Code(one.of), " → ", Link(one.key, f"datasets/{one.parent}", one.parent_column)) for one in parents
            ),
        )
    if referred_by:
        yield "referred to by", joined((Link(name, f"datasets/{name}"),) for name in referred_by)
    if read_by:
        yield "read by", joined((Link(name, f"models/{name}"),) for name in read_by)
    if dataset.change_groups:
        yield "gold is told of changes by", codes(dataset.change_groups)
    if dataset.partitioning:
        span = dataset.partitioning
        yield (
            "partitions",
            (Code(span.column), f" by {span.by}, {span.first_year} to {span.last_year}, one for the rest"),
        )
    if dataset.indexes:
        yield "indexes", joined(((Code(", ".join(index)),) for index in dataset.indexes), "; ")
    if dataset.skip_superseded:
        yield "backlog", ("of several snapshots only the newest is read",)


def _seconds(count: float) -> str:
    for seconds, word in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if count >= seconds and count % seconds == 0:
            return f"{count // seconds:g} {word}s" if count > seconds else word
    return f"{count:g} seconds"


def _format(dataset: Dataset) -> Iterator[Any]:
    declared = dataset.format.model_dump(exclude_defaults=True)
    yield {"csv": "CSV", "json": "JSON, one array of objects", "jsonl": "JSON lines"}.get(
        dataset.format.type, dataset.format.type
    )
    yield f", {dataset.format.encoding}"
    for name, value in declared.items():
        if name not in ("type", "encoding"):
            yield f", {name.replace('_', ' ')} "
            yield Code(str(value))


def _columns(dataset: Dataset) -> Iterator[tuple[str, str, Text, Text]]:
    """Yield name, type, origin and meaning of each column of the clean table."""
    for column in dataset.columns:
        yield column.name, postgres_type(column.type), (Code(column.origin),), tuple(_declared(column, dataset))
    for derived in dataset.derived:
        known = DERIVATIONS[derived.function]
        meaning: Text = (Code(derived.function), f": {known.description}")
        yield derived.name, postgres_type(known.column_type), codes(derived.of), meaning
    for windowed in dataset.windowed.columns if dataset.windowed else ():
        yield windowed.name, postgres_type(windowed.column_type), _window_origin(windowed), _along(windowed, dataset)
    for name, (kind, meaning_text) in LINEAGE.items():
        yield name, kind, (), plain(meaning_text)


def _declared(column: Column, dataset: Dataset) -> Iterator[Any]:
    said: list[Text] = []
    if column.name in dataset.primary_key:
        said.append(("key",))
    said += [("may be absent",)] if column.nullable else []
    said += [("the file may lack the column",)] if column.optional else []
    if column.default is not None:
        said.append(("read where absent: ", Code(column.default or "''")))
    if column.format:
        said.append(("written as ", Code(column.format)))
    if column.type == "decimal":
        said.append((f"{column.precision} digits, {column.scale} behind the point",))
    yield from joined(said)


def _window_origin(column: WindowedColumn) -> Text:
    return codes((column.of,)) if column.of else ("an expression",)


def _along(column: WindowedColumn, dataset: Dataset) -> Text:
    assert dataset.windowed is not None
    series = ", ".join(dataset.windowed.partition_by)
    if column.function == "daily_change":
        return (f"minus the calendar day before, by {series}; unknown where that day is missing",)
    if column.function == "trailing_mean":
        return (f"mean of the last {column.days} days, by {series}; unknown unless all are known",)
    return (Code(column.sql or ""),)


def _column_rows(dataset: Dataset, readers: Readers) -> Iterator[tuple[Text, ...]]:
    for name, kind, origin, meaning in _columns(dataset):
        read = joined(map(_reader, _by_model(readers.get(name, ()))), "; ")
        yield (Code(name),), (kind,), origin, meaning, read


def _by_model(readers: Sequence[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    for model in dict.fromkeys(model for model, _ in readers):
        yield model, [column for other, column in readers if other == model]


def _reader(read: tuple[str, list[str]]) -> Text:
    model, columns = read
    links = joined((Link(column, f"models/{model}", column),) for column in columns)
    return (Link(model, f"models/{model}"), ": ", *links)


def _rule_row(rule: Rule) -> tuple[Text, ...]:
    about: Text = (Code(rule.check),) if rule.check is not None else plain(rule.text)
    if rule.references:
        about = (
            Code(rule.references.of), " is or was a ",
            Link(rule.references.key, f"datasets/{rule.references.parent}", rule.references.parent_column),
            "; until then the row waits",
        )  # fmt: skip
    limit = f"; beyond {rule.threshold:.4g} of the rows {_beyond(rule)}" if rule.threshold is not None else ""
    return (Code(rule.name),), about, (f"{rule.severity}: {_SEVERITIES[rule.severity]}{limit}",), (f"{rule.penalty:g}",)


def _beyond(rule: Rule) -> str:
    return "it is logged as failed" if rule.severity == "warn" else "the file is rejected"


def _limits(dataset: Dataset) -> list[Block]:
    fields = type(dataset.limits).model_fields
    rows = tuple(
        ((Code(name),), (_number(getattr(dataset.limits, name)),), plain(field.description or ""))
        for name, field in fields.items()
    )
    unknown = UNKNOWN_COLUMNS.get(dataset.schema_contract.columns)
    contract: list[Block] = [Paragraph(plain(unknown))] if unknown else []
    return [Heading("Limits of a file"), *contract, Table(("limit", "value", "what it bounds"), rows)]


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _further(dataset: Dataset) -> Iterable[Block]:
    """Return whatever the contract declares beyond what is told above, so that no part of it is kept from the page."""
    declared = dataset.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    told = {type(dataset).model_fields[name].alias or name for name in _TOLD}
    if set(dataset.schema_contract.model_dump(exclude_defaults=True)) <= {"columns"}:
        told.add("schema_contract")
    else:
        told.discard("schema_contract")
    for name, value in declared.items():
        if name not in told:
            rows = tuple(((Code(place),), (Code(str(text)),)) for place, text in _leaves(value))
            yield Heading(name.replace("_", " ").capitalize())
            yield Table(("", "declared"), rows)


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _leaves(part, f"{place}.{name}" if place else str(name))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _leaves(part, f"{place}[{index}]")
    elif value is not None:
        yield place or "value", value
