"""A recipe that runs in about a second, and the games it plays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from piplay.methods.pi_play import Examine, Study
from piplay.methods.pi_play.metrics import question_metrics
from piplay.protocols import Audit, Game
from piplay.rollout.context import Context
from piplay.types import Episode, Task


class _Paid:
    """Rewards what the ids add up to, so that any model, however bad, has something to learn from."""

    def finalize_batch(self, episodes: Sequence[Episode]) -> list[Episode]:
        return [
            replace(
                e,
                trajectories=tuple(
                    replace(s, reward=float(s.trajectory.ids_T.sum() % 97) / 97) for s in e.trajectories
                ),
            )
            for e in super().finalize_batch(episodes)
        ]


class PaidExamine(_Paid, Examine):
    """``Examine`` under another reward, and with a question after the seed passage: no toy model writes one."""

    def finalize_batch(self, episodes: Sequence[Episode]) -> list[Episode]:
        return [
            replace(e, written=tuple(replace(task, question=f"What is {e.task.source.title}?") for task in e.written))
            for e in super().finalize_batch(episodes)
        ]


class PaidStudy(_Paid, Study):
    """``Study`` under another reward."""


class SolvedStudy(PaidStudy):
    """Says of every task that all samples solved it."""

    def finalize_batch(self, episodes: Sequence[Episode]) -> list[Episode]:
        return [replace(e, facts={**e.facts, "k": len(e.trajectories)}) for e in super().finalize_batch(episodes)]


RECIPE = """\
name = "toy"
iterations = 2
checkpoint_every = 2
limits = { turns = 2, turn_tokens = 10, tokens = 1400 }
engine = { threads = 1, slots = 6 }
sources.seed_passages = { kind = "pi_play:SeedPassages", hop_odds = [1] }
evaluation = { kind = "pi_play", per_hop = 1, teacher_every = 2, teacher_tasks = 2, self_generated = 4 }
report = { grid = 3 }
policies.examiner = { lr = 1e-3 }
policies.student = { lr = 1e-3 }
policies.teacher = { follows = "student", tau = 0.2 }

[[phases]]
name = "examine"
game = "toys.games:PaidExamine"
tasks = "seed_passages"
steps = 3
episodes = 3
seats = { examiner = "examiner", student = "student" }
learn.examiner = {}
options = { probes = 2, gates = [] }

[[phases]]
name = "write"
game = "toys.games:PaidExamine"
tasks = "seed_passages"
writes = 4
steps = 3
episodes = 3
seats = { examiner = "examiner" }
options = { probes = 0, gates = [] }

[[phases]]
name = "study"
game = "toys.games:PaidStudy"
tasks = "written"
steps = 3
episodes = 2
seats = { student = "student" }
learn.student.losses.pg = {}
learn.student.losses.distill = { weight = { start = 1.0, decay = 0.5 }, policy = "teacher", top_k = 8 }
options = { rollouts = 2 }
"""
"""A whole run in about a second: every kind of phase, checkpoints within and between phases, two iterations."""


class Pathless(_Paid, Examine):
    """Writes tasks whose path is lost."""

    def finalize_batch(self, episodes: Sequence[Episode]) -> list[Episode]:
        return [
            replace(e, written=tuple(replace(w, path=()) for w in e.written)) for e in super().finalize_batch(episodes)
        ]


class HandedOut(Game):
    """Writes the tasks that its source gives: nobody plays."""

    roles: Sequence[str] = ()

    async def play(self, task: Task, context: Context) -> Episode:
        return Episode(context.key, task, (), written=(task,))

    def metrics(self, episodes: Sequence[Episode], audit: Audit | None) -> dict[str, float]:
        return question_metrics(episodes, audit)
