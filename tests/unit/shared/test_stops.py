"""When a worker stops, and when it goes on."""

import uuid

import pytest

from shared.stops import Failure, of_event, of_object, reason_to_stop


def failures(*pairs: str) -> list[Failure]:
    """Return failures from pairs of a dataset and an object's name: 'covid 1'."""
    return [Failure(pair, pair.split()[0], "KeyError: 'x'") for pair in pairs]


@pytest.mark.parametrize(
    ("seen", "stops"),
    [
        ((), False),
        (("covid 1", "covid 2", "users 1"), True),
        (("covid 1", "covid 2", "covid 3", "covid 4"), False),  # one dataset may have a bug of its own
        (("covid 1", "users 1"), False),
        (("covid 1", "users 1", "covid 1", "users 1"), False),  # the same two objects again
        (("covid 1", "users 1", "covid 1", "posts 1"), True),
    ],
)
def test_several_objects_of_several_datasets_in_a_row_stop_a_worker(seen: tuple[str, ...], stops: bool):
    assert (reason_to_stop(failures(*seen), objects_min=3, datasets_min=2) is not None) is stops


def test_garbage_on_the_topic_stops_nobody_by_itself():
    garbage = [Failure(str(number), "", "not JSON") for number in range(5)]
    assert reason_to_stop([*garbage, *failures("covid 1", "covid 2")], 3, 2) is None


def test_the_reason_is_one_line():
    assert of_event(b"", ValueError("not an event\nmore of it")).reason == "not an event"


def test_the_reason_names_datasets_and_the_last_error():
    assert reason_to_stop([*failures("covid 1", "users 1"), Failure("x", "", "not JSON")], 3, 2) == (
        "3 objects or events of 2 datasets (covid, users) failed in a row, the last one with not JSON"
    )


@pytest.mark.parametrize(
    ("raw", "dataset"),
    [
        (b'{"specversion":"2.0","subject":"bronze-layer/covid/a.csv"}', "covid"),
        (b'{"Key": "bronze-layer%2Fusers%2Fa.json"}', "users"),
        (b"\xff garbage", ""),
        (b"", ""),
    ],
)
def test_an_event_nobody_can_read_may_still_tell_its_dataset(raw: bytes, dataset: str):
    assert of_event(raw, ValueError("not JSON")).dataset == dataset
    assert of_event(raw, ValueError("a")).identity == of_event(raw, ValueError("b")).identity


def test_a_failure_of_an_object_says_what_it_met():
    assert of_object(uuid.UUID(int=1), "covid", KeyError("x")) == Failure(
        "00000000-0000-0000-0000-000000000001", "covid", "KeyError: 'x'"
    )
