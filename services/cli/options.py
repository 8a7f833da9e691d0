"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Folder of an embedded stack: use that one, whatever the settings name. Default: .medallion",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
TimeoutSeconds = Annotated[
    float, typer.Option("--timeout-seconds", min=0.0, metavar="S", help="Longest wait until everything is processed.")
]
