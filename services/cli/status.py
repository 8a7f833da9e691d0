"""The pipeline on one screen: `status`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from services.cli import stopped
from services.cli.alerts import known as known_alerts
from services.cli.options import DataDir, Json
from services.cli.output import (
    STATUS_STYLES,
    age,
    complain,
    console,
    dictionaries,
    key_text,
    moment,
    print_json,
    short,
    table,
)
from services.cli.quality import failing

if TYPE_CHECKING:
    from services.cli.connect import Stack
    from shared.health import Server

UNREACHABLE = 3  # exit status

RUNS_SHOWN = 5
TROUBLE_SHOWN = 5
ALERTS_SHOWN = 100
TROUBLE_SINCE_SECONDS = 7 * 86_400

DATASET_COLUMNS = (
    "dataset", "rows_live", "newest_landed_at", "landed_age_seconds", "last_status", "last_object", "last_score",
    "last_poll", "poll_age_seconds", "poll_error", "quarantine_open",
)  # fmt: skip
WORKER_COLUMNS = (
    "service", "host", "pid", "heartbeat_age_seconds", "age_seconds", "is_alive", "working_on_dataset", "working_on",
)  # fmt: skip
COUNT_COLUMNS = ("gold_pending", "quarantine_open", "dead_letters", "oldest_unfinished_seconds")
TROUBLE_COLUMNS = ("status", "dataset", "object_key", "object_id", "error_message", "age_seconds")
RUN_COLUMNS = (
    "run_id", "finished_at", "age_seconds", "dataset", "kind", "outcome", "rows_read", "rows_inserted",
    "rows_updated", "rows_unchanged", "rows_deleted", "rows_quarantined", "rows_duplicate", "rows_superseded",
    "rows_discarded", "seconds", "object_key", "object_id", "error_message", "worker_id",
)  # fmt: skip


def status(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show datasets, backlog, workers, last runs and what needs attention, on one screen.

    Says which server cannot be reached, and exits with 3 then; without the database that is all.
    """
    from services.cli.connect import find_stack
    from shared.adapters.probes import POSTGRESQL

    stack = find_stack(data_dir)
    away = unreachable(stack)
    found = {} if any(server.name == POSTGRESQL for server in away) else gather(stack)
    if as_json:
        print_json({**found, "unreachable": {server.name: server.reason for server in away}})
    elif found:
        console().print(f"[bold]medallion[/] on {stack.origin}")
        _show(found)
    for server in away:
        complain(server.sentence)
    if away:
        raise typer.Exit(UNREACHABLE)


def unreachable(stack: "Stack") -> list["Server"]:
    """Return the servers that do not answer now, after at most a few seconds."""
    from shared.adapters.probes import server_checks
    from shared.adapters.s3 import open_s3
    from shared.health import look_once

    checks = server_checks(stack.settings, stack.warehouse, open_s3(stack.settings))
    return [server for server in look_once(checks) if server.away_since is not None]


def _show(found: Mapping[str, Any]) -> None:
    _show_datasets(found)
    _show_backlog(found)
    _show_workers(found)
    _show_monitors(found)
    _show_runs(found)
    stopped.show(found["stopped"])
    _show_trouble(found)


def gather(stack: "Stack") -> dict[str, Any]:
    """Return everything that `status` shows, as plain data; raises Unavailable."""
    from services.stack import monitors

    silence = {"silence": stack.settings.heartbeat_silence_seconds}
    trouble = {"since": TROUBLE_SINCE_SECONDS, "rows": TROUBLE_SHOWN}
    with stack.session("status") as session:
        return {
            "datasets": dictionaries(DATASET_COLUMNS, session.rows(stack.query("status_datasets"), {})),
            "objects": dict(session.rows(stack.query("status_objects"))),
            **dictionaries(COUNT_COLUMNS, session.rows(stack.query("status_counts")))[0],
            "workers": dictionaries(WORKER_COLUMNS, session.rows(stack.query("workers"), silence)),
            "runs": dictionaries(RUN_COLUMNS, session.rows(stack.query("runs"), {"dataset": None, "rows": RUNS_SHOWN})),
            "monitors": monitors(stack.settings.data_dir),
            "stopped": stopped.stopped_workers(session, stack),
            "expectations_failed": failing(session, stack),
            "alerts": known_alerts(session, stack, rows=ALERTS_SHOWN, since_seconds=0),
            "trouble": dictionaries(TROUBLE_COLUMNS, session.rows(stack.query("troubled_objects"), trouble)),
        }


def _show_datasets(found: Mapping[str, Any]) -> None:
    rows = [
        (
            one["dataset"], one["rows_live"], moment(one["newest_landed_at"])[:16], _colored(one["last_status"]),
            _poll(one), one["quarantine_open"],
        )
        for one in found["datasets"]
    ]  # fmt: skip
    columns = ("dataset", "rows", "newest landed", "last object", "last poll", "quarantined")
    title = "Datasets [dim](times in UTC)[/]"
    console().print(table(title, columns, rows, right=("rows", "quarantined"), fixed=columns[:4]))


def _poll(one: Mapping[str, Any]) -> str:
    if one["last_poll"] is None:
        return "never"
    text = f"{one['last_poll']} {age(one['poll_age_seconds'])} ago"
    return f"{text}: {short(one['poll_error'], 60)}" if one["last_poll"] == "failed" else text


def _colored(text: str | None) -> Any:
    from rich.text import Text

    return Text(text or "–", STATUS_STYLES.get(text or "", ""))


def _show_backlog(found: Mapping[str, Any]) -> None:
    objects = found["objects"]
    moving = objects.get("registered", 0) + objects.get("processing", 0)
    oldest = f", the oldest for {age(found['oldest_unfinished_seconds'])}" if moving else ""
    counts = " · ".join(f"{objects[name]:,} {name}" for name in STATUS_STYLES if objects.get(name))
    console().print(
        f"[bold]Backlog[/]  {moving:,} object(s) to process{oldest} · {found['gold_pending']:,} change set(s) for gold"
    )
    console().print(f"[bold]Objects[/]  {counts or 'none yet: land a file, or let the ingestor poll'}")


def _show_workers(found: Mapping[str, Any]) -> None:
    if not found["workers"]:
        console().print("\n[bold]Workers[/]\n[red]none has sent a heartbeat; start them with `medallion up`[/]")
        return
    rows = [
        (
            one["service"], f"{one['pid']} on {one['host']}", age(one["age_seconds"]),
            f"{age(one['heartbeat_age_seconds'])} ago" if one["is_alive"]
            else _warn(f"silent for {age(one['heartbeat_age_seconds'])}"),
            key_text(one["working_on"], 50) if one["working_on"] else "idle",
        )
        for one in found["workers"]
    ]  # fmt: skip
    console().print()
    console().print(table("Workers", ("service", "pid", "up for", "heartbeat", "working on"), rows, right=("up for",)))


def _show_monitors(found: Mapping[str, Any]) -> None:
    if found["monitors"]:
        places = " · ".join(f"{name} {address}" for name, address in found["monitors"].items())
        console().print(f"[bold]Metrics and health[/]  {places.replace('http://', '')}", soft_wrap=True)


def _warn(text: str) -> Any:
    from rich.text import Text

    return Text(text, "bold red")


def _show_runs(found: Mapping[str, Any]) -> None:
    if found["runs"]:
        console().print(runs_table(found["runs"], "Last runs"))


def runs_table(runs: list[dict[str, Any]], title: str | None) -> Any:
    """Return the table of passes over objects."""
    rows = [
        (
            age(one["age_seconds"]), one["dataset"], _colored(one["outcome"]), one["rows_read"],
            one["rows_inserted"], one["rows_updated"], one["rows_deleted"], one["rows_quarantined"],
            f"{one['seconds']:.2f}",
        )
        for one in runs
    ]  # fmt: skip
    columns = ("ago", "dataset", "outcome", "read", "new", "changed", "removed", "bad", "seconds")
    return table(title, columns, rows, right=(columns[0], *columns[3:]), fixed=columns)


def _show_trouble(found: Mapping[str, Any]) -> None:
    if found["trouble"]:
        rows = [
            (_colored(one["status"]), f"{age(one['age_seconds'])} ago", key_text(one["object_key"], 44),
             short(one["error_message"], 400))
            for one in found["trouble"]
        ]  # fmt: skip
        console().print(table("Did not take effect", ("status", "when", "object", "why"), rows))
    if found["expectations_failed"]:
        failed = found["expectations_failed"]
        named = short(", ".join(f"{one['dataset']} {one['quality_check']}" for one in failed), 160)
        console().print(f"[yellow]{len(failed):,} not as expected[/] ({named}): medallion quality", soft_wrap=True)
    if found["alerts"]:
        kinds = ", ".join(sorted({one["kind"] for one in found["alerts"]}))
        console().print(
            f"[yellow]{len(found['alerts']):,} alert(s) open[/] ({kinds}): medallion alerts", soft_wrap=True
        )
    if found["quarantine_open"]:
        console().print(
            f"[yellow]{found['quarantine_open']:,} row(s) in quarantine[/]: medallion quarantine list", soft_wrap=True
        )
    if found["dead_letters"]:
        console().print(
            f"[bold red]{found['dead_letters']:,} dead letter(s)[/]: medallion dead-letters list", soft_wrap=True
        )
