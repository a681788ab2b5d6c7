"""How sequences of different lengths share right-padded batches."""

from __future__ import annotations

from collections.abc import Iterable


def packs(items: Iterable[int], length: list[int], budget: int) -> list[list[int]]:
    """Cut ``items`` (indices into ``length``), in their order, into batches of at most ``budget`` padded tokens.

    A batch costs its count times its longest length. An item longer than the budget gets a batch of its own.
    """
    batches: list[list[int]] = []
    longest = 0
    for item in items:
        longest = max(longest, length[item])
        if batches and (len(batches[-1]) + 1) * longest <= budget:
            batches[-1].append(item)
        else:
            batches.append([item])
            longest = length[item]
    return batches
