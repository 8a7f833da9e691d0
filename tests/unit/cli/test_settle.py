"""When waiting is over, and what is said about what is left."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from services.cli.settle import Backlog, stuck, wait_until_settled
from shared.errors import Outstanding


class FakeStack:
    """Answers the queries of `settle` from lists; the last backlog stays."""

    def __init__(self, *backlogs: dict[str, int], items: list[tuple[Any, ...]] | None = None) -> None:
        self.backlogs, self.items = list(backlogs), items or []
        self.settings = SimpleNamespace(heartbeat_silence_seconds=15)

    def query(self, name: str) -> str:
        return name

    @contextmanager
    def session(self, _name: str) -> Iterator["FakeStack"]:
        yield self

    def rows(self, name: str, _parameters: object) -> list[tuple[Any, ...]]:
        if name == "outstanding":
            return list((self.backlogs.pop(0) if len(self.backlogs) > 1 else self.backlogs[0]).items())
        return self.items if name == "outstanding_items" else []

    def rollback(self) -> None:
        """Nothing is held."""


def waited(stack: FakeStack, timeout_seconds: float = 5) -> Backlog:
    return wait_until_settled(stack, timeout_seconds)  # type: ignore[arg-type]


def test_waits_for_objects_and_for_gold():
    assert waited(FakeStack({"registered": 1}, {"processing": 1}, {"gold": 2}, {})) == Backlog({})


def test_held_and_failed_objects_do_not_keep_it_waiting():
    backlog = waited(FakeStack({"held": 2, "failed": 1}))
    assert (backlog.moving, backlog.stuck) == (0, 3)


def test_a_timeout_names_what_is_outstanding_and_who_is_missing():
    items = [("registered", "covid", "covid/a.csv", 0, None), ("gold", "covid", "daily_aggregates", 1, None)]
    with pytest.raises(Outstanding) as raised:
        waited(FakeStack({"registered": 1, "gold": 1}, items=items), 0)
    assert str(raised.value).splitlines() == [
        "not settled after 0 s; outstanding: 1 change sets waiting for gold, 1 registered",
        "  registered: covid/a.csv",
        "  gold model daily_aggregates has 1 change set(s) of covid to take in",
        "no ingestor and no silver and no gold worker has sent a heartbeat: start them with `medallion up`",
    ]


def test_what_is_stuck_comes_with_its_reason_and_a_remedy():
    stack = FakeStack({}, items=[("held", "covid", "covid/a.csv", 1, "it would remove 40 % of the rows")])
    assert str(stuck(stack, Backlog({"held": 1}))).splitlines() == [  # type: ignore[arg-type]
        "left over: 1 held",
        "  held: covid/a.csv: it would remove 40 % of the rows",
        "`medallion status` shows all of them",
    ]
