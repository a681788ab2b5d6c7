"""A model's card: what it can do before any self-play, measured on questions of a world that it has never met."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from piplay.config import Config
from piplay.envs.search.benchmarks import first_of_each_hop
from piplay.envs.search.environment import SearchEnvironment
from piplay.envs.search.question import Question, Step
from piplay.envs.search.tool import query_of, searches
from piplay.errors import InputError
from piplay.methods.pi_play.evaluation import play_student, play_teacher
from piplay.methods.pi_play.game import check
from piplay.methods.pi_play.gates import seed_passage
from piplay.methods.pi_play.metrics import em_by_hops
from piplay.methods.pi_play.seed_passages import draw_seeds
from piplay.protocols import Audit, Environment, Evaluation, ReportTable, make_game
from piplay.rollout.context import Context
from piplay.rollout.stage import Stage
from piplay.settings import Phase
from piplay.types import Episode, Key, State

HOPS = 4


class Card(Evaluation):
    """Exact match of the student alone, and behind true, half and foreign paths; the truth of the examiner's questions.

    All by ``config.agent``. In a row of ``measure``, by hop count: ``alone`` (greedy), ``sampled`` (at temperature 1),
    ``true``, ``half`` (a random half of the steps), ``foreign`` (another question's path); ``followed``, the share of
    rollouts behind a foreign path that search for one of its names; ``checker``, the shares of true notes that it finds
    right and of false ones that it finds wrong; ``questions``, how many; and ``examiner``: by hop count and in all the
    shares of each verdict on what passes the gates, and how often each gate refuses.
    """

    def __init__(
        self,
        environment: Environment,
        state: State,
        config: Config,
        *,
        per_hop: int = 100,
        examined: int = 200,
        before: int | None = None,
    ) -> None:
        """Measure on the environment's held-out questions.

        Args:
            environment: has to be the search environment, with a world.
            state: nothing is remembered.
            config: the run's settings.
            per_hop: questions of each hop count.
            examined: questions of each hop count that the examiner writes; 0: none.
            before: at most so many of either in the first measurement, whose model has learnt nothing and fills every
                turn; none: no fewer than later.

        Raises:
            InputError: there are no held-out questions with paths, or one of the counts is too small.
        """
        if not isinstance(environment, SearchEnvironment) or not environment.heldout:
            raise InputError("there are no held-out questions: a card needs a world, such as --world zones")
        for name, least, value in (("per_hop", 1, per_hop), ("examined", 0, examined), ("before", 1, before)):
            if value is not None and value < least:
                raise InputError(f"a card with {name} = {value}: give {least} or more")
        self._environment, self._config, self._before = environment, config, before
        self._questions, self._examined = first_of_each_hop(environment.heldout, per_hop), examined

    def measure(self, stage: Stage, iteration: int) -> dict[str, Any]:
        """See ``Evaluation.measure``."""
        policy, key = self._config.agent, ("card", iteration)
        asked, examined = self._questions, self._examined
        if iteration == 0 and self._before is not None:
            asked, examined = first_of_each_hop(asked, self._before), min(examined, self._before)
        foreign = [replace(task, path=other.path) for task, other in zip(asked, _others(asked), strict=True)]
        met = play_teacher(stage, policy, foreign, (*key, "foreign"))
        row: dict[str, Any] = {
            "alone": _em(play_student(stage, policy, asked, (*key, "alone"))),
            "sampled": _em(play_student(stage, policy, [*asked, *asked], (*key, "sampled"), temperature=1.0)),
            "true": _em(play_teacher(stage, policy, asked, (*key, "true"))),
            "half": _em(play_teacher(stage, policy, asked, (*key, "half"), "half")),
            "foreign": _em(met),
            "followed": round(float(np.mean([_followed(e, task) for e, task in zip(met, asked, strict=True)])), 3),
            "checker": self._checker(stage, policy, asked, (*key, "checker")),
            "questions": {str(hops): count for hops, count in sorted(Counter(task.hops for task in asked).items())},
        }
        if examined:
            row["examiner"] = self._examiner(stage, iteration, examined)
        return row

    def cost(self) -> int:
        """See ``Evaluation.cost``."""
        return 8 * len(self._questions) + HOPS * self._examined

    def sentence(self, row: dict[str, Any]) -> str:  # type: ignore[override]
        """See ``Evaluation.sentence``."""
        told = [f"{name} {' '.join(f'{em:.2f}' for em in row[name].values())}" for name in _COLUMNS]
        asked = f"; questions true {row['examiner']['all'].get('true', 0):.2f}" if "examiner" in row else ""
        checked = "checker right on true notes {true:.2f}, on false ones {false:.2f}".format(**row["checker"])
        followed = f"foreign paths followed {row['followed']:.2f}"
        return f"exact match by hops: {', '.join(told)}; {followed}; {checked}{asked}"

    def table(self, rows: Sequence[dict[str, Any]]) -> ReportTable | None:  # type: ignore[override]
        """Exact match by hops at the end, behind each kind of hint."""
        last = rows[-1] if rows else None
        if not last:
            return None
        lines = [
            (hops, str(n), *(f"{last[name][hops]:.2f}" for name in _COLUMNS)) for hops, n in last["questions"].items()
        ]
        return ReportTable("Exact match on an unmet world", ("hops", "questions", *_COLUMNS), lines)

    def _checker(self, stage: Stage, policy: str, asked: Sequence[Question], key: Key) -> dict[str, float]:
        found = self._environment.searcher.search([task.path[-1].query for task in asked], 1)
        shown = [
            replace(task, source=passages[0], path=task.path[-1:]) for task, passages in zip(asked, found, strict=True)
        ]
        wrong = [replace(task, path=(note,)) for task, note in zip(shown, _false_notes(asked), strict=True)]
        played = stage.play(_check, key, [*shown, *wrong], {"checker": policy}, 0.0)
        said = [episode.trajectories[0].reward for episode in played]
        true, false = np.mean(said[: len(shown)]), np.mean(said[len(shown) :])
        return {"true": round(float(true), 3), "false": round(1 - float(false), 3)}

    def _examiner(self, stage: Stage, iteration: int, each: int) -> dict[str, Any]:
        """What the recipe's first phase that writes, or else the usual game, lets pass, and its truth."""
        phase = next((phase for phase in self._config.phases if phase.writes), _EXAMINE)
        rng_key = ("card", "seeds")
        seeds = [
            replace(task, id=f"{hops}/{i}", hops=hops)
            for hops in range(1, HOPS + 1)
            for i, task in enumerate(
                draw_seeds(self._environment.seeds, (1,), self._config.seed, (*rng_key, hops), each)
            )
        ]
        seats = dict.fromkeys(phase.seats, self._config.agent)
        written = stage.play(make_game(phase, {}).play, ("card", iteration, "examiner"), seeds, seats, 1.0)
        return _verdicts(written, self._environment.audit)


_COLUMNS = ("alone", "sampled", "true", "half", "foreign")
_EXAMINE = Phase(
    name="card",
    game="pi_play:Examine",
    tasks="",
    steps=1,
    episodes=1,
    seats={"examiner": ""},
    options={"probes": 0},
)


async def _check(task: Question, context: Context) -> Episode:
    """The task's only note, beside the passage that it starts from."""
    seen = await check([seed_passage(task)], task.path[0].evidence, context.child("checker"), context.key)
    return Episode(context.key, task, (seen,))


def _em(episodes: Sequence[Episode]) -> dict[str, float]:
    return em_by_hops(episodes)[0]


def _others(tasks: Sequence[Question]) -> list[Question]:
    """For each question another of as many hops whose path has none of its names."""
    by_hops: dict[int, list[Question]] = defaultdict(list)
    for task in tasks:
        by_hops[task.hops].append(task)
    found = []
    for task in tasks:
        same, own = by_hops[task.hops], _names(task)
        place = same.index(task)
        apart = (one for one in same[place + 1 :] + same[:place] if not own & _names(one))
        found.append(next(apart, same[place - 1]))
    return found


def _false_notes(asked: Sequence[Question]) -> list[Step]:
    """For each question its path's last note with another's value, of the same relation where there is one."""
    notes = [task.path[-1].evidence.partition(": ") for task in asked]
    found = []
    for place, (relation, _, value) in enumerate(notes):
        others = [other for other in [*notes[place + 1 :], *notes[:place]] if other[2] != value]
        same = [other for other in others if other[0] == relation]
        false = (same or others or [(relation, "", "none.")])[0][2]
        found.append(replace(asked[place].path[-1], evidence=f"{relation}: {false}"))
    return found


def _names(task: Question) -> set[str]:
    return {step.query for step in task.path}


def _followed(episode: Episode, own: Question) -> bool:
    """Whether a rollout behind a foreign path searches for a name of that path."""
    assert isinstance(episode.task, Question)
    foreign = _names(episode.task) - _names(own)
    return any(query_of(use.call) in foreign for use in searches(episode.trajectories[0].trajectory))


def _verdicts(episodes: Sequence[Episode], audit: Audit | None) -> dict[str, Any]:
    verdicts: dict[int, Counter[str]] = defaultdict(Counter)
    gates: Counter[str] = Counter()
    for episode in episodes:
        gates[str(episode.facts.get("gate") or "passed")] += 1
        for draft in episode.written:
            if audit is not None and isinstance(draft, Question):
                verdicts[draft.hops][audit(draft)] += 1
    total = sum(verdicts.values(), Counter[str]())
    by_hops = {str(hops): _shares(found) for hops, found in sorted(verdicts.items())}
    return {"by_hops": by_hops, "all": _shares(total), "gates": dict(gates.most_common())}


def _shares(counts: Counter[str]) -> dict[str, float]:
    return {name: round(count / counts.total(), 3) for name, count in counts.most_common()}
