"""What a step of π-Play is worth knowing: searches of each role, and accuracy, gates and truth of its questions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from piplay.envs.search.question import Question
from piplay.envs.search.tool import query_of, searches
from piplay.envs.search.values import canonical
from piplay.protocols import Audit
from piplay.types import Episode, ScoredTrajectory, Trajectory

WRONG = ("false", "ill_typed")
VERDICTS = ("true", *WRONG, "unknown")
SOMETIMES = (
    *("accuracy", "solved", "wasted", "false_agreement", *VERDICTS),
    *("accuracy/*", "informative/*", "truth/*", "tasks/*", "gate/*", "k/*"),
)
"""The numbers that a step has where a question of it was tried, or written, or had so many hops (see ``Game``)."""


def role_metrics(episodes: Sequence[Episode]) -> dict[str, float]:
    """Searches and repeated queries of each role, means over its rollouts."""
    queries: dict[str, list[list[str]]] = {}
    for episode in episodes:
        for played in episode.trajectories:
            found = [canonical(query_of(use.call)) for use in searches(played.trajectory)]
            queries.setdefault(played.trajectory.role, []).append(found)
    row: dict[str, float] = {}
    for role, rollouts in queries.items():
        row[f"{role}/searches"] = _mean(map(len, rollouts))
        row[f"{role}/repeated_queries"] = _mean(len(found) - len(set(found)) for found in rollouts)
    return row


def question_metrics(episodes: Sequence[Episode], audit: Audit | None) -> dict[str, float]:
    """Accuracy, difficulty, gates and truth of a step's questions, over all and by hop.

    ``format/REASON`` counts those that the gate format refused, by why their trajectory ended. ``k/i`` counts questions
    that exactly i of the student samples solved. ``informative/h`` is the share of h-hop questions with r_d ≠ 0, of
    those that students tried, ``solved`` the share that every sample solved. Truth is over the questions that passed
    every gate; ``wasted`` is the share of these, if tried, that are false or solved by every sample.
    """
    row: dict[str, float] = dict(Counter(f"tasks/{_hops(episode)}" for episode in episodes))
    row |= Counter(f"gate/{episode.facts['gate'] or 'passed'}" for episode in episodes if _examined(episode))
    row |= Counter(f"format/{_writer(episode).stop}" for episode in episodes if episode.facts.get("gate") == "format")
    tried = [episode for episode in episodes if _students(episode)]
    row |= Counter(f"k/{int(episode.facts['k'])}" for episode in tried)
    by_hop: dict[int, list[Episode]] = defaultdict(list)
    for episode in tried:
        by_hop[_hops(episode)].append(episode)
    if tried:
        row["accuracy"] = _mean(played.reward for episode in tried for played in _students(episode))
        row["solved"] = _mean(map(_solved, tried))
    for hops, group in sorted(by_hop.items()):
        row[f"accuracy/{hops}"] = _mean(played.reward for episode in group for played in _students(episode))
        row[f"informative/{hops}"] = _mean(is_informative(episode) is True for episode in group)
    if audit is not None:
        row |= _truth_metrics(episodes, audit)
    return row


def _truth_metrics(episodes: Sequence[Episode], audit: Audit) -> dict[str, float]:
    verdicts: dict[int, list[str]] = defaultdict(list)
    agreed: list[bool] = []
    lost: list[bool] = []
    for episode in episodes:
        for task in episode.written if _examined(episode) else (episode.task,):
            assert isinstance(task, Question)
            verdict = audit(task)
            verdicts[task.hops].append(verdict)
            # False agreement: rollouts that gave the examiner's answer to a question whose truth is another.
            if _students(episode):
                lost.append(verdict in WRONG or _solved(episode))
            agreed += [played.reward > 0 and verdict in WRONG for played in _students(episode)]
    row = {f"truth/{hops}": _mean(v == "true" for v in found) for hops, found in sorted(verdicts.items())}
    every = [verdict for found in verdicts.values() for verdict in found]
    if every:
        row |= {name: _mean(v == name for v in every) for name in VERDICTS}
    if agreed:
        row["false_agreement"] = _mean(agreed)
    if lost:
        row["wasted"] = _mean(lost)
    return row


def is_informative(episode: Episode) -> bool | None:
    """Whether students answered both rightly and wrongly; None where none tried."""
    tries = len(_students(episode))
    return 0 < float(episode.facts["k"]) < tries if tries else None


def em_by_hops(episodes: Sequence[Episode]) -> tuple[dict[str, float], dict[str, int]]:
    """Mean reward of each episode's one trajectory by hop count, and how many there were."""
    rewards: dict[int, list[float]] = defaultdict(list)
    for episode in episodes:
        rewards[_hops(episode)].append(episode.trajectories[0].reward)
    em = {str(hops): sum(found) / len(found) for hops, found in sorted(rewards.items())}
    return em, {str(hops): len(found) for hops, found in sorted(rewards.items())}


def _hops(episode: Episode) -> int:
    assert isinstance(episode.task, Question)
    return episode.task.hops


def _examined(episode: Episode) -> bool:
    return "gate" in episode.facts


def _writer(episode: Episode) -> Trajectory:
    """The trajectory that a question is written in."""
    return episode.trajectories[0].trajectory


def _students(episode: Episode) -> list[ScoredTrajectory]:
    """The student samples that say something about the question: those whose tool did not fail."""
    students = [played for played in episode.trajectories if played.trajectory.role == "student"]
    return [played for played in students if not played.trajectory.tool_failed]


def _solved(episode: Episode) -> bool:
    return episode.facts["k"] == len(_students(episode)) > 0


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
