"""The `medallion` application: its commands, one module a group. Nothing heavy is imported before a command runs."""

import typer

from services.cli import (
    again,
    alerts,
    deadletters,
    explain,
    export,
    gold,
    history,
    landing,
    mend,
    prune,
    quality,
    quarantine,
    replay,
    run,
    schema,
    serve,
    settle,
    status,
    validate,
)
from services.cli.add import command as add
from services.cli.demo import command as demo
from services.cli.docs import command as docs

app = typer.Typer(
    name="medallion",
    help="Files and APIs turned into tables you can trust: bronze → silver → gold, event by event.",
    epilog="Exit status: 0 done · 1 the work failed or a check found something · "
    "2 wrong usage or configuration · 3 a server cannot be reached.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_SERVE, _WORK, _LOOK, _CHECK = "Start and set up", "Put data through", "Look", "Check and document"

app.command("demo", rich_help_panel=_SERVE)(demo.demo)
app.command("up", rich_help_panel=_SERVE)(serve.up)
app.command("env", rich_help_panel=_SERVE)(serve.env)
app.command("reload", rich_help_panel=_SERVE)(serve.reload)
app.command("migrate", rich_help_panel=_SERVE)(serve.migrate)
app.command("add", rich_help_panel=_SERVE)(add.add)
app.command("run", rich_help_panel=_WORK)(run.run)
app.command("land", rich_help_panel=_WORK)(landing.land)
app.command("settle", rich_help_panel=_WORK)(settle.settle)
app.command("approve", rich_help_panel=_WORK)(again.approve)
app.command("withdraw", rich_help_panel=_WORK)(again.withdraw)
app.command("backfill", rich_help_panel=_WORK)(again.backfill)
app.command("rebuild", rich_help_panel=_WORK)(gold.rebuild)
app.command("prune", rich_help_panel=_WORK)(prune.prune)
app.command("status", rich_help_panel=_LOOK)(status.status)
app.command("runs", rich_help_panel=_LOOK)(history.runs)
app.command("schema", rich_help_panel=_LOOK)(schema.schema)
app.command("quality", rich_help_panel=_LOOK)(quality.quality)
app.command("explain", rich_help_panel=_LOOK)(explain.explain)
app.command("export", rich_help_panel=_LOOK)(export.export)
quarantine.app.command("export")(mend.export_rows)
quarantine.app.command("mend")(mend.mend)
quarantine.app.command("replay")(replay.replay)
quarantine.app.command("discard")(replay.discard)
app.add_typer(quarantine.app, name="quarantine", rich_help_panel=_LOOK)
app.add_typer(deadletters.app, name="dead-letters", rich_help_panel=_LOOK)
app.add_typer(alerts.app, name="alerts", rich_help_panel=_LOOK)
app.command("validate", rich_help_panel=_CHECK)(validate.validate)
app.command("docs", rich_help_panel=_CHECK)(docs.docs)
