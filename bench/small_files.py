"""Many small files dropped at once: how many a second silver takes, and that none is lost.

`python -m bench.small_files [--files N] [--silver WORKERS] [--stack external]`
"""

import sys
import time

from bench.flow import flowing, put_all, say, stack_parser
from bench.ten_million import CONTRACT

WARM_UP_FILES = 20
SECONDS_A_FILE_MAX = 1.0


def content(number: int, rows: int) -> bytes:
    """Return a file whose keys no other file has."""
    lines = (
        f"{number * rows + row},2024-01-{row % 28 + 1:02},category {row % 8},{row}.25,note number {row}\n"
        for row in range(rows)
    )
    return ("id,day,category,amount,note\n" + "".join(lines)).encode()


def main() -> int:
    """Drop, wait, print; 1 when a row is missing."""
    parser = stack_parser("bench.small_files", __doc__)
    parser.add_argument("--files", type=int, default=2_000, help="files to drop (default 2,000)")
    parser.add_argument("--rows", type=int, default=100, help="rows of each (default 100)")
    parser.add_argument("--silver", type=int, default=1, help="silver workers (default 1)")
    options = parser.parse_args()
    with flowing(options, {"readings": CONTRACT}, silver=options.silver) as flow:
        settings = flow.stack.settings
        first = {f"readings/warm/{n:05}.csv": content(n, options.rows) for n in range(WARM_UP_FILES)}
        put_all(settings, first)
        flow.await_done("readings/warm/%", WARM_UP_FILES, 120)
        numbers = range(WARM_UP_FILES, WARM_UP_FILES + options.files)
        files = {f"readings/drop/{n:05}.csv": content(n, options.rows) for n in numbers}
        began = time.monotonic()
        put_seconds = put_all(settings, files)
        flow.await_done("readings/drop/%", options.files, 60 + options.files * SECONDS_A_FILE_MAX)
        seconds = time.monotonic() - began
        span_seconds = flow.span_seconds("readings/drop/%")
        rows = flow.rows("SELECT count(*) FROM silver.clean_readings")[0][0]
        wanted = options.rows * (options.files + WARM_UP_FILES)
        say(f"{options.files:,} files of {options.rows} rows put", f"{put_seconds:.1f} s")
        say(
            f"{options.silver} worker(s), first claim to last commit",
            f"{options.files / span_seconds:.1f} files/s ({span_seconds:.1f} s)",
        )
        say("before the first PUT to the last commit", f"{seconds:.1f} s")
        say("rows in silver", f"{rows:,} of {wanted:,}")
    return 0 if rows == wanted else 1


if __name__ == "__main__":
    sys.exit(main())
