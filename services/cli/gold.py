"""Compute a gold model from scratch: `rebuild`."""

from typing import Annotated

import typer

from services.cli.options import DataDir, Json
from services.cli.output import console, errors, print_json


def rebuild(
    model: Annotated[str, typer.Argument(help="A gold model: a file name under sql/gold.", metavar="MODEL")],
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Compute a gold model from scratch; rows that are right already are not written.

    Needed after you changed the model's SQL. Everything else is kept up to date by itself.
    """
    from services.cli.connect import find_stack
    from services.cli.serve import load_configuration
    from services.gold.refresh import rebuild as rebuild_model

    stack = find_stack(data_dir)
    catalog, models = load_configuration(stack.settings)
    models[model]  # an unknown name is said before a connection is made
    with errors().status(f"Computing {model} …"), stack.session("rebuild") as session:
        session.rollback()
        done = rebuild_model(session, models, catalog, model)
    if as_json:
        print_json({"model": model, "rows_written": done.rows_written, "rows_deleted": done.rows_deleted,
                    "seconds": round(done.seconds, 3)})  # fmt: skip
        return
    changed = f"{done.rows_written:,} row(s) written, {done.rows_deleted:,} deleted"
    if models[model].kind == "materialized_view":
        changed = "refreshed"
    console().print(f"{model}: {changed} in {done.seconds:.2f} s.")
