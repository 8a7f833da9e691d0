"""Quarantined rows as a sheet that people mend, and the mended sheet back as a file: `quarantine export` and `mend`."""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from services.cli.export import Output, Raw, opened, replaced
from services.cli.options import DataDir, Json
from services.cli.output import console, print_json, remark

if TYPE_CHECKING:
    from services.cli.connect import Stack
    from shared.dataset import Dataset
    from shared.ports import Session

PAGE_ROWS = 5_000  # of the quarantine, read at a time


def export_rows(
    dataset: Annotated[str, typer.Argument(help="The dataset whose rows are wanted.", metavar="DATASET")],
    output: Output = None,
    rule: Annotated[
        str | None, typer.Option("--rule", metavar="NAME", help="Only rows that broke this rule.")
    ] = None,
    object_key: Annotated[
        str | None, typer.Option("--object", metavar="KEY", help="Only this object's: its id, or its key (% is any text).")
    ] = None,
    status: Annotated[
        Literal["open", "replayed", "superseded", "discarded", "all"], typer.Option("--status", help="Which ones.")
    ] = "open",
    raw: Raw = False,
    data_dir: DataDir = None,
) -> None:  # fmt: skip
    """Write quarantined rows as a CSV sheet to mend: a column a cell, and beside them why and whence.

    Mend the cells in a spreadsheet, save it as CSV, and land it with `medallion quarantine mend DATASET FILE`.
    A row that could not be split into cells has its text in `_raw`: write its cells in their columns.
    """
    from services.cli.connect import find_stack
    from services.cli.sheet import sheet_lines
    from shared.catalog import load_catalog

    stack = find_stack(data_dir)
    contract = load_catalog(stack.settings.dataset_dir)[dataset]
    wanted = {"dataset": dataset, "rule": rule, "object": object_key, "status": status}
    count = 0
    with stack.session("quarantine") as session, replaced(output) as path, opened(path) as file:
        for line in sheet_lines(contract, stack.settings, _found(session, stack, wanted), is_raw=raw):
            file.write(line.encode())
            count += 1
    if output is not None:
        remark(f"{rows_text(count - 1)} in {output}. Once mended: `medallion quarantine mend {dataset} FILE`.")


def rows_text(count: int) -> str:
    """Return a number of rows for people."""
    return f"{count:,} row{'s' * (count != 1)}"


def _found(session: "Session", stack: "Stack", wanted: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows page by page, so that memory does not grow with the quarantine."""
    after = 0
    while True:
        page = session.rows(stack.query("quarantine_export"), {**wanted, "after": after, "rows": PAGE_ROWS})
        yield from page
        if len(page) < PAGE_ROWS:
            return
        after = page[-1][0]


def mend(
    dataset: Annotated[str, typer.Argument(help="The dataset that the rows belong to.", metavar="DATASET")],
    file: Annotated[Path, typer.Argument(help="The sheet of `quarantine export`, mended and saved as CSV.", metavar="FILE")],
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Land a mended sheet: its rows become a file of the dataset's own format and take effect as any drop.

    Apostrophes that `quarantine export` put before formulas are taken away. A row that passes now closes the open
    entries of its key; entries whose key could not be read are closed by `medallion quarantine discard ID…`.
    """
    from services.cli.connect import find_stack
    from services.cli.landing import land_files
    from services.cli.sheet import write_mended
    from shared.catalog import load_catalog

    stack = find_stack(data_dir)
    catalog = load_catalog(stack.settings.dataset_dir)
    contract: Dataset = catalog[dataset]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{file.stem}.{contract.format.type}"
        count = write_mended(contract, file, path)
        landed = land_files(stack, catalog, contract, [path], source_url=file.resolve().as_uri())
    if as_json:
        print_json(landed)
        return
    console().print(
        f"{count:,} rows: {landed[0]['object_id']}  {landed[0]['object_key']}", soft_wrap=True, markup=False
    )
