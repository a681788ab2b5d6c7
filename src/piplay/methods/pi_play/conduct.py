"""How questions are answered, read off what was written: names said before they were seen, no search, loops, pass@k."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from piplay.envs.search.question import Question
from piplay.envs.search.tool import searches
from piplay.envs.search.values import mentions
from piplay.eval.metrics import pass_at_k
from piplay.eval.scores import ks
from piplay.types import Episode, Ints, Owner, Trajectory

COPIES, LOOP_TOKENS = 3, 12
"""A stretch that stands so often in a row, over so many tokens at least, is a loop."""


def conduct_metrics(episodes: Sequence[Episode]) -> dict[str, float]:
    """Of each role's rollouts on questions with a path the share with an ``illusion``; of all its rollouts those that
    never searched (``no_search``) and those that end in a loop (``loops``). And ``pass/k``, of the student's."""
    row: dict[str, float] = {}
    played: dict[str, list[tuple[Question, Trajectory]]] = {}
    for episode in episodes:
        assert isinstance(episode.task, Question)
        for one in episode.trajectories:
            if not one.trajectory.tool_failed:
                played.setdefault(one.trajectory.role, []).append((episode.task, one.trajectory))
    for role, found in played.items():
        known = [illusion(task, trajectory) for task, trajectory in found if task.path]
        row |= {f"{role}/illusion": float(np.mean(known))} if known else {}
        row[f"{role}/no_search"] = float(np.mean([not searches(trajectory) for _, trajectory in found]))
        row[f"{role}/loops"] = float(np.mean([ends_in_loop(_written(trajectory)) for _, trajectory in found]))
    return row | _pass_at_k(episodes)


def illusion(task: Question, trajectory: Trajectory) -> bool:
    """Whether it names an answer or an entity of the path before the question or any search result has named it.

    The entities are what the path's steps search for. What a turn says counts whole: reasoning, call and answer.
    """
    hidden = {name for name in (*task.answers, *(step.query for step in task.path)) if name}
    hidden -= {name for name in hidden if mentions(task.question, name)}
    results = [use.result.text for use in trajectory.uses]
    for number, turn in enumerate(trajectory.turns):
        if any(mentions(turn.text, name) for name in hidden):
            return True
        if number < len(results):
            hidden -= {name for name in hidden if mentions(results[number], name)}
    return False


def ends_in_loop(ids: Ints) -> bool:
    """Whether the last tokens are one stretch ``COPIES`` times or more in a row, over ``LOOP_TOKENS`` at least."""
    for period in range(1, len(ids) // COPIES + 1):
        copies = max(COPIES, -(-LOOP_TOKENS // period))
        tail = ids[-copies * period :]
        if len(tail) == copies * period and (tail.reshape(copies, period) == tail[:period]).all():
            return True
    return False


def _written(trajectory: Trajectory) -> Ints:
    """What the model wrote in its last turn."""
    others = np.flatnonzero(trajectory.owner_T != Owner.MODEL)
    return trajectory.ids_T[others[-1] + 1 :] if len(others) else trajectory.ids_T


def _pass_at_k(episodes: Sequence[Episode]) -> dict[str, float]:
    """The mean over questions of the chance that k of the samples hold a right one, for k = 1, 2, 4, … and all."""
    counts = []
    for episode in episodes:
        students = [one for one in episode.trajectories if one.trajectory.role == "student"]
        if tries := [one for one in students if not one.trajectory.tool_failed]:
            counts.append((len(tries), sum(one.reward == 1 for one in tries)))
    if not counts:
        return {}
    fewest = min(samples for samples, _ in counts)
    return {f"pass/{k}": float(np.mean([pass_at_k(n, c, k) for n, c in counts])) for k in ks(fewest)}
