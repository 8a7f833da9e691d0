"""The proposal as YAML with comments on what was uncertain, and the check that silver would take it."""

import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from services.cli.add.draft import Draft, DraftColumn
from services.cli.add.records import csv_format
from shared.dataset import Dataset, Disposition
from shared.errors import ConfigurationError

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_/. -]*[A-Za-z0-9_]|[A-Za-z_]")
_USUAL_FORMAT = {"encoding": "utf-8", "quote": '"', "escape": None, "comment": None, "header": True}


@dataclass(frozen=True)
class Choices:
    """What the contract says besides what the file is."""

    name: str
    description: str
    key: tuple[str, ...]
    disposition: Disposition  # of the source, or of drops where there is none
    source_url: str | None
    poll_interval_seconds: float
    references: Mapping[str, str]  # by column: the other dataset's key, as users.user_id


def contract_text(draft: Draft, choices: Choices, file_name: str) -> str:
    """Return the YAML of a dataset."""
    return "\n".join(_lines(draft, choices, file_name)) + "\n"


def _lines(draft: Draft, choices: Choices, file_name: str) -> Iterator[str]:
    yield "# yaml-language-server: $schema=../dataset.schema.json"
    yield f"# Written by `medallion add` from {file_name}, by all of its {draft.rows:,} records."
    yield from (f"# Uncertain: {note}" for note in draft.notes)
    yield f"dataset: {choices.name}"
    yield f"description: {_scalar(choices.description)}"
    yield from _source(choices)
    yield "format:"
    yield from (f"  {name}: {value}" for name, value in _format(draft).items())
    yield "columns:"
    for column in draft.columns:
        yield from _column(column, choices)
    if choices.key and choices.disposition != "append":
        others = [key for key in draft.keys if key != choices.key][:3]
        said = f"  # unique in all {draft.rows:,} records"
        said += f", and so are: {'; '.join(' + '.join(key) for key in others)}" if others else ""
        said = said if choices.key in draft.keys else "  # as said, and not unique in the sample"
        yield f"primary_key: [{', '.join(choices.key)}]{said}"
    if choices.references:
        yield "rules:"
        for child, key in choices.references.items():
            yield f"  - references: {{of: {child}, in: {key}}}   # waits in quarantine until it is there"
        yield f"change_groups: [{', '.join(choices.references)}]"


def _source(choices: Choices) -> Iterator[str]:
    if choices.source_url:
        yield "source:"
        yield f"  url: {_scalar(choices.source_url)}"
        yield f"  poll_interval_seconds: {choices.poll_interval_seconds:g}"
        yield f"  write_disposition: {choices.disposition}"
    if choices.disposition == "append":
        yield "drops:"
        yield "  write_disposition: append      # no key tells its records apart: every file adds its own"
    elif not choices.source_url:
        yield "drops:"
        yield f"  write_disposition: {choices.disposition}"


def _format(draft: Draft) -> dict[str, str]:
    """Return the fields of the format that differ from the usual, and those that are good to see."""
    if draft.dialect is None:
        declared: dict[str, Any] = {"type": draft.kind, "encoding": draft.encoding}
    else:
        dialect = draft.dialect
        declared = csv_format(draft.encoding, dialect) | {"header": bool(dialect.header)}
        declared = {n: v for n, v in declared.items() if n not in _USUAL_FORMAT or v != _USUAL_FORMAT[n]}
        if dialect.skip_lines:
            declared["skip_lines"] = dialect.skip_lines
        if draft.null_words:
            declared["null_values"] = ["", *draft.null_words]
        declared |= {"decimal": draft.marks.decimal} if draft.marks.decimal != "." else {}
        declared |= {"thousands": draft.marks.thousands} if draft.marks.thousands else {}
    written = {name: _value(value) for name, value in declared.items()}
    return {"type": written.pop("type"), "encoding": _value(draft.encoding)} | written


def _column(column: DraftColumn, choices: Choices) -> Iterator[str]:
    parts = [f"name: {column.name}"]
    if column.origin and column.origin != column.name:
        parts.append(f"from: {_scalar(column.origin)}")
    parts += [f"{name}: {_value(value)}" for name, value in column.decision.declared.items()]
    if column.is_nullable:
        parts.append('default: ""' if column.name in choices.key else "nullable: true")
    note = column.decision.note
    if column.decision.readings:
        options = " or ".join(f"--type {column.name}={reading}" for reading in column.decision.readings)
        note = f"{note} ({options})"
    yield f"  - {{{', '.join(parts)}}}" + (f"   # {_one_line(note)}" if note else "")


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else "�" for character in " ".join(text.split()))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(_scalar(part) for part in value)}]"
    return _scalar(value) if isinstance(value, str) else str(value)


def _scalar(text: str) -> str:
    """Return a text as a YAML scalar that is read back as that text, within brackets too."""
    if _PLAIN.fullmatch(text) and yaml.safe_load(text) == text:
        return text
    # JSON's escapes will not do: it halves characters beyond the first 65,536, and YAML does not put them together.
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=sys.maxsize).rstrip("\n")


def checked(text: str, name: str, dataset_dir: Path) -> Dataset:
    """Return the dataset that a contract declares beside the others of a folder; raises ConfigurationError.

    What `medallion validate` would find is found here, before anything is written.
    """
    from services.cli.validate import expression_problems
    from shared.catalog import Catalog, load_catalog

    with tempfile.TemporaryDirectory(prefix="medallion-add-") as folder:
        beside = Path(folder)
        for path in dataset_dir.glob("*.yaml"):
            (beside / path.name).write_bytes(path.read_bytes())
        (beside / f"{name}.yaml").write_text(text, encoding="utf-8")
        try:
            dataset = load_catalog(beside)[name]
            problems = expression_problems(Catalog({name: dataset}), beside)
        except ConfigurationError as error:
            problems = str(error).splitlines()
        if problems:
            said = "\n".join(problems).replace(f"{beside}/", f"{dataset_dir}/")
            raise ConfigurationError(f"nothing was written, as the contract would not do:\n{said}")
        return dataset
