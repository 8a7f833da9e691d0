"""The embedded servers and the supervisor behind `medallion up`."""

from services.stack.lifecycle import discard_data, embedded_stack, run_stack
from services.stack.programs import FRUGAL_MEMORY, connected_settings, settings_environment
from services.stack.reload import request_reload
from services.stack.state import endpoints, is_running, monitors
from services.stack.supervisor import Stack

__all__ = [
    "FRUGAL_MEMORY",
    "Stack",
    "connected_settings",
    "discard_data",
    "embedded_stack",
    "endpoints",
    "is_running",
    "monitors",
    "request_reload",
    "run_stack",
    "settings_environment",
]
