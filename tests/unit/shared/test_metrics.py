import pytest

from services.ingestor.measure import backlog_samples
from shared.adapters.prometheus import Prometheus
from shared.errors import Unavailable
from shared.metrics import BACKLOG_OBJECTS, HEARTBEAT, MERGE_SECONDS, METRICS, OBJECTS, RETRIES, Metric
from shared.retry import patiently


def page(metrics: Prometheus) -> dict[str, float]:
    lines = [line for line in metrics.page().decode().splitlines() if line.startswith("medallion_")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_names_are_unique_and_say_their_unit() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        suffix = {"counter": "_total", "histogram": "_seconds"}.get(metric.kind, "")
        assert metric.name.startswith("medallion_")
        assert metric.name.endswith(suffix)
        assert metric.description.endswith(".")


def test_every_kind_of_metric_is_told_and_shown() -> None:
    metrics = Prometheus()
    metrics.count(OBJECTS, "covid", "done")
    metrics.count(OBJECTS, "covid", "done", amount=2)
    metrics.observe(MERGE_SECONDS, "covid", seconds=0.2)
    metrics.note(HEARTBEAT, "silver", value=5)
    metrics.ask(
        lambda: backlog_samples({"registered": (3, 12.5), "failed": (1, 900.0), "gold": (2, 1.0), "alerts": (4, 1.0)})
    )
    shown = page(metrics)
    wanted = {
        'medallion_objects_total{dataset="covid",outcome="done"}': 3,
        'medallion_merge_seconds_bucket{dataset="covid",le="0.1"}': 0,
        'medallion_merge_seconds_bucket{dataset="covid",le="0.25"}': 1,
        'medallion_merge_seconds_count{dataset="covid"}': 1,
        'medallion_heartbeat_timestamp_seconds{worker="silver"}': 5,
        'medallion_backlog_objects{status="registered"}': 3,
        'medallion_backlog_objects{status="processing"}': 0,
        'medallion_backlog_objects{status="held"}': 0,
        'medallion_backlog_objects{status="failed"}': 1,
        "medallion_backlog_oldest_seconds": 12.5,
        "medallion_backlog_gold_change_sets": 2,
        "medallion_dead_letters_open": 0,
        "medallion_alerts_open": 4,
        "medallion_expectations_failed": 0,
    }
    assert {name: shown[name] for name in wanted} == wanted


def test_a_metric_that_is_not_in_the_table_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        Prometheus().count(Metric("medallion_other_total", "counter", "Not in the table."))
    with pytest.raises(KeyError):
        Prometheus().note(BACKLOG_OBJECTS, "held", value=1)


def test_retries_are_counted_by_the_server_that_was_away() -> None:
    metrics, answers = Prometheus(), [Unavailable("Kafka", "refused"), None]

    def work() -> str:
        if error := answers.pop(0):
            raise error
        return "done"

    assert patiently(5, work, metrics) == "done"
    assert page(metrics)[f'{RETRIES.name}{{server="Kafka"}}'] == 1
