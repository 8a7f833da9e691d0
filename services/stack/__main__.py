"""`python -m services.stack [--data-dir DIR]`: the embedded servers alone, to develop and test against."""

import argparse
import shlex
import sys
from pathlib import Path

from services.stack import Stack, run_stack
from services.stack.lifecycle import discard_data
from shared.errors import ConfigurationError, MedallionError
from shared.settings import load_settings
from shared.telemetry import configure_logging


def _announce(stack: Stack) -> None:
    for name, value in stack.endpoints.items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
    sys.stdout.flush()


def main() -> int:
    """Run the servers until Ctrl-C, or remove their data; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m services.stack", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=None, help="folder of the servers' data")
    parser.add_argument("--discard", action="store_true", help="remove the folder and all data instead")
    arguments = parser.parse_args()
    try:
        settings = load_settings(**({"data_dir": arguments.data_dir} if arguments.data_dir else {}))
        configure_logging("stack", settings.log_format, settings.log_level)
        if arguments.discard:
            discard_data(settings.data_dir)
        else:
            run_stack(settings, services=False, on_ready=_announce)
    except MedallionError as error:
        sys.stderr.write(f"{error}\n")
        return 2 if isinstance(error, ConfigurationError) else 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
