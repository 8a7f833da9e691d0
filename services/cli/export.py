"""Take a table out: `export`."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from services.cli.extract import Extract, Format, find_table, narrowed, write_csv, write_json_lines, write_parquet
from services.cli.options import DataDir
from services.cli.output import bytes_text, remark
from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from shared.ports import Session

Output = Annotated[
    Path | None,
    typer.Option("--output", metavar="FILE", help="File to write. Default: standard output.", show_default=False),
]
Raw = Annotated[
    bool, typer.Option("--raw", help="Leave cells of CSV as they are that a spreadsheet would run as formulas.")
]


def export(
    name: Annotated[
        str, typer.Argument(metavar="TABLE", help="A gold model, a dataset, `quarantine`, or a table as silver.change_sets.")
    ],
    output: Output = None,
    form: Annotated[
        Format | None,
        typer.Option("--format", metavar="FORMAT", help="csv, parquet or jsonl. Default: by the file's ending, else csv."),
    ] = None,
    where: Annotated[str, typer.Option("--where", metavar="SQL", help="Only rows for which this condition holds.")] = "",
    columns: Annotated[
        str, typer.Option("--columns", metavar="NAMES", help="Only these columns, comma-separated, in this order.")
    ] = "",
    raw: Raw = False,
    data_dir: DataDir = None,
) -> None:  # fmt: skip
    """Write any table of silver or gold as CSV, Parquet or JSON lines, in the order of its key, in little memory.

    For example: medallion export covid_country_trends --where "country = 'US'" --output us.csv

    In CSV a text that a spreadsheet would run as a formula (it begins with = + - @, a tab or a line break) gets an
    apostrophe before it; tables hold it as it was delivered, and so do Parquet and JSON lines.
    """
    from services.cli.connect import find_stack

    form = form or _by_ending(output)
    if form == "parquet" and output is None:
        raise ConfigurationError("Parquet is no text for a terminal: name a file with --output")
    stack = find_stack(data_dir)
    names = [column.strip() for column in columns.split(",") if column.strip()]
    with stack.session("export") as session:
        session.rollback()  # what follows must be the first of its transaction
        session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        extract = narrowed(find_table(session, stack.query("export_columns"), name), names, where)
        _try(session, extract)
        with replaced(output) as path:
            _write(session, extract, path, form, raw)
    if output is not None:
        remark(f"{extract.table} is in {output}, {bytes_text(output.stat().st_size)}.")


def _by_ending(output: Path | None) -> Format:
    endings: dict[str, Format] = {".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl"}
    return endings.get(output.suffix.lower(), "csv") if output else "csv"


@contextmanager
def replaced(output: Path | None) -> Iterator[Path | None]:
    """Yield the path of a new file that takes the output's place once it is whole; none for standard output."""
    if output is None:
        yield None
        return
    if not output.parent.is_dir():
        raise ConfigurationError(f"{output.parent} is not a folder; nothing was written")
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def opened(path: Path | None) -> Iterator[BinaryIO]:
    """Open a file for writing, or standard output, whose reader may leave early as `head` does."""
    if path is not None:
        with path.open("wb") as file:
            yield file
        return
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it ends


def _try(session: "Session", extract: Extract) -> None:
    """Raise ConfigurationError where the server does not take the condition, before anything is written."""
    from shared.adapters.postgres import StatementRefused

    try:
        session.rows(f"EXPLAIN {extract.select(['1'])}")
    except StatementRefused as error:
        said = str(error).strip().splitlines()[0]
        raise ConfigurationError(f"--where: {extract.where!r} cannot be asked of {extract.table}: {said}") from error


def _write(session: "Session", extract: Extract, path: Path | None, form: Format, is_raw: bool) -> None:
    if form == "parquet":
        assert path is not None  # the command sees to it
        write_parquet(session, extract, path)
        return
    with opened(path) as file:
        if form == "jsonl":
            write_json_lines(session, extract, file)
        else:
            write_csv(session, extract, file, is_raw=is_raw)
