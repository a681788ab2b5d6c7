"""The searcher that asks a tool of an MCP server: one at an address, or a program that is started (extra ``mcp``)."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from hashlib import blake2b
from typing import Any, TypeVar

from piplay.envs.search.http import is_url, passage_in
from piplay.envs.search.question import Passage
from piplay.errors import InputError, InputWarning, first_line
from piplay.files import from_json
from piplay.registry import refuse_alone
from piplay.rollout.tools import ToolError

IN_FLIGHT = 8
"""Calls at once."""
Result = TypeVar("Result")


class MCPSearcher:
    """A ``Searcher`` over the search tool of an MCP server."""

    repeatable = False
    """A server does not say what it searches, so that nothing tells whether it finds the same again."""

    def __init__(
        self,
        passages: Sequence[Passage],
        *,
        url: str | None = None,
        command: Sequence[str] = (),
        tool: str = "search",
        query: str = "query",
        count: str = "topk",
        result: str = "results",
        timeout: float = 30.0,
    ) -> None:
        """Connect, and look for the tool.

        Args:
            passages: not searched here.
            url: the server's address, as http://127.0.0.1:8000/mcp.
            command: or a program that is one, with its arguments.
            tool: the tool's name.
            query: its argument that is the query.
            count: its argument that is the number of passages; empty where it has none.
            result: where the passages stand in what it answers: names, with dots between; empty: at the top.
            timeout: seconds for an answer.

        Raises:
            InputError: the extra ``mcp`` is not installed, no server answers, it has no such tool, or settings that
                are not trusted name a program.
        """
        if (url is None) == (not command):
            raise InputError("the searcher mcp:MCPSearcher has a url or a command: give one of them")
        if url is not None and not is_url(url):
            raise InputError(f"the url of mcp:MCPSearcher is {url!r}: give one as http://127.0.0.1:8000/mcp")
        if command:
            refuse_alone(" ".join(command), "program")
        self._name = url or " ".join(command)
        self._tool, self._query, self._count = tool, query, count
        self._path = [name for name in result.split(".") if name]
        self._timeout = timeout
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="mcp", daemon=True).start()
        try:
            known = self._wait(self._connect(_target(url, command)), timeout)
        except ModuleNotFoundError as error:
            raise InputError(f"mcp:MCPSearcher needs {error.name}: pip install 'piplay[mcp]'") from error
        except Exception as error:  # whatever its transport stumbles over
            raise InputError(f"the MCP server {self._name} does not answer ({_cause(error)})") from error
        if tool not in known:
            raise InputError(f"the MCP server {self._name} has no tool {tool!r}: it has {', '.join(known) or 'none'}")
        warnings.warn(
            f"{self._name} does not name its index: whether it changes during a run cannot be noticed",
            InputWarning,
            stacklevel=2,
        )

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """See ``Searcher.search``. Raises ``ToolError`` with the reason where the server does not answer."""
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        wanted = [query for query in dict.fromkeys(queries) if query.strip()]
        try:
            found = dict(zip(wanted, self._wait(self._all(wanted, k)), strict=True))
        except ToolError:
            raise
        except Exception as error:
            raise ToolError(f"the MCP server {self._name} does not answer ({_cause(error)})") from error
        return [list(found.get(query, ())) for query in queries]

    def _wait(self, coroutine: Coroutine[Any, Any, Result], seconds: float | None = None) -> Result:
        asked: Future[Result] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return asked.result(seconds)
        except TimeoutError:
            asked.cancel()
            raise TimeoutError(f"no answer in {seconds:g} s" if seconds else "no answer in time") from None

    async def _connect(self, target: Any) -> list[str]:
        """Open the one session that stays open; the names of the server's tools.

        A session has to be closed by the task that opened it, so a task of its own holds it, as long as the process.
        """
        from mcp import Client

        opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def hold() -> None:
            try:
                async with Client(target) as client:
                    opened.set_result(client)
                    await asyncio.Event().wait()
            except BaseException as error:
                if opened.done():
                    raise
                opened.set_exception(error)

        self._held = asyncio.create_task(hold())
        self._client = await opened
        self._gate = asyncio.Semaphore(IN_FLIGHT)
        return [tool.name for tool in (await self._client.list_tools()).tools]

    async def _all(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        return list(await asyncio.gather(*(self._asked(query, k) for query in queries)))

    async def _asked(self, query: str, k: int) -> list[Passage]:
        arguments: dict[str, Any] = {self._query: query} | ({self._count: k} if self._count else {})
        async with self._gate:
            made = await self._client.call_tool(self._tool, arguments, read_timeout_seconds=self._timeout)
        said = "\n".join(part.text for part in made.content if part.type == "text")
        if made.is_error:
            raise ToolError(f"the tool {self._tool} of {self._name} fails: {said[:200]}")
        return self._passages(made.structured_content, said)[:k]

    def _passages(self, tree: Any, said: str) -> list[Passage]:
        """What a tool found: data, or text that is JSON; other text is one passage."""
        if tree is None:
            try:
                tree = from_json(said)
            except ValueError:
                if self._path:
                    raise ToolError(
                        f"the tool {self._tool} of {self._name} answers with no data: {said[:100]}"
                    ) from None
                return [Passage(blake2b(said.encode(), digest_size=8).hexdigest(), "", said)] if said.strip() else []
        try:
            for name in self._path:
                tree = tree[name]
            return [passage_in(item) for item in tree]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            where = ".".join(self._path) or "its top"
            raise ToolError(f"the tool {self._tool} of {self._name} has no passages at {where} ({error!r})") from error


def _target(url: str | None, command: Sequence[str]) -> Any:
    """What a client connects to."""
    if url is not None:
        return url
    from mcp import StdioServerParameters
    from mcp.client.stdio import stdio_client

    program, *arguments = command
    return stdio_client(StdioServerParameters(command=program, args=arguments))


def _cause(error: BaseException) -> str:
    """The first line of what went wrong, within the groups that tasks raise."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return first_line(error) if isinstance(error, Exception) else type(error).__name__
