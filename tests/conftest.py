"""Fixtures on the real servers: the embedded stack, started once for the whole run."""

import gc
from collections.abc import Iterator

import hypothesis
import pytest

from services.stack import Stack, embedded_stack
from shared.settings import load_settings

# A machine under load is slow, not wrong.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

# Warnings are errors; these are others' and not ours to mend.
_OTHERS_WARNINGS = (
    "ignore:(read|open)_text is deprecated:DeprecationWarning",  # kafka-python 3.0.12 on Python 3.11 and 3.12
    # kafka-python's, of a broker that is away
    r"ignore:unclosed <socket.*(laddr=\('0.0.0.0'|family=1, type=1, proto=0>):ResourceWarning",
)


def pytest_configure(config: pytest.Config) -> None:
    for warning in _OTHERS_WARNINGS:
        config.addinivalue_line("filterwarnings", warning)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The embedded servers without services; a test that kills, stops or pauses one brings it back."""
    with embedded_stack(tmp_path_factory.mktemp("stack") / "data", settings=load_settings(), discard=True) as running:
        yield running
    gc.collect()  # what clients left unclosed is reported here, where the filters above apply
