"""Alerts on real servers: what is told, how often, to whom, and what a channel that fails or hangs does to the others."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from services.cli.app import app
from services.ingestor.alerting import Alerter
from shared.adapters.channels import open_channels
from shared.adapters.postgres import Postgres
from shared.errors import Unavailable
from shared.migrate import migrate
from shared.settings import Settings
from tests.integration.test_logins import PASSWORDS, _as
from tests.pipeline import Pipeline
from tests.sinks import MailSink, WebhookSink, mail_sink, webhook_sink

BAD = b'[{"id": "one", "name": "Ann"}]'
GOOD = b'[{"id": 1, "name": "Ann", "email": "ann@example.org", "phone": "1"}]'


@pytest.fixture
def webhook() -> Iterator[WebhookSink]:
    with webhook_sink() as sink:
        yield sink


@pytest.fixture
def mail() -> Iterator[MailSink]:
    with mail_sink() as sink:
        yield sink


@pytest.fixture
def told(settings: Settings, webhook: WebhookSink) -> Settings:
    """Settings that tell the webhook, at once and as often as there is something."""
    return told_to(settings, webhook)


def told_to(settings: Settings, webhook: WebhookSink, **others: Any) -> Settings:
    from pydantic import SecretStr

    chosen = {
        "alert_webhook_url": SecretStr(webhook.url), "alert_after_seconds": 0.0, "alert_cooldown_seconds": 0.0,
        "alert_timeout_seconds": 10.0, "alert_retry_seconds": 0.001,
    }  # fmt: skip
    return settings.model_copy(update={**chosen, **others})


def alerter(pipeline: Pipeline, settings: Settings, **others: Any) -> Alerter:
    return Alerter(pipeline.warehouse, settings, pipeline.catalog, open_channels(settings), **others)


def titles(webhook: WebhookSink) -> list[tuple[str, str]]:
    return [(post["status"], post["title"]) for post in webhook.posts]


def test_ten_rejected_files_are_one_message_and_a_good_one_is_the_recovery(
    pipeline: Pipeline, told: Settings, webhook: WebhookSink
) -> None:
    ours = alerter(pipeline, told)
    ours.round()
    for day in range(10):
        pipeline.load("users", BAD, day=day)
    ours.round()
    ours.round()
    assert titles(webhook) == [("open", "medallion: 10 files were rejected (users)")]
    (post,) = webhook.posts
    assert (post["kind"], post["severity"], post["troubles"], len(post["lines"])) == ("rejected", "error", 10, 10)
    assert "1 of 1 rows (100.0%) cannot be used" in post["lines"][0]
    assert post["text"].startswith("medallion: 10 files were rejected (users)\n- users/")
    pipeline.load("users", GOOD, day=10)
    alerter(pipeline, told).round()  # another process by now
    # Landed in January, it is stale as well.
    assert titles(webhook)[1:] == [
        ("recovered", "medallion: over: 10 files were rejected (users)"),
        ("open", "medallion: 1 dataset is stale (users)"),
    ]


def test_a_restart_neither_forgets_nor_repeats_and_two_ingestors_do_not_send_twice(
    pipeline: Pipeline, told: Settings, webhook: WebhookSink
) -> None:
    pipeline.load("users", BAD)
    threads = [threading.Thread(target=alerter(pipeline, told).round) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alerter(pipeline, told).round()
    assert titles(webhook) == [("open", "medallion: 1 file was rejected (users)")]


def test_what_comes_in_the_cool_down_waits_and_is_told_together(
    pipeline: Pipeline, settings: Settings, webhook: WebhookSink
) -> None:
    patient = told_to(settings, webhook, alert_cooldown_seconds=3600.0)
    ours = alerter(pipeline, patient)
    for day in range(3):
        pipeline.load("users", BAD, day=day)
        ours.round()
    assert titles(webhook) == [("open", "medallion: 1 file was rejected (users)")]
    pipeline.session.execute("UPDATE bronze.alert_messages SET created_at = created_at - interval '2 hours'")
    pipeline.session.commit()
    ours.round()
    assert titles(webhook)[1:] == [("open", "medallion: 2 files were rejected (users)")]


def test_trouble_that_is_over_soon_is_not_told(pipeline: Pipeline, settings: Settings, webhook: WebhookSink) -> None:
    away = [("object store", "connection refused")]
    ours = alerter(pipeline, told_to(settings, webhook, alert_after_seconds=3600.0), servers_away=lambda: away)
    ours.round()
    assert pipeline.rows("SELECT kind, subject, told_at FROM bronze.alerts WHERE closed_at IS NULL") == [
        ("server", "object store", None)
    ]
    away.clear()
    ours.round()
    assert (titles(webhook), pipeline.rows("SELECT count(*) FROM bronze.alerts WHERE closed_at IS NULL")) == (
        [],
        [(0,)],
    )


TROUBLES: list[tuple[str, str]] = [
    ("dead_letter", "INSERT INTO bronze.dead_letters (topic, payload, reason) VALUES ('bronze-ready', 'x', 'no JSON')"),
    (
        "stopped",
        "INSERT INTO bronze.workers (worker_id, service, host, pid) VALUES ('w', 'silver', 'h', 1);"
        " INSERT INTO bronze.stops (worker_id, service, reason) VALUES ('w', 'silver', '3 objects failed')",
    ),
    (
        "stalled",
        "INSERT INTO bronze.workers (worker_id, service, host, pid, heartbeat_at)"
        " VALUES ('w', 'silver', 'h', 1, clock_timestamp() - interval '1 minute')",
    ),
    ("held", "UPDATE bronze.ingestion_metadata SET status = 'held', error_message = 'removes much'"),
    ("failed", "UPDATE bronze.ingestion_metadata SET status = 'failed', error_message = 'a bug'"),
    ("stale", "UPDATE silver.datasets SET newest_landed_at = clock_timestamp() - interval '3 days'"),
    (
        "expectation",
        "INSERT INTO silver.expectations (dataset, quality_check, kind, severity, passed, message, object_id, failing_since)"
        " VALUES ('users', 'columns', 'columns', 'warn', false, 'columns lost: phone', gen_random_uuid(), now())",
    ),
]


@pytest.mark.parametrize(("kind", "sql"), TROUBLES, ids=[kind for kind, _ in TROUBLES])
def test_every_kind_of_trouble_is_told(
    pipeline: Pipeline, told: Settings, webhook: WebhookSink, kind: str, sql: str
) -> None:
    pipeline.load("users", GOOD)
    pipeline.session.execute("UPDATE silver.datasets SET newest_landed_at = clock_timestamp()")
    pipeline.session.execute("DELETE FROM silver.expectations")
    pipeline.session.execute(sql)
    pipeline.session.commit()
    alerter(pipeline, told).round()
    assert [post["kind"] for post in webhook.posts] == [kind]


def test_a_webhook_that_hangs_or_refuses_is_bounded_visible_and_tried_again(
    pipeline: Pipeline, settings: Settings, webhook: WebhookSink, mail: MailSink, caplog: pytest.LogCaptureFixture
) -> None:
    both = told_to(
        settings, webhook, alert_timeout_seconds=3.0, alert_smtp_host="127.0.0.1", alert_smtp_port=mail.port,
        alert_smtp_security="none", alert_smtp_to="a@example.org, b@example.org", alert_attempts_max=5,
    )  # fmt: skip
    webhook.answers = [None, 0, 500]
    pipeline.load("users", BAD)
    ours = alerter(pipeline, both)
    began = time.monotonic()
    ours.round()
    assert time.monotonic() - began < 20  # it would be 30 if the hanging webhook were waited for
    assert [recipients for recipients, _ in mail.mails] == [["a@example.org", "b@example.org"]]
    assert mail.mails[0][1]["Subject"] == "medallion: 1 file was rejected (users)"
    assert "rows (100.0%) cannot be used" in mail.mails[0][1].get_content()  # type: ignore[attr-defined]
    failed = (
        "SELECT attempts, error_message, given_up_at IS NULL FROM bronze.alert_deliveries WHERE channel = 'webhook'"
    )
    silent = "no answer within 3 s (MEDALLION_ALERT_TIMEOUT_SECONDS)"
    assert pipeline.rows(failed) == [(1, silent, True)]
    for outcome in ([(2, silent, True)], [(3, "the webhook answered 500", True)], [(4, None, True)]):
        ours.round()
        assert pipeline.rows(failed) != outcome  # nothing is tried again before its time
        hasten(pipeline)
        ours.round()
        assert pipeline.rows(failed) == outcome
    assert len(webhook.posts) == 1
    assert len(mail.mails) == 1
    assert webhook.url.rpartition("/")[2] not in caplog.text


def hasten(pipeline: Pipeline) -> None:
    pipeline.session.execute("UPDATE bronze.alert_deliveries SET next_attempt_at = clock_timestamp()")
    pipeline.session.commit()


def test_a_channel_is_given_up_after_its_last_attempt(
    pipeline: Pipeline, settings: Settings, webhook: WebhookSink
) -> None:
    webhook.answers = [500] * 5
    pipeline.load("users", BAD)
    once = alerter(pipeline, told_to(settings, webhook, alert_attempts_max=1))
    once.round()
    hasten(pipeline)
    once.round()
    given_up = "SELECT attempts, given_up_at IS NOT NULL FROM bronze.alert_deliveries WHERE channel = 'webhook'"
    assert pipeline.rows(given_up) == [(1, True)]
    assert webhook.answers == [500] * 4


def test_an_outage_of_the_database_is_told_without_it(pipeline: Pipeline, told: Settings, webhook: WebhookSink) -> None:
    assert told.database_url is not None
    ours = alerter(pipeline, told)
    ours._warehouse = Postgres("postgresql://nobody@127.0.0.1:1/none")
    for _ in range(3):
        with pytest.raises(Unavailable):
            ours.round()
    ours._warehouse = pipeline.warehouse
    ours.round()
    ours.round()
    assert titles(webhook) == [
        ("open", "medallion: 1 server is away"),
        ("recovered", "medallion: over: 1 server is away"),
    ]


def test_the_ingestors_own_login_is_enough(pipeline: Pipeline, told: Settings, webhook: WebhookSink) -> None:
    migrate(pipeline.session, told.sql_dir, pipeline.catalog, pipeline.models, PASSWORDS)
    pipeline.load("users", BAD)
    pipeline.warehouse = _as(told, "ingestor")
    alerter(pipeline, told).round()
    pipeline.session.execute("UPDATE bronze.ingestion_metadata SET status = 'ignored'")
    pipeline.session.commit()
    alerter(pipeline, told).round()
    assert [status for status, _ in titles(webhook)] == ["open", "recovered"]


def environment(settings: Settings) -> dict[str, str]:
    assert settings.database_url is not None
    return {
        "MEDALLION_DATABASE_URL": settings.database_url.get_secret_value(),
        "MEDALLION_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "MEDALLION_S3_ENDPOINT": settings.s3_endpoint,
        "MEDALLION_S3_ACCESS_KEY": settings.s3_access_key.get_secret_value(),
        "MEDALLION_S3_SECRET_KEY": settings.s3_secret_key.get_secret_value(),
        "MEDALLION_ALERT_WEBHOOK_URL": settings.alert_webhook_url.get_secret_value(),
    }


def invoke(settings: Settings, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments), env=environment(settings))
    return done.exit_code, done.stdout


def test_the_command_line_lists_alerts_and_tries_the_channels(
    pipeline: Pipeline, told: Settings, webhook: WebhookSink
) -> None:
    assert invoke(told, "alerts") == (0, "No alert, and none was over in the last week.\n")
    pipeline.load("users", BAD)
    webhook.answers = [403]
    alerter(pipeline, told).round()
    status, text = invoke(told, "alerts", "--json")
    found = json.loads(text)
    assert (status, [(one["kind"], one["dataset"], one["closed_at"]) for one in found["alerts"]]) == (
        0, [("rejected", "users", None)],
    )  # fmt: skip
    assert [(one["channel"], one["error_message"]) for one in found["undelivered"]] == [
        ("webhook", "the webhook answered 403")
    ]
    assert "the webhook answered 403" in invoke(told, "alerts", "list")[1]
    assert invoke(told, "alerts", "test", "--json") == (0, '{\n  "log": "sent",\n  "webhook": "sent"\n}\n')
    assert webhook.posts[-1]["title"] == "medallion: this is a test"
    webhook.answers = [500]
    assert invoke(told, "alerts", "test")[0] == 1
    status_text = subprocess.run(
        [sys.executable, "-m", "services.cli", "status"],
        capture_output=True, text=True, timeout=60, env={**os.environ, **environment(told)}, check=True,
    ).stdout  # fmt: skip
    assert "1 alert(s) open (rejected): medallion alerts" in " ".join(status_text.split())
