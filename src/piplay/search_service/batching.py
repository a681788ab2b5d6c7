"""Requests that come close together are searched together, and what was searched lately is not searched again."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from piplay.envs.search.searcher import Hit

Ask = tuple[str, int]
"""A query and how many passages it is to find."""
Rank = Callable[[Sequence[str], int], list[list[Hit]]]

WINDOW = 0.005
"""Seconds that a request waits for others."""
BATCH = 4096
"""Queries of a batch, from where on no further request joins it."""
ROOM = 16_384
"""Queries that wait or are being searched, beyond which a request is turned away."""
KEPT = 100_000
"""Queries whose hits are remembered."""
LONGEST_KEPT = 1000
"""Characters of a query that is remembered."""


class QueueFullError(Exception):
    """So many queries wait that another request is not taken."""


class Batcher:
    """Ranks the queries of many requests in batches, one batch at a time in a thread beside the event loop."""

    def __init__(self, rank: Rank, window: float = WINDOW, room: int = ROOM, kept: int = KEPT) -> None:
        self._rank, self._window, self._room, self._kept = rank, window, room, kept
        self._recent: OrderedDict[Ask, list[Hit]] = OrderedDict()
        self._open: list[tuple[list[Ask], asyncio.Future[dict[Ask, list[Hit]]]]] = []
        self._pool = ThreadPoolExecutor(1)
        self._working: asyncio.Task[None] | None = None
        self.waiting = 0
        """Queries that wait or are being searched."""

    async def ranked(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """The ``k`` best passages of each query. Raises ``QueueFullError``, and what ranking raises."""
        asks = [(query, k) for query in queries]
        found = {ask: hits for ask in asks if (hits := self._remembered(ask)) is not None}
        missing = list(dict.fromkeys(ask for ask in asks if ask not in found))
        if missing:
            found |= await self._searched(missing)
        return [found[ask] for ask in asks]

    async def _searched(self, asks: list[Ask]) -> dict[Ask, list[Hit]]:
        if self.waiting and self.waiting + len(asks) > self._room:
            raise QueueFullError
        self.waiting += len(asks)
        answer: asyncio.Future[dict[Ask, list[Hit]]] = asyncio.get_running_loop().create_future()
        self._open.append((asks, answer))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        while self._open:
            await asyncio.sleep(self._window)
            batch = self._next()
            try:
                found = await self._found(list(dict.fromkeys(ask for asks, _ in batch for ask in asks)))
            except Exception as error:  # each request of the batch is told; the next batch is searched
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
            else:
                self._remember(found)
                for asks, answer in batch:
                    if not answer.done():
                        answer.set_result({ask: found[ask] for ask in asks})
            self.waiting -= sum(len(asks) for asks, _ in batch)

    def _next(self) -> list[tuple[list[Ask], asyncio.Future[dict[Ask, list[Hit]]]]]:
        """The first requests that wait, until a batch is full."""
        count, size = 0, 0
        while count < len(self._open) and size < BATCH:
            size += len(self._open[count][0])
            count += 1
        batch, self._open = self._open[:count], self._open[count:]
        return batch

    async def _found(self, asks: list[Ask]) -> dict[Ask, list[Hit]]:
        found: dict[Ask, list[Hit]] = {}
        for k in dict.fromkeys(k for _, k in asks):
            queries = [query for query, number in asks if number == k]
            hits = await asyncio.get_running_loop().run_in_executor(self._pool, self._rank, queries, k)
            found |= {(query, k): of_query for query, of_query in zip(queries, hits, strict=True)}
        return found

    def _remembered(self, ask: Ask) -> list[Hit] | None:
        if ask in self._recent:
            self._recent.move_to_end(ask)
        return self._recent.get(ask)

    def _remember(self, found: dict[Ask, list[Hit]]) -> None:
        self._recent |= {ask: hits for ask, hits in found.items() if len(ask[0]) <= LONGEST_KEPT}
        while len(self._recent) > self._kept:
            self._recent.popitem(last=False)
