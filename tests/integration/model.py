"""What silver must hold, said without it: files are walked through in version order, and each has its say.

Versions are the days on which files were landed. Three datasets share three columns: `people` and `notes` have a key,
notes refer to people by `ref`, and `readings` are appended, a file of the same name taking the place of an older one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

BAD = "x"  # cast to no integer: in a key it spoils the key, elsewhere the row
BAD_ROWS_MAX_SHARE = 0.6

_TABLE = """
dataset: {name}
format: {{type: csv}}
columns:
  - {{name: key, type: integer}}
  - {{name: ref, type: integer, nullable: true}}
  - {{name: value, type: integer}}
limits: {{bad_rows_max_share: {bad}, removed_rows_max_share: {removed}}}
"""
_REFERS = """
primary_key: [key]
change_groups: [key, _first_seen_at]
rules:
  - {references: {of: ref, in: people.key}}
"""
_APPENDS = "drops: {write_disposition: append}\nchange_groups: [key]\n"
CONTRACTS = {
    "people": _TABLE.format(name="people", bad=BAD_ROWS_MAX_SHARE, removed=0.5) + "primary_key: [key]\n",
    "notes": _TABLE.format(name="notes", bad=BAD_ROWS_MAX_SHARE, removed=1) + _REFERS,
    "readings": _TABLE.format(name="readings", bad=BAD_ROWS_MAX_SHARE, removed=1) + _APPENDS,
}


class Row(NamedTuple):
    """A line of a file."""

    key: str
    ref: str
    value: str


@dataclass(frozen=True)
class File:
    """What somebody lands."""

    dataset: str
    disposition: str  # replace, merge or append
    rows: tuple[Row, ...]
    name: str = "a"  # the appended file of this name that is newest counts
    bytes_instead: bytes | None = None  # that no CSV reader understands

    @property
    def content(self) -> bytes:
        if self.bytes_instead is not None:
            return self.bytes_instead
        return "".join(f"{','.join(row)}\n" for row in (("key", "ref", "value"), *self.rows)).encode()

    @property
    def is_accepted(self) -> bool:
        """Whether few enough rows are bad; of two rows of a key one is, unless which one depends on parents."""
        last = {row.key: row for row in self.rows if BAD not in row}
        beaten = [row for row in self.rows if BAD not in row and row != last[row.key]]
        bad = sum(BAD in row for row in self.rows) + (len(beaten) if self.dataset == "people" else 0)
        return self.bytes_instead is None and bad <= BAD_ROWS_MAX_SHARE * len(self.rows)


@dataclass
class Silver:
    """Live rows, and the lines that wait in quarantine as (version, line)."""

    rows: dict[Any, Any]
    waiting: dict[tuple[int, int], str]


def fold(files: Mapping[int, File]) -> dict[str, Silver]:
    """Let files have their say; all of them are accepted and by version."""
    parents = {row.key for file in files.values() if file.dataset == "people" for row in file.rows if BAD not in row}
    of = {name: {v: f for v, f in sorted(files.items()) if f.dataset == name} for name in CONTRACTS}
    newest = {file.name: version for version, file in of["readings"].items()}
    return {
        "people": _keyed(of["people"], None),
        "notes": _keyed(of["notes"], {"", *parents}),
        "readings": _appended({v: of["readings"][v] for v in newest.values()}),
    }


def _keyed(files: Mapping[int, File], known: set[str] | None) -> Silver:
    """Return key → (ref, value, is stale, first seen); rows whose ref nobody knows are bad."""
    seen: dict[str, int] = {}
    silver = Silver({}, {})
    for version, file in files.items():
        good = {row.key: row for row in file.rows if BAD not in row and (known is None or row.ref in known)}
        held = {row.key for row in file.rows}
        if file.disposition == "replace":
            silver.waiting.clear()
            if BAD not in held:
                silver.rows = {key: row for key, row in silver.rows.items() if key in held}
        for key in held & set(silver.rows):
            silver.rows[key] = (*silver.rows[key][:2], True, seen[key])
        for key, row in good.items():
            silver.rows[key] = (row.ref, row.value, False, seen.setdefault(key, version))
        silver.waiting = {line: key for line, key in silver.waiting.items() if key not in good}
        lines = enumerate(file.rows, start=2)
        silver.waiting |= {(version, line): row.key for line, row in lines if row != good.get(row.key)}
    return silver


def _appended(files: Mapping[int, File]) -> Silver:
    """Return (version, line) → row."""
    lines = [(version, line, row) for version, file in files.items() for line, row in enumerate(file.rows, start=2)]
    good = {(version, line): tuple(row) for version, line, row in lines if BAD not in row}
    return Silver(good, {(version, line): row.key for version, line, row in lines if BAD in row})
