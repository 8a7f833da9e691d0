"""Run chaos from the command line: `python -m tests.chaos`, which `make chaos` calls."""

import argparse
import json
import random
import sys
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from tests.chaos.run import Plan, Report, real_deliveries, run_chaos
from tests.stacks import STACKS, available_stacks


def main() -> int:
    """Run one plan and print what happened; return 1 when something is not as it must be."""
    options = _arguments()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    plan = Plan(
        seed=seed,
        faults=options.faults,
        objects=options.objects or max(options.faults * 2 // 3, 60),
        seconds_between_faults=options.minutes * 60 / options.faults,
        silver=options.silver,
        gold=options.gold,
        real_files=[] if options.generated else real_deliveries(is_long=options.faults >= 300),
        keep=options.keep,
    )
    errors = Console(stderr=True)
    errors.print(f"chaos: seed {seed}, {plan.faults} faults in about {options.minutes:g} minutes", highlight=False)
    with available_stacks(options.stack) as stacks:
        report = run_chaos(plan, lambda text: errors.print(text, highlight=False, markup=False), stacks)
    if options.json:
        print(json.dumps(asdict(report), default=str, indent=2))
    else:
        show(report, Console())
    return 1 if report.wrong else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description="Break the running pipeline, bounded and seeded."
    )
    parser.add_argument("--faults", type=int, default=120, help="how many to inject (default 120)")
    parser.add_argument("--minutes", type=float, default=6, help="time over which they are spread (default 6)")
    parser.add_argument(
        "--objects", type=int, help="objects of the corpus (default: two for three faults, at least 60)"
    )
    parser.add_argument("--seed", type=int, help="of corpus and faults (default: any; it is printed)")
    parser.add_argument("--silver", type=int, default=2, help="silver workers (default 2)")
    parser.add_argument("--gold", type=int, default=2, help="gold workers (default 2)")
    parser.add_argument(
        "--stack", choices=STACKS, default="embedded", help="whose servers are broken (default embedded)"
    )
    parser.add_argument("--generated", action="store_true", help="leave the real COVID deliveries out")
    parser.add_argument("--keep", action="store_true", help="leave the folder with data and logs, and name it")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser.parse_args()


def show(report: Report, console: Console) -> None:
    """Print the report as tables, and at the end what is wrong."""
    faults = Table("fault", "injected", title="Faults")
    for name, count in report.faults.most_common():
        faults.add_row(name, str(count))
    faults.add_row("all", str(report.faults.total()), end_section=True)
    faults.add_row("of these while work was outstanding", str(report.faults_under_load))
    console.print(faults)
    facts = Table("what", "figure", title=f"Seed {report.plan.seed}")
    facts.add_row("objects landed", str(report.objects))
    for name, count in {**report.ledger, **{f"restarts of {n}": c for n, c in report.restarts.items()}}.items():
        facts.add_row(name, f"{count:,}")
    facts.add_row("rows compared", f"{report.rows_compared:,}")
    facts.add_row("seconds without faults", f"{report.reference_seconds:.0f}")
    facts.add_row("seconds under fire", f"{report.chaos_seconds:.0f}")
    facts.add_row("seconds to settle afterwards", f"{report.settle_seconds:.0f}")
    console.print(facts)
    if report.folder:
        console.print(f"data and logs: {report.folder}", highlight=False)
    for line in report.wrong:
        console.print(f"WRONG: {line}", style="red", markup=False)
    if not report.wrong:
        console.print("The same end state; arithmetic and lineage hold; no dead letter.", style="green")


if __name__ == "__main__":
    sys.exit(main())
