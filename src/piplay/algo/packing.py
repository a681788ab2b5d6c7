"""How sequences of different lengths share batches: right-padded ones, and rows without padding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from piplay.types import Ints


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


def fill(items: Iterable[int], whole: Sequence[int], added: Sequence[int], budget: int) -> list[list[int]]:
    """Cut ``items``, in their order, into rows of at most ``budget`` tokens.

    The first item of a row costs ``whole[item]``, each further one ``added[item]``: less where it goes on from what the
    item before it began with too. An item above the budget gets a row of its own.
    """
    rows: list[list[int]] = []
    total = 0
    for item in items:
        if rows and total + added[item] <= budget:
            rows[-1].append(item)
            total += added[item]
        else:
            rows.append([item])
            total = whole[item]
    return rows


@dataclass(frozen=True, slots=True)
class Layout:
    """Sequences end to end in one row (``_N``), without padding; a prompt that several have in common is there once.

    The row is cut into segments. A segment is a whole sequence, a common prompt, or what goes on behind one.
    """

    ids_N: Ints
    position_N: Ints
    """Each token's place in its own sequence."""
    lengths: list[int]
    """Of the segments, in order."""
    parents: list[int | None]
    """The segment that each goes on from; None where it begins a sequence."""
    row_R: Ints
    """For each token to predict, sequence by sequence, the place in the row of the token before it."""


def lay_out(prompts: Sequence[Ints], responses: Sequence[Ints], wanted: Sequence[Ints]) -> Layout:
    """One row of the sequences prompt + response, equal prompts once.

    ``wanted``: the places within each response, ascending and at least one, of the tokens to predict. What stands
    behind the token before the last of them is left out: nothing that is wanted attends to it.
    """
    uses = Counter(prompt.tobytes() for prompt in prompts)
    begun: dict[bytes, tuple[int, int]] = {}
    ids: list[Ints] = []
    positions: list[Ints] = []
    lengths: list[int] = []
    parents: list[int | None] = []
    rows: list[Ints] = []
    total = 0

    def segment(ids_T: Ints, start: int, parent: int | None) -> None:
        nonlocal total
        ids.append(ids_T)
        positions.append(np.arange(start, start + len(ids_T)))
        lengths.append(len(ids_T))
        parents.append(parent)
        total += len(ids_T)

    for prompt, response, wanted_R in zip(prompts, responses, wanted, strict=True):
        fed = response[: wanted_R[-1]]
        key = prompt.tobytes()
        if uses[key] == 1:
            rows.append(total + len(prompt) - 1 + wanted_R)
            segment(np.concatenate([prompt, fed]), 0, None)
            continue
        if key not in begun:
            begun[key] = len(lengths), total + len(prompt) - 1
            segment(prompt, 0, None)
        parent, last = begun[key]
        rows.append(np.where(wanted_R == 0, last, total - 1 + wanted_R))
        if len(fed):
            segment(fed, len(prompt), parent)
    return Layout(np.concatenate(ids), np.concatenate(positions), lengths, parents, np.concatenate(rows))
