"""A world's questions: which entities they start from, and which chains of relations are asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np

from piplay.envs.search.values import mentions
from piplay.envs.world.questions import BENCHMARK_FORMS, Solver, Verdict, ask
from piplay.envs.world.records import Records
from piplay.streams import stream

TRAIN_SHARE = 0.7
_WALKS = 4
"""Walks tried from a start each time its turn comes."""
MOST_RIGHT = 10
"""Values up to which a question is asked: what more of them answer, a guess answers."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One step of a question's chain."""

    query: str
    """The entity whose passage holds the fact."""
    relation: str
    value: str


@dataclass(frozen=True, slots=True)
class ChainQuestion:
    """One question of a benchmark."""

    id: str
    question: str
    answers: tuple[str, ...]
    """The gold answer first, then its aliases, then other right answers with theirs."""
    hops: int | None = None
    """None where the source does not say."""
    path: tuple[Hop, ...] = ()
    """How it is answered, first hop first; empty where the source does not say."""


def split(records: Records, seed: int) -> tuple[list[str], list[str]]:
    """The names that training starts from (70 %) and those that held-out questions start from, in record order.

    An entity without facts is in neither: nothing can be asked from it.
    """
    names = [name for name, entity in zip(records.by_name, records.entities, strict=True) if entity.facts]
    order = stream(seed, ("world", "split")).permutation(len(names))
    train = np.zeros(len(names), dtype=bool)
    train[order[: round(TRAIN_SHARE * len(names))]] = True
    return list(compress(names, train)), list(compress(names, ~train))


def questions(
    records: Records,
    starts: Sequence[str],
    seed: int,
    per_hop: int = 100,
    hops: Sequence[int] = (1, 2, 3, 4),
    label: str = "question",
) -> list[ChainQuestion]:
    """Up to ``per_hop`` questions of each hop count: fewer where random walks find no more chains.

    Every start has its turn before one comes again. No (start, relations) is asked twice, a chain visits no value
    twice, and of the walks of a turn the one with the rarest last relation, then the rarest answer, is taken: a table
    where most rows lead to one hub is still asked about all its columns. A question is left out when an answer of it
    stands in it, when more than ten values are right, when its gold is nothing that could be answered, or when the
    solver reads it otherwise. Ids are ``label-hops-number``.
    """
    solver = Solver(records)
    drawn: list[ChainQuestion] = []
    for count in hops:
        rng = stream(seed, ("world", "questions", count))
        asked: set[tuple[str, tuple[str, ...]]] = set()
        last: Counter[str] = Counter()
        golds: Counter[str] = Counter()
        found: list[ChainQuestion] = []
        order: list[int] = []
        # Bounded, so that a world without long chains costs a few passes over its starts and no more.
        for _ in range(50 * per_hop + 2 * len(starts) if starts else 0):
            if len(found) == per_hop:
                break
            order = order or rng.permutation(len(starts)).tolist()
            start = starts[order.pop()]
            walks = [path for path in (_walk(rng, records, start, count) for _ in range(_WALKS)) if path]
            fresh = [path for path in walks if (start, _relations(path)) not in asked]
            if not fresh:
                continue
            path = min(fresh, key=lambda path: (last[path[-1].relation], golds[path[-1].value]))
            asked.add((start, _relations(path)))
            gold = path[-1].value
            right = records.follow(start, _relations(path))
            answers = records.answers(gold, *right)
            text = ask(rng, start, _relations(path), BENCHMARK_FORMS)
            if len(right) > MOST_RIGHT or any(mentions(text, answer) for answer in answers):
                continue
            if solver.judge(text, gold) is not Verdict.TRUE:
                continue
            last[path[-1].relation] += 1
            golds[gold] += 1
            found.append(ChainQuestion(f"{label}-{count}-{len(found) + 1}", text, answers, count, path))
        drawn += found
    return drawn


def _walk(rng: np.random.Generator, records: Records, start: str, hops: int) -> tuple[Hop, ...] | None:
    """One random chain without a repeated value, or None where the walk ends early."""
    path: list[Hop] = []
    seen = {start}
    value = start
    for left in range(hops - 1, -1, -1):
        ways = [
            (relation, target)
            for relation, target in records.by_name[value].stated()
            if target not in seen and (left == 0 or target in records.by_name)
        ]
        if not ways:
            return None
        relation, target = ways[int(rng.integers(len(ways)))]
        path.append(Hop(value, relation, target))
        seen.add(target)
        value = target
    return tuple(path)


def _relations(path: Sequence[Hop]) -> tuple[str, ...]:
    return tuple(hop.relation for hop in path)
