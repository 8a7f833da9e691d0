"""Run the command line: `medallion`, or `python -m services.cli`."""

import sys
from collections.abc import Sequence

from services.cli.app import app
from services.cli.output import complain
from shared.errors import ConfigurationError, MedallionError, Unavailable

INTERRUPTED = 130  # what shells say of a program that was interrupted


def exit_status(error: MedallionError) -> int:
    """Return the exit status that an error of ours stands for."""
    if isinstance(error, ConfigurationError):
        return 2
    return 3 if isinstance(error, Unavailable) else 1


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave the process with its exit status."""
    try:
        app(args=list(sys.argv[1:] if arguments is None else arguments), prog_name="medallion")
    except MedallionError as error:
        complain(str(error))
        sys.exit(exit_status(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
