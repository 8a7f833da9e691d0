"""Objects that have come to their end, or wait for a person: `approve`, `withdraw`, `backfill`."""

from typing import Annotated

import typer

from services.cli.options import DataDir, Json
from services.cli.output import console, print_json
from shared.errors import MedallionError


def approve(
    object_named: Annotated[str, typer.Argument(help="A held object: its id or its key.", metavar="OBJECT")],
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Let a held object through: a snapshot that removes much, or a file dated in the future.

    `medallion status` shows held objects with the reason. Follow it with `medallion settle`.
    """
    from services.cli import naming
    from services.cli.announce import announce
    from services.cli.connect import find_stack
    from shared import requests

    stack = find_stack(data_dir)
    with stack.session("approve") as session:
        object_id = naming.object_named(session, stack, object_named, "held")
        refs = requests.approve(session, object_id)
        announce(stack, session, refs)
    if as_json:
        print_json({"object_id": str(object_id), "object_key": refs[0].key})
        return
    console().print(f"Approved: {refs[0].key} will be loaded.", soft_wrap=True, markup=False)


def withdraw(
    object_named: Annotated[str, typer.Argument(help="An object: its id or its key.", metavar="OBJECT")],
    undo: Annotated[bool, typer.Option("--undo", help="Take a withdrawn object in again.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Take a wrong but valid object back: its dataset is rebuilt from the others, and gold follows.

    The object stays in the bucket and in the ledger, as ignored. All of the dataset's other objects are read again for
    it, so it takes as long as loading them. Follow it with `medallion settle`.
    """
    from services.cli import naming
    from services.cli.announce import announce
    from services.cli.connect import find_stack
    from shared import requests

    stack = find_stack(data_dir)
    with stack.session("withdraw") as session:
        object_id = naming.object_named(session, stack, object_named, "ignored" if undo else "done")
        refs = (requests.take_in_again if undo else requests.withdraw)(session, object_id)
        announce(stack, session, refs)
    if as_json:
        print_json({"object_id": str(object_id), "rebuilding": bool(refs)})
    elif undo:
        console().print(f"{object_id} will be loaded again.")
    elif refs:
        console().print(f"{object_id} is being withdrawn: its dataset is rebuilt from the others.")
    else:
        console().print(f"{object_id} is withdrawn; it had not taken effect.")


def backfill(
    dataset: Annotated[str, typer.Argument(help="The dataset whose objects run again.", metavar="DATASET")],
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Only objects landed then or later (ISO 8601, UTC by default)."),
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Run a dataset's finished objects again from the bucket, oldest first, under today's contract.

    History is kept, and the end state is the same unless the contract has changed. Follow it with
    `medallion settle`.
    """
    from services.cli.announce import announce
    from services.cli.connect import find_stack
    from services.cli.landing import moment_of
    from shared import requests
    from shared.catalog import load_catalog

    moment = moment_of(since, "--since")
    stack = find_stack(data_dir)
    load_catalog(stack.settings.dataset_dir)[dataset]  # an unknown name is said before anything is asked for
    with stack.session("backfill") as session:
        refs = requests.backfill(session, dataset, moment)
        announce(stack, session, refs)
    if not refs:
        raise MedallionError(
            f"no object of {dataset}{f' landed since {since}' if since else ''} has come to its end: nothing to run again"
        )
    if as_json:
        print_json({"dataset": dataset, "objects": [{"object_key": r.key, "version_id": r.version_id} for r in refs]})
        return
    console().print(f"{len(refs):,} object(s) of {dataset} will run again, from {refs[0].key} on.", soft_wrap=True)
