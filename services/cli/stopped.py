"""Workers that stand still until somebody says to go on: what `status` shows and `settle` hints at."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from services.cli.output import age, console, dictionaries

if TYPE_CHECKING:
    from services.cli.connect import Stack
    from shared.ports import Session

COLUMNS = ("service", "host", "pid", "worker_id", "reason", "stopped_at", "age_seconds")
REMEDY = "mend the deployment (`medallion dead-letters list` has the evidence), then `medallion dead-letters resume`"


def stopped_workers(session: "Session", stack: "Stack") -> list[dict[str, Any]]:
    """Return the workers that have stopped, with the reason."""
    silence = {"silence": stack.settings.heartbeat_silence_seconds}
    return dictionaries(COLUMNS, session.rows(stack.query("stops"), silence))


def sentence(stop: Mapping[str, Any]) -> str:
    """Say which worker has stopped and why."""
    return f"{stop['service']} ({stop['pid']} on {stop['host']}) has stopped: {stop['reason']}"


def show(stops: Sequence[Mapping[str, Any]]) -> None:
    """Print each stopped worker with reason and remedy."""
    from rich.text import Text

    for stop in stops:
        console().print(Text(f"{sentence(stop)}, {age(stop['age_seconds'])} ago", "bold red"), soft_wrap=True)
    if stops:
        console().print(f"It consumes nothing: {REMEDY}\n", soft_wrap=True, markup=False)
