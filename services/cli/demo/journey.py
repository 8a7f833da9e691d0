"""One dropped file on its way to gold: a correction with a typo in it, followed step by step."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from services.cli.connect import Stack
from services.cli.demo import figures
from services.cli.output import console, number, short, table
from services.cli.quarantine import COLUMNS as QUARANTINE_COLUMNS
from services.cli.quarantine import quarantine_table
from shared.errors import Outstanding
from shared.settings import BRONZE_BUCKET

LINES = 30
ADDED = 500  # cases that each good line adds
TYPO_AT = 17  # data line; the header is line 1
OBJECT_KEY = "covid/corrections.csv"
TIMEOUT_SECONDS = 60.0
JOURNEY = (
    "object_id", "status", "error_message", "rows_updated", "rows_quarantined", "registered_at", "started_at",
    "finished_at", "announced_at", "tables_at", "table_models", "views_at", "view_models", "is_settled",
)  # fmt: skip


def follow_drop(stack: Stack, tick: Callable[[], None]) -> tuple[str, str]:
    """Drop a correction into the bucket, show its way; return (country, day) of its first line."""
    from shared.adapters.s3 import open_s3

    with stack.session("demo") as session:
        rows = session.rows(stack.query("demo_correctable"), {"rows": LINES})
        before = figures.world(session, stack)
        dropped_at = session.rows("SELECT clock_timestamp()")[0][0]
    content = correction(rows)
    console().print()
    console().rule("[bold]Now somebody drops a file", align="left", style="dim")
    console().print(
        f"corrections.csv, {len(rows)} lines, goes to {BRONZE_BUCKET}/covid/ by a plain S3 client. No call to the "
        f"pipeline, no schedule. Line {TYPO_AT + 1} has a typo: a letter O for a digit.",
    )
    dropped = open_s3(stack.settings).put_bytes(BRONZE_BUCKET, OBJECT_KEY, content.encode(), {})
    journey = _arrival(stack, tick, dropped.version_id)
    with stack.session("demo") as session:
        after = figures.world(session, stack)
        wanted = {"dataset": None, "rule": None, "object": str(journey["object_id"]), "status": "all", "rows": 5}
        quarantined = session.rows(stack.query("quarantine_list"), wanted)
    console().print()
    console().print(_way(dropped_at, journey))
    gained = after["total_confirmed"] - before["total_confirmed"]
    console().print(
        f"World total: {number(before['total_confirmed'])} → {number(after['total_confirmed'])} ({gained:+,}). "
        f"{journey['rows_updated']} rows were written in silver, no other."
    )
    console().print()
    console().print("The line with the typo was set aside whole, with the reason; its country keeps its last good row:")
    console().print(quarantine_table([dict(zip(QUARANTINE_COLUMNS, row, strict=True)) for row in quarantined]))
    return str(rows[0][1]), str(rows[0][0])


def correction(rows: list[tuple[Any, ...]]) -> str:
    """Return a CSV that restates rows (day, country, province, confirmed, deaths, recovered), one of them wrongly."""
    lines = ["Date,Country/Region,Province/State,Confirmed,Recovered,Deaths"]
    for position, (day, country, province, confirmed, deaths, recovered) in enumerate(rows, 1):
        cases = str(confirmed + ADDED)
        if position == TYPO_AT:
            cases = cases[:-1] + "O"
        name = f'"{country}"' if "," in country else country
        lines.append(f"{day},{name},{province},{cases},{'' if recovered is None else recovered},{deaths}")
    return "\n".join(lines) + "\n"


def _arrival(stack: Stack, tick: Callable[[], None], version_id: str) -> dict[str, Any]:
    """Wait until the dropped object is in gold; raises Outstanding when it takes too long or is not loaded."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    with console().status("on its way …"), stack.session("demo") as session:
        while time.monotonic() < deadline:
            tick()
            found = session.rows(stack.query("demo_journey"), {"object_key": OBJECT_KEY, "version_id": version_id})
            session.rollback()
            journey = dict(zip(JOURNEY, found[0], strict=True)) if found else {"status": "not noticed yet"}
            if journey["status"] == "done" and journey["tables_at"] and journey["is_settled"]:
                return journey
            if journey["status"] in ("rejected", "held", "failed", "ignored"):
                raise Outstanding(f"{OBJECT_KEY} is {journey['status']}: {journey['error_message']}")
            time.sleep(0.02)
    raise Outstanding(f"{OBJECT_KEY} did not reach gold within {TIMEOUT_SECONDS:g} s; it is {journey['status']}")


def _way(dropped_at: datetime, journey: dict[str, Any]) -> Any:
    """Return the table of steps, with the milliseconds after the drop and of each step."""
    steps = [
        ("noticed: store → webhook → ledger → Kafka event", journey["registered_at"]),
        ("claimed by a silver worker", journey["started_at"]),
        (
            f"committed in silver: {journey['rows_updated']} rows changed, {journey['rows_quarantined']} quarantined",
            journey["finished_at"],
        ),
        (f"{journey['table_models']} gold tables refreshed, the touched day only", journey["tables_at"]),
        (f"{journey['view_models']} materialized view refreshed", journey["views_at"]),
    ]
    rows, last = [], dropped_at
    for text, at in steps:
        if at is not None:
            rows.append((short(text, 70), f"{_ms(dropped_at, at):,} ms", f"{_ms(last, at):,} ms"))
            last = at
    return table(None, ("step", "after the drop", "took"), rows, right=("after the drop", "took"))


def _ms(since: datetime, until: datetime) -> int:
    return round((until - since).total_seconds() * 1000)
