"""Check configuration and SQL without a server: `validate`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from services.cli.options import Json
from services.cli.output import console, errors, print_json
from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from shared.catalog import Catalog
    from shared.models import Models
    from shared.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True)
class Report:
    """What was checked and what is wrong."""

    checked: tuple[str, ...]
    problems: tuple[str, ...]


def validate(
    config_dir: Annotated[
        Path | None, typer.Option("--config-dir", metavar="DIR", help="Check this folder instead of the settings'.")
    ] = None,
    sql_dir: Annotated[
        Path | None, typer.Option("--sql-dir", metavar="DIR", help="Check this folder instead of the settings'.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check all of config/ and sql/ without a server; name file, line, field and remedy of what is wrong.

    Settings, dataset contracts, every rule and expression (bound to the dataset's columns and types), gold
    models and their order, named queries. Exits with 1 when something is wrong.
    """
    from shared.settings import load_settings

    given = {"config_dir": config_dir, "sql_dir": sql_dir}
    report = check(load_settings(**{name: path for name, path in given.items() if path}))
    if as_json:
        print_json({"checked": report.checked, "problems": report.problems})
    for problem in () if as_json else report.problems:
        errors().print(problem, soft_wrap=True, markup=False, style="red")
    if report.problems:
        raise typer.Exit(1)
    if not as_json:
        console().print(f"All right: {', '.join(report.checked)}.", soft_wrap=True)


def check(settings: "Settings") -> Report:
    """Check everything that the settings point to."""
    from shared.catalog import load_catalog
    from shared.models import load_models
    from shared.queries import query_problems

    problems = unknown_settings(settings.config_dir / "config.yaml")
    catalog = _collected(problems, lambda: load_catalog(settings.dataset_dir))
    models = _collected(problems, lambda: load_models(settings.sql_dir, catalog.datasets if catalog else None))
    if catalog:
        problems += expression_problems(catalog, settings.dataset_dir)
    if models:
        problems += model_problems(models)
    problems += query_problems(settings.sql_dir)
    return Report(_checked(settings, catalog, models), tuple(problems))


def _checked(settings: "Settings", catalog: "Catalog | None", models: "Models | None") -> tuple[str, ...]:
    datasets = list(catalog.datasets.values()) if catalog else []
    expressions = sum(len(d.rules) + (len(d.windowed.columns) if d.windowed else 0) for d in datasets)
    return (
        "the settings",
        f"{len(datasets)} datasets with {expressions} rules and windowed columns",
        f"{len(list(models)) if models else 0} gold models",
        f"{len(list((settings.sql_dir / 'queries').glob('*.sql')))} queries",
    )


def _collected(problems: list[str], read: Callable[[], T]) -> T | None:
    try:
        return read()
    except ConfigurationError as error:
        problems += str(error).split("\n")
        return None


def unknown_settings(path: Path) -> list[str]:
    """Return the names in config.yaml that are no settings: a misspelt one would silently have no effect."""
    import yaml

    from shared.settings import Settings

    node = yaml.compose(path.read_text(encoding="utf-8")) if path.is_file() else None
    if node is None:
        return []
    if not isinstance(node, yaml.MappingNode):
        return [f"{path}:1: a mapping of `name: value` lines was expected"]
    return [
        f"{path}:{key.start_mark.line + 1}: {key.value}: no such setting{_closest(key.value, Settings.model_fields)}"
        for key, _ in node.value
        if key.value not in Settings.model_fields
    ]


def _closest(name: str, known: "object") -> str:
    import difflib

    found = difflib.get_close_matches(name.lower(), list(known), n=1)  # type: ignore[call-overload]
    return f"; did you mean {found[0]}?" if found else "; README.md lists those there are"


def expression_problems(catalog: "Catalog", dataset_dir: Path) -> list[str]:
    """Bind every rule, windowed expression and derivation to its dataset's types; return what does not fit."""
    from services.cli.binding import Misfit, misfits
    from shared.catalog import line_in_file

    def located(name: str, found: Iterator[Misfit]) -> Iterator[str]:
        path = dataset_dir / f"{name}.yaml"
        for misfit in found:
            place = ".".join(map(str, misfit.location))
            yield f"{path}:{line_in_file(path, misfit.location)}: {place}: {misfit.message}"

    return [line for name, dataset in catalog.datasets.items() for line in located(name, misfits(dataset))]


def model_problems(models: "Models") -> list[str]:
    """Return what is wrong with the SQL of the gold models."""
    from shared.modelfile import sql_problems

    return [problem for model in models for problem in sql_problems(model)]
