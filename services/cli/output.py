"""What the user sees: one console for results, one for complaints, and how values are written."""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PLAIN_WIDTH = 120  # of output that is not a terminal


def _width(is_terminal: bool) -> int | None:
    return None if is_terminal or os.environ.get("COLUMNS") else PLAIN_WIDTH


@cache
def console() -> "Console":
    """Return the console of results (standard output)."""
    from rich.console import Console

    return Console(width=_width(sys.stdout.isatty()), highlight=False)


@cache
def errors() -> "Console":
    """Return the console of progress, remarks and complaints (standard error)."""
    from rich.console import Console

    return Console(stderr=True, width=_width(sys.stderr.isatty()), highlight=False)


def complain(message: str) -> None:
    """Say on standard error what went wrong."""
    from rich.text import Text

    errors().print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)


def remark(message: str) -> None:
    """Say something beside the result, on standard error."""
    from rich.text import Text

    errors().print(Text(message, "dim"), soft_wrap=True)


def print_json(data: object) -> None:
    """Print data as JSON: times as ISO 8601, exact numbers as text."""
    sys.stdout.write(json.dumps(data, default=_plain, ensure_ascii=False, indent=2) + "\n")


def _plain(value: object) -> object:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def dictionaries(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    """Return rows as dictionaries by column name."""
    return [dict(zip(names, row, strict=True)) for row in rows]


def table(
    title: str | None,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    right: Iterable[str] = (),
    fixed: Iterable[str] = (),
) -> "Table":
    """Return a table for the console; columns in `right` are numbers, those in `fixed` never wrap."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    numbers, unbroken = set(right), set(fixed)
    made = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    made.title_justify, made.title_style = "left", "bold"
    for name in columns:
        made.add_column(
            name,
            justify="right" if name in numbers else "left",
            overflow="fold",
            header_style="dim",
            no_wrap=name in unbroken,
        )
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(number(cell)) for cell in row))
    return made


def number(value: Any) -> str:
    """Return a value for people: thousands apart, nothing as a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int | Decimal) else str(value)


def bytes_text(count: float) -> str:
    """Return a size for people: 53.1 MB."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def age(seconds: float | None) -> str:
    """Return an age for people: 4 s, 12 min, 3 h, 5 d."""
    if seconds is None:
        return "–"
    seconds = max(seconds, 0)
    for limit, unit_seconds, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit_seconds:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def moment(value: datetime | None) -> str:
    """Return a time in UTC to the second."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if value else "–"


def short(text: str | None, length: int) -> str:
    """Return the text on one line, cut with an ellipsis where it is longer."""
    line = " ".join((text or "").split())
    return line if len(line) <= length else line[: length - 1] + "…"


def key_text(key: str, length: int) -> str:
    """Return an object key for people: its dataset and its end, which holds the file's own name."""
    head, _, rest = key.partition("/")
    room = length - len(head) - 2
    return key if len(key) <= length or not rest else f"{head}/…{rest[-room:]}"


STATUS_STYLES: Mapping[str, str] = {
    "done": "green", "superseded": "dim", "registered": "cyan", "processing": "cyan",
    "rejected": "red", "failed": "bold red", "held": "yellow", "ignored": "dim",
}  # fmt: skip
