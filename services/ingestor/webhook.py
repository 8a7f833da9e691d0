"""The object store's change webhook, as SeaweedFS posts it: a hint that becomes an event in milliseconds.

The answer goes out before the work is done, since the store waits for it; what is unclear becomes a sweep.
"""

import json
import logging
import queue
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from shared.events import ObjectRef

log = logging.getLogger(__name__)

PATH = "/object-changed"
BODY_BYTES_MAX = 4 << 20
WAITING_MAX = 10_000  # hints in the queue; beyond that one sweep does the work of all

_IN_BUCKET = re.compile(r"/buckets/(?P<bucket>[^/]+)/(?P<rest>.+)")
_VERSION = re.compile(r"(?P<key>.+)\.versions/v_(?P<version_id>[^/]+)")
# Parts of uploads under way and folders that hold versions are no objects.
_INTERNAL = re.compile(r"(^|/)\.uploads(/|$)|\.versions$")

Hint = ObjectRef | Literal["sweep"] | None


def read_hint(body: bytes, bucket: str) -> Hint:
    """Return what a posted change asks for: an object to look at, a sweep, or nothing."""
    try:
        change = json.loads(body)
        match = _IN_BUCKET.fullmatch(change["key"])
        entry = (change.get("message") or {}).get("new_entry") or {}
        kind = change.get("event_type")
    except (ValueError, KeyError, TypeError, AttributeError):
        return "sweep"
    if match is None:
        return "sweep"
    if match["bucket"] != bucket or _INTERNAL.search(match["rest"]) or entry.get("is_directory"):
        return None
    if kind not in ("create", "update"):
        return None  # a removal: the sweep closes what was not read yet
    version = _VERSION.fullmatch(match["rest"])
    if version:
        return ObjectRef(bucket=bucket, key=version["key"], version_id=version["version_id"])
    return ObjectRef(bucket=bucket, key=match["rest"])


@dataclass(frozen=True)
class Receiver:
    """What the webhook hands its hints to: the look at one object, and the nudge for a sweep."""

    discover: Callable[[ObjectRef], None]
    nudge: Callable[[], None]


class Webhook:
    """A small HTTP server on loopback and the thread that works through what it was told."""

    def __init__(self, host: str, port: int, bucket: str, receiver: Receiver) -> None:
        self._bucket, self._receiver = bucket, receiver
        self._hints: queue.Queue[ObjectRef] = queue.Queue(WAITING_MAX)
        self._server = ThreadingHTTPServer((host, port), _handler(self.take))
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        """The port on which the server listens."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Listen and work in background threads."""
        threading.Thread(target=self._server.serve_forever, args=(0.2,), name="webhook", daemon=True).start()
        threading.Thread(target=self._work, name="webhook-work", daemon=True).start()

    def stop(self) -> None:
        """Stop listening; hints that wait are left to the next sweep."""
        self._server.shutdown()
        self._server.server_close()

    def take(self, body: bytes) -> None:
        """Sort a posted change into the queue; returns at once."""
        hint = read_hint(body, self._bucket)
        if hint == "sweep":
            self._receiver.nudge()
        elif isinstance(hint, ObjectRef):
            try:
                self._hints.put_nowait(hint)
            except queue.Full:
                self._receiver.nudge()

    def _work(self) -> None:
        while True:
            hint = self._hints.get()
            try:
                self._receiver.discover(hint)
            except Exception as error:  # noqa: BLE001 - a hint is only a hint: the sweep finds the object too
                fields = {"action": "hint_failed", "object_key": hint.key, "reason": str(error)}
                log.warning("A hint could not be followed; the sweep will.", extra=fields)
                self._receiver.nudge()


def _handler(take: Callable[[bytes], None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            is_ours = self.path == PATH and 0 < length <= BODY_BYTES_MAX
            if is_ours:
                take(self.rfile.read(length))
            self.send_response(200 if is_ours else 404)
            self.send_header("Content-Length", "0")
            if not is_ours:
                self.send_header("Connection", "close")  # its body was not read
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            log.debug(format, *args)

    return Handler
