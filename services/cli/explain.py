"""Where a number comes from: `explain`."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from services.cli.options import DataDir, Json
from services.cli.output import complain, console, moment, number, print_json, short

VALUE_LENGTH_MAX = 60


def explain(
    model: Annotated[str, typer.Argument(help="A gold model, a dataset or its clean table.", metavar="MODEL")],
    keys: Annotated[
        list[str],
        typer.Argument(help="Values of the key columns in their order, or COLUMN=VALUE.", metavar="KEY…"),
    ],
    rows: Annotated[int, typer.Option("--rows", min=1, metavar="N", help="Rows shown of each table.")] = 3,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Walk back from a gold or silver row to the text as it was delivered.

    Gold row → the rows it is made of → rules that they break → text, line, object, version, source, time.
    For example: medallion explain covid_country_trends US 2022-04-16
    """
    from services.cli.connect import find_stack
    from services.cli.lineage import Explorer
    from services.cli.serve import load_configuration

    stack = find_stack(data_dir)
    catalog, models = load_configuration(stack.settings)
    with stack.session("explain") as session:
        found = Explorer(session, catalog, models, rows).explain(model, keys)
    if not found["rows"] and not found.get("quarantined"):
        complain(f"{found['table']} has no row with {' '.join(keys)}; its key is {', '.join(found['grain'])}")
        raise typer.Exit(1)
    if as_json:
        print_json(found)
    else:
        console().print(explained(found))


def explained(found: Mapping[str, Any]) -> Any:
    """Return the walk back as a tree for the console."""
    from rich.tree import Tree

    tree = Tree(_text(found["table"], "bold"), guide_style="dim")
    _add_rows(tree, found)
    for one in found.get("quarantined", ()):
        _add_quarantined(tree, one, "quarantined")
    return tree


def _add_quarantined(tree: Any, one: Mapping[str, Any], what: str) -> None:
    """Add a row in quarantine: its text, why it is there, and where it came from."""
    place = f"line {one['line_number']:,} of {one['object_key']} (quarantine show {one['quarantine_id']})"
    branch = tree.add(_text(f"{what}: {place}", "yellow"))
    branch.add(_text(f"delivered as  {short(one['raw'], 200)}"))
    for reason in one["reasons"]:
        branch.add(_text(str(reason["message"]), "yellow"))
    if one["object"]:
        branch.add(_text(_came_from(one["object"])))


def _came_from(origin: Mapping[str, Any]) -> str:
    source = f"from {origin['source_url']}" if origin["source_url"] else "dropped into the bucket"
    return f"{source}, landed {moment(origin['landed_at'])} UTC, found by {origin['discovered_by']}"


def _add_rows(tree: Any, found: Mapping[str, Any]) -> None:
    for row in found["rows"]:
        branch = tree.add(_values(row["values"], found["grain"]))
        for part in row.get("made_of", ()):
            shown, total = len(part["rows"]), part["rows_total"]
            which = (
                f", of which {shown} with most {part['ordered_by']}" if part.get("ordered_by") else f", {shown} shown"
            )
            of = f"made of {total:,} row{'s' * (total != 1)} of {part['table']}{which if shown < total else ''}"
            _add_rows(branch.add(_text(of, "cyan")), part)
        if row.get("made_of") == []:
            branch.add(_text("its file under sql/gold has no `made of` line that leads further", "dim"))
        if "object" in row:
            _add_origin(branch, row)
    if len(found["rows"]) < found["rows_total"] and tree.label.plain == found["table"]:
        tree.add(_text(f"… and {found['rows_total'] - len(found['rows']):,} more rows (--rows N shows more)", "dim"))


def _add_origin(branch: Any, row: Mapping[str, Any]) -> None:
    """Add a clean row's rules, text, line and object."""
    if row["is_stale"]:
        branch.add(
            _text("stale: the newest delivery of this key is in quarantine; this is its last good row", "yellow")
        )
    for one in row["held_back"]:
        _add_quarantined(branch, one, "held back")
    for rule in row["rules_broken"]:
        branch.add(_text(f"breaks {rule['rule']} (−{rule['penalty']:g}): {rule['check']}", "yellow"))
    if not row["rules_broken"]:
        branch.add(_text("breaks no rule"))
    text = "  ".join(f"{name}={short(value, VALUE_LENGTH_MAX)}" for name, value in row["delivered"].items())
    branch.add(_text(f"delivered as  {text}") if text else _text("its text is not in the raw history any more", "red"))
    if row["rescued"]:
        rest = "  ".join(f"{name}={short(str(value), VALUE_LENGTH_MAX)}" for name, value in row["rescued"].items())
        branch.add(_text(f"and beyond the contract  {rest}"))
    origin = row["object"]
    if origin is None:
        branch.add(_text("its object is no longer in the ledger", "red"))
        return
    branch.add(_text(f"line {row['line_number']:,} of {origin['object_key']}  version {origin['version_id'] or '–'}"))
    branch.add(_text(_came_from(origin)))
    if row["confirmed_by"]:
        again = row["confirmed_by"]
        branch.add(
            _text(f"delivered again unchanged by {again['object_key']}, {moment(again['landed_at'])} UTC", "dim")
        )


def _values(values: Mapping[str, Any], grain: list[str]) -> Any:
    """Return a row's values in one line: the key first and bright."""
    from rich.text import Text

    text = Text()
    for name in [*grain, *(name for name in values if name not in grain)]:
        if name not in values or (values[name] is None and name not in grain):
            continue
        text.append("  " if text else "")
        text.append(f"{name} ", "dim")
        text.append(short(number(values[name]), VALUE_LENGTH_MAX) or "''", "bold" if name in grain else "")
    return text


def _text(text: str, style: str = "") -> Any:
    from rich.text import Text

    return Text(text, style)
