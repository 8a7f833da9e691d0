"""Rows that did not make it, with the reasons: `quarantine list`."""

from typing import Annotated, Any, Literal

import typer

from services.cli.options import DataDir, Json
from services.cli.output import age, console, dictionaries, print_json, short, table

app = typer.Typer(help="Rows that were set aside, whole, with the reasons.", no_args_is_help=True)

COLUMNS = (
    "quarantine_id", "dataset", "status", "key", "line_number", "raw", "reasons", "created_at", "age_seconds",
    "object_key", "object_id",
)  # fmt: skip


@app.callback()
def quarantine() -> None:
    """Rows that were set aside, whole, with the reasons."""


@app.command("list")
def list_rows(
    dataset: Annotated[str | None, typer.Argument(help="Only this dataset's.", metavar="[DATASET]")] = None,
    rule: Annotated[str | None, typer.Option("--rule", metavar="NAME", help="Only rows that broke this rule.")] = None,
    object_key: Annotated[
        str | None, typer.Option("--object", metavar="KEY", help="Only this object's: its id, or its key (%% matches).")
    ] = None,
    status: Annotated[
        Literal["open", "replayed", "superseded", "discarded", "all"], typer.Option("--status", help="Which ones.")
    ] = "open",
    rows: Annotated[int, typer.Option("--rows", min=1, metavar="N", help="How many, newest first.")] = 20,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Show quarantined rows, newest first: the line as delivered, why, and the object it came in."""
    from services.cli.connect import find_stack

    stack = find_stack(data_dir)
    wanted = {"dataset": dataset, "rule": rule, "object": object_key, "status": status, "rows": rows}
    with stack.session("quarantine") as session:
        found = dictionaries(COLUMNS, session.rows(stack.query("quarantine_list"), wanted))
    if as_json:
        print_json(found)
    elif not found:
        console().print("No row matches." if dataset or rule or object_key else f"No {status} row in quarantine.")
    else:
        console().print(quarantine_table(found))
        for key in dict.fromkeys(one["object_key"] for one in found):
            console().print(f"object: {key}", soft_wrap=True, markup=False)


def quarantine_table(found: list[dict[str, Any]]) -> Any:
    """Return the table of quarantined rows."""
    rows = [
        (str(one["quarantine_id"]), one["dataset"], one["line_number"], short(one["raw"], 60), why(one["reasons"]),
         f"{age(one['age_seconds'])} ago")
        for one in found
    ]  # fmt: skip
    columns = ("id", "dataset", "line", "as delivered", "why", "when")
    return table(None, columns, rows, right=("id", "line"))


def why(reasons: list[dict[str, Any]]) -> str:
    """Return the reasons in words, a line each."""
    return "\n".join(
        f"{one['column']}: {one['message']}" if one.get("column") else str(one["message"]) for one in reasons
    )
