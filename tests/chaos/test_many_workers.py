"""Several silver workers on overlapping keys: no deadlock surfaces, and nobody could tell from the result."""

from pathlib import Path

from tests.chaos.corpus import Corpus
from tests.chaos.run import chaos_settings, undisturbed
from tests.stacks import Stacks

OBJECTS = 60


def test_two_and_four_workers_on_overlapping_keys_do_what_one_does(stacks: Stacks, tmp_path: Path) -> None:
    settings = chaos_settings(tmp_path)
    deliveries = Corpus(seed=5).deliveries(OBJECTS)
    one = undisturbed(stacks, settings, tmp_path / "one", deliveries)
    for count in (2, 4):
        several = undisturbed(stacks, settings, tmp_path / str(count), deliveries, silver=count)
        assert one.state.differences(several.state) == []
        assert "deadlock detected" not in several.log
        assert several.silver_workers == count
