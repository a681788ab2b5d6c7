"""Search services that a test starts in a thread, on a port that is free, and ends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import uvicorn


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def serving(app: Any, port: int = 0) -> Iterator[str]:
    """The address of an app that is served."""
    listening = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", http="h11", ws="none", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join(20)


class Scripted(ThreadingHTTPServer):
    """A service that answers each POST as a script says: (status, body); the last one from then on."""

    def __init__(
        self, script: list[tuple[int, bytes]], info: bytes | None = b'{"index": "abc"}', port: int = 0
    ) -> None:
        super().__init__(("127.0.0.1", port), _Answer)
        self.script, self.info = script, info
        self.bodies: list[bytes] = []
        self.times: list[float] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Scripted:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Scripted

    def do_GET(self) -> None:
        self._say(404 if self.server.info is None else 200, self.server.info or b"no")

    def do_POST(self) -> None:
        self.server.times.append(time.monotonic())
        self.server.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        number = min(len(self.server.bodies), len(self.server.script)) - 1
        self._say(*self.server.script[number])

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.send_header("piplay-index", "abc")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *told: object) -> None: ...
