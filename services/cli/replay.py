"""What people decide about quarantined rows: `quarantine replay` after a fix, `quarantine discard`."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import naming
from services.cli.naming import missing
from services.cli.options import DataDir, Json, TimeoutSeconds
from services.cli.output import console, dictionaries, errors, print_json, remark
from shared.errors import ConfigurationError, MedallionError, Outstanding

if TYPE_CHECKING:
    from services.cli.connect import Stack
    from shared.ports import Session

POLL_SECONDS = 0.1
OUTCOME_COLUMNS = ("objects_unfinished", "rows_passed", "rows_open", "rows_closed", "failure")

Rule = Annotated[str | None, typer.Option("--rule", metavar="NAME", help="Only rows that broke this rule.")]
ObjectName = Annotated[
    str | None, typer.Option("--object", metavar="OBJECT", help="Only this object's rows: its id or its key.")
]


@dataclass(frozen=True)
class Wanted:
    """Which open rows are meant."""

    dataset: str | None = None
    rule: str | None = None
    object_id: uuid.UUID | None = None

    def sentence(self) -> str:
        """Say it in words, to follow 'no open row'."""
        parts = (
            f" of {self.dataset}" if self.dataset else "",
            f" of object {self.object_id}" if self.object_id else "",
            f" that broke {self.rule}" if self.rule else "",
        )
        return "".join(parts)


@dataclass(frozen=True)
class Matching:
    """A quarantined row, as far as deciding about it goes."""

    quarantine_id: int
    object_id: uuid.UUID
    status: str
    is_replayable: bool


def replay(
    dataset: Annotated[str | None, typer.Argument(help="Only this dataset's rows.", metavar="[DATASET]")] = None,
    rule: Rule = None,
    object_named: ObjectName = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is done and say what passed.")] = False,
    timeout_seconds: TimeoutSeconds = 300.0,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Cast and check open rows again, from their kept text, with today's contract.

    Rows that pass take effect as their object would have: what is newer stays. The others stay open. When you
    changed the contract, `medallion reload` first: services read it when they start.
    """
    from services.cli.connect import find_stack

    stack = find_stack(data_dir)
    _check_dataset(stack, dataset)
    with stack.session("replay") as session:
        wanted = _wanted(session, stack, dataset, rule, object_named)
        found = matching(session, stack, wanted)
        asked = _ask(session, stack, wanted, found)
    objects = len({row.object_id for row in asked})
    result = {"rows_asked": len(asked), "rows_not_replayable": len(found) - len(asked), "objects": objects}
    if not as_json:
        console().print(f"{len(asked):,} row(s) of {objects:,} object(s) will be checked again.")
    outcome = _waited(stack, [row.quarantine_id for row in asked], timeout_seconds) if wait else {}
    if as_json:
        print_json(result | outcome)
    elif outcome:
        console().print(outcome_sentence(outcome))
    if outcome.get("failure"):
        raise Outstanding(f"not all of it could be done: {outcome['failure']}")


def _ask(session: "Session", stack: "Stack", wanted: Wanted, found: Sequence[Matching]) -> list[Matching]:
    """Ask for the rows that can be replayed and return them; raises MedallionError when there is none."""
    from services.cli.announce import announce
    from shared import requests

    asked = [row for row in found if row.is_replayable]
    if not found:
        raise MedallionError(f"nothing to replay: there is no open row{wanted.sentence()}")
    if len(asked) < len(found):
        remark(
            f"{len(found) - len(asked):,} open row(s) cannot be replayed: their text is not whole, or another line of "
            "the file was taken. Land the file again corrected, or discard them."
        )
    if not asked:
        raise MedallionError("nothing to replay: there is no other open row")
    _, refs = requests.replay(session, wanted.dataset, wanted.rule, wanted.object_id)
    announce(stack, session, refs)
    return asked


def outcome_sentence(outcome: dict[str, Any]) -> str:
    """Say what became of the rows."""
    closed = f", {outcome['rows_closed']:,} were closed by newer data" if outcome["rows_closed"] else ""
    return f"{outcome['rows_passed']:,} passed, {outcome['rows_open']:,} stay open{closed}."


def _waited(stack: "Stack", ids: Sequence[int], timeout_seconds: float) -> dict[str, Any]:
    """Return what became of the rows once their objects are finished; raises Outstanding on timeout."""
    from services.cli.settle import idle_workers

    deadline, query = time.monotonic() + timeout_seconds, stack.query("replay_outcome")
    with stack.session("replay") as session, errors().status("Waiting for silver …"):
        while True:
            (outcome,) = dictionaries(OUTCOME_COLUMNS, session.rows(query, {"ids": list(ids)}))
            session.rollback()
            if not outcome["objects_unfinished"]:
                return {name: outcome[name] for name in OUTCOME_COLUMNS[1:]}
            if time.monotonic() >= deadline:
                what = f"{outcome['objects_unfinished']} object(s) are not finished after {timeout_seconds:g} s"
                raise Outstanding("\n".join([what, *idle_workers(stack)]))
            time.sleep(POLL_SECONDS)


def discard(
    what: Annotated[
        list[str] | None, typer.Argument(help="A dataset, or the ids of rows.", metavar="[DATASET|ID…]")
    ] = None,
    rule: Rule = None,
    object_named: ObjectName = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Set open rows aside for good: they are kept, but count and are shown no more.

    Say which: ids, a dataset, --rule or --object. Asks before it does it.
    """
    from services.cli.connect import find_stack
    from shared import requests

    dataset, ids = read_selection(what or [], rule, object_named)
    stack = find_stack(data_dir)
    with stack.session("discard") as session:
        wanted = _wanted(session, stack, dataset, rule, object_named)
        found = matching(session, stack, wanted, ids)
        still_open = _open_ones(found, ids, wanted)
        session.rollback()  # nothing is held while a person thinks
        if not yes and not typer.confirm(f"Discard {len(still_open):,} open row(s)?", err=True):
            remark("Nothing was discarded.")
            raise typer.Exit(1)
        discarded = requests.discard(session, still_open)
    if as_json:
        print_json({"rows_discarded": discarded, "quarantine_ids": still_open})
    else:
        console().print(f"{discarded:,} row(s) discarded.")


def read_selection(what: Sequence[str], rule: str | None, object_named: str | None) -> tuple[str | None, list[int]]:
    """Return the dataset and the ids that the arguments name; raises ConfigurationError when they contradict."""
    names = [one for one in what if not one.isdecimal() or int(one) > naming.ROW_ID_MAX]
    if not what and not rule and not object_named:
        raise ConfigurationError("say which rows: ids, a dataset, --rule NAME or --object OBJECT")
    if len(names) > 1 or (names and len(what) > 1):
        raise ConfigurationError(f"give ids or one dataset, not both: {' '.join(what)}")
    if what and not names and (rule or object_named):
        raise ConfigurationError("ids say which rows already; leave --rule and --object out")
    return (names[0], []) if names else (None, [int(one) for one in what])


def _open_ones(found: Sequence[Matching], ids: Sequence[int], wanted: Wanted) -> list[int]:
    missing(ids, [row.quarantine_id for row in found], "quarantined row")
    closed = [f"{row.quarantine_id} ({row.status})" for row in found if row.status != "open"]
    if closed:
        raise MedallionError(f"not open, so nothing was discarded: {', '.join(closed)}")
    if not found:
        raise MedallionError(f"nothing to discard: there is no open row{wanted.sentence()}")
    return [row.quarantine_id for row in found]


def _wanted(
    session: "Session", stack: "Stack", dataset: str | None, rule: str | None, object_named: str | None
) -> Wanted:
    return Wanted(dataset, rule, naming.object_named(session, stack, object_named) if object_named else None)


def matching(session: "Session", stack: "Stack", wanted: Wanted, ids: Sequence[int] = ()) -> list[Matching]:
    """Return the rows that are meant."""
    from shared.requests import NOT_REPLAYABLE

    parameters = {**vars(wanted), "ids": list(ids) or None, "not_replayable": list(NOT_REPLAYABLE)}
    return [Matching(*row) for row in session.rows(stack.query("quarantine_matching"), parameters)]


def _check_dataset(stack: "Stack", dataset: str | None) -> None:
    from shared.catalog import load_catalog

    if dataset is not None:
        load_catalog(stack.settings.dataset_dir)[dataset]
