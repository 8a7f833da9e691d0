import threading
from collections.abc import Iterable

import pytest

from shared.watchdog import Backlog, Look, Watch, Watchdog, after_look, is_stuck, look_interval_seconds

LIMIT = 10.0
LAG, OVERDUE, NOTHING = Backlog(3, 0), Backlog(0, 1), Backlog(0, 0)


def look(at: float, backlog: Backlog | None = LAG, handled: int = 5, is_busy: bool = False) -> Look:
    return Look(at, handled, is_busy, backlog)


def bites_at(looks: Iterable[Look]) -> float | None:
    """Return when a consumer seen like this is ended, None if it never is."""
    watch = Watch(look(0, NOTHING))
    for one in looks:
        watch = after_look(watch, one, LIMIT)
        if is_stuck(watch, LIMIT):
            return one.at_seconds
    return None


@pytest.mark.parametrize("backlog", [LAG, OVERDUE])
def test_work_and_no_progress_for_the_limit_end_a_consumer(backlog: Backlog) -> None:
    assert bites_at(look(at, backlog) for at in range(1, 100)) == 11


@pytest.mark.parametrize(
    "looks",
    [
        pytest.param([look(at, None, is_busy=True) for at in range(1, 100)], id="busy with one long message"),
        pytest.param([look(at, NOTHING) for at in range(1, 100)], id="idle without backlog"),
        pytest.param([look(at, None) for at in range(1, 100)], id="a server is away"),
        pytest.param([look(at, handled=at // 8) for at in range(1, 100)], id="slow, but it moves"),
        pytest.param([look(at, LAG if at % 9 else NOTHING) for at in range(1, 100)], id="now and then all is done"),
        pytest.param([look(at, LAG if at % 9 else None) for at in range(1, 100)], id="a server comes and goes"),
    ],
)
def test_a_consumer_is_left_alone_that(looks: list[Look]) -> None:
    assert bites_at(looks) is None


def test_a_process_that_was_frozen_itself_gets_its_time_again() -> None:
    frozen = [look(at) for at in (1, 2, 3, 300, 301, 302, 305)]
    assert bites_at(frozen) is None
    assert bites_at([*frozen, look(308), look(310), look(312)]) == 312


def test_standing_still_is_counted_from_the_last_progress() -> None:
    moving = [look(at, handled=at) for at in range(1, 20)]
    assert bites_at([*moving, *(look(at, handled=19) for at in range(20, 60))]) == 30


@pytest.mark.parametrize(("limit", "interval"), [(60, 5.0), (600, 5.0), (16, 2.0), (2, 0.5)])
def test_there_are_several_looks_within_the_limit(limit: float, interval: float) -> None:
    assert look_interval_seconds(limit) == interval


def test_the_watchdog_bites_once_and_survives_what_it_sees(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.watchdog.LOOK_SECONDS_MIN", 0.01)
    bitten, seen = threading.Event(), iter([RuntimeError("odd"), *(look(at) for at in (1.0, 1.02, 1.05, 1.09, 1.13))])
    bites: list[str] = []

    def see() -> Look:
        found = next(seen)
        if isinstance(found, Exception):
            raise found
        return found

    def bite(backlog: str) -> None:
        bites.append(backlog)
        bitten.set()

    dog = Watchdog(0.1, see, bite)
    dog.start()
    assert bitten.wait(10)
    assert bites == ["3 unacknowledged message(s) on its partitions, 0 overdue in the ledger"]
    assert "The watchdog could not look." in caplog.text


def test_a_limit_of_zero_switches_it_off() -> None:
    before = threading.active_count()
    Watchdog(0, lambda: look(0), lambda _: None).start()
    assert threading.active_count() == before
