"""Failpoints: armed as said, in files that may change, and declared exactly where the code has them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import failpoints
from shared.errors import ConfigurationError, Unavailable

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


def test_every_place_in_the_code_is_in_the_table_and_the_other_way_round() -> None:
    text = "".join(p.read_text() for folder in ("services", "shared") for p in (ROOT / folder).rglob("*.py"))
    assert set(re.findall(r'(?:hit|copies)\("([a-z_.]+)"\)', text)) == set(failpoints.POINTS)


def test_a_place_that_nothing_is_said_of_does_nothing() -> None:
    failpoints.arm("silver.read:raise")
    failpoints.hit("silver.locked")
    assert failpoints.copies("bus.publish") == 1


def test_the_nth_time_and_no_other() -> None:
    failpoints.arm("silver.read:unavailable*2, silver.locked:raise")
    failpoints.hit("silver.read")
    with pytest.raises(Unavailable):
        failpoints.hit("silver.read")
    failpoints.hit("silver.read")
    with pytest.raises(failpoints.FailpointHit, match=r"silver\.locked"):
        failpoints.hit("silver.locked")


def test_events_are_lost_and_multiplied() -> None:
    failpoints.arm("bus.publish:drop=1")
    assert failpoints.copies("bus.publish") == 0
    failpoints.arm("bus.publish:twice=5")
    assert failpoints.copies("bus.publish") == 5


def test_a_file_is_read_again_when_it_changed_and_says_nothing_when_it_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "failpoints"
    file.write_text("silver.read:raise")
    failpoints.arm(f"@{file}")
    with pytest.raises(failpoints.FailpointHit):
        failpoints.hit("silver.read")
    file.write_text("")
    failpoints.hit("silver.read")
    file.unlink()
    failpoints.hit("silver.read")


@pytest.mark.parametrize("spec", ["silver.raed:raise", "silver.read:explode", "silver.read"])
def test_a_misspelt_one_is_refused_naming_what_there_is(spec: str) -> None:
    with pytest.raises(ConfigurationError, match=r"MEDALLION_FAILPOINTS: .*silver\.claimed.*exit"):
        failpoints.arm(spec)
