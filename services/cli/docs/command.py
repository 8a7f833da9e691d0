"""Write the documentation that follows from config/ and sql/: `docs`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from services.cli.output import console

if TYPE_CHECKING:
    from shared.settings import Settings

DEFAULT_OUTPUT = Path("build/docs")
Format: TypeAlias = Literal["html", "markdown", "schema", "asyncapi"]
_MARK = "Written by `medallion docs` from config/ and sql/; changes belong there."


def docs(
    output: Annotated[
        Path, typer.Option("--output", metavar="DIR", help=f"Folder to write into. Default: {DEFAULT_OUTPUT}",
                           show_default=False)
    ] = DEFAULT_OUTPUT,
    form: Annotated[
        Format | None, typer.Option("--format", metavar="FORMAT", help="html, markdown, schema or asyncapi alone.")
    ] = None,
) -> None:  # fmt: skip
    """Write a data dictionary with its lineage, and schemas for editors and event readers; no server is needed.

    index.html is one page that needs no network; index.md, datasets/ and models/ are the same for GitHub;
    dataset.schema.json is for editors of config/datasets; asyncapi.yaml describes the events.
    """
    from shared.settings import load_settings

    written = 0
    for name, text in documents(load_settings(), form):
        path = output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written += 1
    first = {"schema": "dataset.schema.json", "asyncapi": "asyncapi.yaml", "markdown": "index.md"}
    console().print(
        f"Wrote {written} file{'s' * (written != 1)}: {output / first.get(form or '', 'index.html')}",
        soft_wrap=True, markup=False,
    )  # fmt: skip


def documents(settings: "Settings", form: Format | None = None) -> Iterator[tuple[str, str]]:
    """Yield the files by their path below the output folder; raises ConfigurationError for what cannot be read."""
    if form in (None, "schema"):
        yield schema_file()
    if form in (None, "asyncapi"):
        yield asyncapi_file()
    if form in (None, "html", "markdown"):
        yield from _dictionary(settings, form)


def schema_file() -> tuple[str, str]:
    """Return name and text of the JSON Schema of datasets."""
    import json

    from services.cli.docs.schema import FILE, dataset_schema

    return FILE, json.dumps(dataset_schema(), indent=2, ensure_ascii=False) + "\n"


def asyncapi_file() -> tuple[str, str]:
    """Return name and text of the AsyncAPI document."""
    import yaml

    from services.cli.docs.events import FILE, asyncapi

    return FILE, yaml.safe_dump(asyncapi(), sort_keys=False, allow_unicode=True, width=120)


def _dictionary(settings: "Settings", form: Format | None) -> Iterator[tuple[str, str]]:
    from services.cli.docs.dictionary import pages
    from services.cli.docs.markdown import markdown
    from services.cli.docs.page import html_page
    from shared.catalog import load_catalog
    from shared.models import load_models

    catalog = load_catalog(settings.dataset_dir)
    made = pages(catalog, load_models(settings.sql_dir, catalog.datasets))
    if form in (None, "html"):
        yield "index.html", html_page(made, _MARK.replace("`", ""))
    if form in (None, "markdown"):
        yield from ((f"{page.slug}.md", f"<!-- {_MARK} -->\n\n{markdown(page)}") for page in made)
