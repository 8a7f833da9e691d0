"""What datasets look like, and since when: `schema`."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from services.cli.options import DataDir, Json
from services.cli.output import complain, console, dictionaries, moment, print_json, table

_CHANGE = (
    "change_id", "changed_at", "dataset", "change", "column_name", "column_type", "origin", "object_id", "object_key",
    "contract_fingerprint", "details",
)  # fmt: skip


def schema(
    dataset: Annotated[str | None, typer.Argument(help="Only this dataset's.", metavar="[DATASET]")] = None,
    rows: Annotated[int, typer.Option("--rows", min=1, metavar="N", help="How many, newest first.")] = 50,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Show what changed in the tables and contracts of datasets, newest first: which column, since when, by what."""
    from services.cli.connect import find_stack
    from services.cli.serve import load_configuration

    stack = find_stack(data_dir)
    with stack.session("schema") as session:
        parameters = {"dataset": dataset, "rows": rows}
        found = dictionaries(_CHANGE, session.rows(stack.query("schema_history"), parameters))
    if not found and dataset and dataset not in (known := load_configuration(stack.settings)[0].datasets):
        complain(f"no dataset is called {dataset!r}; there are: {', '.join(sorted(known))}")
        raise typer.Exit(2)
    if as_json:
        print_json(found)
    elif not found:
        console().print("Nothing is recorded yet; `medallion migrate` makes the tables.")
    else:
        heads = ("when (UTC)", "dataset", "what", "column", "type", "by", "details")
        console().print(table(None, heads, [_row(one) for one in found], fixed=("when (UTC)", "dataset", "what")))


def _row(one: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return a change as the console shows it."""
    details = [f"{one['origin']!r} in the file" if one["origin"] is not None else "", one["details"] or ""]
    by = one["object_key"] or (f"object {one['object_id']}" if one["object_id"] else "migrate")
    return (
        moment(one["changed_at"]), one["dataset"], one["change"], one["column_name"] or "", one["column_type"] or "", by,
        "; ".join(filter(None, details)),
    )  # fmt: skip
