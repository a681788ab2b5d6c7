"""The live page: what a browser is sent while a run moves, and to whom."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from piplay.http_server import listen
from piplay.report.live import Watching
from piplay.training.run_directory import Run

CHROMIUM = shutil.which("chromium")
SOON = 2.0
"""Seconds in which a new point has to be seen."""


@pytest.fixture
def run(toy_run: Path, tmp_path: Path) -> Run:
    """A run under way, of which three steps are played."""
    folder = tmp_path / "run"
    shutil.copytree(toy_run, folder)
    for name in ("summary.json", "grid.json", "examples.json"):
        (folder / name).unlink()
    rows = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(rows[:3]))
    return Run.open(folder)


@pytest.fixture
def server(run: Run) -> Iterator[Watching]:
    with Watching(run, listen("127.0.0.1", 0, "see")) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield made
        made.shutdown()


def get(server: Watching, path: str, host: str | None = None) -> tuple[int, str, Any]:
    place = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=20)
    connection.request("GET", path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), answer.headers


def moves(run: Run, toy_run: Path) -> None:
    """Play a step: append the row of metrics that follows."""
    rows = (toy_run / "metrics.jsonl").read_text().splitlines(keepends=True)
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write(rows[len(run.rows())])


def test_the_page_is_the_report_as_the_run_stands(server: Watching, run: Run, toy_run: Path) -> None:
    status, before, headers = get(server, "/page")
    assert status == 200
    assert "script-src" not in headers["content-security-policy"]
    assert "The run is not finished" in before
    moves(run, toy_run)
    after = get(server, "/page")[1]
    assert after.count("<circle") > before.count("<circle")


def test_the_shell_runs_its_own_script_alone(server: Watching) -> None:
    (_, one, headers), (_, other, _) = get(server, "/"), get(server, "/")
    assert one.count("<script") == 1
    nonce = one.split('nonce="')[1].split('"')[0]
    assert f"script-src 'nonce-{nonce}'" in headers["content-security-policy"]
    assert nonce not in other
    for elsewhere in ("http://", "https://", "src="):
        assert elsewhere not in one.replace("http://www.w3.org", "")


def test_viewers_are_told_when_the_run_moves(server: Watching, run: Run, toy_run: Path) -> None:
    place = urlsplit(server.url)
    with socket.create_connection((str(place.hostname), int(place.port or 0)), timeout=20) as viewer:
        viewer.sendall(b"GET /events HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        stream = viewer.makefile("rb")
        while stream.readline().strip():
            pass
        assert stream.readline() == b"data: moved\n"
        assert stream.readline() == b"\n"
        moves(run, toy_run)
        assert stream.readline() == b"data: moved\n"
        stream.close()


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [("/x", None, 404), ("/../config.json", None, 404), ("/page", "evil.example", 421), ("/page", "localhost:80", 200)],
)
def test_nothing_else_is_served(server: Watching, path: str, host: str | None, status: int) -> None:
    assert get(server, path, host)[0] == status


def test_slow_and_broken_senders_are_told(server: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("piplay.report.live._Answer.timeout", 0.2)
    place = urlsplit(server.url)
    for sent, status in (
        (b"GET /pa", b"408"),
        (b"\x16\x03\x01 no HTTP\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 70_000, b"414"),
    ):
        with socket.create_connection((str(place.hostname), int(place.port or 0)), timeout=20) as sender:
            sender.sendall(sent)
            assert status in sender.recv(2**16).splitlines()[0]
    assert get(server, "/page")[0] == 200


def test_a_run_that_cannot_be_read_just_now_is_read_later(server: Watching, run: Run, toy_run: Path) -> None:
    file = run.folder / "checkpoints"
    file.rename(run.folder / "away")
    (run.folder / "checkpoints").mkdir()
    for state in (run.folder / "away").iterdir():
        (file / state.name).mkdir()
        (file / state.name / "manifest.json").write_text("{")
    assert get(server, "/page")[0] == 503
    shutil.rmtree(file)
    (run.folder / "away").rename(file)
    assert get(server, "/page")[0] == 200


class Browser:
    """Headless Chromium, spoken to over a pipe."""

    def __init__(self, profile: Path) -> None:
        mine, theirs = os.pipe(), os.pipe()

        def pipes() -> None:
            os.dup2(mine[0], 3)
            os.dup2(theirs[1], 4)

        arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
        ]
        self.process = subprocess.Popen(
            [str(CHROMIUM), *arguments], preexec_fn=pipes, close_fds=False, stderr=subprocess.DEVNULL
        )
        self._to, self._from = mine[1], os.fdopen(theirs[0], "rb")
        self._sent = 0
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(self, method: str, **given: Any) -> Any:
        self._sent += 1
        session = {"sessionId": self._session} if hasattr(self, "_session") else {}
        os.write(
            self._to, json.dumps({"id": self._sent, "method": method, "params": given, **session}).encode() + b"\0"
        )
        while True:
            told = b""
            while not told.endswith(b"\0"):
                told += self._from.read(1)
            answer = json.loads(told[:-1])
            if answer.get("id") == self._sent:
                return answer["result"]

    def value(self, expression: str) -> Any:
        return self.call("Runtime.evaluate", expression=expression)["result"].get("value")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_a_browser_shows_a_new_point_within_two_seconds(
    server: Watching, run: Run, toy_run: Path, tmp_path: Path
) -> None:
    browser = Browser(tmp_path / "profile")
    try:
        browser.call("Page.navigate", url=f"{server.url}/")
        count = "document.querySelectorAll('circle').length"

        def seen_after(points: int) -> float:
            began = time.monotonic()
            while browser.value(count) <= points:
                assert time.monotonic() - began < 30
                time.sleep(0.01)
            return time.monotonic() - began

        seen_after(0)
        waits = []
        for _ in range(3):
            points = browser.value(count)
            moves(run, toy_run)
            waits.append(seen_after(points))
        print(f"seen after {', '.join(f'{wait:.2f} s' for wait in waits)}")
        assert max(waits) < SOON
    finally:
        browser.process.kill()
        browser.process.wait()
