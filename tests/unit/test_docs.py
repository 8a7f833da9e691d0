"""README.md says everything that users can name, and nothing that does not exist."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import pytest
import typer.main
from pydantic import SecretStr

from services.cli.app import app
from shared.catalog import problems_of
from shared.dataset import Dataset, SchemaContract
from shared.expectations import KINDS as EXPECTATION_KINDS
from shared.formats import CsvFormat, JsonFormat, JsonLinesFormat
from shared.functions import DERIVATIONS, WINDOW_FUNCTIONS
from shared.rules import KINDS
from shared.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Variables of the demonstration and of the tests, which no settings are.
OTHER_VARIABLES = {"MEDALLION_DEMO_SOURCES", "MEDALLION_TEST_SERVERS_COMMAND"}
FORMATS = (CsvFormat, JsonFormat, JsonLinesFormat)


def section(title: str) -> str:
    """Return the text below a heading of the second level."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, f"README.md has no section {title!r}"
    return found[1]


def table_rows(title: str) -> list[str]:
    """Return the rows of a section's table without head and rule."""
    return [line for line in section(title).splitlines() if line.startswith("| `")]


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command with its path."""
    if hasattr(command, "commands"):
        for name, child in command.commands.items():
            yield from commands(child, (*path, name))
    else:
        yield path, command


def command_row(path: tuple[str, ...], command: Any) -> str:
    """Return a command as README.md must describe it."""
    arguments = [p.metavar for p in command.params if p.param_type_name == "argument"]
    options = [
        f"[{max(p.opts, key=len)}{'' if p.is_flag else ' ' + (p.metavar or p.name.upper())}]"
        for p in command.params
        if p.param_type_name == "option" and p.name != "help"
    ]
    row = f"| `{' '.join([*path, *arguments])}` `{' '.join(options)}` | {command.help.splitlines()[0]} |"
    return re.sub(r"(?<=\w)\|(?=\w)", r"\\|", row)


def setting_row(name: str, field: Any) -> str:
    """Return a setting as README.md must describe it."""
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    if field.default_factory is not None:
        value = name.removesuffix("_dir")  # config_dir and sql_dir lie beside the code
    text = str(value).lower() if isinstance(value, bool) else value
    default = "–" if text in (None, "") else f"`{text}`"
    return f"| `MEDALLION_{name.upper()}` | {default} | {field.description} |"


def test_every_command_and_option_is_documented_and_no_other():
    wanted = [command_row(path, command) for path, command in commands(typer.main.get_command(app))]
    assert table_rows("Commands") == wanted


def test_every_setting_is_documented_and_no_other():
    wanted = [setting_row(name, field) for name, field in Settings.model_fields.items()]
    assert table_rows("Settings") == wanted


def test_every_derived_function_is_documented_and_no_other():
    wanted = [
        f"| `{name}` | {known.arity} | {known.column_type} | {known.description} |"
        for name, known in sorted(DERIVATIONS.items())
    ]
    assert table_rows("Derived columns") == wanted


def test_every_format_and_field_of_csv_is_documented():
    formats = [get_args(declared.model_fields["type"].annotation)[0] for declared in FORMATS]
    fields = [name for name in CsvFormat.model_fields if name not in ("type", "encoding")]
    assert [row.split("`")[1] for row in table_rows("Add a dataset")] == [*formats, *fields]


def test_every_kind_of_rule_and_its_fields_are_documented():
    named = [name for row in table_rows("Rules") for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert named == [*KINDS[1:-1], "references", "check", "expression", "name", "severity", "penalty", "threshold"]


def test_every_part_and_word_of_the_schema_contract_is_documented():
    text = section("What does not fit")
    modes = {word for field in SchemaContract.model_fields.values() for word in str(field.annotation).split("'")[1::2]}
    assert [word for word in (*SchemaContract.model_fields, *modes) if f"`{word}`" not in text] == []


def test_every_kind_of_expectation_is_documented():
    assert [row.split("`")[1] for row in table_rows("Expectations")] == list(EXPECTATION_KINDS)


def test_window_functions_are_documented():
    assert [name for name in WINDOW_FUNCTIONS if f"`{name}`" not in section("Derived columns")] == []


def test_variables_that_the_text_mentions_exist():
    known = {f"MEDALLION_{name.upper()}" for name in Settings.model_fields} | OTHER_VARIABLES
    assert set(re.findall(r"MEDALLION_[A-Z0-9_]+", README)) - known == set()


def test_commands_that_the_text_mentions_exist():
    names = {path[0] for path, _ in commands(typer.main.get_command(app))}
    mentioned = re.findall(r"(?:^|[`/( ])medallion ([a-z][a-z-]+)", README, re.MULTILINE)
    assert {name for name in mentioned if name not in (*names, "takes")} == set()


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:|#)([^)]+)\)", README))
def test_links_lead_somewhere(target: str):
    assert (ROOT / target).exists()


def test_the_example_dataset_is_a_valid_contract(tmp_path: Path):
    example = re.search(r"```yaml\n(dataset: (\w+)\n.*?)```", README, re.DOTALL)
    assert example
    path = tmp_path / f"{example[2]}.yaml"
    path.write_text(example[1], encoding="utf-8")
    assert isinstance(problems_of(path), Dataset)


def test_every_command_says_what_it_does():
    without = [path for path, command in commands(typer.main.get_command(app)) if not command.help]
    options = [
        (path, option.name)
        for path, command in commands(typer.main.get_command(app))
        for option in command.params
        if not getattr(option, "help", None)
    ]
    assert (without, options) == ([], [])
