"""The small HTTP server behind `/metrics` and `/health`."""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

log = logging.getLogger(__name__)

REQUEST_SECONDS_MAX = 10


@dataclass(frozen=True)
class Page:
    """An answer."""

    body: bytes
    content_type: str
    status: int = 200


class Endpoint:
    """Serves computed pages by path, in threads that cannot keep the process from ending."""

    def __init__(self, host: str, port: int, pages: Mapping[str, Callable[[], Page]]) -> None:
        self._server = ThreadingHTTPServer((host, port), _handler(pages))
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        """The port on which the server listens."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Listen in the background."""
        threading.Thread(target=self._server.serve_forever, args=(0.2,), name="endpoint", daemon=True).start()

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def _handler(pages: Mapping[str, Callable[[], Page]]) -> type[BaseHTTPRequestHandler]:
    known = "".join(f"{path}\n" for path in pages)
    missing = Page(f"There is nothing here; there are\n{known}".encode(), "text/plain; charset=utf-8", 404)

    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_SECONDS_MAX

        def do_GET(self) -> None:
            path = self.path.split("?", 1)[0].rstrip("/")
            page = pages[path]() if path in pages else missing
            self.send_response(page.status)
            self.send_header("Content-Type", page.content_type)
            self.send_header("Content-Length", str(len(page.body)))
            self.end_headers()
            self.wfile.write(page.body)

        def log_message(self, format: str, *args: Any) -> None:
            log.debug(format, *args)

    return Handler
