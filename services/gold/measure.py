"""What gold tells the metrics."""

from collections.abc import Sequence

from services.gold.transaction import Refreshed
from shared.metrics import REFRESH_SECONDS, REFRESHED_ROWS, Metrics


def measure(metrics: Metrics, done: Sequence[Refreshed]) -> None:
    """Tell the metrics what refreshes did, and how long they took."""
    for one in done:
        metrics.observe(REFRESH_SECONDS, one.model, seconds=one.seconds)
        metrics.count(REFRESHED_ROWS, one.model, amount=one.rows_written + one.rows_deleted)
