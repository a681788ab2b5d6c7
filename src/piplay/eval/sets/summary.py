"""What the answers of an arm amount to: numbers for each set, their means over sets, and over questions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from piplay.envs.search.match import contains
from piplay.envs.search.question import Question
from piplay.envs.search.tool import passages_of, query_of, searches
from piplay.eval.metrics import cover_em, squad_em, squad_f1
from piplay.eval.sets.answers import Row
from piplay.eval.statistics import bootstrap, wilson
from piplay.types import Owner, StopReason, Trajectory

SHARES = ("em", "cover_em", "recall")
"""0 or 1 for each question: proportions, with Wilson's interval."""
SCORES = ("em", "f1", "cover_em", "recall")


def row_of(arm: str, name: str, place: int, task: Question, trajectory: Trajectory) -> dict[str, Any]:
    """A line of ``records.jsonl``."""
    answer = trajectory.answer if trajectory.stop is StopReason.ANSWERED else None
    used = searches(trajectory)
    found = [passage for use in used for passage in passages_of(use)]
    seen = any(contains(f"{passage.title}\n{passage.text}", gold) for passage in found for gold in task.answers)
    return {
        "arm": arm,
        "set": name,
        "place": place,
        "id": task.id,
        "question": task.question,
        "golds": list(task.answers),
        "answer": answer,
        "em": squad_em(answer, task.answers),
        "f1": squad_f1(answer, task.answers),
        "cover_em": cover_em(answer or "", task.answers),
        "recall": float(seen),
        "queries": [query_of(use.call) for use in used],
        "found": [passage.id for passage in found],
        "tokens": int((trajectory.owner_T == Owner.MODEL).sum()),
        "stop": str(trajectory.stop),
    }


def summary(rows: Sequence[Row], seed: int, arm: str) -> dict[str, Any]:
    """An arm's numbers: by set, ``macro`` (the mean of the sets' scores) and ``micro`` (of all questions alike)."""
    names = list(dict.fromkeys(row["set"] for row in rows))
    sets = {name: _numbers([row for row in rows if row["set"] == name], seed, (arm, name)) for name in names}
    macro = {score: sum(numbers[score]["mean"] for numbers in sets.values()) / len(sets) for score in SCORES}
    return {"sets": sets, "macro": macro, "micro": _numbers(rows, seed, (arm, "all"))}


def _numbers(rows: Sequence[Row], seed: int, key: tuple[str, str]) -> dict[str, Any]:
    scores = {}
    for score in SCORES:
        values = [row[score] for row in rows]
        interval = wilson(int(sum(values)), len(rows)) if score in SHARES else bootstrap(values, seed, ("sets", *key))
        scores[score] = {"mean": sum(values) / len(rows), "interval": interval}
    return {
        "n": len(rows),
        **scores,
        "searches": sum(len(row["queries"]) for row in rows) / len(rows),
        "tokens": sum(row["tokens"] for row in rows) / len(rows),
        "stops": dict(sorted(Counter(row["stop"] for row in rows).items())),
    }


def failed(rows: Sequence[Row]) -> int:
    """How many questions ended because the tool did not answer."""
    return sum(row["stop"] == StopReason.TOOL_FAILED for row in rows)


def about_sets(counts: Mapping[str, int], published: Mapping[str, int]) -> list[str]:
    """Where files hold other numbers of questions than the published splits, in sentences."""
    return [
        f"{name}: {count} questions, where the published split has {published[name]}"
        for name, count in counts.items()
        if name in published and count != published[name]
    ]
