"""A recipe that runs in about a second, and the games it plays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from piplay.methods.pi_play.game import Examine, Study
from piplay.types import Episode


class _Paid:
    """Pays what the ids add up to, so that any model, however bad, has something to learn from."""

    def settle(self, episodes: Sequence[Episode]) -> list[Episode]:
        return [
            replace(e, seats=tuple(replace(s, reward=float(s.trajectory.ids_T.sum() % 97) / 97) for s in e.seats))
            for e in super().settle(episodes)
        ]


class PaidExamine(_Paid, Examine):
    """``Examine`` under other pay, and with a question after the seed passage: no toy model writes one."""

    def settle(self, episodes: Sequence[Episode]) -> list[Episode]:
        return [
            replace(e, written=replace(e.written, question=f"What is {e.task.source.title}?")) if e.written else e
            for e in super().settle(episodes)
        ]


class PaidStudy(_Paid, Study):
    """``Study`` under other pay."""


class SolvedStudy(PaidStudy):
    """Says of every task that all samples solved it."""

    def settle(self, episodes: Sequence[Episode]) -> list[Episode]:
        return [replace(e, facts=e.facts | {"k": len(e.seats)}) for e in super().settle(episodes)]


RECIPE = """\
name = "toy"
iterations = 2
checkpoint_every = 2
hop_odds = [1]
limits = { turns = 2, turn_tokens = 10, tokens = 1400 }
engine = { threads = 1, slots = 6 }
evaluation = { per_hop = 1, teacher_every = 2, teacher_tasks = 2, probe_questions = 4, grid = 3 }
policies.examiner = { lr = 1e-3 }
policies.student = { lr = 1e-3 }
policies.teacher = { follows = "student", tau = 0.2 }

[[phases]]
name = "examine"
game = "toys.games:PaidExamine"
tasks = "seeds"
steps = 3
episodes = 3
seats = { examiner = "examiner", student = "student" }
learn.examiner = {}
options = { probes = 2, gates = [] }

[[phases]]
name = "write"
game = "toys.games:PaidExamine"
tasks = "seeds"
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
seats = { student = "student", teacher = "teacher" }
learn.student = { distill = 1.0, decay = 0.5, teacher = "teacher", top_k = 8 }
options = { rollouts = 2 }
"""
"""A whole run in about a second: every kind of phase, checkpoints within and between phases, two iterations."""


class Pathless(_Paid, Examine):
    """Writes tasks whose path is lost."""

    def settle(self, episodes: Sequence[Episode]) -> list[Episode]:
        return [
            replace(e, written=replace(e.written, path=())) if e.written is not None else e
            for e in super().settle(episodes)
        ]
