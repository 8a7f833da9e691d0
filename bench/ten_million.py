"""Ten million generated rows through a silver worker, and again unchanged: rows per second and peak memory.

`python -m bench.ten_million`; needs some 10 GB below the folder for temporary files (TMPDIR).
"""

import argparse
import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
from rich.console import Console

from bench.stage import SilverWorker, Worked, fresh_database
from services.cli.serve import create_topics, prepare
from services.stack import embedded_stack
from shared.settings import data_file_root, load_settings

CONTRACT = """\
dataset: readings
description: Generated rows, as many as wanted.
source: {url: "https://example.org/readings.csv", poll_interval_seconds: 3600, write_disposition: replace}
format: {type: csv}
columns:
  - {name: id, type: integer}
  - {name: day, type: date}
  - {name: category, type: text}
  - {name: amount, type: decimal, precision: 12, scale: 2}
  - {name: note, type: text, nullable: true}
primary_key: [id]
rules:
  - {name: amount_not_negative, check: "amount >= 0", severity: warn, penalty: 10}
"""
CHUNK_ROWS = 500_000
MEMORY_AIM_MB = 512


def write_readings(path: Path, rows: int) -> None:
    """Write a CSV file of generated rows, a chunk at a time."""
    rng = np.random.default_rng(10_000_000)
    categories = pa.array(["food", "rent", "travel", "books", "tools", "music", "garden", "other"])
    notes = pa.array([f"note number {n}" for n in range(1_000)] + [""])
    with path.open("wb") as file:
        file.write(b"id,day,category,amount,note\n")
        for start in range(0, rows, CHUNK_ROWS):
            count = min(CHUNK_ROWS, rows - start)
            days = np.datetime64("2020-01-01") + rng.integers(0, 2_000, count)
            chunk = pa.table(
                {
                    "id": np.arange(start, start + count),
                    "day": pa.array(days),
                    "category": categories.take(pa.array(rng.integers(0, len(categories), count))),
                    "amount": rng.integers(0, 1_000_000, count) / 100,
                    "note": notes.take(pa.array(rng.integers(0, len(notes), count))),
                }
            )
            pyarrow.csv.write_csv(chunk, file, pyarrow.csv.WriteOptions(include_header=False, quoting_style="none"))


def main() -> int:
    """Load, load again, print; 1 when the worker took more memory than it should."""
    parser = argparse.ArgumentParser(prog="python -m bench.ten_million", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    console = Console(width=None if sys.stdout.isatty() else 120)
    with tempfile.TemporaryDirectory(prefix="medallion-bench-") as name, console.status("generating …") as status:
        folder = Path(name)
        shutil.copytree(data_file_root("config"), folder / "config")
        (folder / "config" / "datasets" / "readings.yaml").write_text(CONTRACT)
        source = folder / "readings.csv"
        write_readings(source, options.rows)
        settings = load_settings(config_dir=folder / "config")
        with embedded_stack(
            folder / "stack", settings=settings, prepare=prepare, recreate_topics=create_topics, discard=True
        ) as stack, fresh_database(stack.settings) as stage, SilverWorker(stage.settings) as worker:  # fmt: skip
            for day, what in enumerate(("first load", "same file again", "same rows in other bytes")):
                status.update(what)
                if what == "same rows in other bytes":
                    with source.open("ab") as file:
                        file.write(b"\n")
                landing = time.monotonic()
                object_id = stage.land("readings", source, day=day)
                landed = time.monotonic() - landing
                worked = worker.process(object_id)
                columns = "rows_read, rows_inserted, rows_unchanged"
                counts = stage.session.rows(
                    f"SELECT {columns} FROM bronze.ingestion_metadata WHERE object_id = %s", (object_id,)
                )
                stage.session.rollback()
                console.print(_sentence(what, options.rows, landed, worked, counts[0]))
    return 0 if worked.rss_peak_mb <= MEMORY_AIM_MB else 1


def _sentence(what: str, rows: int, landed: float, worked: Worked, counts: tuple[int, ...]) -> str:
    seconds = worked.committed - worked.began
    read, inserted, unchanged = counts
    return (
        f"{what}: {worked.status}, {read:,} read, {inserted:,} inserted, {unchanged:,} unchanged; landed in {landed:.1f} s,"
        f" claim to commit {seconds:.1f} s ({rows / seconds:,.0f} rows/s), memory peak {worked.rss_peak_mb:,.0f} MB"
    )


if __name__ == "__main__":
    sys.exit(main())
