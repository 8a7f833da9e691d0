"""Land the sample of a new dataset on the running stack, and say what became of it."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from services.cli.output import complain, console, dictionaries, errors, remark
from services.cli.quarantine import COLUMNS, quarantine_table
from services.cli.run import OBJECT_COLUMNS
from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from services.cli.add.sample import Sample
    from services.cli.connect import Stack
    from shared.settings import Settings

QUARANTINED_SHOWN_MAX = 20


def land_sample(
    sample: "Sample", name: str, settings: "Settings", data_dir: Path | None, timeout_seconds: float
) -> dict[str, Any]:
    """Let the stack take in the new contract, land the sample, wait; return its row of the ledger and bad lines.

    Starts the embedded stack when none runs, and stops it afterwards. Raises Outstanding when it is not done in time.
    """
    from services.cli.borrowed import borrowed_stack
    from services.cli.connect import is_configured
    from services.cli.landing import land_files
    from services.cli.settle import wait_until_settled
    from shared.catalog import load_catalog

    known_before = take_in(settings, name, data_dir)
    with borrowed_stack(data_dir) as (stack, tick):
        if not known_before or is_configured(settings):  # servers that the settings name may be others
            from services.cli.serve import prepare

            prepare(stack.settings)
        catalog = load_catalog(settings.dataset_dir)
        with errors().status(f"Loading {sample.name} …"):
            landed = land_files(stack, catalog, catalog[name], [sample.delivered], source_url=sample.url)[0]
            began = time.monotonic()
            wait_until_settled(stack, timeout_seconds, [name], lambda _: tick())
        return _outcome(stack, landed["object_id"]) | {"seconds": round(time.monotonic() - began, 3)}


def take_in(settings: "Settings", name: str, data_dir: Path | None) -> bool:
    """Have a stack that runs in the data folder take in the contract; False where nobody could be asked."""
    from services.cli.connect import is_configured
    from services.stack import is_running, request_reload

    if not is_running(settings.data_dir):
        if data_dir is None and is_configured(settings):
            remark("The services of these servers read the new contract when they are restarted; do that now.")
        return False
    known = request_reload(settings.data_dir)
    if name not in known:
        raise ConfigurationError(
            f"{settings.dataset_dir / name}.yaml is written, but the running stack reads another folder: it knows "
            f"{', '.join(known)}. Name its folder with --config-dir"
        )
    return True


def _outcome(stack: "Stack", object_id: str) -> dict[str, Any]:
    wanted = {"dataset": None, "rule": None, "object": object_id, "status": "open", "rows": QUARANTINED_SHOWN_MAX}
    columns = ", ".join(OBJECT_COLUMNS)
    with stack.session("add") as session:
        row = session.rows(f"SELECT {columns} FROM bronze.ingestion_metadata WHERE object_id = %s::uuid", (object_id,))
        bad = dictionaries(COLUMNS, session.rows(stack.query("quarantine_list"), wanted))
    return dictionaries(OBJECT_COLUMNS, row)[0] | {"quarantined": bad[::-1]}


def show(landed: dict[str, Any], is_silent: bool) -> None:
    """Print what became of the sample; exits with 1 when it was not loaded."""
    is_loaded = landed["status"] in ("done", "superseded")
    if not is_silent and is_loaded:
        new, bad = landed["rows_inserted"], landed["rows_quarantined"]
        console().print(
            f"Loaded in {landed['seconds']:.1f} s: {landed['rows_read']:,} records read, {new:,} new, "
            f"{landed['rows_updated']:,} changed, {landed['rows_unchanged']:,} unchanged, {bad:,} in quarantine."
        )
        if landed["quarantined"]:
            console().print(quarantine_table(landed["quarantined"]))
        console().print(f"Look: SELECT * FROM silver.clean_{landed['dataset']}")
    if not is_loaded:
        if not is_silent:
            complain(f"{landed['status']}: {landed['error_message']}")
        raise typer.Exit(1)
