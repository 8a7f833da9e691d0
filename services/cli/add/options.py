"""What the user may say of a new dataset: the options of `add`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Disposition = Literal["replace", "merge", "append"]

File = Annotated[str, typer.Argument(help="A sample: CSV, JSON or JSON lines; a path or a URL.", metavar="FILE")]
Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="The dataset; else the file's.")]
Description = Annotated[str, typer.Option("--description", metavar="TEXT", help="What it is, in a sentence.")]
Key = Annotated[
    str | None, typer.Option("--key", metavar="COLUMNS", help="Columns that tell records apart, by comma; or none.")
]
Types = Annotated[
    list[str] | None,
    typer.Option("--type", metavar="COLUMN=TYPE", help="integer, date:%d/%m/%Y, decimal:12,2 …; may be repeated."),
]
References = Annotated[
    list[str] | None,
    typer.Option("--references", metavar="COLUMN=DATASET.KEY", help="Rows wait until this key is there."),
]
Delimiter = Annotated[str | None, typer.Option("--delimiter", metavar="C", help="What parts cells; tab.")]
EncodingName = Annotated[str | None, typer.Option("--encoding", metavar="NAME", help="utf-8, cp1252, utf-16 …")]
Header = Annotated[bool | None, typer.Option("--header/--no-header", help="Whether the first line has the names.")]
Decimal = Annotated[str | None, typer.Option("--decimal", metavar="C", help="A point or a comma.")]
Thousands = Annotated[str | None, typer.Option("--thousands", metavar="C", help="Between three digits.")]
SourceUrl = Annotated[
    str | None, typer.Option("--source-url", metavar="URL", help="Where the ingestor fetches it; FILE if a URL.")
]
PollInterval = Annotated[
    float, typer.Option("--poll-interval-seconds", min=1, metavar="S", help="How often it is fetched.")
]
WriteDisposition = Annotated[
    Disposition | None,
    typer.Option("--write-disposition", metavar="D", help="replace, merge or append what the source delivers."),
]
Land = Annotated[bool, typer.Option("--land", help="Load the file at once, and say what became of it.")]
Yes = Annotated[bool, typer.Option("--yes", help="Ask nothing, also on a terminal.")]
Force = Annotated[bool, typer.Option("--force", help="Write over a contract of that name.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the YAML and write nothing.")]
ConfigDir = Annotated[
    Path | None, typer.Option("--config-dir", metavar="DIR", help="Write into this folder's datasets/.")
]
