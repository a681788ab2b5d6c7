"""What privilege is worth while a student learns from a teacher who has it, by rollouts and readings of its own.

z is what the teacher is shown: ``true``, ``foreign`` or ``none`` (``privilege.py``). s is the student's distribution at
a token that it wrote, q[z] the teacher's there; y is the token; g[z] = log q[z](y) − log s(y), KL[z] = KL(s ‖ q[z]).
The definitions are those of docs/metrics.md; alignment follows arXiv 2609.20612, the others are piplay's own.
``_R``: one value a token that the student wrote.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from piplay.envs.search.question import Question
from piplay.methods.pi_play.conduct import illusion
from piplay.methods.pi_play.hooks import SAME_VALUE, load_reward
from piplay.methods.pi_play.privilege import Privilege, shown
from piplay.methods.pi_play.reading import Reading
from piplay.methods.pi_play.spans import SPANS, spans
from piplay.methods.pi_play.views import STUDENT, privileged_view, student_view
from piplay.protocols import make_game
from piplay.rollout.context import Context, Request
from piplay.rollout.stage import Stage
from piplay.settings import Phase
from piplay.types import Episode, Ints, Key, Owner, PolicyRef, Sample, ScoredTrajectory

SHOWN: tuple[Privilege, ...] = ("true", "foreign", "none")
CAP = 0.05
"""The cap on a token's divergence of which ``capped`` says how many tokens it would touch (arXiv 2601.18734's code)."""
TOP_K = 32
"""K where the phase's loss does not say: ``DistillLoss``'s."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Read:
    """One rollout of the student, read by the teacher behind each view."""

    group: Key
    """The question."""
    reward: float
    span_R: Array
    """Indices into ``SPANS``."""
    by_view: Mapping[str, Mapping[str, Array]]
    """By z and name of ``Reading``'s what was read (R,); at least one token."""

    def of(self, view: str, name: str) -> Array:
        """What was read behind a view."""
        return self.by_view[view][name]


def diagnose(stage: Stage, phase: Phase, teacher: str, tasks: Sequence[Question], key: Key) -> dict[str, float]:
    """The diagnostics of a phase in which the role ``student`` learns, on some of its tasks; nothing learns from them.

    The student plays each task as in the phase, and the teacher as often with each z and without any, all sampled at
    the phase's temperature and in one go. Then the teacher reads what the student wrote, behind three views. Raises
    ``InputError`` where a task lacks a path, or no other's could stand for it.
    """
    student = phase.seats["student"]
    texts = _texts(stage, tasks, key)
    played = _play(stage, phase, teacher, tasks, texts, key)
    tried = make_game(phase, {}).finalize_batch(played.pop("student"))
    row = _of_the_teacher(played)
    reads = _read(stage, student, {z: Reading(teacher, z, _top_k(phase, teacher)) for z in SHOWN}, texts, tried)
    return {f"privilege/{name}": value for name, value in (row | numbers(reads)).items()}


def _texts(stage: Stage, tasks: Sequence[Question], key: Key) -> dict[str, list[str]]:
    """By z what the teacher is told of each task; by ``bare`` what the student is told."""
    texts = {"bare": [student_view(task.question) for task in tasks]}
    for z in SHOWN:
        contexts = [stage.context((*key, "shown", i), {}, 1.0, tasks) for i in range(len(tasks))]
        texts[z] = [
            privileged_view(task.question, shown(task, z, context))
            for task, context in zip(tasks, contexts, strict=True)
        ]
    return texts


def _play(
    stage: Stage,
    phase: Phase,
    teacher: str,
    tasks: Sequence[Question],
    texts: Mapping[str, Sequence[str]],
    key: Key,
) -> dict[str, list[Episode]]:
    """The episodes of the student, and of the teacher by what it was told."""
    game, reward = make_game(phase, {}), load_reward(str(phase.options.get("reward", SAME_VALUE)))
    rollouts, modes = game.cost()["student"], ("student", *texts)

    async def as_teacher(task: Question, context: Context, text: str) -> Episode:
        system = context.system("student", STUDENT)
        tries = await context.gather(
            context.child("teacher", i).converse("teacher", system, text) for i in range(rollouts)
        )
        scored = [ScoredTrajectory(one, context.key, reward(one.answer, task.answers)) for one in tries]
        return Episode(context.key, task, tuple(scored))

    def play(task: Question, context: Context) -> Coroutine[Request, Any, Episode]:
        mode, place = divmod(int(context.key[-1]), len(tasks))
        name = modes[mode]
        if name == "student":
            return game.play(task, context)
        return as_teacher(task, context, texts[name][place])

    seats = {**phase.seats, "teacher": teacher}
    episodes = stage.play(play, (*key, "play"), [*tasks] * len(modes), seats, phase.temperature)
    return {name: episodes[i * len(tasks) : (i + 1) * len(tasks)] for i, name in enumerate(modes)}


def _of_the_teacher(played: Mapping[str, Sequence[Episode]]) -> dict[str, float]:
    """``utility/z``: the reward of the teacher's rollouts with z minus without it; ``illusion``: of those with true."""
    rewards = {
        name: float(
            np.mean([one.reward for e in episodes for one in e.trajectories if not one.trajectory.tool_failed] or [0.0])
        )
        for name, episodes in played.items()
    }
    named = [
        illusion(episode.task, one.trajectory)
        for episode in played["true"]
        for one in episode.trajectories
        if isinstance(episode.task, Question) and not one.trajectory.tool_failed
    ]
    row = {f"utility/{z}": rewards[z] - rewards["bare"] for z in SHOWN}
    return row | ({"illusion": float(np.mean(named))} if named else {})


def _read(
    stage: Stage,
    student: str,
    readings: Mapping[str, Reading],
    texts: Mapping[str, Sequence[str]],
    tried: Sequence[Episode],
) -> list[Read]:
    """The student's rollouts as the teacher reads them behind each view; without those in which nothing was written."""
    system = stage.prompts.get("student", STUDENT)
    samples, kept = [], []
    for place, episode in enumerate(tried):
        views = {z: stage.chat.prompt(system, texts[z][place]) for z in readings}
        for one in episode.trajectories:
            if not one.trajectory.tool_failed and (one.trajectory.owner_T == Owner.MODEL).any():
                samples.append(_sample(one, views))
                kept.append(one)
    found = stage.engine.read(PolicyRef(student), samples, readings)
    reads = []
    for one, read in zip(kept, found, strict=True):
        written_T = one.trajectory.owner_T == Owner.MODEL
        by_view = {
            z: {name: read[f"{z}/{name}"][written_T].astype(np.float64) for name in reading.metrics}
            for z, reading in readings.items()
        }
        reads.append(Read(one.group, one.reward, spans(stage.chat, one.trajectory), by_view))
    return reads


def numbers(reads: Sequence[Read]) -> dict[str, float]:
    """What the readings of a batch of rollouts amount to; a number is left out where nothing defines it."""
    if not reads:
        return {}
    row = {f"divergence/{z}": _over_rollouts([read.of(z, "kl") for read in reads]) for z in SHOWN}
    row["contrast"] = _over_rollouts([read.of("true", "g") - read.of("foreign", "g") for read in reads])
    kl_R, foreign_R = _joined(reads, "true", "kl"), _joined(reads, "foreign", "kl")
    if kl_R.sum() > 0:
        row["context_only"] = float(np.minimum(kl_R, foreign_R).sum() / kl_R.sum())
        row["tail"] = float(_joined(reads, "true", "tail").sum() / kl_R.sum())
    row |= {name: float(_joined(reads, "true", name).mean()) for name in ("student_mass", "teacher_mass", "overlap")}
    g_R, span_R = _joined(reads, "true", "g"), np.concatenate([read.span_R for read in reads])
    row["overtaken"] = float((g_R < 0).mean())
    row["capped"] = float((kl_R > CAP).mean())
    for number, span in enumerate(SPANS):
        if (span_R == number).any():
            row[f"kl/{span}"] = float(kl_R[span_R == number].mean())
            row[f"g/{span}"] = float(g_R[span_R == number].mean())
    return row | _alignment(reads)


def _alignment(reads: Sequence[Read]) -> dict[str, float]:
    """Whether the teacher prefers right rollouts, over the questions that have both right and wrong ones.

    Right are those with a reward above their question's mean. ``alignment`` is the mean over questions of ḡ of the
    right minus ḡ of the wrong, ḡ the mean of g[true] over a rollout; ``auroc`` the mean over questions of the chance
    that a right one has the larger ḡ; ``conflict`` the share of tokens, of those with g ≠ 0, where g and the advantage
    have different signs.
    """
    groups: dict[Key, list[Read]] = defaultdict(list)
    for read in reads:
        groups[read.group].append(read)
    differences, ranks, against = [], [], []
    for group in groups.values():
        advantages = np.array([read.reward for read in group]) - np.mean([read.reward for read in group])
        preferred = np.array([read.of("true", "g").mean() for read in group])
        right, wrong = preferred[advantages > 0], preferred[advantages < 0]
        if not len(right) or not len(wrong):
            continue
        differences.append(right.mean() - wrong.mean())
        gaps = right[:, None] - wrong[None]
        ranks.append(((gaps > 0) + 0.5 * (gaps == 0)).mean())
        for read, advantage in zip(group, advantages, strict=True):
            if advantage:
                g_R = read.of("true", "g")
                against.append(np.sign(g_R[g_R != 0]) != np.sign(advantage))
    if not differences:
        return {}
    found = {"alignment": float(np.mean(differences)), "auroc": float(np.mean(ranks))}
    signs = np.concatenate(against)
    return found | ({"conflict": float(signs.mean())} if len(signs) else {})


def _sample(one: ScoredTrajectory, views: Mapping[str, Ints]) -> Sample:
    trajectory = one.trajectory
    return Sample(
        trajectory.key,
        trajectory.role,
        trajectory.policy,
        one.group,
        trajectory.ids_T,
        trajectory.owner_T,
        trajectory.logprobs_T,
        one.reward,
        {},
        trajectory.prompt_len,
        views,
    )


def _top_k(phase: Phase, teacher: str) -> int:
    """K of the phase's loss that asks the teacher."""
    asking = [loss for learn in phase.learn.values() for loss in learn.losses.values() if loss.policy == teacher]
    return next((int(loss.options["top_k"]) for loss in asking if "top_k" in loss.options), TOP_K)


def _joined(reads: Sequence[Read], view: str, name: str) -> Array:
    return np.concatenate([read.of(view, name) for read in reads])


def _over_rollouts(values: Sequence[Array]) -> float:
    """The mean over rollouts of the mean over a rollout's tokens."""
    return float(np.mean([value_R.mean() for value_R in values]))
