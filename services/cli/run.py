"""One batch, bronze → silver → gold: `run`."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.options import DataDir, Json, TimeoutSeconds
from services.cli.output import complain, console, dictionaries, errors, print_json, table

if TYPE_CHECKING:
    from services.cli.connect import Stack
    from services.ingestor.service import PollResult
    from shared.catalog import Catalog
    from shared.dataset import Dataset

OBJECT_COLUMNS = (
    "dataset", "status", "object_key", "object_id", "rows_read", "rows_inserted", "rows_updated", "rows_unchanged",
    "rows_deleted", "rows_quarantined", "data_quality_score", "error_message",
)  # fmt: skip
BAD = ("rejected", "held", "failed")
SUMMED = ("rows_read", "rows_inserted", "rows_updated", "rows_unchanged", "rows_deleted", "rows_quarantined")


def run(
    datasets: Annotated[
        list[str] | None, typer.Argument(help="Poll only these.", metavar="[DATASET]…", show_default=False)
    ] = None,
    timeout_seconds: TimeoutSeconds = 3600.0,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Poll every source once, process until nothing is outstanding, print a summary and exit: for cron and Airflow.

    Starts the embedded stack when none runs, and stops it afterwards. Exits with 1 when a source could not be
    fetched, or an object of this run was rejected, held or failed.
    """
    from services.cli.borrowed import borrowed_stack
    from shared.catalog import load_catalog
    from shared.settings import load_settings
    from shared.telemetry import configure_logging

    settings = load_settings()
    configure_logging("run", settings.log_format, "ERROR")
    catalog = load_catalog(settings.dataset_dir)
    chosen = [catalog[name] for name in datasets or ()] or [d for d in catalog.datasets.values() if d.source]
    began = time.monotonic()
    with borrowed_stack(data_dir) as (stack, tick):
        since = _now(stack)
        polls = _poll(stack, catalog, chosen)
        _wait(stack, timeout_seconds, datasets, tick)
        objects = _objects(stack, since, datasets)
    seconds = time.monotonic() - began
    if as_json:
        print_json({"seconds": round(seconds, 3), "polls": [vars(poll) for poll in polls], "objects": objects})
    else:
        _show(polls, objects, seconds)
    if any(poll.outcome == "failed" for poll in polls) or any(one["status"] in BAD for one in objects):
        raise typer.Exit(1)


def _now(stack: "Stack") -> Any:
    from shared.landing import database_now

    with stack.session("run") as session:
        return database_now(session)


def _poll(stack: "Stack", catalog: "Catalog", datasets: Sequence["Dataset"]) -> list["PollResult"]:
    """Ask every source once, all at the same time, and take in what was dropped into the bucket."""
    from services.ingestor.service import Ingestor
    from shared.adapters.kafka import KafkaBus
    from shared.adapters.s3 import open_s3

    bus = KafkaBus(stack.settings.kafka_bootstrap_servers)
    ingestor = Ingestor(stack.settings, catalog, stack.warehouse, open_s3(stack.settings), bus)
    try:
        with errors().status(f"Polling {', '.join(d.name for d in datasets)} …"):
            if datasets:
                with ThreadPoolExecutor(len(datasets)) as pool:
                    results = list(pool.map(ingestor.poll_once, datasets))
            else:
                results = []
            ingestor.sweep_once()
        return results
    finally:
        bus.close()


def _wait(stack: "Stack", timeout_seconds: float, datasets: Sequence[str] | None, tick: Any) -> None:
    from services.cli.settle import Backlog, wait_until_settled

    with errors().status("Processing …") as spinner:

        def show(backlog: Backlog) -> None:
            tick()
            spinner.update(f"Processing: {backlog.sentence()} …")

        wait_until_settled(stack, timeout_seconds, datasets, show)


def _objects(stack: "Stack", since: Any, datasets: Sequence[str] | None) -> list[dict[str, Any]]:
    wanted = {"since": since, "datasets": list(datasets) if datasets else None}
    with stack.session("run") as session:
        return dictionaries(OBJECT_COLUMNS, session.rows(stack.query("run_objects"), wanted))


def _show(polls: Sequence["PollResult"], objects: Sequence[dict[str, Any]], seconds: float) -> None:
    """Print what happened, a line for each dataset, and what went wrong."""
    outcomes = {poll.dataset: poll.outcome for poll in polls}
    names = list(dict.fromkeys([*outcomes, *(one["dataset"] or "(no dataset)" for one in objects)]))
    rows = []
    for name in names:
        mine = [one for one in objects if (one["dataset"] or "(no dataset)") == name]
        sums = [sum(one[column] or 0 for one in mine) for column in SUMMED]
        rows.append((name, outcomes.get(name, "not polled"), len(mine), *sums))
    columns = ("dataset", "source", "objects", "read", "new", "changed", "unchanged", "removed", "quarantined")
    console().print(table(None, columns, rows, right=columns[2:]))
    for poll in polls:
        if poll.error_message:
            complain(poll.error_message)
    for one in objects:
        if one["status"] in BAD:
            complain(f"{one['status']}: {one['object_key']}: {one['error_message']}")
    console().print(f"Done in {seconds:.1f} s.")
