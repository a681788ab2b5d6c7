"""What the roles are rewarded for (docs/method.md, formula 1)."""

from __future__ import annotations

from piplay.envs.search.question import Passage, Question
from piplay.envs.search.tool import searches
from piplay.envs.search.words import length
from piplay.methods.pi_play.gates import passes
from piplay.types import Trajectory


def difficulty_reward(correct: int, samples: int) -> float:
    """r_d = 1(0 < k < n) · (n − k)/(n − 1), formula 1: most for a question that one of n samples solves."""
    return (samples - correct) / (samples - 1) if 0 < correct < samples else 0.0


def format_score(draft: Question, trajectory: Trajectory, seed: Passage) -> float:
    """r_f in [0, 1], formula 1: 0 for an empty or leaking question, else (1 + think + tool + answer)/4."""
    if not all(passes(gate, draft, trajectory, seed, set()) for gate in ("format", "leak")):
        return 0.0
    think = sum(bool(turn.think) for turn in trajectory.turns) / len(trajectory.turns)
    tool = min((1 + len(searches(trajectory))) / draft.hops, 1.0)
    words = length(draft.answers[0])
    short = 1.0 if words <= 5 else 0.5 if words <= 10 else 0.0
    answer = short if passes("grounded", draft, trajectory, seed, set()) else 0.0
    return (1 + think + tool + answer) / 4
