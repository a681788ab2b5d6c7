"""Searchers that ask the live web under one's own key, ``Serper``, ``Tavily``, ``Brave``, or one's own ``SearXNG``.

A key comes from the environment, is sent to its own service alone, and is written nowhere. What the web says changes,
so a run with one of these cannot be repeated; but what it was told is kept on disk, and asked once.
"""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from piplay.envs.search.answers import Answers
from piplay.envs.search.http import is_url
from piplay.envs.search.question import Passage
from piplay.errors import InputError
from piplay.rollout.tools import ToolError

if TYPE_CHECKING:
    import httpx

PAUSE = 1.0
"""Seconds before the second try, doubled before each further one."""
IN_FLIGHT = 8
"""Requests at once."""


class WebSearcher(ABC):
    """A ``Searcher`` over a service of the web; the services say how one is asked and what it answers."""

    repeatable = False
    """Whether the same run finds the same again: ``machine.json`` notes where not."""
    key: str = ""
    """The environment variable that holds the key; empty where none is needed."""
    address: str = ""

    def __init__(
        self,
        passages: Sequence[Passage],
        *,
        rate: float = 2.0,
        budget: int = 1000,
        timeout: float = 20.0,
        tries: int = 4,
    ) -> None:
        """Look for the key; nothing is asked yet.

        Args:
            passages: not searched here.
            rate: requests a second at most.
            budget: requests that this process makes at most; what is kept on disk is free.
            timeout: seconds for an answer.
            tries: of a request that gets no answer, or status 429 or 5xx.

        Raises:
            InputError: the key is missing, httpx is not installed, or an option is out of range.
        """
        if not (0 < rate < float("inf") and budget >= 0 and 0 < timeout < float("inf") and tries >= 1):
            raise InputError("a web search has rate and timeout above 0, budget of at least 0 and tries of at least 1")
        name = type(self).__name__
        self._secret = os.environ.get(self.key, "").strip() if self.key else ""
        if self.key and not self._secret:
            raise InputError(f"the searcher web:{name} needs a key of yours: export {self.key}")
        try:
            import httpx
        except ModuleNotFoundError as error:
            raise InputError(f"a web search needs {error.name}: pip install 'piplay[serve]'") from error
        self._client = httpx.Client(timeout=timeout)
        self._pause, self._left, self._tries = 1 / rate, budget, tries
        self._next, self._lock = 0.0, threading.Lock()
        place = blake2b(self.address.encode(), digest_size=6).hexdigest()
        self._kept = Answers(f"web{name.lower()}{place}")
        self._pool = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="web")

    @abstractmethod
    def request(self, query: str, k: int) -> tuple[str, str, Mapping[str, Any]]:
        """How it is asked: method, address, and the options of an httpx request."""

    @abstractmethod
    def found(self, tree: Any) -> Sequence[tuple[str, str, str]]:
        """What it answers, best first: address, title and text of each."""

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """See ``Searcher.search``. A query is asked once, whatever comes later.

        Raises ``ToolError`` where the service does not answer, refuses the key, or the budget is used up.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        wanted = [query for query in dict.fromkeys(queries) if query.strip()]
        known = self._kept.of(wanted, k)
        missing = [query for query in wanted if query not in known]
        waiting = {query: self._pool.submit(self._asked, query, k) for query in missing}
        try:
            for query, answer in waiting.items():
                known[query] = answer.result()
                self._kept.keep({query: known[query]}, k)
        finally:
            for answer in waiting.values():
                answer.cancel()
        return [list(known.get(query, ())) for query in queries]

    def _asked(self, query: str, k: int) -> list[Passage]:
        import httpx

        method, url, options = self.request(query, k)
        reason = ""
        for number in range(self._tries):
            if number:
                time.sleep(PAUSE * 2 ** (number - 1))
            self._wait_in_line()
            try:
                response = self._client.request(method, url, **options)
            except httpx.HTTPError as error:
                reason = f"{type(error).__name__}: {error}".rstrip(": ")
                continue
            if response.status_code == 429 or response.status_code >= 500:
                reason = f"status {response.status_code}"
                continue
            return self._passages(response, k)
        raise ToolError(f"{self.address} does not answer ({reason}), asked {self._tries} times")

    def _wait_in_line(self) -> None:
        """Take a request of the budget, and wait until the rate allows it."""
        with self._lock:
            if self._left < 1:
                raise ToolError(f"the budget of requests to {self.address} is used up: raise budget")
            self._left -= 1
            now = time.monotonic()
            begins = max(now, self._next)
            self._next = begins + self._pause
        time.sleep(begins - now)

    def _passages(self, response: httpx.Response, k: int) -> list[Passage]:
        if response.status_code in (401, 403):
            raise ToolError(f"{self.address} refuses the key in {self.key or 'no key'}: status {response.status_code}")
        if response.status_code != 200:
            raise ToolError(f"{self.address} refuses a search: status {response.status_code}")
        try:
            return [Passage(str(at), str(title), str(text)) for at, title, text in self.found(response.json())][:k]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ToolError(f"{self.address} answers with what is no result of a search ({error!r})") from error


class Serper(WebSearcher):
    """Google's results by serper.dev; key SERPER_API_KEY."""

    key = "SERPER_API_KEY"
    address = "https://google.serper.dev/search"

    def request(self, query: str, k: int) -> tuple[str, str, Mapping[str, Any]]:
        return "POST", self.address, {"json": {"q": query, "num": k}, "headers": {"X-API-KEY": self._secret}}

    def found(self, tree: Any) -> Sequence[tuple[str, str, str]]:
        return [(one["link"], one["title"], one.get("snippet", "")) for one in tree.get("organic", ())]


class Tavily(WebSearcher):
    """Tavily's results; key TAVILY_API_KEY."""

    key = "TAVILY_API_KEY"
    address = "https://api.tavily.com/search"

    def request(self, query: str, k: int) -> tuple[str, str, Mapping[str, Any]]:
        headers = {"Authorization": f"Bearer {self._secret}"}
        return "POST", self.address, {"json": {"query": query, "max_results": k}, "headers": headers}

    def found(self, tree: Any) -> Sequence[tuple[str, str, str]]:
        return [(one["url"], one["title"], one.get("content", "")) for one in tree["results"]]


class Brave(WebSearcher):
    """Brave's results; key BRAVE_API_KEY."""

    key = "BRAVE_API_KEY"
    address = "https://api.search.brave.com/res/v1/web/search"

    def request(self, query: str, k: int) -> tuple[str, str, Mapping[str, Any]]:
        headers = {"X-Subscription-Token": self._secret, "Accept": "application/json"}
        return "GET", self.address, {"params": {"q": query, "count": k}, "headers": headers}

    def found(self, tree: Any) -> Sequence[tuple[str, str, str]]:
        return [
            (one["url"], one["title"], one.get("description", "")) for one in tree.get("web", {}).get("results", ())
        ]


class SearXNG(WebSearcher):
    """A SearXNG of one's own, which has to allow the format json; no key."""

    def __init__(
        self,
        passages: Sequence[Passage],
        *,
        url: str,
        rate: float = 2.0,
        budget: int = 1000,
        timeout: float = 20.0,
        tries: int = 4,
    ) -> None:
        """See ``WebSearcher``; ``url``: where it is, as http://127.0.0.1:8888."""
        if not is_url(url):
            raise InputError(f"the url of web:SearXNG is {url!r}: give one as http://127.0.0.1:8888")
        self.address = url.rstrip("/")
        super().__init__(passages, rate=rate, budget=budget, timeout=timeout, tries=tries)

    def request(self, query: str, k: int) -> tuple[str, str, Mapping[str, Any]]:
        return "GET", f"{self.address}/search", {"params": {"q": query, "format": "json"}}

    def found(self, tree: Any) -> Sequence[tuple[str, str, str]]:
        return [(one["url"], one["title"], one.get("content", "")) for one in tree["results"]]
