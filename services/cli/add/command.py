"""Write a dataset's contract from a sample file, and load it at once if asked: `add`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from services.cli.add import options
from services.cli.options import DataDir, Json, TimeoutSeconds
from services.cli.output import console, print_json, remark
from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from services.cli.add.contract import Choices
    from services.cli.add.draft import Draft, Hints
    from services.cli.add.questions import Ask
    from services.cli.add.sample import Sample
    from shared.settings import Settings

_MARKS = {"tab": "\t", "\\t": "\t", "space": " ", "nbsp": "\u00a0"}


def add(
    file: options.File,
    name: options.Name = None,
    description: options.Description = "",
    key: options.Key = None,
    types: options.Types = None,
    references: options.References = None,
    delimiter: options.Delimiter = None,
    encoding: options.EncodingName = None,
    header: options.Header = None,
    decimal: options.Decimal = None,
    thousands: options.Thousands = None,
    source_url: options.SourceUrl = None,
    poll_interval_seconds: options.PollInterval = 3600.0,
    write_disposition: options.WriteDisposition = None,
    land: options.Land = False,
    yes: options.Yes = False,
    force: options.Force = False,
    dry_run: options.DryRun = False,
    config_dir: options.ConfigDir = None,
    timeout_seconds: TimeoutSeconds = 300.0,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Write a dataset's YAML from a sample file: all of it is looked at, and what is uncertain is said.

    Dialect, encoding, types and keys are written down explicitly, never guessed when files come. Values that can be
    read in two ways (03/04/2020) stay text until you say which. On a terminal it asks a few questions.
    """
    from services.cli.add.draft import Hints
    from services.cli.add.questions import on_terminal
    from services.cli.add.sample import opened
    from shared.settings import load_settings

    given = {"config_dir": config_dir, "data_dir": data_dir}
    settings = load_settings(**{option: path for option, path in given.items() if path})
    ask = on_terminal if sys.stdin.isatty() and not yes and not as_json else None
    hints = Hints(_mark(delimiter), _known(encoding), header, _mark(decimal), _mark(thousands))
    with opened(file, settings) as sample:
        found = _looked(sample, hints, settings, ask, types or [])
        chosen = _choices(
            sample, found, ask, name=name, description=description, key=key, references=references or [],
            source_url=source_url, poll_interval_seconds=poll_interval_seconds, disposition=write_disposition,
        )  # fmt: skip
        path, text = _written(found, chosen, sample, settings, force, dry_run)
        landed = None
        if land and not dry_run:
            from services.cli.add.load import land_sample

            landed = land_sample(sample, chosen.name, settings, data_dir, timeout_seconds)
    if as_json:
        print_json(
            {"dataset": chosen.name, "path": path, "yaml": text, "uncertain": uncertain(found), "landed": landed}
        )
    elif dry_run:
        sys.stdout.write(text)
    else:
        _say(found, chosen, path, is_landed=land)
    if landed is not None:
        from services.cli.add.load import show

        show(landed, is_silent=as_json)


def _mark(given: str | None) -> str | None:
    return _MARKS.get(given, given) if given else given


def _known(encoding: str | None) -> str | None:
    if encoding is None:
        return None
    from pydantic import ValidationError

    from shared.formats import JsonFormat

    try:
        return JsonFormat(type="json", encoding=encoding).encoding
    except ValidationError as error:
        raise ConfigurationError(f"--encoding: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error


def _looked(sample: "Sample", hints: "Hints", settings: "Settings", ask: "Ask | None", types: list[str]) -> "Draft":
    """Look at the sample, and settle what can be read in two ways by what the user says."""
    from dataclasses import replace

    from services.cli.add.draft import draft
    from services.cli.add.questions import ask_types, declared_type

    found = draft(sample, hints, settings)
    if ask and found.is_numeral_open:
        meaning = ask("Does 1,234 mean 1.234 or 1234", ["1.234", "1234", "text"], "text")
        if meaning != "text":
            said = replace(hints, decimal=",") if meaning == "1.234" else replace(hints, thousands=",")
            found = draft(sample, said, settings)
    for given in types:
        column, is_given, kind = given.partition("=")
        if not is_given:
            raise ConfigurationError(f"--type: {given!r} must be COLUMN=TYPE, as day=date:%d/%m/%Y")
        found = found.with_type(column_of(found, column, "--type"), declared_type(kind))
    return ask_types(found, ask) if ask else found


def column_of(draft: "Draft", given: str, option: str) -> str:
    """Return the name of a column by its name or by the file's name for it; raises ConfigurationError."""
    for column in draft.columns:
        if given in (column.name, column.origin):
            return column.name
    names = ", ".join(column.name for column in draft.columns)
    raise ConfigurationError(f"{option}: no column is called {given!r}; there are: {names}")


def _choices(
    sample: "Sample", draft: "Draft", ask: "Ask | None", *, name: str | None, description: str,
    key: str | None, references: list[str], source_url: str | None, poll_interval_seconds: float,
    disposition: options.Disposition | None,
) -> "Choices":  # fmt: skip
    """Put together what the user said, asked or by options, with what follows from the sample."""
    from services.cli.add.contract import Choices
    from services.cli.add.names import dataset_name
    from services.cli.add.questions import ask_key

    chosen = name or dataset_name(Path(sample.name.split("?")[0]).name)
    if ask and not name:
        chosen = ask("Name of the dataset", [], chosen)
    source = source_url or sample.url or None
    _check_name(chosen)
    if ask and not source:
        source = ask("URL where it is fetched regularly, or none", [], "none")
        source = None if source == "none" else source
    if disposition == "append" or key == "none":
        columns: tuple[str, ...] = ()
    elif key:
        columns = tuple(column_of(draft, part.strip(), "--key") for part in key.split(","))
    elif ask:
        columns = tuple(column_of(draft, part, "Key") for part in ask_key(draft, ask))
    else:
        columns = draft.keys[0] if draft.keys else ()
    if disposition in ("replace", "merge") and not columns:
        raise ConfigurationError(
            f"--write-disposition {disposition} needs a key, and no columns are unique in all {draft.rows:,} records; "
            "name them with --key, or append"
        )
    usual: options.Disposition = "replace" if source else "merge"
    return Choices(
        chosen, description or f"From {Path(sample.name).name}.", columns,
        (disposition or usual) if columns else "append", source, poll_interval_seconds,
        dict(_reference(draft, given) for given in references),
    )  # fmt: skip


def _check_name(name: str) -> None:
    from pydantic import TypeAdapter, ValidationError

    from shared.naming import Name

    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise ConfigurationError(f"--name: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error


def _reference(draft: "Draft", given: str) -> tuple[str, str]:
    column, is_given, key = given.partition("=")
    if not is_given or "." not in key:
        raise ConfigurationError(f"--references: {given!r} must be COLUMN=DATASET.KEY, as user_id=users.user_id")
    return column_of(draft, column, "--references"), key


def _written(
    draft: "Draft", choices: "Choices", sample: "Sample", settings: "Settings", force: bool, dry_run: bool
) -> tuple[Path, str]:
    """Write the contract once it is certain that it would pass `medallion validate`."""
    from services.cli.add.contract import checked, contract_text

    path = settings.dataset_dir / f"{choices.name}.yaml"
    if path.exists() and not force and not dry_run:
        raise ConfigurationError(
            f"{path} is there already; choose another name with --name, or write over it with --force"
        )
    text = contract_text(draft, choices, Path(sample.name.split("?")[0]).name)
    checked(text, choices.name, settings.dataset_dir)
    if not dry_run:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return path, text


def uncertain(draft: "Draft") -> list[str]:
    """Return what a person should look at."""
    columns = [f"{c.name}: {c.decision.note}" for c in draft.columns if c.decision.note]
    return [*draft.notes, *columns]


def _say(draft: "Draft", choices: "Choices", path: Path, is_landed: bool) -> None:
    key = f"key {', '.join(choices.key)}" if choices.key else "no key: records are only added"
    said = f"{path}: {len(draft.columns)} columns of {draft.kind}, {key}, by {draft.rows:,} records"
    console().print(said, soft_wrap=True, markup=False)
    for note in uncertain(draft):
        console().print(f"  uncertain: {note}", soft_wrap=True, markup=False)
    if not is_landed:
        remark(f"Next: medallion reload (if a stack runs), then medallion land {choices.name} FILE…")
