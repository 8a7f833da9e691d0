"""Rows that did not make it, with the reasons: `quarantine list` and `show`."""

from typing import Annotated, Any, Literal

import typer

from services.cli.naming import ROW_ID_MAX, missing
from services.cli.options import DataDir, Json
from services.cli.output import age, console, dictionaries, moment, print_json, short, table

app = typer.Typer(help="Rows that were set aside, whole, with the reasons.", no_args_is_help=True)

COLUMNS = (
    "quarantine_id", "dataset", "status", "key", "line_number", "raw", "reasons", "created_at", "age_seconds",
    "object_key", "object_id",
)  # fmt: skip
WHOLE_COLUMNS = (
    "quarantine_id", "dataset", "status", "is_requested", "key", "line_number", "raw", "reasons", "created_at",
    "closed_at", "object_id", "object_key", "version_id", "landed_at", "source_url",
)  # fmt: skip


@app.callback()
def quarantine() -> None:
    """Rows that were set aside, whole, with the reasons."""


@app.command("list")
def list_rows(
    dataset: Annotated[str | None, typer.Argument(help="Only this dataset's.", metavar="[DATASET]")] = None,
    rule: Annotated[str | None, typer.Option("--rule", metavar="NAME", help="Only rows that broke this rule.")] = None,
    object_key: Annotated[
        str | None,
        typer.Option("--object", metavar="KEY", help="Only this object's: its id, or its key (% is any text)."),
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


@app.command("show")
def show(
    quarantine_id: Annotated[
        int, typer.Argument(max=ROW_ID_MAX, help="The row's id, as `quarantine list` shows it.", metavar="ID")
    ],
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Show one quarantined row whole: the text as delivered, every reason, the object, line and source."""
    from services.cli.connect import find_stack

    stack = find_stack(data_dir)
    with stack.session("quarantine") as session:
        found = dictionaries(WHOLE_COLUMNS, session.rows(stack.query("quarantine_show"), {"id": quarantine_id}))
    missing([quarantine_id], [one["quarantine_id"] for one in found], "quarantined row")
    if as_json:
        print_json(found[0])
    else:
        _show(found[0])


def _show(row: dict[str, Any]) -> None:
    closed = f" {moment(row['closed_at'])} UTC" if row["closed_at"] else ""
    asked = ", to be replayed" if row["is_requested"] else ""
    key = "  ".join(f"{name} {value}" for name, value in (row["key"] or {}).items()) or "cannot be read"
    lines = [
        f"row {row['quarantine_id']} of {row['dataset']}, {row['status']}{closed}{asked}",
        f"key: {key}",
        *(f"broke {reason['rule']}: {why([reason])}" for reason in row["reasons"]),
        f"line {row['line_number']} of {row['object_key']}"
        + (f" version {row['version_id']}" if row["version_id"] else ""),
        f"object {row['object_id']}, landed {moment(row['landed_at'])} UTC",
        f"source: {row['source_url'] or 'dropped into the bucket'}",
        "as delivered:",
        row["raw"],
    ]
    for line in lines:
        console().print(line, soft_wrap=True, markup=False)


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
