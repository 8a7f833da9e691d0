"""Measure the pipeline on the published data: `make bench`, or `python -m bench --help`."""

import argparse
import logging
import os
import platform
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from bench.covid import FLOOR, measure_covid
from bench.expectations import expectations_ratio, measure_expectations
from bench.figures import Figures
from bench.latency import DROP, measure_drops
from bench.peers import measure_peers
from bench.rules import measure_rules, rules_ratio
from services.cli.serve import create_topics, prepare
from services.stack import Stack, embedded_stack
from shared.errors import MedallionError
from shared.settings import load_settings

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


def main() -> int:
    """Measure and print; 2 when the published data is not there."""
    options = _options()
    if not DATA.is_dir():
        print("The published data is not there: ../shared/data is absent, nothing can be measured.", file=sys.stderr)
        return 2
    logging.disable(logging.WARNING)
    console, figures = Console(width=None if sys.stdout.isatty() else 120), Figures()
    with tempfile.TemporaryDirectory(prefix="medallion-bench-") as folder, console.status("…") as status:
        settings = load_settings()
        with embedded_stack(
            Path(folder) / "quiet", settings=settings, prepare=prepare, recreate_topics=create_topics, discard=True
        ) as stack:
            for run in range(options.runs):
                status.update(f"silver and gold, run {run + 1} of {options.runs}")
                measure_covid(stack.settings, DATA, figures)
                status.update(f"rules, run {run + 1} of {options.runs}")
                measure_rules(stack.settings, next((DATA / "covid").glob("time-series-*.csv")), figures)
                status.update(f"expectations, run {run + 1} of {options.runs}")
                measure_expectations(stack.settings, next((DATA / "covid").glob("time-series-*.csv")), figures)
                if options.peers:
                    status.update(f"peers, run {run + 1} of {options.runs}")
                    measure_peers(stack.settings, DATA, Path(folder) / "peers", figures)
        status.update(f"{options.drops} drops through the running services")
        with embedded_stack(
            Path(folder) / "live", settings=settings, prepare=prepare, recreate_topics=create_topics, discard=True,
            services=True, poll=False,
        ) as stack:  # fmt: skip
            failure = _drops(stack, options.drops, figures)
    machine = f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}"
    console.print(figures.table(f"COVID file, 231,744 rows · {machine}", FLOOR))
    latency = {f"drop_to_gold_p{p}_seconds": figures.percentile(DROP, p) for p in (50, 99) if DROP in figures.samples}
    console.print(f"first load with a rule of every kind against none: × {rules_ratio(figures):.2f}")
    console.print(f"first load with an expectation of every kind against none: × {expectations_ratio(figures):.2f}")
    for name, seconds in latency.items():
        console.print(f"{name}: {seconds:.3f}")
    if options.json:
        ratios = {"rules_ratio": rules_ratio(figures), "expectations_ratio": expectations_ratio(figures)}
        figures.write(options.json, {"machine": machine, **ratios, **latency})
    if failure:
        print(failure, file=sys.stderr)
    return 1 if failure else 0


def _drops(stack: Stack, drops: int, figures: Figures) -> str | None:
    """Measure the drops; a failure is said after what was measured before it."""
    try:
        measure_drops(stack, DATA, drops, figures)
    except MedallionError as error:
        return str(error)
    return None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the pipeline on the published data.")
    parser.add_argument("--runs", type=int, default=5, help="runs of every step (default 5)")
    parser.add_argument("--drops", type=int, default=50, help="files dropped for the latency (default 50)")
    parser.add_argument("--peers", action="store_true", help="measure dlt (installed aside) and the pandas way too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
