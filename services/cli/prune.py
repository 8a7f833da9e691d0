"""Forget history beyond its retention: `prune`."""

from typing import Annotated

import typer

from services.cli.options import DataDir, Json
from services.cli.output import console, errors, print_json, table


def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would go.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Forget history that is older than the keep_…_days settings, never what live rows refer to.

    The ledger, the files in the bronze bucket, open quarantine and whatever the next step builds on stay. It may run beside
    the services and be interrupted at any time; each batch is committed on its own.
    """
    from services.cli.connect import find_stack
    from services.cli.retention import prune as forget
    from services.cli.serve import load_configuration
    from shared.adapters.s3 import open_s3

    stack = find_stack(data_dir)
    catalog, models = load_configuration(stack.settings)
    with errors().status("Looking for what is old …"), stack.session("prune") as session:
        done = list(forget(session, open_s3(stack.settings), catalog, models, stack.settings, dry_run))
    if as_json:
        print_json({"dry_run": dry_run, "kinds": [vars(one) for one in done]})
        return
    rows = [
        (one.kind, f"{one.kept_days:g} days" if one.count is not None else "for ever", one.count or 0) for one in done
    ]
    columns = ("what", "kept", "would go" if dry_run else "removed")
    console().print(table(None, columns, rows, right=(columns[-1],), fixed=()))
