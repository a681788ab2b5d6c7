"""π-Play's evaluation: exact match by hops of the student alone and of the teacher with the path.

Where the environment knows questions with answers, they are played. With a corpus of one's own there are none: then,
before any training, the base examiner writes a self-generated evaluation set from passages that self-play never starts
from. It is frozen and never trained on. Its answers are the examiner's own and no one has checked them: one that is
wrong rewards agreement with the base, not truth. So it bears ``LABEL`` wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import TypeAdapter

from piplay.config import Config
from piplay.envs.search.benchmarks import first_of_each_hop, read_benchmark
from piplay.envs.search.environment import SearchEnvironment
from piplay.envs.search.question import Question
from piplay.envs.search.values import canonical
from piplay.errors import InputError
from piplay.eval.scores import records
from piplay.methods.pi_play.diagnostics import diagnose
from piplay.methods.pi_play.game import PrivilegedStudy, Study
from piplay.methods.pi_play.metrics import em_by_hops
from piplay.methods.pi_play.privilege import Privilege
from piplay.methods.pi_play.seed_passages import HOP_ODDS, SeedPassages, draw_seeds
from piplay.protocols import Environment, Evaluation, Game, Healthy, Place, Prepared, ReportTable, TaskSource, make_game
from piplay.rollout.context import Context
from piplay.rollout.stage import Stage
from piplay.types import Episode, Key, State, Task

LABEL = "self-generated, unverified"
ROUNDS = 5
"""How often as many questions are tried as are wanted."""
_QUESTIONS = TypeAdapter(tuple[Question, ...])


class PiPlayEvaluation(Evaluation):
    """Greedy exact match by hops; and how well the teacher uses paths while students learn from it."""

    healthy: ClassVar[Sequence[Healthy]] = (
        Healthy(
            metric="eval/em",
            low=0.75,
            of="base",
            advice="the student is worse than the base: lower its learning rate, and see accuracy, true and teacher/em",
        ),
        Healthy(
            metric="eval/teacher_em_by_hops/*",
            low=0.8,
            of="base",
            advice="the teacher forgets how to use a path: take a smaller tau or learning rate",
        ),
    )

    def __init__(
        self,
        environment: Environment,
        state: State,
        config: Config,
        *,
        teacher: str = "teacher",
        per_hop: int = 100,
        self_generated: int = 100,
        teacher_every: int = 10,
        teacher_tasks: int = 32,
        privilege: Privilege = "true",
        diagnose_every: int = 0,
        diagnose_tasks: int = 16,
        benchmark: Path | None = None,
    ) -> None:
        """Measure ``config.agent``. Long because each setting has its sentence here.

        Args:
            environment: has to be the search environment.
            state: the self-generated set.
            config: the run's settings.
            teacher: the policy that plays the same questions with their paths; empty for none.
            per_hop: held-out questions of each hop count; 0 turns evaluation off.
            self_generated: with a corpus, which has no held-out questions: how many the base examiner writes to
                measure by; 0: none.
            teacher_every: every so many steps of a phase that it teaches the teacher plays some of its tasks with their
                paths; 0: never.
            teacher_tasks: how many.
            privilege: what the teacher is shown when it plays, see ``privilege.py``.
            diagnose_every: every so many steps of a phase that the teacher teaches, and in its first and last, what its
                privilege is worth is measured, see ``diagnostics.py``; 0: never. It takes about five times the rollouts
                of as many tasks in a step.
            diagnose_tasks: on how many of the phase's tasks; at least 2.
            benchmark: a file of questions with gold answers, as ``piplay eval --bench`` reads them, that the student
                plays too: greedily, before training and after each iteration, never trained on.

        Raises:
            InputError: there is no such policy, the environment is another, or the benchmark cannot be read.
        """
        if not isinstance(environment, SearchEnvironment):
            raise InputError("the evaluation pi_play needs questions: take the environment search")
        if teacher and teacher not in config.policies:
            raise InputError(f"evaluation.teacher: there is no policy {teacher!r}: name one, or leave it empty")
        self._environment, self._state, self._config = environment, state, config
        self._teacher, self._wanted = teacher, self_generated if per_hop else 0
        self._every, self._tasks, self._privilege = teacher_every, teacher_tasks, privilege
        self._diagnose_every, self._diagnose_tasks = diagnose_every, max(diagnose_tasks, 2)
        self._heldout = first_of_each_hop(environment.heldout, per_hop)
        self._benchmark = read_benchmark(benchmark) if benchmark is not None else []
        self.exports = (config.agent,) if config.report.grid else ()

    @property
    def questions(self) -> Sequence[Question]:
        """What is measured by."""
        return self._heldout or self._generated

    @property
    def _generated(self) -> Sequence[Question]:
        return _QUESTIONS.validate_python(self._state.get("questions", ()))

    def prepare(self, stage: Stage) -> Prepared:
        """Where passages are reserved for it, the base examiner writes what the run will be measured by."""
        if not self.preparation():
            return Prepared()
        reserved, phases = self._environment.reserved, self._config.phases
        phase = next((phase for phase in phases if phase.writes), phases[0])
        odds = _hop_odds(self._config)
        found = write_questions(
            stage,
            make_game(phase, {}),
            phase.seats,
            lambda key: draw_seeds(reserved, odds, self._config.seed, key, self._wanted),
            self._wanted,
        )
        self._state["questions"] = _QUESTIONS.dump_python(tuple(found), mode="json")
        if not found:
            raise InputError(
                "the base examiner wrote no question for an evaluation set that passes the gates in "
                f"{self.preparation()} tries, so there is nothing to measure by and little to learn from: try a "
                f"larger model (`piplay play --role {next(iter(phase.seats))}` shows what this one writes), or go on "
                "without with --evaluation.self_generated 0"
            )
        sentence = f"an evaluation set of {len(found)} questions ({LABEL}) from {len(reserved)} passages set aside"
        return Prepared(sentence, {"self_generated": found})

    def preparation(self) -> int:
        """See ``Evaluation.preparation``."""
        return ROUNDS * self._wanted if self._environment.reserved and self._config.phases else 0

    def measure(self, stage: Stage, iteration: int) -> dict[str, Any]:
        """The student alone, also on the benchmark, and the teacher with the path; empty where there is no question.

        ``right_by_hops`` says which questions were right, a digit each, in their order: to compare runs question by
        question.
        """
        questions, key = self.questions, ("evaluate", iteration)
        row: dict[str, Any] = {}
        if self._benchmark:
            answered = records(play_student(stage, self._config.agent, self._benchmark, (*key, "benchmark")), ())
            row = {"benchmark_em": sum(record.greedy.em for record in answered) / len(answered)}
        if not questions:
            return row
        row |= {} if self._heldout else {"questions": LABEL}
        played = play_student(stage, self._config.agent, questions, key)
        row["em"] = sum(e.trajectories[0].reward for e in played) / len(played)
        row["em_by_hops"], row["n_by_hops"] = em_by_hops(played)
        row["right_by_hops"] = _right_by_hops(played)
        if self._teacher:
            shown = play_teacher(stage, self._teacher, questions, (*key, "path"), self._privilege)
            row["teacher_em_by_hops"], _ = em_by_hops(shown)
        return row

    def cost(self) -> int:
        """See ``Evaluation.cost``: each question once to the student, and once to the teacher."""
        count = len(self.questions) or (self._wanted if self._environment.reserved else 0)
        return count * (2 if self._teacher else 1) + len(self._benchmark)

    def after_step(self, stage: Stage, place: Place, sources: Mapping[str, TaskSource]) -> dict[str, float]:
        """The teacher plays some of the phase's tasks with their paths: whether it still can. And the diagnostics."""
        known = getattr(sources[place.phase.tasks], "tasks", None)
        if not known or self._teacher not in place.phase.asked:
            return {}
        row: dict[str, float] = {}
        if _due(place, self._every):
            tasks = [task for task in known if task.path or self._privilege in ("answer", "none")][: self._tasks]
            episodes = play_teacher(stage, self._teacher, tasks, (*place.key, "health"), self._privilege)
            rewards = [episode.trajectories[0].reward for episode in episodes]
            row |= {"teacher/em": sum(rewards) / len(rewards)} if rewards else {}
        if _due(place, self._diagnose_every) and "student" in place.phase.learn:
            tasks = known[: self._diagnose_tasks]
            row |= diagnose(stage, place.phase, self._teacher, tasks, (*place.key, "diagnose"))
        return row

    def reserved(self, task: Task) -> bool:
        """Whether the self-generated set asks the same."""
        generated = {canonical(question.question) for question in self._generated}
        return isinstance(task, Question) and canonical(task.question) in generated

    def sentence(self, row: Mapping[str, Any]) -> str:
        """See ``Evaluation.sentence``."""
        scores = " ".join(f"{hops}:{em:.2f}" for hops, em in row.get("em_by_hops", {}).items())
        taught = " ".join(f"{hops}:{em:.2f}" for hops, em in row.get("teacher_em_by_hops", {}).items())
        said = [f"{measured(row)} by hops {scores}"] if scores else []
        said += [f"teacher with the path {taught}"] if taught else []
        said += [f"exact match on the benchmark {row['benchmark_em']:.2f}"] if "benchmark_em" in row else []
        return "; ".join(said)

    def table(self, rows: Sequence[Mapping[str, Any]]) -> ReportTable | None:
        """Exact match by hops before and after."""
        if not rows or "em_by_hops" not in rows[0]:
            return None
        first, last = rows[0], rows[-1]
        lines = [
            (hops, str(count), f"{first['em_by_hops'][hops]:.2f}", f"{last['em_by_hops'][hops]:.2f}")
            for hops, count in first["n_by_hops"].items()
        ]
        total = sum(first["n_by_hops"].values())
        lines.append(("all", str(total), f"{first['em']:.2f}", f"{last['em']:.2f}"))
        return ReportTable(f"{titled(first)}, greedy", ("hops", "questions", "before", "after"), lines)


def play_student(
    stage: Stage,
    policy: str,
    tasks: Sequence[Question],
    key: Key,
    *,
    samples: int = 1,
    temperature: float = 0.0,
    note: Callable[[Episode], None] = lambda episode: None,
    tolerated: float = 0.0,
    privilege: Privilege = "none",
) -> list[Episode]:
    """Each question to the policy as the student, ``samples`` times; greedily at temperature 0.

    ``note`` is told each episode as it ends, in any order. ``tolerated``: see ``Stage.play``. ``privilege``: what the
    view ``privileged`` shows.
    """
    game = Study(rollouts=samples, privilege=privilege)

    async def play(task: Question, context: Context) -> Episode:
        episode = await game.play(task, context)
        note(episode)
        return episode

    return stage.play(play, key, tasks, {"student": policy}, temperature, tolerated=tolerated)


def play_teacher(
    stage: Stage, policy: str, tasks: Sequence[Question], key: Key, privilege: Privilege = "true"
) -> list[Episode]:
    """Each question once to the policy as the teacher, who is shown its path or what stands for it; greedily."""
    return stage.play(PrivilegedStudy(privilege=privilege).play, key, tasks, {"teacher": policy}, 0.0)


def write_questions(
    stage: Stage, game: Game, seats: Mapping[str, str], seeds: Callable[[Key], Sequence[Question]], wanted: int
) -> list[Question]:
    """Up to ``wanted`` questions that an examiner's game lets pass; ``seeds`` gives the tasks of a round by its key."""
    found: list[Question] = []
    for number in range(ROUNDS):
        key: Key = ("probes", number)
        episodes = game.finalize_batch(stage.play(game.play, key, seeds(key), seats, temperature=1.0))
        found += [task for episode in episodes for task in episode.written if isinstance(task, Question)]
        if len(found) >= wanted:
            break
    return found[:wanted]


def _right_by_hops(episodes: Sequence[Episode]) -> dict[str, str]:
    """By hop count a 1 for each question that is right and a 0 for each other, in their order."""
    found: dict[str, str] = {}
    for episode in episodes:
        assert isinstance(episode.task, Question)
        digit = str(int(episode.trajectories[0].reward == 1))
        found[str(episode.task.hops)] = found.get(str(episode.task.hops), "") + digit
    return found


def _due(place: Place, every: int) -> bool:
    """Whether what is done every so many steps, and in the first and the last, is done in this one; 0: never."""
    return every > 0 and (place.step == 0 or place.last or (place.step + 1) % every == 0)


def measured(row: Mapping[str, Any]) -> str:
    """What an evaluation measured: exact match on held-out questions, or else on which."""
    return f"exact match on an evaluation set ({row['questions']})" if "questions" in row else "held-out exact match"


def titled(row: Mapping[str, Any]) -> str:
    """The same at the head of a line."""
    what = measured(row)
    return what[0].upper() + what[1:]


def _hop_odds(config: Config) -> Sequence[int]:
    """Those of the run's seed passages."""
    for source in config.sources.values():
        if source.kind.endswith(f":{SeedPassages.__name__}"):
            return tuple(source.options.get("hop_odds", HOP_ODDS))
    return HOP_ODDS
