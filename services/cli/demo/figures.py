"""The figures that the demonstration shows, read from gold."""

from typing import Any

from services.cli.connect import Stack
from services.cli.output import console, number, short, table
from shared.ports import Session

WORLD = (
    "summary_date", "total_countries", "total_confirmed", "total_deaths", "daily_new_cases", "daily_new_deaths",
    "week_over_week_change", "top_5_countries",
)  # fmt: skip


def world(session: Session, stack: Stack) -> dict[str, Any]:
    """Return the world's figures on the newest day of the data."""
    return dict(zip(WORLD, session.rows(stack.query("demo_world"), {})[0], strict=True))


def show(stack: Stack) -> None:
    """Print the world, the top five, engagement, and what the checks found."""
    from rich.columns import Columns

    with stack.session("demo") as session:
        today = world(session, stack)
        engagement = session.rows(stack.query("demo_engagement"), {})
        findings = session.rows(stack.query("demo_findings"), {})
    console().print()
    console().print(Columns([_world(today), _top(today), _engagement(engagement)], padding=(0, 5)))
    console().print()
    console().print(_findings(findings))


def _world(today: dict[str, Any]) -> Any:
    change = today["week_over_week_change"]
    rows = [
        ("countries", today["total_countries"]),
        ("confirmed", today["total_confirmed"]),
        ("deaths", today["total_deaths"]),
        ("new cases that day", today["daily_new_cases"]),
        ("against a week before", f"{change:+} %" if change is not None else None),
    ]
    return table(f"The world on {today['summary_date']}", ("COVID-19", ""), rows, right=("",))


def _top(today: dict[str, Any]) -> Any:
    rows = [(one["country"], one["confirmed"]) for one in today["top_5_countries"]]
    return table("Top five", ("country", "confirmed"), rows, right=("confirmed",))


def _engagement(rows: list[tuple[Any, ...]]) -> Any:
    shown = [(name, posts, words, f"{score:.1f}", level) for name, posts, words, score, level in rows]
    columns = ("user", "posts", "words", "score", "activity")
    return table("Engagement", columns, shown, right=columns[1:4])


def _findings(rows: list[tuple[Any, ...]]) -> Any:
    shown = [
        (name.partition(".")[2], check, number(failed), short(message, 70))
        for name, check, _, _, failed, message in rows
    ]
    columns = ("table", "check", "rows", "what it asks, or what it found")
    title = "Data quality: checks that found something (the rows stay, with a lower score)"
    return table(title, columns, shown, right=("rows",), fixed=("table", "check", "rows"))
