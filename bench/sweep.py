"""Many objects in the bucket: how long a sweep takes that knows none of them, one that knows all, and what they need.

`python -m bench.sweep [--objects N] [--stack external]`, on a stack that has nothing in it.
"""

import logging
import resource
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.flow import stack_parser
from services.ingestor.service import Ingestor
from shared.adapters.kafka import KafkaBus
from shared.adapters.postgres import Postgres
from shared.adapters.s3 import open_s3
from shared.catalog import load_catalog
from shared.described import LANDED_AT, WRITE_DISPOSITION
from shared.ports import ObjectStore
from shared.settings import BRONZE_BUCKET, Settings, load_settings
from tests.stacks import available_stacks

PUT_THREADS = 8
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
BODY = b"[]"


def fill(store: ObjectStore, objects: int) -> None:
    """Put small objects as a source polled every few minutes leaves them: day folders, landing times as metadata."""

    def put(number: int) -> None:
        landed_at = FIRST_DAY + timedelta(minutes=5 * number)
        metadata = {LANDED_AT: landed_at.isoformat(), WRITE_DISPOSITION: "replace"}
        store.put_bytes(BRONZE_BUCKET, f"posts/ingest_date={landed_at:%Y-%m-%d}/{number:07}.json", BODY, metadata)

    with ThreadPoolExecutor(PUT_THREADS) as pool:
        for _ in pool.map(put, range(objects), chunksize=100):
            pass


def measure(settings: Settings, objects: int, console: Console) -> Table:
    """Fill the bucket, sweep it, and return the figures."""
    assert settings.database_url is not None
    warehouse, store = Postgres(settings.database_url.get_secret_value()), open_s3(settings)
    bus = KafkaBus(settings.kafka_bootstrap_servers)
    ingestor = Ingestor(settings, load_catalog(settings.dataset_dir), warehouse, store, bus)
    console.print(f"putting {objects:,} objects …")
    began = time.perf_counter()
    fill(store, objects)
    console.print(f"put in {time.perf_counter() - began:.0f} s; sweeping")
    began = time.perf_counter()
    listed = sum(1 for _ in store.versions(BRONZE_BUCKET))
    table = Table("sweep", "seconds", "registered", "memory MB", title=f"{listed:,} objects")
    table.add_row("listing alone", f"{time.perf_counter() - began:.1f}", "", _memory_mb())
    for name in ("first: knows none", "second: knows all", "third: 10 new ones", "another process: all in the ledger"):
        if name.startswith("third"):
            for number in range(10):
                store.put_bytes(BRONZE_BUCKET, f"posts/drop {number}.json", BODY, {})
        if name.startswith("another"):
            ingestor = Ingestor(settings, ingestor.catalog, warehouse, store, bus)
        if name.startswith("second"):
            _finish_all(warehouse)
        began = time.perf_counter()
        found = ingestor.sweep_once()
        table.add_row(name, f"{time.perf_counter() - began:.1f}", f"{found.registered:,}", _memory_mb())
    bus.close()
    return table


def _finish_all(warehouse: Postgres) -> None:
    """Say of all objects that silver is done with them, as it is of nearly all in a bucket of this size."""
    with warehouse.session("bench") as session:
        session.execute("UPDATE bronze.ingestion_metadata SET status = 'done', finished_at = clock_timestamp()")
        session.commit()
        session.execute("ANALYZE bronze.ingestion_metadata")
        session.commit()


def _memory_mb() -> str:
    """Return the most memory this process ever held."""
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}"


def main() -> int:
    """Measure and print."""
    parser = stack_parser("bench.sweep", __doc__)
    parser.add_argument("--objects", type=int, default=100_000, help="objects to put into the bucket")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    folder, console = Path(tempfile.mkdtemp(prefix="medallion-sweep-")), Console()
    try:
        with available_stacks(options.stack) as stacks, stacks.open(folder / "data", load_settings()) as opened:
            console.print(measure(opened.stack.settings, options.objects, console))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
