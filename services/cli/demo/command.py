"""What the pipeline does, in a minute: `demo`."""

import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.output import console, errors

if TYPE_CHECKING:
    from services.cli.borrowed import Tick
    from services.cli.connect import Stack
    from shared.catalog import Catalog

KEPT_FOLDER = Path(".medallion-demo")
PROCESSING_SECONDS_MAX = 300.0


def demo(
    sources: Annotated[
        str,
        typer.Option(
            "--sources",
            envvar="MEDALLION_DEMO_SOURCES",
            metavar="internet|generated|FOLDER",
            show_default=False,
            help="Where the data comes from. Default: the internet where it can be reached, else generated data.",
        ),
    ] = "",
    keep: Annotated[
        bool, typer.Option("--keep", envvar="KEEP", help="Leave the stack and its data there, to look around in.")
    ] = False,
) -> None:
    """Show the whole pipeline at work in about a minute, on a stack of its own, and leave nothing running.

    Polls users, posts and COVID figures, shows what gold makes of them, drops a file with a bad line into the
    bucket, follows it to gold, and explains a number.
    """  # fmt: skip
    from shared.telemetry import configure_logging

    configure_logging("demo", "text", "ERROR")
    began = time.monotonic()
    with ExitStack() as cleanup:
        folder = _folder(cleanup, keep)
        catalog, urls = _sources(cleanup, folder, sources, keep)
        stack, tick = cleanup.enter_context(_stack(folder, urls, keep))
        console().print(f"PostgreSQL, S3 server, Kafka broker and three services run ({_since(began)}).")
        _tour(stack, tick, catalog)
        console().print(f"\nThat took {_since(began)}.")
        if not keep:
            console().print("Stopping everything …")
    _farewell(keep, folder)


def _since(began: float) -> str:
    return f"{time.monotonic() - began:.0f} s"


def _folder(cleanup: ExitStack, keep: bool) -> Path:
    """Return the demonstration's folder; raises ConfigurationError when a kept one still runs."""
    if keep:
        from services.cli.demo.kept import require_stopped

        require_stopped(KEPT_FOLDER.absolute() / "data")
        return KEPT_FOLDER.absolute()
    return Path(
        cleanup.enter_context(tempfile.TemporaryDirectory(prefix="medallion-demo-", ignore_cleanup_errors=True))
    )


def _sources(cleanup: ExitStack, folder: Path, wanted: str, keep: bool) -> tuple["Catalog", dict[str, str]]:
    """Return the catalog and the URLs to poll instead of its own, by dataset; empty for the internet."""
    from services.cli.demo import sources
    from shared.catalog import load_catalog
    from shared.settings import load_settings

    console().rule("[bold]medallion[/]: files and APIs turned into tables you can trust", align="left", style="dim")
    catalog = load_catalog(load_settings().dataset_dir)
    if wanted == "internet" or (not wanted and sources.are_reachable(catalog)):
        console().print("Sources: the internet, as config/datasets declares them.")
        return catalog, {}
    # A kept stack outlives this process and its HTTP server: it polls the files themselves.
    how = "polled as files" if keep else "served over HTTP on this machine"
    if wanted in ("", "generated"):
        why = "" if wanted else " (the internet ones cannot be reached)"
        console().print(f"Sources{why}: generated data of the same shape, {how}.")
        sources.generate(folder / "sources")
        files = sources.files_in(folder / "sources", catalog)
    else:
        files = sources.files_in(Path(wanted).expanduser(), catalog)
        console().print(f"Sources: the files in {wanted}, {how}.")
    catalog = sources.without_sources(catalog, files)
    if keep:
        return catalog, {name: path.absolute().as_uri() for name, path in files.items()}
    return catalog, cleanup.enter_context(sources.served(files))


@contextmanager
def _stack(folder: Path, urls: dict[str, str], keep: bool) -> Iterator[tuple["Stack", "Tick"]]:
    """Start a stack on the demonstration's own folder and configuration."""
    from services.cli.borrowed import own_stack
    from services.cli.demo.kept import kept_stack
    from services.cli.demo.sources import write_config
    from shared.settings import load_settings

    config_dir = write_config(load_settings().config_dir, folder / "config", urls)
    settings = load_settings(config_dir=config_dir, data_dir=folder / "data", poll_enabled=True)
    with ExitStack() as cleanup:
        with errors().status("Starting PostgreSQL, an S3 server and a Kafka broker …"):
            starting = kept_stack(settings) if keep else own_stack(settings, poll=True, discard=True)
            started = cleanup.enter_context(starting)
        yield started


def _tour(stack: "Stack", tick: "Tick", catalog: "Catalog") -> None:
    from services.cli.demo import figures, journey
    from services.cli.demo.progress import Board
    from services.cli.explain import explained
    from services.cli.lineage import Explorer
    from shared.models import load_models, models_depending_on

    models = load_models(stack.settings.sql_dir, catalog.datasets)
    polled = [name for name, dataset in catalog.datasets.items() if dataset.source]
    Board({name: len(models_depending_on(models, name)) for name in polled}).follow(stack, tick, PROCESSING_SECONDS_MAX)
    figures.show(stack)
    country, day = journey.follow_drop(stack, tick)
    console().print()
    console().rule("[bold]Every number can be explained", align="left", style="dim")
    console().print(f"medallion explain covid_country_trends {shlex.quote(country)} {day}", style="bold")
    with stack.session("demo") as session:
        found = Explorer(session, catalog, models, 1).explain("covid_country_trends", [country, day])
    console().print(explained(found))


def _farewell(keep: bool, folder: Path) -> None:
    program = Path(sys.argv[0])
    name = os.path.relpath(program) if program.name == "medallion" else "medallion"
    console().print(
        "\n" + ("The stack keeps running." if keep else "Nothing was left running. Try next:"), style="bold"
    )
    rows = _looks(name, folder) if keep else _next_steps(name)
    width = max(len(command) for command, _ in rows)
    for command, what in rows:
        console().print(f"  {command:<{width}}  {what}", soft_wrap=True, markup=False)


def _looks(name: str, folder: Path) -> list[tuple[str, str]]:
    at = f"--data-dir {os.path.relpath(folder / 'data')}"
    return [
        (f"{name} status {at}", "what is there, what works"),
        (f'eval "$({name} env {at})"', 'then: psql "$MEDALLION_DATABASE_URL", or any S3 client'),
        (f"{name} explain covid_global_summary 2022-04-16 {at}", "where a number comes from"),
        (f"kill $(cat {os.path.relpath(folder / 'pid')})", "stop it; the data stays"),
    ]


def _next_steps(name: str) -> list[tuple[str, str]]:
    return [
        ("make demo KEEP=1", "the same, and leave it running to look around in"),
        (f"{name} up", "your own stack, in .medallion; Ctrl-C stops it"),
        (f"{name} land covid my.csv", "put a file in"),
        ("README.md", "add a dataset: one file, no code"),
    ]
