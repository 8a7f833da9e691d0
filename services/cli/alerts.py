"""What is wrong and who was told: `alerts list` and `test`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.options import DataDir, Json
from services.cli.output import age, complain, console, dictionaries, print_json, short, table

if TYPE_CHECKING:
    from services.cli.connect import Stack
    from shared.ports import Session

app = typer.Typer(help="What is wrong, and who was told; without a command, the list.", invoke_without_command=True)

OVER_SHOWN_SECONDS = 7 * 86_400
COLUMNS = ("kind", "dataset", "severity", "message", "opened_at", "told_at", "closed_at", "age_seconds")
UNDELIVERED_COLUMNS = ("channel", "title", "attempts", "error_message", "next_attempt_at", "given_up_at")


@app.callback()
def alerts(context: typer.Context, data_dir: DataDir = None, as_json: Json = False) -> None:
    """What is wrong, and who was told; without a command, the list."""
    if context.invoked_subcommand is None:
        list_alerts(20, data_dir, as_json)


@app.command("list")
def list_alerts(
    rows: Annotated[int, typer.Option("--rows", min=1, metavar="N", help="How many, open ones first.")] = 20,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Show open alerts, those that were over in the last week, and messages that a channel did not take."""
    from services.cli.connect import find_stack

    stack = find_stack(data_dir)
    with stack.session("alerts") as session:
        found = known(session, stack, rows)
        undelivered = dictionaries(UNDELIVERED_COLUMNS, session.rows(stack.query("alerts_undelivered")))
    if as_json:
        print_json({"alerts": found, "undelivered": undelivered})
        return
    console().print(_table(found) if found else "No alert, and none was over in the last week.")
    for one in undelivered:
        given_up = ", given up" if one["given_up_at"] else ""
        text = f"{one['channel']} did not take it, {one['attempts']} time(s){given_up}: {one['error_message']}"
        console().print(f"{one['title']}: {text}", soft_wrap=True, markup=False, style="red")


def known(
    session: "Session", stack: "Stack", rows: int, since_seconds: float = OVER_SHOWN_SECONDS
) -> list[dict[str, Any]]:
    """Return alerts as plain data, open ones first."""
    return dictionaries(COLUMNS, session.rows(stack.query("alerts"), {"rows": rows, "since": since_seconds}))


def _table(found: Sequence[Mapping[str, Any]]) -> Any:
    rows = [
        (
            "over" if one["closed_at"] else "open", one["kind"], one["severity"], f"{age(one['age_seconds'])} ago",
            "yes" if one["told_at"] else "not yet" if not one["closed_at"] else "no", short(one["message"], 300),
        )
        for one in found
    ]  # fmt: skip
    columns = ("is", "kind", "severity", "since", "told", "what")
    return table(None, columns, rows, right=("since",), fixed=columns[:-1])


@app.command("test")
def send_test(as_json: Json = False) -> None:
    """Send a test message on every channel that the settings name, and say which took it.

    Exits with 1 when one did not.
    """
    import socket
    from datetime import UTC, datetime

    from shared.adapters.channels import open_channels
    from shared.alerts import NotDelivered, test_message
    from shared.settings import load_settings

    message, failures = test_message(socket.gethostname(), datetime.now(UTC)), {}
    channels = open_channels(load_settings())
    for name, channel in channels.items():
        try:
            channel.send(message)
        except NotDelivered as error:
            failures[name] = str(error)
    if as_json:
        print_json({name: failures.get(name, "sent") for name in channels})
    else:
        _say(channels, failures)
    if failures:
        raise typer.Exit(1)


def _say(channels: Mapping[str, Any], failures: Mapping[str, str]) -> None:
    for name in channels:
        if name in failures:
            complain(f"{name}: {failures[name]}")
        else:
            console().print(f"{name}: sent")
    if len(channels) == 1:
        console().print("Only the log is told: set MEDALLION_ALERT_WEBHOOK_URL, or MEDALLION_ALERT_SMTP_HOST and …_TO.")
