"""From a file that someone drops to gold, through the running services.

`python -m bench.latency [--drops N] [--stack external]` measures that alone.
"""

import csv
import io
import sys
import time
from pathlib import Path

from bench.figures import Figures
from bench.flow import flowing, say, stack_parser
from bench.stage import Stage
from services.stack import Stack
from shared.errors import MedallionError
from shared.settings import BRONZE_BUCKET

DROP = "drop → gold, 100 rows, before the PUT to visible"
ROWS = 100
POLL_SECONDS = 0.002
TIMEOUT_SECONDS = 180.0

_IS_IN_GOLD = """
SELECT EXISTS (
    SELECT FROM bronze.ingestion_metadata AS object
    JOIN silver.change_sets USING (object_id)
    JOIN gold.refreshes ON change_set_id = ANY (refreshes.change_sets)
    WHERE object.object_key = %s AND refreshes.model = 'covid_country_trends'
)
"""


def measure_drops(stack: Stack, data: Path, drops: int, figures: Figures) -> None:
    """Load the COVID file through the services, then drop corrections of its newest day and wait for each."""
    stage = Stage(stack.settings)
    try:
        (final,) = (data / "covid").glob("time-series-*.csv")
        stage.land("covid", final, day=0)
        key = stage.session.rows("SELECT object_key FROM bronze.ingestion_metadata")[0][0]
        stage.session.commit()
        _await_gold(stack, stage, key)
        _await_quiet(stack, stage)
        header, newest = _newest_day(final)
        for number in range(drops):
            name = f"covid/drop-{number:03d}.csv"
            content = _corrected(header, newest, number + 1)
            _await_next_second()
            began = time.monotonic()
            stage.store.put_bytes(BRONZE_BUCKET, name, content, {})
            _await_gold(stack, stage, name)
            figures.add(DROP, time.monotonic() - began)
    finally:
        stage.session.close()


def _await_next_second() -> None:
    """Keep drops of the same rows a second apart: the store dates objects by the second, and equals have no order."""
    second = int(time.time())
    while int(time.time()) == second:
        time.sleep(POLL_SECONDS)


def _await_gold(stack: Stack, stage: Stage, key: str) -> None:
    _await(stack, stage, _IS_IN_GOLD, (key,), f"{key} did not reach gold")


def _await_quiet(stack: Stack, stage: Stage) -> None:
    _await(stack, stage, "SELECT NOT EXISTS (SELECT FROM gold.pending)", (), "gold's views were not refreshed")


def _await(stack: Stack, stage: Stage, query: str, params: tuple[str, ...], complaint: str) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        is_so = stage.session.rows(query, params)[0][0]
        stage.session.rollback()
        if is_so:
            return
        if time.monotonic() > deadline:
            raise MedallionError(f"{complaint} within {TIMEOUT_SECONDS:.0f} s; the logs are in {stack.data_dir}/logs")
        stack.tick()
        time.sleep(POLL_SECONDS)


def _newest_day(path: Path) -> tuple[list[str], list[list[str]]]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        header = next(reader)
        rows = [row for row in reader if row[0] == "2022-04-16"]
    return header, rows[:ROWS]


def _corrected(header: list[str], rows: list[list[str]], added: int) -> bytes:
    """Return the rows with so many more confirmed cases: every one of them differs from what is in silver."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([*row[:3], int(row[3]) + added, *row[4:]] for row in rows)
    return text.getvalue().encode()


def main() -> int:
    """Measure and print; 2 when the published data is not there."""
    parser = stack_parser("bench.latency", __doc__)
    parser.add_argument("--drops", type=int, default=50, help="files to drop (default 50)")
    options = parser.parse_args()
    data = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not data.is_dir():
        print("The published data is not there: ../shared/data is absent, nothing can be measured.", file=sys.stderr)
        return 2
    figures = Figures()
    with flowing(options, {}) as flow:
        measure_drops(flow.stack, data, options.drops, figures)
    for percent in (50, 99):
        say(f"{DROP}, p{percent} of {options.drops}", f"{figures.percentile(DROP, percent):.3f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
