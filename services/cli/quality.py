"""How good the data is, and how that went: `quality`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.options import DataDir, Json
from services.cli.output import age, console, dictionaries, print_json, short, table
from services.cli.spark import bars
from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from datetime import date

    from services.cli.connect import Stack
    from shared.ports import Session

SINCE_DAYS = 30
TREND_WIDTH = 40  # characters
SAMPLED = 5  # checks of which samples are shown

DAY_COLUMNS = (
    "dataset", "day", "objects", "objects_rejected", "rows_read", "rows_quarantined", "data_quality_score",
)  # fmt: skip
CHECK_COLUMNS = (
    "table_name", "quality_check", "kind", "severity", "results", "results_failed", "records_checked", "records_failed",
    "failure_rate", "last_day",
)  # fmt: skip
EXPECTATION_COLUMNS = (
    "dataset", "quality_check", "kind", "severity", "passed", "message", "failing_since", "checked_at", "object_id",
    "object_key", "failing_seconds",
)  # fmt: skip
SAMPLE_COLUMNS = ("table_name", "quality_check", "details", "check_timestamp", "object_id", "object_key")


def quality(
    dataset: Annotated[str | None, typer.Argument(help="Only this dataset's.", metavar="[DATASET]")] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="DAY", help="First day of landing, YYYY-MM-DD. Default: 30 days ago."),
    ] = None,
    rows: Annotated[int, typer.Option("--rows", min=1, metavar="N", help="How many checks.")] = 10,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Show scores by day, the rules that found most with samples, and what is not as expected.

    Exits with 1 while an expectation of severity `error` fails; rules and warnings are history and leave it at 0.
    """
    from services.cli.connect import find_stack

    first = _day(since)
    stack = find_stack(data_dir)
    with stack.session("quality") as session:
        found = gather(session, stack, dataset, first, rows)
    if as_json:
        print_json(found)
    else:
        _show(found, dataset, first)
    if any(not one["passed"] and one["severity"] == "error" for one in found["expectations"]):
        raise typer.Exit(1)


def _day(text: str | None) -> "date":
    if text is None:
        return (datetime.now(UTC) - timedelta(days=SINCE_DAYS)).date()
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise ConfigurationError(f"--since {text}: a day is wanted, as in 2026-04-30") from None


def gather(session: "Session", stack: "Stack", dataset: str | None, since: "date", rows: int) -> dict[str, Any]:
    """Return everything that `quality` shows, as plain data."""
    clean = f"silver.clean_{dataset}" if dataset else None
    days = session.rows(stack.query("quality_scores"), {"dataset": dataset, "since": since})
    worst = session.rows(stack.query("quality_checks"), {"table": clean, "since": since, "rows": rows})
    checks = dictionaries(CHECK_COLUMNS, worst)
    named = {
        "tables": [one["table_name"] for one in checks[:SAMPLED]],
        "checks": [one["quality_check"] for one in checks[:SAMPLED]],
    }
    return {
        "days": dictionaries(DAY_COLUMNS, days),
        "checks": checks,
        "samples": dictionaries(SAMPLE_COLUMNS, session.rows(stack.query("quality_samples"), named)),
        "expectations": failing(session, stack, dataset, failed_only=False),
    }


def failing(
    session: "Session", stack: "Stack", dataset: str | None = None, failed_only: bool = True
) -> list[dict[str, Any]]:
    """Return what the expectations said last, what fails first."""
    found = dictionaries(EXPECTATION_COLUMNS, session.rows(stack.query("quality_expectations"), {"dataset": dataset}))
    return [one for one in found if not (failed_only and one["passed"])]


def _show(found: Mapping[str, Any], dataset: str | None, since: "date") -> None:
    if not found["days"] and not found["expectations"]:
        of = f" of {dataset}" if dataset else ""
        console().print(f"Nothing{of} was landed since {since}; `--since DAY` looks further back.")
        return
    if found["days"]:
        console().print(_trends(found["days"], since))
    if found["checks"]:
        console().print(_worst(found["checks"]))
    for sample in found["samples"]:
        if text := sample_text(sample):
            console().print(f"  {sample['quality_check']}: {text}", soft_wrap=True, markup=False, style="dim")
    show_failing([one for one in found["expectations"] if not one["passed"]], len(found["expectations"]))


def _trends(days: Sequence[Mapping[str, Any]], since: "date") -> Any:
    by_dataset: dict[str, list[Mapping[str, Any]]] = {}
    for one in days:
        by_dataset.setdefault(one["dataset"], []).append(one)
    rows = []
    for name, own in by_dataset.items():
        scores = [float(one["data_quality_score"]) for one in own if one["data_quality_score"] is not None]
        rows.append(
            (
                name, len(own), *(sum(one[column] or 0 for one in own) for column in DAY_COLUMNS[2:6]),
                f"{scores[-1]:.2f}" if scores else "–", bars(scores, TREND_WIDTH), f"{min(scores):.2f}" if scores else "–",
            )
        )  # fmt: skip
    columns = ("dataset", "days", "files", "rejected", "rows", "quarantined", "score", "by day", "lowest")
    title = f"Scores since {since} [dim](of 100)[/]"
    return table(title, columns, rows, right=(*columns[1:7], "lowest"), fixed=columns)


def _worst(checks: Sequence[Mapping[str, Any]]) -> Any:
    rows = [
        (
            one["table_name"].removeprefix("silver.clean_"), one["quality_check"], one["severity"],
            one["records_failed"], one["records_checked"], f"{float(one['failure_rate'] or 0):.2%}", str(one["last_day"]),
        )
        for one in checks
    ]  # fmt: skip
    columns = ("of", "rule", "severity", "broken by", "of rows", "share", "last")
    return table("Rules that found most", columns, rows, right=columns[3:6], fixed=columns)


def sample_text(sample: Mapping[str, Any]) -> str:
    """Say where the newest rows that broke a rule are; nothing where no line is known."""
    details = sample["details"] or {}
    lines: list[Any] = []
    for one in details.get("samples", []):
        lines += one["lines"] if isinstance(one, dict) else [one]
    if lines:
        return f"line {', '.join(map(str, lines))} of {sample['object_key']} ({sample['object_id']})"
    return short(details.get("message"), 200)


def show_failing(failed: Sequence[Mapping[str, Any]], expected: int) -> None:
    """Print what is not as expected, or how much is."""
    from rich.text import Text

    if not failed:
        if expected:
            console().print(f"[green]All {expected} expectations are met.[/]")
        return
    console().print(f"[bold]Not as expected[/]  {len(failed)} of {expected}")
    for one in failed:
        style = "red" if one["severity"] == "error" else "yellow"
        since = f", for {age(one['failing_seconds'])}"
        console().print(
            Text(f"  {one['dataset']} {one['quality_check']}: {one['message']}{since}", style), soft_wrap=True
        )
