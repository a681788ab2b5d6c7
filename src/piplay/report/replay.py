"""What is played once more when a run is complete: every iteration's agent on every written set, and examples.

Nothing here changes a weight, and everything is greedy. ``_T``: one value a token of a trajectory; ``_R``: one row a
token that the model wrote; ``_V``: the vocabulary; ``_K``: the likeliest tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from piplay.algo.losses.base import Scoring
from piplay.chat.base import Chat
from piplay.chat.pieces import pieces, text_of
from piplay.config import Config
from piplay.engine.local.attention import load_model
from piplay.envs.search.question import Question
from piplay.methods.pi_play.evaluation import play_student
from piplay.methods.pi_play.privilege import Privilege, as_privilege
from piplay.protocols import Environment
from piplay.report.read import question_sets
from piplay.rollout.stage import Stage
from piplay.training.assemble import load_engine, playing
from piplay.training.learner import make_losses
from piplay.training.run_directory import Run
from piplay.types import Ints, Owner, ScoredTrajectory

CANDIDATES = 6
"""Questions of each hop count that examples are chosen from."""
FEWEST, MOST = 6, 10
"""Examples that are shown, where there are as many."""
TOP = 3
"""Likeliest tokens of each model that are noted at each place."""
VIEWS = ("", "privileged")
"""What a teacher may read before a student's response: the same as the student, or the path too."""

Scores = list[dict[str, Any]]
"""For each token that the model wrote: ``kl`` in nats, ``agree`` (whether the teacher too would have written it), and
under ``student`` and ``teacher`` their likeliest tokens with probabilities."""


def play_grid(run: Run, environment: Environment, chat: Chat) -> dict[str, Any]:
    """Exact match of the agent before training and after each iteration on the first questions of each written set."""
    sets = {name: questions[: run.config.report.grid] for name, questions in question_sets(run).items()}
    questions = [question for chosen in sets.values() for question in chosen]
    students = [m for m in range(run.config.iterations + 1) if run.snapshot(m).is_dir()]
    right = {
        m: iter([played.reward for played in _play(run.snapshot(m), run.config, environment, chat, questions)])
        for m in students
    }
    rows = [
        {
            "name": name,
            "tasks": len(chosen),
            "rates": [sum(next(right[m]) for _ in chosen) / len(chosen) for m in students],
        }
        for name, chosen in sets.items()
    ]
    return {"students": students, "sets": rows}


def play_examples(run: Run, environment: Environment, chat: Chat) -> dict[str, Any]:
    """Questions of the last written set as the agent plays them before and after training, scored by its teacher."""
    config = run.config
    device, dtype = torch.device(config.engine.device), getattr(torch, config.engine.dtype)
    name, last = list(question_sets(run).items())[-1]
    questions = [q for hops in sorted({q.hops for q in last}) for q in [q for q in last if q.hops == hops][:CANDIDATES]]
    teacher = teacher_of(config)
    privilege = shown_by(config) if teacher and teacher.view else "none"

    def told(folder: Path, questions: Sequence[Question]) -> list[tuple[ScoredTrajectory, Scores]]:
        # One after the other, so that no more than two models are there at a time.
        played = _play(folder, config, environment, chat, questions, privilege)
        if teacher is None:
            return [(one, []) for one in played]
        mine, other = (load_model(path, device, dtype) for path in (folder, run.final(teacher.policy)))
        return [(one, score(chat, mine, other, one, teacher.view)) for one in played]

    after = told(run.final(config.agent), questions)
    solved, kl = [one.reward > 0 for one, _ in after], [_mean_kl(scores) or 0.0 for _, scores in after]
    shown = choose([question.hops for question in questions], solved, kl)
    rollouts = {"after": [after[i] for i in shown]}
    if run.snapshot(0).is_dir():
        rollouts = {"before": told(run.snapshot(0), [questions[i] for i in shown])} | rollouts
    return {
        "set": name,
        "student": config.agent,
        "teacher": teacher.policy if teacher else None,
        "view": teacher.view if teacher else "",
        "examples": [
            _example(questions[i], environment)
            | {"rollouts": {when: _rollout(chat, *found[n]) for when, found in rollouts.items()}}
            for n, i in enumerate(shown)
        ],
    }


def _example(question: Question, environment: Environment) -> dict[str, Any]:
    return {
        "hops": question.hops,
        "question": question.question,
        "answers": list(question.answers),
        "verdict": environment.audit(question) if environment.audit else None,
        "path": [{"query": step.query, "evidence": step.evidence} for step in question.path],
    }


def choose(hops: Sequence[int], solved: Sequence[bool], kl: Sequence[float]) -> list[int]:
    """Which candidates are shown, in order of their hops.

    Of each hop count the first that is solved and the first that is not, and the one that the teacher corrects most;
    then the next of each hop count, until there are enough.
    """
    firsts = {(h, right): i for i, (h, right) in reversed(list(enumerate(zip(hops, solved, strict=True))))}
    rank = [list(hops[:i]).count(h) for i, h in enumerate(hops)]
    most = sorted(range(len(hops)), key=lambda i: -kl[i])[:1]
    chosen = list(dict.fromkeys(most + sorted(firsts.values())))[:MOST]
    others = sorted((i for i in range(len(hops)) if i not in chosen), key=lambda i: (rank[i], -hops[i]))
    return sorted(chosen + others[: max(FEWEST - len(chosen), 0)], key=lambda i: (hops[i], i))


def teacher_of(config: Config) -> Scoring | None:
    """The policy that a loss of the agent asks for a distance, and what it reads; None where no loss does.

    Students are played with their own view and with the privileged one: what reads another is no teacher here.
    """
    for phase in config.phases:
        for role, learn in phase.learn.items():
            if phase.seats[role] != config.agent:
                continue
            for loss, _ in make_losses(learn).values():
                for scoring in loss.scorings:
                    if "distill_kl" in loss.metrics and scoring.view in VIEWS:
                        return scoring
    return None


def shown_by(config: Config) -> Privilege:
    """What the phase in which the agent learns shows its teacher."""
    phases = [phase for phase in config.phases if config.agent in (phase.seats[role] for role in phase.learn)]
    found: Privilege = as_privilege(phases[-1].options.get("privilege", "true"))
    return found


@torch.no_grad()
def score(chat: Chat, student: Any, teacher: Any, played: ScoredTrajectory, view: str) -> Scores:
    """KL(student ‖ teacher) over the whole vocabulary and both models' likeliest tokens, at each token of the model.

    The teacher reads the same response behind a view, as in formula 4 of docs/method.md; ``view``: empty for what the
    student reads.
    """
    ids_T, start = played.trajectory.ids_T, played.trajectory.prompt_len
    prompt = played.views[view] if view else ids_T[:start]
    places_R = np.flatnonzero(played.trajectory.owner_T == Owner.MODEL)
    logp_R_V = _logprobs(student, ids_T, places_R)
    logq_R_V = _logprobs(teacher, np.concatenate([prompt, ids_T[start:]]), places_R + len(prompt) - start)
    kl_R = (logp_R_V.exp() * (logp_R_V - logq_R_V)).sum(-1).tolist()
    agree_R = (logq_R_V.argmax(-1).cpu().numpy() == ids_T[places_R]).tolist()
    return [
        {"kl": round(kl, 4), "agree": agree, "student": mine, "teacher": other}
        for kl, agree, mine, other in zip(
            kl_R, agree_R, _likeliest(chat, logp_R_V), _likeliest(chat, logq_R_V), strict=True
        )
    ]


def _play(
    folder: Path,
    config: Config,
    environment: Environment,
    chat: Chat,
    questions: Sequence[Question],
    privilege: Privilege = "none",
) -> list[ScoredTrajectory]:
    """One greedy rollout a question by the model in a folder; with the view of a teacher who is shown ``privilege``."""
    engine = load_engine(playing(config, folder))
    stage = Stage.of(config, engine, chat, {tool.spec.name: tool for tool in environment.tools})
    played = play_student(stage, config.agent, questions, ("report",), privilege=privilege)
    return [episode.trajectories[0] for episode in played]


def _rollout(chat: Chat, played: ScoredTrajectory, scores: Scores) -> dict[str, Any]:
    """A rollout in parts, one a stretch of one owner; the model's token by token."""
    trajectory = played.trajectory
    parts: list[dict[str, Any]] = []
    rows = iter(scores)
    for owner, places in groupby(range(len(trajectory.ids_T)), key=lambda t: Owner(int(trajectory.owner_T[t]))):
        ids = trajectory.ids_T[list(places)].tolist()
        part: dict[str, Any] = {"owner": owner.name.lower()}
        if owner is Owner.MODEL:
            part["tokens"] = [{"text": text} | next(rows, {}) for text in pieces(chat, ids)]
        else:
            part |= {"text": text_of(chat, ids), "count": len(ids)}
        parts.append(part)
    return {
        "answer": trajectory.answer,
        "correct": played.reward > 0,
        "stop": str(trajectory.stop),
        "kl": _mean_kl(scores),
        "parts": parts,
    }


def _mean_kl(scores: Scores) -> float | None:
    return round(sum(row["kl"] for row in scores) / len(scores), 4) if scores else None


def _logprobs(model: Any, ids_T: Ints, places_R: Ints) -> Tensor:
    """Log-probabilities (R, V) of what may stand at some places."""
    ids_1_T, before_R = (torch.from_numpy(array).to(model.device) for array in (ids_T[None], places_R - 1))
    logits_R_V = model(input_ids=ids_1_T, use_cache=False, logits_to_keep=before_R).logits[0]
    return torch.log_softmax(logits_R_V.float(), dim=-1)


def _likeliest(chat: Chat, logp_R_V: Tensor) -> list[list[tuple[str, float]]]:
    logp_R_K, ids_R_K = logp_R_V.topk(min(TOP, logp_R_V.shape[-1]), dim=-1)
    return [
        [(text_of(chat, [token]), round(p, 3)) for token, p in zip(ids, ps, strict=True)]
        for ids, ps in zip(ids_R_K.tolist(), logp_R_K.exp().tolist(), strict=True)
    ]
