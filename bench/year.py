"""A year of history, generated: how long `quality` and `runs` take as whole commands, from start to end.

`python -m bench.year [--days D] [--objects-a-day N] [--runs N]`
"""

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from statistics import median

from bench.flow import say
from bench.stage import Stage, fresh_database
from services.stack import embedded_stack, settings_environment
from shared.settings import load_settings
from tests.integration.year import CHECKS, DATASETS, LAST_DAY, write_year

_COUNTS = """
SELECT (SELECT count(*) FROM bronze.processing_runs), (SELECT count(*) FROM silver.data_quality_logs)
"""


def main() -> int:
    """Generate, show, print the medians; 1 when a command does not show what was generated."""
    parser = argparse.ArgumentParser(prog="python -m bench.year", description=__doc__)
    parser.add_argument("--days", type=int, default=365, help="days of history (default 365)")
    parser.add_argument("--objects-a-day", type=int, default=24, help="objects a day and dataset (default 24)")
    parser.add_argument("--runs", type=int, default=5, help="how often each command is run (default 5)")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with (
        tempfile.TemporaryDirectory(prefix="medallion-bench-") as folder,
        embedded_stack(Path(folder) / "data", settings=load_settings(), discard=True) as stack,
        fresh_database(stack.settings) as stage,
    ):
        write_year(stage.session, options.days, options.objects_a_day)
        runs, results = stage.session.rows(_COUNTS)[0]
        stage.session.commit()
        say(
            "generated",
            f"{options.days} days, {len(DATASETS)} datasets, {CHECKS} checks: {runs:,} runs, {results:,} results",
        )
        month, year = (str(LAST_DAY - timedelta(days=days - 1)) for days in (30, options.days))
        shows = [
            (("runs",), DATASETS[0]),
            (("quality", "--since", month), DATASETS[0]),
            (("quality", DATASETS[0], "--since", year), DATASETS[0]),
            (("quality", "--since", year), DATASETS[-1]),
        ]
        return max(_timed(stage, command, shown, options.runs) for command, shown in shows)


def _timed(stage: Stage, command: tuple[str, ...], shown: str, runs: int) -> int:
    environment = {**os.environ, **settings_environment(stage.settings), "COLUMNS": "160"}
    seconds = []
    for _ in range(runs):
        began = time.monotonic()
        done = subprocess.run(
            [Path(sys.executable).with_name("medallion"), *command],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds.append(time.monotonic() - began)
        if done.returncode or shown not in done.stdout:
            print(
                f"medallion {' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}",
                file=sys.stderr,
            )
            return 1
    say(f"medallion {' '.join(command)}", f"{median(seconds):.2f} s ({min(seconds):.2f}–{max(seconds):.2f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
