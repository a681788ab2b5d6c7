"""Plays questions to measure a policy: as the student alone, or as the teacher with the questions' paths."""

from __future__ import annotations

from collections.abc import Sequence

from piplay.methods.pi_play.game import Recite, Study
from piplay.rollout.stage import Stage
from piplay.types import Episode, Key, Task


def alone(
    stage: Stage, policy: str, tasks: Sequence[Task], key: Key, *, samples: int = 1, temperature: float = 0.0
) -> list[Episode]:
    """Each question to the policy as the student, ``samples`` times; greedily at temperature 0."""
    return stage.play(Study({}, rollouts=samples).play, key, tasks, {"student": policy}, temperature)


def with_path(stage: Stage, policy: str, tasks: Sequence[Task], key: Key) -> list[Episode]:
    """Each question once to the policy as the teacher, who is shown its path; greedily."""
    return stage.play(Recite({}).play, key, tasks, {"teacher": policy}, 0.0)
