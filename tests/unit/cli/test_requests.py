"""What is asked for after a fix: which rows are meant, what is sent again, and how it is said."""

import uuid
from typing import Any

import pytest

from services.cli.naming import missing
from services.cli.replay import Wanted, outcome_sentence, read_selection
from services.cli.resend import messages_of, sentence
from shared.errors import ConfigurationError

WAKE_UP = ("silver-ready", "covid", b"{}")


@pytest.mark.parametrize(
    ("arguments", "selection"),
    [
        ((["covid"], None, None), ("covid", [])),
        ((["12", "7"], None, None), (None, [12, 7])),
        (([], "positive", None), (None, [])),
        ((["covid"], "positive", "covid/a.csv"), ("covid", [])),
    ],
)
def test_rows_are_named_by_ids_or_by_a_dataset(arguments: Any, selection: Any):
    assert read_selection(*arguments) == selection


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], None, None), "say which rows"),
        ((["covid", "7"], None, None), "give ids or one dataset, not both: covid 7"),
        ((["covid", "users"], None, None), "not both: covid users"),
        ((["7"], "positive", None), "ids say which rows already"),
    ],
)
def test_a_selection_that_contradicts_itself_is_refused(arguments: Any, message: str):
    with pytest.raises(ConfigurationError, match=message):
        read_selection(*arguments)


def test_a_selection_is_said_in_words():
    assert Wanted().sentence() == ""
    assert Wanted("covid", "positive", uuid.UUID(int=1)).sentence() == (
        " of covid of object 00000000-0000-0000-0000-000000000001 that broke positive"
    )


def test_ids_that_do_not_exist_are_all_named():
    missing([1, 2], [2, 1], "row")
    with pytest.raises(ConfigurationError, match="there is no row 3, 4; nothing was done"):
        missing([4, 2, 3], [2], "row")


def letter(payload: str, dataset: str | None = None) -> dict[str, Any]:
    return {"dead_letter_id": 5, "topic": "bronze-ready", "payload": payload, "dataset": dataset}


def test_an_event_is_published_again_as_it_was_kept():
    assert list(messages_of(letter("not é"), list)) == [("bronze-ready", "dead-letter-5", "not é".encode())]
    assert list(messages_of(letter("{}", "covid"), list)) == [("bronze-ready", "covid", b"{}")]


def test_work_that_no_event_had_asked_for_is_woken_up():
    assert list(messages_of(letter(""), lambda: [WAKE_UP])) == [WAKE_UP]


def test_outcomes_are_said_in_words():
    outcome = {"rows_passed": 1200, "rows_open": 3, "rows_closed": 0}
    assert outcome_sentence(outcome) == "1,200 passed, 3 stay open."
    assert outcome_sentence(outcome | {"rows_closed": 1}).endswith("3 stay open, 1 were closed by newer data.")
    assert sentence({"dead_letters": 3, "objects_announced": 2, "events_published": 1}) == (
        "3 dead letter(s) replayed: 2 failed object(s) announced, 1 event(s) published again."
    )
