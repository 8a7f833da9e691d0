from collections.abc import Callable, Iterator
from itertools import count

import pytest

from services.stack.ports import PORT_NAMES, SEAWEED_GRPC_OFFSET, choose_ports
from shared.errors import ConfigurationError


def drawing(ports: Iterator[int]) -> Callable[[], int]:
    return lambda: next(ports)


KEPT = {name: 15_000 + n for n, name in enumerate(PORT_NAMES)}


def test_kept_ports_stay_when_they_are_free() -> None:
    assert choose_ports(KEPT, is_free=lambda _: True, draw=drawing(iter([]))) == KEPT


def test_a_taken_port_is_replaced_and_the_others_stay() -> None:
    chosen = choose_ports(KEPT, is_free=lambda port: port != KEPT["kafka"], draw=drawing(iter([20_000])))
    assert chosen == KEPT | {"kafka": 20_000}


def test_no_port_is_given_twice() -> None:
    chosen = choose_ports({}, is_free=lambda _: True, draw=drawing(port // 3 for port in count(45_000)))
    assert len(set(chosen.values())) == len(PORT_NAMES)


def test_a_name_of_an_older_release_is_dropped_and_a_new_one_drawn() -> None:
    kept = {name: port for name, port in KEPT.items() if name != "webhook"} | {"retired": 15_900}
    assert choose_ports(kept, is_free=lambda _: True, draw=drawing(iter([20_000]))) == KEPT | {"webhook": 20_000}


def test_the_admin_port_needs_its_grpc_port_free_too() -> None:
    taken = KEPT["admin"] + SEAWEED_GRPC_OFFSET
    chosen = choose_ports(KEPT, is_free=lambda port: port != taken, draw=drawing(iter([20_000])))
    assert chosen == KEPT | {"admin": 20_000}


def test_without_any_free_port_the_error_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match="end some of the programs"):
        choose_ports({}, is_free=lambda _: False)
