"""The live table of the demonstration: each dataset's way through bronze, silver and gold."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.cli.connect import Stack
from services.cli.output import bytes_text, console, table
from shared.errors import Outstanding
from shared.ledger import FINISHED

POLL_SECONDS = 0.15
COLUMNS = (
    "dataset", "status", "size_bytes", "source_url", "seconds", "rows_read", "rows_quarantined", "rows_waiting",
    "error_message", "models_waiting",
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """What one dataset shows for one layer."""

    is_done: bool
    text: str


def steps(found: Mapping[str, Any] | None, models: int, failure: str | None) -> tuple[Step, Step, Step]:
    """Return a dataset's state in bronze, silver and gold, in words."""
    nothing = Step(False, "")
    if found is None:
        return Step(False, failure or "polling the source"), nothing, nothing
    bronze = Step(True, f"landed {bytes_text(found['size_bytes'])}")
    if found["status"] not in FINISHED:
        seconds = f" {found['seconds']:.0f} s" if found["status"] == "processing" and found["seconds"] else ""
        words = {"processing": "reading, checking, merging", "registered": "event sent, waiting for a worker"}
        return bronze, Step(False, words.get(found["status"], found["status"]) + seconds), nothing
    if found["status"] not in ("done", "superseded"):
        return bronze, Step(True, f"{found['status']}: {found['error_message']}"), Step(True, "unchanged")
    waiting, bad = found["rows_waiting"], found["rows_quarantined"] - found["rows_waiting"]
    aside = (f", {bad:,} quarantined" if bad > 0 else "") + (
        f", {waiting:,} wait for what they refer to" if waiting else ""
    )
    silver = Step(True, f"{found['rows_read']:,} rows{aside}, {found['seconds']:.1f} s")
    if found["models_waiting"]:
        return bronze, silver, Step(False, f"{models - found['models_waiting']} of {models} models")
    return bronze, silver, Step(True, f"{models} models up to date")


class Board:
    """Shows the steps: live on a terminal, else a line for each step that was finished."""

    def __init__(self, models_by_dataset: Mapping[str, int]) -> None:
        self._models = models_by_dataset
        self._began = time.monotonic()
        self._said: set[tuple[str, int]] = set()

    def follow(self, stack: Stack, tick: Callable[[], None], timeout_seconds: float) -> None:
        """Show progress until all datasets are in gold; raises Outstanding when that takes too long."""
        from rich.live import Live

        deadline = time.monotonic() + timeout_seconds
        with Live(console=console(), refresh_per_second=8, transient=False) as live, stack.session("demo") as session:
            while True:
                tick()
                rows = [dict(zip(COLUMNS, row, strict=True)) for row in session.rows(stack.query("demo_progress"), {})]
                failures: dict[str, str] = dict(session.rows(stack.query("failed_polls"), {}))
                session.rollback()
                found = {row["dataset"]: row for row in rows}
                state = {n: steps(found.get(n), m, failures.get(n)) for n, m in self._models.items()}
                if console().is_terminal:
                    live.update(self._picture(state))
                else:
                    self._say(state)
                if all(step.is_done for layers in state.values() for step in layers):
                    return
                if time.monotonic() > deadline:
                    raise Outstanding(
                        f"the demonstration was not through after {timeout_seconds:g} s; see its logs folder"
                    )
                time.sleep(POLL_SECONDS)

    def _picture(self, state: Mapping[str, Sequence[Step]]) -> Any:
        rows = [(name, *map(_cell, layers)) for name, layers in state.items()]
        seconds = time.monotonic() - self._began
        columns = ("dataset", "bronze", "silver", "gold")
        return table(f"From the sources to the answers · {seconds:.0f} s", columns, rows)

    def _say(self, state: Mapping[str, Sequence[Step]]) -> None:
        for name, layers in state.items():
            for number, (layer, step) in enumerate(zip(("bronze", "silver", "gold"), layers, strict=True)):
                if step.is_done and (name, number) not in self._said:
                    self._said.add((name, number))
                    seconds = time.monotonic() - self._began
                    console().print(f"{seconds:5.1f} s  {name:<6} {layer:<6}  {step.text}", markup=False)


def _cell(step: Step) -> Any:
    from rich.text import Text

    if not step.text:
        return Text("·", "dim")
    return Text.assemble(("✓ ", "green") if step.is_done else ("… ", "cyan"), step.text)
