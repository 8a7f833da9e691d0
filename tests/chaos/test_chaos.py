"""A short chaos run: some sixty faults while the corpus flows, and the end state of an undisturbed run."""

import os
from io import StringIO

import pytest
from rich.console import Console

from tests.chaos.__main__ import show
from tests.chaos.faults import FAULTS
from tests.chaos.run import Plan, real_deliveries, run_chaos
from tests.stacks import Stacks

FAULTS_MIN = {"embedded": 60, "external": 40, "containers": 40}  # the others are a second look


@pytest.mark.timeout(900)
def test_some_dozen_faults_leave_the_end_state_of_an_undisturbed_run(
    stacks: Stacks, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("CHAOS_SEED", "20261124"))
    faults_min = FAULTS_MIN[stacks.name]
    plan = Plan(
        seed=seed,
        faults=faults_min,
        objects=100,
        seconds_between_faults=2.0,
        silver=2,
        gold=1,
        real_files=real_deliveries(is_long=False),
    )
    report = run_chaos(plan, print, stacks)
    text = StringIO()
    show(report, Console(file=text, width=120))
    with capsys.disabled():
        print(text.getvalue())
    assert report.wrong == []
    assert report.faults.total() >= faults_min
    assert set(report.faults) == set(FAULTS)
    assert report.faults_under_load > faults_min // 2
