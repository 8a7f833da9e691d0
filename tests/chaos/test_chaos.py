"""A short chaos run: some sixty faults while the corpus flows, and the end state of an undisturbed run."""

import os
from io import StringIO

import pytest
from rich.console import Console

from tests.chaos.__main__ import show
from tests.chaos.faults import FAULTS
from tests.chaos.run import Plan, real_deliveries, run_chaos

FAULTS_MIN = 60


@pytest.mark.timeout(900)
def test_sixty_faults_leave_the_end_state_of_an_undisturbed_run(capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("CHAOS_SEED", "20261124"))
    plan = Plan(
        seed=seed,
        faults=FAULTS_MIN,
        objects=100,
        seconds_between_faults=2.0,
        silver=2,
        gold=1,
        real_files=real_deliveries(is_long=False),
    )
    report = run_chaos(plan, print)
    text = StringIO()
    show(report, Console(file=text, width=120))
    with capsys.disabled():
        print(text.getvalue())
    assert report.wrong == []
    assert report.faults.total() >= FAULTS_MIN
    assert set(report.faults) == set(FAULTS)
    assert report.faults_under_load > FAULTS_MIN // 2
