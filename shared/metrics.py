"""What is measured: one table of metrics, and the door through which services tell their numbers.

Names and labels are what dashboards and alerts rest on. Labels come from small sets: datasets, models,
outcomes, servers; never ids, keys or messages.
"""

from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True)
class Metric:
    """One time series family, as Prometheus knows it; seconds and counts, never other units."""

    name: str
    kind: Literal["counter", "gauge", "histogram", "computed"]  # computed: a gauge, worked out whenever it is read
    description: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """One value of a metric that is computed when it is read."""

    metric: Metric
    value: float
    labels: tuple[str, ...] = ()


# Silver: what came of objects and rows, and what it cost.
OBJECTS = Metric(
    "medallion_objects_total", "counter", "Passes over objects by what came of them.", ("dataset", "outcome")
)
ROWS = Metric(
    "medallion_rows_total", "counter", "Records of loaded objects by what became of them.", ("dataset", "verdict")
)
READ_SECONDS = Metric(
    "medallion_read_seconds", "histogram", "Download, parse, cast and check of one object.", ("dataset",)
)
MERGE_SECONDS = Metric("medallion_merge_seconds", "histogram", "From diff to commit of one object.", ("dataset",))

# Gold: one observation a model that a refresh brought up to date.
REFRESH_SECONDS = Metric("medallion_refresh_seconds", "histogram", "Refresh of one gold model.", ("model",))
REFRESHED_ROWS = Metric(
    "medallion_refreshed_rows_total", "counter", "Rows that refreshes wrote or deleted.", ("model",)
)

# Ingestor: what polls and sweeps found.
POLLS = Metric("medallion_polls_total", "counter", "Polls of sources by outcome.", ("dataset", "outcome"))
SWEEP_SECONDS = Metric("medallion_sweep_seconds", "histogram", "One sweep of bucket against ledger.")
SWEEP_FINDINGS = Metric(
    "medallion_sweep_findings_total",
    "counter",
    "What sweeps healed: versions that no event announced, objects and change sets announced again, deleted objects.",
    ("finding",),
)

ALERT_MESSAGES = Metric(
    "medallion_alert_messages_total", "counter", "Attempts to tell people of trouble, by what came of them.",
    ("channel", "outcome"),
)  # fmt: skip

# Ingestor, asked of the database when they are read: what is waiting. Absent while the database is away.
BACKLOG_OBJECTS = Metric("medallion_backlog_objects", "computed", "Unfinished objects by status.", ("status",))
BACKLOG_OLDEST_SECONDS = Metric(
    "medallion_backlog_oldest_seconds", "computed", "Age of the oldest registered or processing object; 0 without any."
)
BACKLOG_GOLD = Metric("medallion_backlog_gold_change_sets", "computed", "Change sets that gold has still to take in.")
EXPECTATIONS_FAILED = Metric("medallion_expectations_failed", "computed", "Expectations that fail now.")
OPEN_ALERTS = Metric("medallion_alerts_open", "computed", "Alerts that are open, told or not.")
OPEN_DEAD_LETTERS = Metric("medallion_dead_letters_open", "computed", "Dead letters that nobody has replayed.")

# Every service: its trouble, and its signs of life.
DEAD_LETTERS = Metric("medallion_dead_letters_total", "counter", "Events and bugs set aside, by topic.", ("topic",))
RETRIES = Metric(
    "medallion_retries_total", "counter", "Pieces of work tried again because a server was away.", ("server",)
)
SERVER_UP = Metric("medallion_server_up", "computed", "1 if the server answered the last check, else 0.", ("server",))
STOPPED = Metric("medallion_stopped", "computed", "1 while the service waits for `dead-letters resume`, else 0.")
MESSAGES = Metric("medallion_messages_total", "counter", "Messages handled and acknowledged, by topic.", ("topic",))
HEARTBEAT = Metric(
    "medallion_heartbeat_timestamp_seconds", "gauge", "When the last heartbeat was written, Unix time.", ("worker",)
)

METRICS = (
    OBJECTS, ROWS, READ_SECONDS, MERGE_SECONDS, REFRESH_SECONDS, REFRESHED_ROWS, POLLS, SWEEP_SECONDS,
    SWEEP_FINDINGS, ALERT_MESSAGES, BACKLOG_OBJECTS, BACKLOG_OLDEST_SECONDS, BACKLOG_GOLD, EXPECTATIONS_FAILED, OPEN_ALERTS,
    OPEN_DEAD_LETTERS, DEAD_LETTERS, RETRIES, SERVER_UP, STOPPED, MESSAGES, HEARTBEAT,
)  # fmt: skip


class Metrics(Protocol):
    """Where numbers go. Never raises and never waits; label values come in the order that the metric declares."""

    def count(self, metric: Metric, *labels: str, amount: float = 1) -> None:
        """Add to a counter."""
        ...

    def observe(self, metric: Metric, *labels: str, seconds: float) -> None:
        """Add one duration to a histogram."""
        ...

    def note(self, metric: Metric, *labels: str, value: float) -> None:
        """Set a gauge."""
        ...


class NoMetrics:
    """Metrics that nobody looks at: for tests and for the command line."""

    def count(self, metric: Metric, *labels: str, amount: float = 1) -> None:
        """Let it go."""

    def observe(self, metric: Metric, *labels: str, seconds: float) -> None:
        """Let it go."""

    def note(self, metric: Metric, *labels: str, value: float) -> None:
        """Let it go."""


NO_METRICS: Metrics = NoMetrics()
