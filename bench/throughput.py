"""One silver worker against two, on work that is reading: large snapshots of several datasets of which little is new.

`python -m bench.throughput [--files N] [--megabytes M] [--datasets D] [--stack external]`; it needs some three times
files × megabytes of disk.
"""

import argparse
import os
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path

import psutil

from bench.flow import Flow, flowing, say, stack_parser
from bench.stage import DAY_ZERO
from shared.adapters.kafka import KafkaBus
from shared.adapters.s3 import open_s3
from shared.announce import announce
from shared.catalog import load_catalog
from shared.events import ObjectRef
from shared.landing import Landing, land
from shared.ledger import register_known

CONTRACT = """\
dataset: {name}
description: Generated rows, as many as wanted.
source: {{url: "https://example.org/{name}.csv", poll_interval_seconds: 86400, write_disposition: replace}}
format: {{type: csv}}
columns:
  - {{name: id, type: integer}}
  - {{name: day, type: date}}
  - {{name: category, type: text}}
  - {{name: amount, type: decimal, precision: 12, scale: 2}}
  - {{name: factor, type: double}}
  - {{name: note, type: text, nullable: true}}
primary_key: [id]
rules:
  - {{name: amount_not_negative, check: "amount >= 0", severity: warn, penalty: 10}}
  - {{length: {{of: note, max: 200}}, severity: warn, penalty: 10}}
"""
NOTE = "a note of some length as people write them into the last column of a table and number"
CHUNK_ROWS = 1_000
TIMEOUT_SECONDS = 1800.0
_STEPS = """
SELECT avg(read_seconds), avg(merge_seconds) FROM bronze.processing_runs JOIN bronze.ingestion_metadata USING (object_id)
WHERE object_key LIKE %s
"""
FAMILIES = ("silver", "gold", "ingestor", "postgres", "weed", "tansu")  # words of their command lines


def write_snapshot(path: Path, megabytes: float, version: int) -> None:
    """Write a snapshot; of two versions one row in a thousand differs."""
    with path.open("w", encoding="utf-8") as file:
        file.write("id,day,category,amount,factor,note\n")
        for start in count(0, CHUNK_ROWS):
            file.write("".join(_line(row, version) for row in range(start, start + CHUNK_ROWS)))
            if file.tell() > megabytes * 1_000_000:
                return


def _line(row: int, version: int) -> str:
    day, amount = f"2024-{row % 12 + 1:02}-{row % 28 + 1:02}", row % 9_973 + (version if row % 1_000 == 0 else 0)
    return f"{row},{day},category {row % 50},{amount}.25,{row / 7:.6f},{NOTE} {row}\n"


class Landed:
    """Snapshots by the dozen: one after the other landed and, if asked, announced."""

    def __init__(self, flow: Flow, options: argparse.Namespace) -> None:
        settings = flow.stack.settings
        self._flow, self._options = flow, options
        self._store, self._catalog = open_s3(settings), load_catalog(settings.dataset_dir)
        self._bus = KafkaBus(settings.kafka_bootstrap_servers)
        self._session = flow.warehouse.connect("bench-land")
        self._landed = 0

    def land(self, files: int, version: int) -> None:
        """Land so many files, the datasets taking turns."""
        with (
            tempfile.TemporaryDirectory(prefix="medallion-bench-") as folder,
            self._flow.warehouse.session("bench") as session,
        ):
            for number in range(files):
                dataset = self._catalog[f"wide_{number % self._options.datasets + 1}"]
                self._landed += 1
                path = Path(folder) / f"run-{version}-{number:03}.csv"
                write_snapshot(path, self._options.megabytes, self._landed)
                moment = DAY_ZERO + timedelta(minutes=self._landed)
                info = land(session, self._store, Landing(dataset, path, path.name, "replace", "", moment))
                path.unlink()
                register_known(session, self._store, self._catalog, info, "cli")
                announce(session, self._bus, ObjectRef(bucket=info.bucket, key=info.key, version_id=info.version_id))


@dataclass(frozen=True)
class Measured:
    """The seconds from the first claim to the last commit, and how many CPUs were busy meanwhile."""

    seconds: float
    cpus_busy: float

    def ratio_max(self, workers: int) -> float:
        """Return how much faster so many workers can be, were the machine's CPUs the only limit."""
        return min(workers, (os.cpu_count() or 1) / self.cpus_busy)


def measure(flow: Flow, landed: Landed, options: argparse.Namespace, workers: int) -> Measured:
    """Land while nobody works, then start the workers."""
    names = [f"silver-{n}" for n in (1, 2)]
    for name in names:
        flow.stack.stop(name)
    landed.land(options.files, workers)
    for name in names[:workers]:
        flow.stack.start(name)
    before = cpu_seconds()
    flow.await_done(f"%run-{workers}-%", options.files, TIMEOUT_SECONDS)
    used = {name: now - before[name] for name, now in cpu_seconds().items()}
    seconds = flow.span_seconds(f"%run-{workers}-%")
    megabytes = options.files * options.megabytes
    say(f"{workers} worker(s)", f"{seconds:.1f} s, {megabytes / seconds:.1f} MB/s")
    say("  CPUs used by", ", ".join(f"{name} {used[name] / seconds:.2f}" for name in FAMILIES if used[name] > 0.1))
    read, merged = flow.rows(_STEPS, (f"%run-{workers}-%",))[0]
    say("  a file's way", f"{read:.1f} s of reading, {merged:.1f} s of waiting for its dataset and merging")
    return Measured(seconds, sum(used.values()) / seconds)


def cpu_seconds() -> dict[str, float]:
    """Return the CPU seconds that this stack's own processes have used so far, by what they are."""
    used = dict.fromkeys((*FAMILIES, "others"), 0.0)
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            command, times = " ".join(process.cmdline()[:6]), process.cpu_times()
            used[next((name for name in FAMILIES if name in command), "others")] += times.user + times.system
    return used


def main() -> int:
    """Measure one worker, then two, and print the ratio."""
    parser = stack_parser("bench.throughput", __doc__)
    parser.add_argument("--files", type=int, default=20, help="files of each measurement (default 20)")
    parser.add_argument("--megabytes", type=float, default=50, help="size of each (default 50)")
    parser.add_argument("--datasets", type=int, default=5, help="datasets they are spread over (default 5)")
    options = parser.parse_args()
    contracts = {f"wide_{n}": CONTRACT.format(name=f"wide_{n}") for n in range(1, options.datasets + 1)}
    with flowing(options, contracts, silver=2) as flow:
        landed = Landed(flow, options)
        began = time.monotonic()
        landed.land(options.datasets, 0)
        flow.await_done("%run-0-%", options.datasets, TIMEOUT_SECONDS)
        say(f"{options.datasets} first loads, not part of it", f"{time.monotonic() - began:.0f} s")
        one, two = measure(flow, landed, options, 1), measure(flow, landed, options, 2)
        say("throughput of two workers to that of one", f"{one.seconds / two.seconds:.2f}")
        say(
            "  the most that the machine's CPUs allow", f"{one.ratio_max(2):.2f}, {one.cpus_busy:.2f} are busy with one"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
