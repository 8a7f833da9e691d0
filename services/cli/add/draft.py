"""Everything that is known about a sample and what is to be declared of it: the proposal, before it becomes YAML."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from services.cli.add import dialect as csv_dialect
from services.cli.add import encoding as encodings
from services.cli.add.dialect import Dialect
from services.cli.add.keys import Cells, key_candidates
from services.cli.add.names import column_names
from services.cli.add.profile import Profile
from services.cli.add.records import Chunk, read_csv, read_json
from services.cli.add.sample import Sample
from services.cli.add.types import Decision, decide, file_marks
from services.silver.numerals import Marks
from services.silver.record import Broken
from shared.errors import Rejected
from shared.settings import Settings

BROKEN_SHOWN_MAX = 3
_KEY_BYTES_MAX = 255
_KEY_TYPES = ("integer", "text", "date", "timestamp")
_KEY_WORDS = ("id", "key", "code", "uuid", "guid", "isbn", "isin", "sku")


@dataclass(frozen=True)
class Hints:
    """What the user said of the file, which is not asked of the file then."""

    delimiter: str | None = None
    encoding: str | None = None
    has_header: bool | None = None
    decimal: str | None = None
    thousands: str | None = None


@dataclass(frozen=True)
class DraftColumn:
    """One column as it is to be declared."""

    name: str
    origin: str  # its name in the file, or dotted path; empty where columns go by position
    decision: Decision
    is_nullable: bool


@dataclass(frozen=True)
class Draft:
    """What a sample is."""

    kind: str  # csv, json or jsonl
    encoding: str
    dialect: Dialect | None
    marks: Marks
    is_numeral_open: bool  # a comma in its numbers may as well part thousands
    columns: tuple[DraftColumn, ...]
    keys: tuple[tuple[str, ...], ...]  # by name, the likeliest first
    rows: int
    notes: tuple[str, ...]  # what was uncertain about the file as a whole

    @property
    def null_words(self) -> tuple[str, ...]:
        """What is written where there is no value, besides the empty text."""
        found = [word for column in self.columns for word in column.decision.null_words]
        return tuple(dict.fromkeys(found))

    @property
    def open_columns(self) -> Iterator[DraftColumn]:
        """Yield the columns whose values can be read in several ways."""
        return (column for column in self.columns if column.decision.readings)

    def with_type(self, name: str, declared: Mapping[str, Any]) -> "Draft":
        """Return the draft with a column's type as somebody said."""
        columns = [
            replace(c, decision=Decision(dict(declared), null_words=c.decision.null_words)) if c.name == name else c
            for c in self.columns
        ]
        return replace(self, columns=tuple(columns))


def draft(sample: Sample, hints: Hints, settings: Settings) -> Draft:
    """Look at all of a sample; raises Rejected when it has no records to be declared."""
    found = encodings.Encoding(hints.encoding) if hints.encoding else encodings.detect(sample.path, sample.name)
    try:
        kind = _kind(sample, found.name)
        with tempfile.TemporaryDirectory(prefix="medallion-add-") as folder:
            if kind != "csv":
                chunks = read_json(sample.path, sample.name, kind, found.name, settings)
                looked = _look(chunks, None, Cells(Path(folder)))
                return _proposed(sample, kind, found, None, looked, hints)
            dialect, looked = _look_at_csv(sample, found.name, hints, settings, Path(folder))
            return _proposed(sample, kind, found, dialect, looked, hints)
    except Rejected as error:
        raise error if str(error).startswith(sample.name) else Rejected(f"{sample.name}: {error}") from error


def _look_at_csv(
    sample: Sample, encoding: str, hints: Hints, settings: Settings, folder: Path
) -> tuple[Dialect, "_Looked"]:
    """Read a CSV file by the dialect of its beginning; as one without quotes where that loses fewer records."""
    found = []
    for may_quote in (True, False):
        dialect = csv_dialect.detect(sample.path, sample.name, encoding, hints.delimiter, hints.has_header, may_quote)
        (folder / str(may_quote)).mkdir()
        looked = _look(read_csv(sample.path, encoding, dialect, settings), dialect, Cells(folder / str(may_quote)))
        found.append((looked.broken_rows, dialect, looked))
        if not any(one.rule == "malformed" for one in looked.broken):
            break
    _, dialect, looked = min(found, key=lambda one: one[0])
    if dialect.quote is None:
        note = "quote: read without quotes, as some do not close; cells keep those that they have"
        dialect = replace(dialect, notes=(*dialect.notes, note))
    return dialect, looked


def _kind(sample: Sample, encoding: str) -> str:
    """Return the format by the first character, and of objects by whether a line holds a whole one."""
    with sample.path.open(encoding=encoding, errors="replace", newline="") as file:
        head = file.read(65_536).lstrip("\ufeff \t\r\n")
    if head.startswith("["):
        return "json"
    if not head.startswith("{"):
        return "csv"
    line, _, rest = head.partition("\n")
    try:
        json.loads(line)
    except ValueError:
        if line.rstrip() != "{" and rest:
            return "jsonl" if rest.startswith("{") else "csv"
        raise Rejected(
            f"{sample.name}:1: it is one JSON object over several lines; an array of objects, or one object a line, is "
            "read. Where the records are in a field of it, take that out, for instance with jq '.items'"
        ) from None
    return "jsonl"


@dataclass
class _Looked:
    profiles: dict[str, Profile]
    cells: Cells
    rows: int
    broken: list[Broken]
    broken_rows: int
    header_line: int  # where the header is repeated as a record; 0 for nowhere


def _look(chunks: Iterator[Chunk], dialect: Dialect | None, cells: Cells) -> _Looked:
    """Take in every record."""
    looked = _Looked({}, cells, 0, [], 0, 0)
    for chunk in chunks:
        chunk = _without_headers(chunk, dialect, looked)
        for name in chunk.columns:
            if name not in looked.profiles:
                looked.profiles[name] = Profile(name, dialect is not None)
                if looked.rows:
                    looked.profiles[name].skip(looked.rows)
        for name, profile in looked.profiles.items():
            if name in chunk.columns:
                profile.take(chunk.columns[name], chunk.lines)
                profile.is_document = profile.is_document or name in chunk.documents
            else:
                profile.skip(len(chunk.lines))
        cells.take(chunk.columns, len(chunk.lines))
        looked.rows += len(chunk.lines)
        looked.broken_rows += len(chunk.broken)
        looked.broken += chunk.broken[: BROKEN_SHOWN_MAX - len(looked.broken)]
    return looked


def _without_headers(chunk: Chunk, dialect: Dialect | None, looked: _Looked) -> Chunk:
    """Leave out records that repeat the header: files that were put together have them in the middle."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if dialect is None or not dialect.header or not len(chunk.lines):
        return chunk
    same = np.ones(len(chunk.lines), bool)
    for position, name in enumerate(dialect.header):
        trimmed = pc.utf8_trim_whitespace(chunk.columns[str(position)])
        same &= pc.equal(trimmed, name).to_numpy(zero_copy_only=False)
        if not same.any():
            return chunk
    looked.header_line = looked.header_line or int(chunk.lines[int(np.argmax(same))])
    keep = pa.array(~same)
    columns = {name: column.filter(keep) for name, column in chunk.columns.items()}
    return Chunk(columns, chunk.lines[~same], chunk.broken, chunk.documents)


def _proposed(
    sample: Sample, kind: str, found: encodings.Encoding, dialect: Dialect | None, looked: _Looked, hints: Hints
) -> Draft:
    profiles = {n: p for n, p in looked.profiles.items() if not _is_parent(n, looked.profiles)}
    if not looked.rows or not profiles:
        raise Rejected(f"{sample.name}: no record in it can be read{_of_broken(looked.broken)}")
    marks, is_open = file_marks(list(profiles.values())) if dialect else (Marks(), False)
    if hints.decimal or hints.thousands:
        marks, is_open = Marks(hints.decimal or ".", hints.thousands), False
    elif is_open:
        marks = Marks()
    origins = [dialect.header[int(name)] if dialect and dialect.header else name for name in profiles]
    is_by_position = dialect is not None and (
        len(set(origins)) < len(origins) or not all(origins) or not dialect.header
    )
    names = column_names(["" if dialect and not dialect.header else origin for origin in origins])
    columns = [
        DraftColumn(
            name, "" if is_by_position else origin, decide(profile, marks, dialect is None), profile.lacks_values
        )
        for name, origin, profile in zip(names, origins, profiles.values(), strict=True)
    ]
    columns = [replace(c, is_nullable=c.is_nullable or bool(c.decision.null_words)) for c in columns]
    notes = [*found.notes, *(dialect.notes if dialect else ()), *_notes(looked, is_open)]
    if dialect and dialect.header and is_by_position:
        notes.append("header: it has names twice or none for a column, so columns go by position, and it is skipped")
        dialect = replace(dialect, header=(), skip_lines=dialect.lines_before)
    keys = _keys(looked.cells, columns, profiles)
    return Draft(kind, found.name, dialect, marks, is_open, tuple(columns), keys, looked.rows, tuple(notes))


def _is_parent(path: str, profiles: Mapping[str, Profile]) -> bool:
    """Say whether a JSON path leads to an object in other records, and to nothing here."""
    return not profiles[path].values and any(other.startswith(f"{path}.") for other in profiles)


def _notes(looked: _Looked, is_numeral_open: bool) -> Iterator[str]:
    if is_numeral_open:
        yield (
            "decimal: numbers such as 1,234 can be read as 1.234 and as 1234, and none in the file tells which; their "
            "columns are left as text. --decimal , or --thousands , says it"
        )
    if looked.header_line:
        yield f"line {looked.header_line} repeats the header: it goes to quarantine, unless all columns are text"
    if looked.broken_rows:
        share = looked.broken_rows / (looked.rows + looked.broken_rows)
        yield f"{looked.broken_rows:,} records ({share:.1%}) go to quarantine{_of_broken(looked.broken)}"


def _of_broken(broken: Sequence[Broken]) -> str:
    said = "; ".join(f"line {one.line_number}: {one.message}" for one in broken)
    return f": {said}" if said else ""


def _keys(cells: Cells, columns: Sequence[DraftColumn], profiles: Mapping[str, Profile]) -> tuple[tuple[str, ...], ...]:
    """Return what tells all records apart, by the columns' names."""
    by_name = dict(zip(profiles, columns, strict=True))
    able = [
        name for name, column in by_name.items()
        if column.decision.declared["type"] in _KEY_TYPES and profiles[name].bytes_max <= _KEY_BYTES_MAX
        and not profiles[name].words
    ]  # fmt: skip
    single = sorted((n for n in able if not by_name[n].is_nullable), key=lambda n: not _says_key(by_name[n].name))
    combined = [n for n in able if not by_name[n].is_nullable or by_name[n].decision.declared["type"] == "text"]
    measures = [n for n in able if by_name[n].decision.declared["type"] == "integer" and not _says_key(by_name[n].name)]
    found = key_candidates(cells, single, combined, measures)
    return tuple(tuple(by_name[name].name for name in names) for names in found)


def _says_key(name: str) -> bool:
    return name.rpartition("_")[2] in _KEY_WORDS
