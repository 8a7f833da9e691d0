import threading
from datetime import UTC, datetime, timedelta

import pytest

from shared.errors import Unavailable
from shared.health import (
    ANSWER_SECONDS_MAX,
    Report,
    Server,
    ServerWatch,
    after_check,
    as_json,
    look_once,
    while_checking,
)

T0 = datetime(2026, 1, 1, tzinfo=UTC)
UP = Server("Kafka", None)
AWAY = Server("Kafka", T0, "refused")


def later(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("before", "error", "after"),
    [
        (UP, None, UP),
        (UP, "refused", Server("Kafka", later(9), "refused")),
        (AWAY, "reset", Server("Kafka", T0, "reset")),
        (AWAY, None, UP),
    ],
)
def test_an_outage_keeps_the_moment_it_was_first_seen(before: Server, error: str | None, after: Server) -> None:
    assert after_check(before, later(9), error) == after


@pytest.mark.parametrize(
    ("began_at", "seconds", "seen"),
    [
        (None, 1000, UP),
        (T0, ANSWER_SECONDS_MAX, UP),
        (T0, 7, Server("Kafka", T0, "it has not answered for 7 s")),
    ],
)
def test_a_server_that_takes_a_request_and_never_answers_is_away(
    began_at: datetime | None, seconds: float, seen: Server
) -> None:
    assert while_checking(UP, began_at, later(seconds)) == seen


def test_ready_means_that_every_server_answers_and_nobody_has_stopped_it() -> None:
    def is_ready(*servers: Server, stopped: str | None = None) -> bool:
        return Report("silver", T0, servers, None, stopped).is_ready

    assert [is_ready(UP), is_ready(UP, AWAY), is_ready(UP, stopped="3 dead letters")] == [True, False, False]


def test_the_report_names_the_server_that_is_away_and_since_when() -> None:
    report = Report("silver", T0, (UP, Server("PostgreSQL", later(60), "refused")), later(30), None)
    assert as_json(report) == {
        "service": "silver",
        "status": "not ready",
        "problems": ["PostgreSQL cannot be reached: refused"],
        "servers": {
            "Kafka": {"is_reachable": True, "away_since": None},
            "PostgreSQL": {"is_reachable": False, "away_since": "2026-01-01T00:01:00+00:00"},
        },
        "started_at": "2026-01-01T00:00:00+00:00",
        "last_progress_at": "2026-01-01T00:00:30+00:00",
        "stopped": None,
    }


def test_a_server_is_away_until_its_first_check_and_back_after_a_good_one() -> None:
    answers: list[Exception | None] = [Unavailable("Kafka", "refused\nand more"), None]

    def check() -> None:
        if error := answers.pop(0):
            raise error

    watch = ServerWatch("Kafka", check)
    seen = [watch.server, watch.look(), watch.look()]
    assert [server.away_since is not None for server in seen] == [True, True, False]
    assert seen[1].sentence == "Kafka cannot be reached: refused and more"


def test_one_look_finds_the_server_that_never_answers_and_the_one_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.health.ANSWER_SECONDS_MAX", 0.2)
    never = threading.Event()
    database, broker = look_once({"PostgreSQL": lambda: None, "Kafka": never.wait})
    never.set()
    assert (database.away_since, broker.away_since is not None) == (None, True)
    assert broker.sentence == "Kafka cannot be reached: it has not answered for 0 s"
