"""What the ingestor tells the metrics: its polls and sweeps, and, of the whole pipeline, what is waiting."""

from collections.abc import Mapping

from services.ingestor.service import PollResult
from services.ingestor.sweep import SweepResult
from shared.metrics import (
    BACKLOG_GOLD,
    BACKLOG_OBJECTS,
    BACKLOG_OLDEST_SECONDS,
    EXPECTATIONS_FAILED,
    OPEN_ALERTS,
    OPEN_DEAD_LETTERS,
    POLLS,
    SWEEP_FINDINGS,
    SWEEP_SECONDS,
    Metrics,
    Sample,
)
from shared.ports import Session

UNFINISHED = ("registered", "processing", "held", "failed")
MOVING = ("registered", "processing")  # what workers should soon be done with
FINDINGS = ("registered", "announced_again", "gone", "changes_announced_again")

Waiting = Mapping[str, tuple[int, float]]  # how many and the age of the oldest in seconds, as backlog.sql names them


def measure_poll(metrics: Metrics, result: PollResult) -> None:
    """Tell the metrics what a poll came to."""
    metrics.count(POLLS, result.dataset, result.outcome)


def measure_sweep(metrics: Metrics, result: SweepResult, seconds: float) -> None:
    """Tell the metrics what a sweep healed and how long it took."""
    metrics.observe(SWEEP_SECONDS, seconds=seconds)
    for finding in FINDINGS:
        metrics.count(SWEEP_FINDINGS, finding, amount=getattr(result, finding))


def read_waiting(session: Session, query: str) -> Waiting:
    """Run backlog.sql."""
    found = {status: (count, oldest or 0.0) for status, count, oldest in session.rows(query)}
    session.commit()
    return found


def backlog_samples(waiting: Waiting) -> list[Sample]:
    """Return what is waiting as metrics, zeros included."""

    def count(name: str) -> float:
        return float(waiting.get(name, (0, 0.0))[0])

    oldest = max((waiting[name][1] for name in MOVING if name in waiting), default=0.0)
    return [
        *(Sample(BACKLOG_OBJECTS, count(status), (status,)) for status in UNFINISHED),
        Sample(BACKLOG_OLDEST_SECONDS, oldest),
        Sample(BACKLOG_GOLD, count("gold")),
        Sample(OPEN_DEAD_LETTERS, count("dead letters")),
        Sample(EXPECTATIONS_FAILED, count("expectations")),
        Sample(OPEN_ALERTS, count("alerts")),
    ]
