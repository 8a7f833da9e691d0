"""Fixtures on the real servers, started, or emptied, once for the whole run; `--stack` says which servers."""

import gc
from collections.abc import Iterator

import hypothesis
import pytest

from services.stack import Stack
from shared.settings import load_settings
from tests.servers import Servers
from tests.stacks import STACKS, Opened, Stacks, available_stacks

# A machine under load is slow, not wrong.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--stack", choices=STACKS, default="embedded",
        help="servers of the tests: embedded (the default), external (those that the settings name; they are emptied), "
        "containers (needs Docker)",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "embedded(why): makes sense on the embedded stack only, and why")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("stack") == "embedded":
        return
    for item in items:
        if marker := item.get_closest_marker("embedded"):
            item.add_marker(pytest.mark.skip(reason=f"for the embedded stack: {marker.args[0]}"))


@pytest.fixture(scope="session")
def stacks(request: pytest.FixtureRequest) -> Iterator[Stacks]:
    """The kind of servers that was asked for, to open stacks on."""
    with available_stacks(request.config.getoption("stack")) as stacks:
        yield stacks


@pytest.fixture(scope="session")
def _opened(stacks: Stacks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with stacks.open(tmp_path_factory.mktemp("stack") / "data", load_settings(), is_prepared=False) as opened:
        yield opened
    gc.collect()  # what clients left unclosed is reported here, where the filters above apply


@pytest.fixture(scope="session")
def stack(_opened: Opened) -> Stack:
    """The servers without services; a test that kills, stops or pauses one brings it back."""
    return _opened.stack


@pytest.fixture(scope="session")
def servers(_opened: Opened) -> Servers:
    """Power over the servers of `stack`."""
    return _opened.servers
