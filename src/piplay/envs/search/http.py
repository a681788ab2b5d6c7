"""The searcher that asks a service: piplay's own (``piplay search serve``), or any on Search-R1's ``/retrieve``."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from ipaddress import ip_address
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from piplay.envs.search.answers import Answers
from piplay.envs.search.passages import passage_of
from piplay.envs.search.question import Passage
from piplay.errors import InputError, InputWarning
from piplay.rollout.tools import ToolError

if TYPE_CHECKING:
    import httpx

HEADER = "piplay-index"
"""The header of an answer that names the index it is from."""
PAUSE = 0.5
"""Seconds before the second try, doubled before each further one, each with up to a quarter more or less."""
_JITTER = Random()  # spreads clients in time, and decides nothing that a run computes


class HTTPSearcher:
    """A ``Searcher`` that asks a service over HTTP, and finds to the bit what the service's own index finds."""

    def __init__(
        self,
        passages: Sequence[Passage],
        *,
        url: str,
        index: str | None = None,
        timeout: float = 30.0,
        tries: int = 5,
        batch: int = 256,
        in_flight: int = 8,
    ) -> None:
        """Ask the service who it is.

        Args:
            passages: not searched here.
            url: the service's address, with or without ``/retrieve``.
            index: the fingerprint of the index that has to answer; a run fills it in when it begins.
            timeout: seconds to wait for a connection, and for more of an answer.
            tries: of a request that does not get through: no connection, no answer in time, status 429 or 5xx.
            batch: queries of a request at most.
            in_flight: requests at once.

        Raises:
            InputError: an option is out of range, httpx is not installed, the service does not answer, or it has
                another index.
        """
        _check(url, timeout, tries, batch, in_flight)
        self._base = url.rstrip("/").removesuffix("/retrieve")
        self._tries, self._batch = tries, batch
        self._client = _client(url, timeout, in_flight)
        self._pool = ThreadPoolExecutor(in_flight, thread_name_prefix="search")
        self._down = False
        """Whether the last request did not get through: the next is then tried once. So a tool that is asked again
        query by query does not wait for each of them in turn."""
        served = self._served()
        if index is not None and served != index:
            raise InputError(_other(self._base, served, index))
        self.index = served
        """The fingerprint of the index that answers; None where the service does not say."""
        if served is None:
            warnings.warn(
                f"{self._base} has no /info that names its index: whether it changes during a run cannot be noticed, "
                "and its answers are not kept",
                InputWarning,
                stacklevel=2,
            )
        self._kept = None if served is None else Answers(served)

    def settled(self) -> dict[str, str]:
        """The index that a run begins with, as an option: it then goes on with no other."""
        return {} if self.index is None else {"index": self.index}

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """See ``Searcher.search``. What is known of the same index is not asked again.

        Raises ``ToolError`` with the address and the reason where the service does not answer, and ``InputError`` where
        it answers from another index.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        found = self._kept.of(list(dict.fromkeys(queries)), k) if self._kept else {}
        missing = [query for query in dict.fromkeys(queries) if query not in found]
        batches = [missing[start : start + self._batch] for start in range(0, len(missing), self._batch)]
        for asked, answers in zip(batches, self._all(batches, k), strict=True):
            found |= zip(asked, answers, strict=True)
        if self._kept and missing:
            self._kept.keep({query: found[query] for query in missing}, k)
        return [list(found[query]) for query in queries]

    def _all(self, batches: Sequence[list[str]], k: int) -> list[list[list[Passage]]]:
        """The answers to each batch. Where one fails the others are given up, whatever they wait for."""
        over = threading.Event()
        try:
            if len(batches) < 2:
                return [self._retrieve(batch, k, over) for batch in batches]
            waiting = [self._pool.submit(self._retrieve, batch, k, over) for batch in batches]
            return [answer.result() for answer in waiting]
        finally:
            over.set()

    def _retrieve(self, queries: list[str], k: int, over: threading.Event) -> list[list[Passage]]:
        url = f"{self._base}/retrieve"
        response = self._tried("POST", url, over, {"queries": queries, "topk": k, "return_scores": True})
        if response.status_code != 200:
            raise ToolError(f"{url} refuses a search: {_reason(response)}")
        served = response.headers.get(HEADER)
        if self.index is not None and served != self.index:
            raise InputError(_other(self._base, served, self.index))
        try:
            result = response.json()["result"]
            found = [[passage_in(item) for item in items[:k]] for items in result]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ToolError(f"{url} answers with what is no result of a search ({error!r})") from error
        if len(found) != len(queries):
            raise ToolError(f"{url} answers {len(found)} queries of {len(queries)}")
        return found

    def _served(self) -> str | None:
        """The index that the service says it has; None where it does not say."""
        url = f"{self._base}/info"
        try:
            response = self._tried("GET", url, threading.Event())
        except ToolError as error:
            raise InputError(f"{error}; start it with `piplay search serve`, or correct the url") from error
        try:
            index = response.json()["index"] if response.status_code == 200 else None
        except (ValueError, TypeError, KeyError):
            return None
        return index if isinstance(index, str) and index.isalnum() else None

    def _tried(self, method: str, url: str, over: threading.Event, body: Any = None) -> httpx.Response:
        """What the service answers, of whatever status but those that may pass.

        Raises ``ToolError`` with the last reason once no try is left, or ``over`` is set meanwhile.
        """
        import httpx

        tries = 1 if self._down else self._tries
        for number in range(tries):
            if number and over.wait(PAUSE * 2 ** (number - 1) * _JITTER.uniform(0.75, 1.25)):
                break
            try:
                response = self._client.request(method, url, json=body)
            except httpx.TransportError as error:
                reason = f"{type(error).__name__}: {error}".rstrip(": ")
            except httpx.HTTPError as error:
                raise ToolError(f"{url} cannot be asked: {error}") from error
            else:
                if response.status_code != 429 and response.status_code < 500:
                    self._down = False
                    return response
                reason = _reason(response)
        self._down = True
        raise ToolError(f"{url} does not answer ({reason}), asked {tries} time{'s' * (tries > 1)}")


def is_url(place: str) -> bool:
    """Whether this names a service, not a file."""
    return place.startswith(("http://", "https://"))


def _check(url: str, timeout: float, tries: int, batch: int, in_flight: int) -> None:
    try:
        known = is_url(url) and bool(urlsplit(url).hostname) and urlsplit(url).port != 0
    except ValueError:
        known = False
    if not known:
        raise InputError(f"the search service's url is {url!r}: give one as http://127.0.0.1:8000")
    if not 0 < timeout < float("inf"):
        raise InputError(f"the search service's timeout is {timeout}: give seconds above 0")
    for name, number in (("tries", tries), ("batch", batch), ("in_flight", in_flight)):
        if number < 1:
            raise InputError(f"the search service's {name} is {number}: give at least 1")


def _client(url: str, timeout: float, in_flight: int) -> httpx.Client:
    """A pool of connections; what is on this machine is not asked through a proxy."""
    try:
        import httpx
    except ModuleNotFoundError as error:
        raise InputError(f"a search service needs {error.name}: pip install 'piplay[serve]'") from error
    host = urlsplit(url).hostname or ""
    try:
        here = ip_address(host).is_loopback
    except ValueError:
        here = host == "localhost"
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    return httpx.Client(timeout=timeout, limits=limits, trust_env=not here)


def _reason(response: httpx.Response) -> str:
    """A status, and what a service says of it."""
    try:
        said = response.json()["detail"]
    except (ValueError, TypeError, KeyError):
        said = response.text
    return f"status {response.status_code}: {str(said)[:200]}" if said else f"status {response.status_code}"


def _other(base: str, served: str | None, index: str) -> str:
    return (
        f"{base} serves the index {served or 'that it does not name'}, and the run began with {index}: it would find "
        "other passages; serve that index again, or train again"
    )


def passage_in(item: Any) -> Passage:
    """A passage of an answer: with its parts, or as a corpus has it; a document without an id is known by its text."""
    document = item.get("document", item) if isinstance(item, dict) else item
    if isinstance(document, str):
        document = {"contents": document}
    parts = [document.get(name) for name in ("id", "title", "text")]
    if all(isinstance(part, str) for part in parts):
        return Passage(*parts)
    number = blake2b(repr(sorted(document.items())).encode(), digest_size=8).hexdigest()
    passage = passage_of(document, number)
    if isinstance(passage, str):
        raise ValueError(f"a document {passage}")
    return passage
