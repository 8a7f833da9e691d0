"""Fixtures on the real servers: the embedded stack, started once for the whole run."""

from collections.abc import Iterator

import pytest

from services.stack import Stack, embedded_stack
from shared.settings import load_settings


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The embedded servers without services; a test that kills, stops or pauses one brings it back."""
    with embedded_stack(
        tmp_path_factory.mktemp("stack") / "data", settings=load_settings(), discard=True
    ) as running:
        yield running
