"""A running stack takes in a changed configuration: asked by a file in its data folder, answered by another.

Services read their configuration when they start. The supervisor checks the new one, brings the database to it, and
only then restarts the services, whose work in hand is finished or rolled back as ever; the servers go on. What is wrong
in the configuration is the answer, and nothing is touched.
"""

import json
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from services.stack.state import is_running, write_private
from services.stack.supervisor import Stack
from shared.errors import ConfigurationError, MedallionError, Unavailable
from shared.settings import Settings

logger = logging.getLogger(__name__)

REQUEST_FILE, ANSWER_FILE = "reload.request", "reload.answer"
ANSWER_TIMEOUT_SECONDS = 60.0

TakeIn = Callable[[Settings], Sequence[str]]  # prepares the servers and returns what is declared


def request_reload(data_dir: Path, timeout_seconds: float = ANSWER_TIMEOUT_SECONDS) -> list[str]:
    """Have the stack of a data folder take in its configuration; return the datasets that it knows then.

    Raises ConfigurationError with what is wrong in it, Unavailable when no stack runs there or none answers.
    """
    data_dir = data_dir.expanduser().resolve()
    if not is_running(data_dir):
        raise Unavailable(f"the stack in {data_dir}", "it is not running; start it with `medallion up`")
    request = uuid.uuid4().hex
    write_private(data_dir / REQUEST_FILE, request)
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError, ValueError):
            answer = json.loads((data_dir / ANSWER_FILE).read_text(encoding="utf-8"))
            if answer["request"] == request:
                if answer["error"]:
                    raise ConfigurationError(f"the stack goes on with what it had:\n{answer['error']}")
                return list(answer["datasets"])
        time.sleep(0.05)
    raise Unavailable(f"the stack in {data_dir}", f"it did not take in the configuration within {timeout_seconds:g} s")


def answer_reload(running: Stack, take_in: TakeIn) -> None:
    """Do what was asked of a running stack, if anything was: to be called again and again by its supervisor."""
    asked = running.data_dir / REQUEST_FILE
    try:
        request = asked.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    asked.unlink(missing_ok=True)
    error, datasets = None, []
    try:
        datasets = list(take_in(running.settings))
    except MedallionError as problem:
        error = str(problem)
        logger.error("A configuration was not taken in.", extra={"action": "reload_refused", "reason": error})
    else:
        running.restart_services()
        logger.info("The configuration was taken in.", extra={"action": "reloaded", "datasets": datasets})
    answer = {"request": request, "error": error, "datasets": datasets}
    write_private(running.data_dir / ANSWER_FILE, json.dumps(answer))
