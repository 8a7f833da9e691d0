"""What a person decides and a file cannot: asked on a terminal, in few questions with sensible answers."""

from collections.abc import Callable, Sequence
from typing import Any

from services.cli.add.draft import Draft
from services.cli.output import errors
from shared.errors import ConfigurationError

Ask = Callable[[str, Sequence[str], str], str]  # question, answers to choose from (none: anything), default → answer


def on_terminal(question: str, answers: Sequence[str], default: str) -> str:
    """Ask on the terminal until the answer is one of those offered."""
    import typer

    said = f" ({' · '.join(answers)})" if answers else ""
    while True:
        answer = str(typer.prompt(f"{question}{said}", default=default, err=True)).strip()
        if not answers or answer in answers:
            return answer
        errors().print(f"Not among the answers: {answer}", markup=False)


def declared_type(text: str) -> dict[str, Any]:
    """Return what a `--type` says: `integer`, `date:%d/%m/%Y`, `decimal:12,2`; raises ConfigurationError."""
    kind, _, rest = text.partition(":")
    if kind == "decimal" and rest:
        precision, _, scale = rest.partition(",")
        if not (precision.isdigit() and scale.isdigit()):
            raise ConfigurationError(f"--type: {text!r} must give digits and places, as decimal:12,2")
        return {"type": kind, "precision": int(precision), "scale": int(scale)}
    known = ("text", "integer", "decimal", "double", "boolean", "date", "timestamp", "json")
    if kind not in known or (rest and kind not in ("date", "timestamp")):
        raise ConfigurationError(
            f"--type: {text!r} is no type; there are: {', '.join(known)}, date:%d/%m/%Y, decimal:12,2"
        )
    return {"type": kind} | ({"format": rest} if rest else {})


def ask_types(draft: Draft, ask: Ask) -> Draft:
    """Ask how to read the columns that can be read in several ways; `text` leaves them as they are."""
    for column in list(draft.open_columns):
        question = f"Column {column.name}: {column.decision.note}. How is it to be read?"
        answer = ask(question, [*column.decision.readings, "text"], "text")
        if answer != "text":
            draft = draft.with_type(column.name, declared_type(answer))
    return draft


def ask_key(draft: Draft, ask: Ask) -> tuple[str, ...]:
    """Ask which columns tell records apart; `none` for those that are only ever added."""
    offered = [",".join(key) for key in draft.keys[:5]]
    question = f"Key, unique in all {draft.rows:,} records" if offered else "No columns tell all records apart. Key"
    answer = ask(f"{question} (columns by comma, or none)", [], offered[0] if offered else "none")
    return () if answer == "none" else tuple(part.strip() for part in answer.split(","))
