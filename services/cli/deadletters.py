"""Events nobody could read and objects that met a bug: `dead-letters`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from services.cli.naming import ROW_ID_MAX, missing
from services.cli.options import DataDir, Json
from services.cli.output import age, console, dictionaries, moment, print_json, short, table
from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from services.cli.connect import Stack
    from shared.ports import Session

app = typer.Typer(help="Events nobody could read and objects that met a bug, with the evidence.", no_args_is_help=True)

COLUMNS = (
    "dead_letter_id", "status", "topic", "dataset", "reason", "attempts", "created_at", "age_seconds", "object_id",
    "object_key", "object_status", "payload", "traceback",
)  # fmt: skip
LISTED = COLUMNS[:-2]


@app.callback()
def dead_letters() -> None:
    """Events nobody could read and objects that met a bug, with the evidence."""


@app.command("list")
def list_letters(
    status: Annotated[Literal["open", "replayed", "all"], typer.Option("--status", help="Which ones.")] = "open",
    rows: Annotated[int, typer.Option("--rows", min=1, metavar="N", help="How many, newest first.")] = 20,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Show dead letters, newest first: what they met, and what became of their object since."""
    from services.cli.connect import find_stack

    stack = find_stack(data_dir)
    with stack.session("dead-letters") as session:
        found = _letters(session, stack, None, status, rows)
    if as_json:
        print_json([{name: one[name] for name in LISTED} for one in found])
    elif not found:
        console().print("No dead letter." if status == "all" else f"No {status} dead letter.")
    else:
        console().print(_table(found))


def _letters(
    session: "Session", stack: "Stack", ids: Sequence[int] | None, status: str = "all", rows: int | None = None
) -> list[dict[str, Any]]:
    parameters = {"ids": list(ids) if ids is not None else None, "status": status, "rows": rows}
    return dictionaries(COLUMNS, session.rows(stack.query("dead_letters"), parameters))


def _table(found: Sequence[dict[str, Any]]) -> Any:
    rows = [
        (str(one["dead_letter_id"]), one["topic"], one["dataset"], short(one["reason"], 200), one["attempts"],
         one["object_status"], f"{age(one['age_seconds'])} ago")
        for one in found
    ]  # fmt: skip
    columns = ("id", "topic", "dataset", "what it met", "times", "object is", "when")
    return table(None, columns, rows, right=("id", "times"), fixed=("id", "topic", "when"))


@app.command("show")
def show(
    dead_letter_id: Annotated[
        int, typer.Argument(max=ROW_ID_MAX, help="Its id, as `dead-letters list` shows it.", metavar="ID")
    ],
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Show one dead letter whole: the payload, the reason and the traceback."""
    from services.cli.connect import find_stack

    stack = find_stack(data_dir)
    with stack.session("dead-letters") as session:
        letter = _named(session, stack, [dead_letter_id])[0]
    if as_json:
        print_json(letter)
        return
    lines = [
        f"dead letter {letter['dead_letter_id']} on {letter['topic']}, {letter['status']}, "
        f"{moment(letter['created_at'])} UTC, {letter['attempts']} time(s)",
        f"object {letter['object_id']}, {letter['object_status']}: {letter['object_key']}" if letter["object_id"]
        else f"dataset: {letter['dataset'] or 'unknown'}",
        f"reason: {letter['reason']}",
        f"payload: {letter['payload']}",
        letter["traceback"] or "no traceback",
    ]  # fmt: skip
    for line in lines:
        console().print(line, soft_wrap=True, markup=False)


def _named(session: "Session", stack: "Stack", ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return the letters with these ids; raises ConfigurationError naming those that do not exist."""
    found = _letters(session, stack, ids)
    missing(ids, [one["dead_letter_id"] for one in found], "dead letter")
    return found


@app.command("replay")
def replay(
    ids: Annotated[
        list[int] | None, typer.Argument(max=ROW_ID_MAX, help="Their ids, as `list` shows them.", metavar="[ID…]")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that are open.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Try again after a fix: failed objects are announced at once, other events are published again.

    What fails again becomes a new dead letter. Follow it with `medallion settle`.
    """
    from services.cli import resend
    from services.cli.connect import find_stack

    if bool(ids) == everything:
        raise ConfigurationError("give the ids of dead letters, or --all")
    stack = find_stack(data_dir)
    with stack.session("dead-letters") as session:
        letters = _named(session, stack, ids) if ids else _letters(session, stack, None, "open")
        done = resend.resend(session, stack, letters)
    if as_json:
        print_json(done)
    elif not letters:
        console().print("No open dead letter: nothing to replay.")
    else:
        console().print(resend.sentence(done))


@app.command("resume")
def resume(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Let all workers go on that stopped because one object after another met a bug.

    Mend the deployment first: `medallion status` says why they stopped.
    """
    from services.cli.connect import find_stack
    from shared.stops import resume as resume_workers

    stack = find_stack(data_dir)
    with stack.session("dead-letters") as session:
        lifted = resume_workers(session)
    if as_json:
        print_json({"stops_lifted": lifted})
    else:
        console().print(f"{lifted:,} worker(s) told to go on." if lifted else "No worker is stopped: nothing to do.")
