"""A language model that judges, at an OpenAI endpoint that a test starts."""

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from piplay.eval.judge import PAIRS

KNOWN = {frozenset((gold, answer)): same for _, gold, answer, same in PAIRS}


def sensible(question: str, first: str, second: str) -> str:
    """A judge that knows the fixed pairs, and takes others for the same where they share a word."""
    same = KNOWN.get(frozenset((first, second)), bool(set(first.lower().split()) & set(second.lower().split())))
    return "<think>no, wait</think>\nYes." if same else "no"


class Endpoint(ThreadingHTTPServer):
    """An OpenAI endpoint with one answer a pair."""

    def __init__(self, say: Callable[[str, str, str], str]) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.say, self.asked, self.status = say, 0, 200
        self.keys: set[str | None] = set()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"

    def __enter__(self) -> "Endpoint":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.shutdown()
        self.server_close()


class _Answer(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        assert (self.path, body["model"], body["temperature"]) == ("/v1/chat/completions", "wise", 0)
        found = re.match(r"Question: (.*)\nFirst answer: (.*)\nSecond answer: (.*)\n", body["messages"][0]["content"])
        assert found
        self.server.asked += 1
        self.server.keys.add(self.headers["authorization"])
        said = self.server.say(*found.groups())
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(json.dumps({"choices": [{"message": {"content": said}}]}).encode())

    def log_message(self, *told: object) -> None: ...
