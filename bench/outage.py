"""Kafka away while files are dropped: nothing may be lost, and how long it takes until all is settled again.

`python -m bench.outage [--files N] [--seconds S] [--stack external]`; on external servers it needs the tests' command that
stops and starts them.
"""

import sys
import time

from bench.flow import flowing, put_all, say, stack_parser
from bench.small_files import content
from bench.ten_million import CONTRACT
from services.stack.servers import KAFKA

ROWS = 100
SETTLE_SECONDS_MAX = 600.0


def main() -> int:
    """Stop Kafka, drop, start Kafka, wait, print; 1 when a row is missing."""
    parser = stack_parser("bench.outage", __doc__)
    parser.add_argument("--files", type=int, default=500, help="files to drop (default 500)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long Kafka is away (default 60)")
    options = parser.parse_args()
    with flowing(options, {"readings": CONTRACT}) as flow:
        settings = flow.stack.settings
        put_all(settings, {"readings/warm.csv": content(0, ROWS)})
        flow.await_done("readings/warm.csv", 1, 120)
        flow.servers.stop(KAFKA)
        stopped_at = time.monotonic()
        put_seconds = put_all(settings, {f"readings/{n:05}.csv": content(n, ROWS) for n in range(1, options.files + 1)})
        while (left_seconds := options.seconds - (time.monotonic() - stopped_at)) > 0:
            flow.stack.tick()
            time.sleep(min(left_seconds, 0.2))
        done_before = flow.rows("SELECT count(*) FROM bronze.ingestion_metadata WHERE status = 'done'")[0][0] - 1
        flow.servers.start(KAFKA)
        back_at = time.monotonic()
        flow.await_done("readings/%", options.files + 1, SETTLE_SECONDS_MAX)
        done_seconds = time.monotonic() - back_at
        flow.await_settled(SETTLE_SECONDS_MAX)
        rows = flow.rows("SELECT count(*) FROM silver.clean_readings")[0][0]
        found: dict[str, int] = dict(
            flow.rows("SELECT discovered_by, count(*) FROM bronze.ingestion_metadata GROUP BY 1")
        )
        letters = flow.rows("SELECT count(*) FROM bronze.dead_letters")[0][0]
        wanted = ROWS * (options.files + 1)
        say(f"{options.files} files put while Kafka was away", f"{put_seconds:.1f} s")
        say(f"loaded before Kafka was back, {back_at - stopped_at:.0f} s after it went", f"{done_before:,}")
        say("all loaded, after Kafka was back", f"{done_seconds:.1f} s")
        say("settled, gold and its views included", f"{time.monotonic() - back_at:.1f} s")
        say("found by", ", ".join(f"{name} {count}" for name, count in sorted(found.items())))
        say("rows in silver, dead letters", f"{rows:,} of {wanted:,}, {letters}")
    return 0 if rows == wanted and not letters else 1


if __name__ == "__main__":
    sys.exit(main())
