"""What was done: `runs`."""

from typing import Annotated

import typer

from services.cli.options import DataDir, Json
from services.cli.output import console, dictionaries, print_json
from services.cli.status import RUN_COLUMNS, runs_table


def runs(
    dataset: Annotated[str | None, typer.Argument(help="Only this dataset's.", metavar="[DATASET]")] = None,
    rows: Annotated[int, typer.Option("--rows", min=1, metavar="N", help="How many, newest first.")] = 20,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Show the passes over objects, newest first: what each read, changed and set aside, and how long it took."""
    from services.cli.connect import find_stack

    stack = find_stack(data_dir)
    with stack.session("runs") as session:
        found = dictionaries(RUN_COLUMNS, session.rows(stack.query("runs"), {"dataset": dataset, "rows": rows}))
    if as_json:
        print_json(found)
    elif not found:
        console().print(f"No run yet{f' of {dataset}' if dataset else ''}. `medallion status` shows what waits.")
    else:
        console().print(runs_table(found, None))
        for one in found:
            if one["error_message"]:
                console().print(f"[red]{one['outcome']}[/] ", end="")
                console().print(f"{one['object_key']}: {one['error_message']}", soft_wrap=True, markup=False)
