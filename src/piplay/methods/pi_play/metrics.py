"""What a step is worth knowing: numbers about the episodes that were played, for the log alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from piplay.envs.search.match import normalise
from piplay.types import Episode, Owner, Seat, StopReason, Task

Audit = Callable[[Task], str]
"""Says of a written task "true", "false", "ill_typed" or "unknown". Nothing that trains may call it."""

WRONG = ("false", "ill_typed")


def seat_metrics(role: str, seats: Sequence[Seat]) -> dict[str, float]:
    """Reward, lengths, stop reasons, searches and repeated queries of one role's seats."""
    if not seats:
        return {}
    stories = [seat.trajectory for seat in seats]
    calls = [[normalise(call.query) for call in story.calls] for story in stories]
    stops = Counter(story.stop for story in stories)
    row = {
        "reward": _mean(seat.reward for seat in seats),
        "length": _mean(len(story.ids_T) for story in stories),
        "length_max": float(max(len(story.ids_T) for story in stories)),
        "tokens_written": _mean(int((story.owner_T == Owner.MODEL).sum()) for story in stories),
        "turns": _mean(len(story.turns) for story in stories),
        "searches": _mean(map(len, calls)),
        "repeated_queries": _mean(len(queries) - len(set(queries)) for queries in calls),
    }
    row |= {f"stop/{reason}": stops[reason] / len(stories) for reason in StopReason}
    return {f"{role}/{name}": value for name, value in row.items()}


def task_metrics(episodes: Sequence[Episode], audit: Audit | None) -> dict[str, float]:
    """Accuracy, difficulty, gates and truth of a step's tasks, over all and by hop.

    ``k/i`` counts tasks that exactly i of the student samples solved. ``informative/h`` is the share of h-hop tasks
    with r_d ≠ 0, of those that students tried, ``solved`` the share that every sample solved. Truth is over the tasks
    that passed every gate; ``wasted`` is the share of these, if tried, that are false or solved by every sample.
    """
    row: dict[str, float] = dict(Counter(f"tasks/{episode.task.hops}" for episode in episodes))
    row |= Counter(f"gate/{episode.gate or 'passed'}" for episode in episodes if _examined(episode))
    tried = [episode for episode in episodes if _students(episode)]
    row |= Counter(f"k/{int(episode.facts['k'])}" for episode in tried)
    by_hop: dict[int, list[Episode]] = defaultdict(list)
    for episode in tried:
        by_hop[episode.task.hops].append(episode)
    if tried:
        row["accuracy"] = _mean(seat.reward for episode in tried for seat in _students(episode))
        row["solved"] = _mean(map(_solved, tried))
    for hops, group in sorted(by_hop.items()):
        row[f"accuracy/{hops}"] = _mean(seat.reward for episode in group for seat in _students(episode))
        row[f"informative/{hops}"] = _mean(is_torn(episode) is True for episode in group)
    if audit is not None:
        row |= _truth_metrics(episodes, audit)
    return row


def _truth_metrics(episodes: Sequence[Episode], audit: Audit) -> dict[str, float]:
    verdicts: dict[int, list[str]] = defaultdict(list)
    agreed: list[bool] = []
    lost: list[bool] = []
    for episode in episodes:
        task = episode.written if _examined(episode) else episode.task
        if task is None:
            continue
        verdict = audit(task)
        verdicts[task.hops].append(verdict)
        # False agreement: rollouts that gave the examiner's answer to a question whose truth is another.
        if _students(episode):
            lost.append(verdict in WRONG or _solved(episode))
        agreed += [seat.reward > 0 and verdict in WRONG for seat in _students(episode)]
    row = {f"truth/{hops}": _mean(v == "true" for v in found) for hops, found in sorted(verdicts.items())}
    every = [verdict for found in verdicts.values() for verdict in found]
    if every:
        row |= {name: _mean(v == name for v in every) for name in ("true", "false", "ill_typed", "unknown")}
    if agreed:
        row["false_agreement"] = _mean(agreed)
    if lost:
        row["wasted"] = _mean(lost)
    return row


def _examined(episode: Episode) -> bool:
    return episode.seats[0].trajectory.role == "examiner"


def _students(episode: Episode) -> list[Seat]:
    """The student samples that say something about the question: those whose tool did not fail."""
    students = [seat for seat in episode.seats if seat.trajectory.role == "student"]
    return [seat for seat in students if seat.trajectory.stop is not StopReason.TOOL_FAILED]


def is_torn(episode: Episode) -> bool | None:
    """Whether students answered both rightly and wrongly; None where none tried."""
    tries = len(_students(episode))
    return 0 < episode.facts["k"] < tries if tries else None


def _solved(episode: Episode) -> bool:
    return episode.facts["k"] == len(_students(episode)) > 0


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def em_by_hops(episodes: Sequence[Episode]) -> tuple[dict[str, float], dict[str, int]]:
    """Mean reward of each episode's one seat by hop count, and how many there were."""
    rewards: dict[int, list[float]] = defaultdict(list)
    for episode in episodes:
        rewards[episode.task.hops].append(episode.seats[0].reward)
    em = {str(hops): sum(found) / len(found) for hops, found in sorted(rewards.items())}
    return em, {str(hops): len(found) for hops, found in sorted(rewards.items())}
