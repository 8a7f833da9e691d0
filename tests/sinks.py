"""Servers on loopback that take alerts, keep them, and misbehave when told to."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class WebhookSink:
    """Posts taken; `answers` says how the next ones are answered: a status, None to hang, 0 to drip a byte at a time."""

    url: str = ""
    posts: list[dict[str, Any]] = field(default_factory=list)
    answers: list[int | None] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


@contextmanager
def webhook_sink() -> Iterator[WebhookSink]:
    """Serve a webhook."""
    sink = WebhookSink()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = sink.answers.pop(0) if sink.answers else 204
            if status is None:
                sink.released.wait(30)
                return
            if status == 0:
                while not sink.released.wait(0.1):
                    self.wfile.write(b"H")
                return
            if status < 300:
                sink.posts.append(body)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sink.url = f"http://127.0.0.1:{server.server_port}/secret-path"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield sink
    sink.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class MailSink:
    """Mails taken, with their recipients; `is_refusing` answers 451 to every sender."""

    port: int = 0
    mails: list[tuple[list[str], Message]] = field(default_factory=list)
    is_refusing: bool = False


@contextmanager
def mail_sink() -> Iterator[MailSink]:
    """Serve SMTP, as much of it as smtplib speaks."""
    sink = MailSink()

    class Handler(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

        def handle(self) -> None:
            recipients: list[str] = []
            self.say("220 sink")
            while line := self.rfile.readline().decode().strip():
                verb = line[:4].upper()
                if verb == "MAIL" and sink.is_refusing:
                    self.say("451 not now")
                elif verb == "RCPT":
                    recipients.append(line.partition("<")[2].rstrip(">"))
                    self.say("250 ok")
                elif verb == "DATA":
                    self.say("354 go on")
                    lines = []
                    while (text := self.rfile.readline()) != b".\r\n":
                        lines.append(text)
                    sink.mails.append((recipients, message_from_bytes(b"".join(lines), policy=default)))
                    self.say("250 taken")
                elif verb == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 ok")

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address, daemon_threads = True, False

    with Server(("127.0.0.1", 0), Handler) as server:
        sink.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield sink
        server.shutdown()
        thread.join()
