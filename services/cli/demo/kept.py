"""A stack that outlives the demonstration: `medallion up` in the background."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.cli.borrowed import Tick
from services.cli.connect import Stack, running_stack
from services.stack import is_running, settings_environment
from shared.errors import ConfigurationError, Unavailable
from shared.settings import Settings

START_SECONDS_MAX = 90.0
TAIL_CHARACTERS = 2000


def require_stopped(data_dir: Path) -> None:
    """Raise ConfigurationError when a stack of an earlier demonstration still runs."""
    if is_running(data_dir):
        pid = data_dir.parent / "pid"
        raise ConfigurationError(f"an earlier demonstration still runs; stop it with: kill $(cat {pid})")


@contextmanager
def kept_stack(settings: Settings) -> Iterator[tuple[Stack, Tick]]:
    """Start `medallion up` detached, wait until it is ready, and leave it running."""
    folder = settings.data_dir.parent
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "up.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "services.cli", "up", "--data-dir", str(settings.data_dir)],
            env={**os.environ, **settings_environment(settings), **_python_path()},
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    (folder / "pid").write_text(f"{process.pid}\n", encoding="utf-8")
    _await(process, settings.data_dir, log)
    yield running_stack(settings), lambda: None


def _python_path() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[3])
    return {"PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))}


def _await(process: "subprocess.Popen[bytes]", data_dir: Path, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while not is_running(data_dir):
        if process.poll() is not None or time.monotonic() > deadline:
            process.terminate()
            tail = log.read_text(encoding="utf-8")[-TAIL_CHARACTERS:]
            raise Unavailable("the demonstration's stack", f"it did not start; the end of {log}:\n{tail}")
        time.sleep(0.1)
