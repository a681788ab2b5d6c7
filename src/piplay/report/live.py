"""``piplay watch RUN``: the report of a run as a page that follows it, from the standard library's own server.

The browser is told by server-sent events that the run has moved, and then asks for the page. Nothing comes from
elsewhere, and no script runs but the page's own few lines.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from piplay.errors import InputError
from piplay.http_server import address_of, listen
from piplay.report.markup import Html, tag
from piplay.report.page import page, style
from piplay.report.read import read
from piplay.training.run_directory import Run

LOOK = 0.2
"""Seconds between two looks at the run's files."""
ALIVE = 15.0
"""Seconds without news after which a viewer is sent a comment, so that one who has gone is noticed."""
SECONDS = 10.0
"""For a request to arrive."""
VIEWERS = 64
"""At once."""

Stamp = tuple[tuple[str, int, int], ...]


def watch(run_dir: Path, host: str = "127.0.0.1", port: int = 8002) -> None:
    """Serve the page of a run, finished or not, until it is interrupted.

    Raises ``InputError`` where there is no run, or no such address.
    """
    run = Run.open(run_dir)
    with Watching(run, listen(host, port, "see the run")) as server:
        print(f"{run.folder} is shown at {server.url}/", flush=True)
        server.serve_forever(poll_interval=LOOK)


class Watching(ThreadingHTTPServer):
    """The server of one run's page."""

    daemon_threads = True

    def __init__(self, run: Run, listening: socket.socket) -> None:
        super().__init__(listening.getsockname()[:2], _Answer, bind_and_activate=False)
        self.socket.close()
        self.socket, self.url, self.run = listening, address_of(listening), run
        self.server_activate()
        self.viewers = threading.BoundedSemaphore(VIEWERS)
        self._lock = threading.Lock()
        self._made: tuple[Stamp, str] = ((), "")

    def stamp(self) -> Stamp:
        """What tells that the run has moved: its files and folders with their times and sizes."""
        found = []
        for entry in os.scandir(self.run.folder):
            with suppress(FileNotFoundError):
                about = entry.stat()
                found.append((entry.name, about.st_mtime_ns, about.st_size))
        return tuple(sorted(found))

    def page(self) -> str:
        """The report as it stands, made once for all viewers. Raises ``InputError`` where it cannot be read."""
        with self._lock:
            now = self.stamp()
            if now != self._made[0]:
                self._made = now, page(read(self.run))
            return self._made[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a viewer who goes in the middle of an answer is no error."""


class _Answer(BaseHTTPRequestHandler):
    server: Watching
    timeout = SECONDS
    protocol_version = "HTTP/1.0"  # each answer ends its connection
    default_request_version = "HTTP/1.0"  # so that a request that is none is told with a status, too
    server_version = "piplay"

    def do_GET(self) -> None:
        if not self._is_meant():
            self._say(421, "text/plain", "this server answers under its own address alone")
        elif self.path == "/":
            nonce = secrets.token_urlsafe()
            self._say(200, "text/html", _shell(self.server.run.folder.name, nonce), nonce)
        elif self.path == "/page":
            self._page()
        elif self.path == "/events":
            self._events()
        else:
            self._say(404, "text/plain", "there is nothing here: see /")

    def _is_meant(self) -> bool:
        """Whether the address that was asked is an IP or localhost: no name of elsewhere that leads here."""
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        with suppress(ValueError):
            return bool(ip_address(host.strip("[]")))
        return host == "localhost"

    def _page(self) -> None:
        try:
            text = self.server.page()
        except (InputError, OSError, ValueError) as error:  # read while a file of it is replaced
            self._say(503, "text/plain", f"the run cannot be read just now: {error}")
        else:
            self._say(200, "text/html", text)

    def _events(self) -> None:
        if not self.server.viewers.acquire(blocking=False):
            return self._say(503, "text/plain", f"{VIEWERS} viewers are there already")
        try:
            self._head(200, "text/event-stream")
            seen: Stamp | None = None
            told = 0.0
            while True:
                now = self.server.stamp()
                if now != seen or time.monotonic() - told > ALIVE:
                    self.wfile.write(b"data: moved\n\n" if now != seen else b": alive\n\n")
                    seen, told = now, time.monotonic()
                time.sleep(LOOK)
        finally:
            self.server.viewers.release()

    def _say(self, status: int, kind: str, text: str, nonce: str = "") -> None:
        self._head(status, f"{kind}; charset=utf-8", nonce)
        self.wfile.write(text.encode())

    def _head(self, status: int, kind: str, nonce: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        script = f"script-src 'nonce-{nonce}'; connect-src 'self'; " if nonce else ""
        self.send_header("Content-Security-Policy", f"default-src 'none'; {script}style-src 'unsafe-inline'")
        self.end_headers()

    def log_error(self, format: str, *args: Any) -> None:
        """Tell a sender whose request does not arrive in time; nothing else."""
        if any(isinstance(one, TimeoutError) for one in args) and getattr(self, "command", None) is None:
            self.wfile.write(b"HTTP/1.0 408 Request Timeout\r\n\r\n")

    def log_message(self, *told: Any) -> None:
        """Nothing."""


def _shell(name: str, nonce: str) -> str:
    """The page that waits for the report, with the few lines that put it there."""
    script = (resources.files("piplay") / "report" / "live.js").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"piplay: {name}"),
        tag("style", style()),
        tag("script", Html(script), nonce=nonce, type="module"),
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', tag('p', f'{name} …')), lang='en')}\n"
