"""What is played once more when a run is complete: every iteration's student on every iteration's tasks, and examples.

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

from piplay.chat.base import Chat
from piplay.config import Config
from piplay.engine.local.attention import load_model
from piplay.methods.pi_play.play import alone
from piplay.rollout.stage import Stage
from piplay.training.assemble import load_engine, playing
from piplay.training.loop import Ground
from piplay.training.run_directory import Run
from piplay.types import Ints, Owner, Seat, Task

CANDIDATES = 6
"""Tasks of each hop count that examples are chosen from."""
FEWEST, MOST = 6, 10
"""Examples that are shown, where there are as many."""
TOP = 3
"""Likeliest tokens of each model that are noted at each place."""

Scores = list[dict[str, Any]]
"""For each token that the model wrote: ``kl`` in nats, ``agree`` (whether the teacher too would have written it), and
under ``student`` and ``teacher`` their likeliest tokens with probabilities."""


def play_grid(run: Run, ground: Ground, chat: Chat) -> dict[str, Any]:
    """Exact match of the student before training and after each iteration on the first tasks of each written set."""
    sets = {name: tasks[: run.config.evaluation.grid] for name, tasks in run.task_sets().items()}
    tasks = [task for chosen in sets.values() for task in chosen]
    students = [m for m in range(run.config.iterations + 1) if run.kept(m).is_dir()]
    right = {m: iter([seat.reward for seat in _play(run.kept(m), run.config, ground, chat, tasks)]) for m in students}
    rows = [
        {
            "name": name,
            "tasks": len(chosen),
            "rates": [sum(next(right[m]) for _ in chosen) / len(chosen) for m in students],
        }
        for name, chosen in sets.items()
    ]
    return {"students": students, "sets": rows}


def play_examples(run: Run, ground: Ground, chat: Chat) -> dict[str, Any]:
    """Tasks of the last written set as the student plays them before and after training, scored by the last teacher."""
    config = run.config
    device, dtype = torch.device(config.engine.device), getattr(torch, config.engine.dtype)
    name, last = list(run.task_sets().items())[-1]
    tasks = [t for hops in sorted({t.hops for t in last}) for t in [t for t in last if t.hops == hops][:CANDIDATES]]
    taught_by = teacher_of(config)

    def told(folder: Path, tasks: Sequence[Task]) -> list[tuple[Seat, Scores]]:
        # One after the other, so that no more than two models are there at a time.
        seats = _play(folder, config, ground, chat, tasks)
        if taught_by is None:
            return [(seat, []) for seat in seats]
        student, teacher = (load_model(path, device, dtype) for path in (folder, run.final(taught_by)))
        return [(seat, score(chat, student, teacher, seat)) for seat in seats]

    after = told(run.final(config.evaluation.policy), tasks)
    solved, kl = [seat.reward > 0 for seat, _ in after], [_mean_kl(scores) or 0.0 for _, scores in after]
    shown = choose([task.hops for task in tasks], solved, kl)
    rollouts = {"after": [after[i] for i in shown]}
    if run.kept(0).is_dir():
        rollouts = {"before": told(run.kept(0), [tasks[i] for i in shown])} | rollouts
    return {
        "set": name,
        "student": config.evaluation.policy,
        "teacher": taught_by,
        "examples": [
            {
                "hops": tasks[i].hops,
                "question": tasks[i].question,
                "answers": list(tasks[i].answers),
                "verdict": ground.audit(tasks[i]) if ground.audit else None,
                "path": [{"query": step.query, "evidence": step.evidence} for step in tasks[i].path],
                "rollouts": {when: _rollout(chat, *found[n]) for when, found in rollouts.items()},
            }
            for n, i in enumerate(shown)
        ],
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


def teacher_of(config: Config) -> str | None:
    """The policy that scores the measured policy's tokens in some phase."""
    for phase in config.phases:
        for role, learn in phase.learn.items():
            if learn.teacher and phase.seats[role] == config.evaluation.policy:
                return phase.seats[learn.teacher]
    return None


@torch.no_grad()
def score(chat: Chat, student: Any, teacher: Any, seat: Seat) -> Scores:
    """KL(student ‖ teacher) over the whole vocabulary and both models' likeliest tokens, at each token of the model.

    The teacher reads the same response behind its own prompt, as in formula 4 of docs/method.md.
    """
    ids_T, start = seat.trajectory.ids_T, seat.trajectory.prompt_len
    prefix = ids_T[:start] if seat.teacher_prefix is None else seat.teacher_prefix
    places_R = np.flatnonzero(seat.trajectory.owner_T == Owner.MODEL)
    logp_R_V = _logprobs(student, ids_T, places_R)
    logq_R_V = _logprobs(teacher, np.concatenate([prefix, ids_T[start:]]), places_R + len(prefix) - start)
    kl_R = (logp_R_V.exp() * (logp_R_V - logq_R_V)).sum(-1).tolist()
    agree_R = (logq_R_V.argmax(-1).cpu().numpy() == ids_T[places_R]).tolist()
    return [
        {"kl": round(kl, 4), "agree": agree, "student": mine, "teacher": other}
        for kl, agree, mine, other in zip(
            kl_R, agree_R, _likeliest(chat, logp_R_V), _likeliest(chat, logq_R_V), strict=True
        )
    ]


def pieces(chat: Chat, ids: Sequence[int]) -> list[str]:
    """The text that each token adds; together they are the whole text.

    A token that ends within a character adds nothing; the one that completes the character adds it.
    """
    found, told = [], ""
    for end in range(1, len(ids) + 1):
        text = _text(chat, ids[:end])
        whole = end == len(ids) or not text.endswith("\ufffd")
        found.append(text[len(told) :] if whole else "")
        told = text if whole else told
    return found


def _play(folder: Path, config: Config, ground: Ground, chat: Chat, tasks: Sequence[Task]) -> list[Seat]:
    """One greedy rollout a task by the model in a folder."""
    engine = load_engine(playing(config, folder), chat)
    stage = Stage(engine, chat, ground.searcher, config.limits, config.search.top_k, config.prompts)
    return [episode.seats[0] for episode in alone(stage, "student", tasks, ("report",))]


def _rollout(chat: Chat, seat: Seat, scores: Scores) -> dict[str, Any]:
    """A rollout in parts, one a stretch of one owner; the model's token by token."""
    story = seat.trajectory
    parts: list[dict[str, Any]] = []
    rows = iter(scores)
    for owner, places in groupby(range(len(story.ids_T)), key=lambda t: Owner(int(story.owner_T[t]))):
        ids = story.ids_T[list(places)].tolist()
        part: dict[str, Any] = {"owner": owner.name.lower()}
        if owner is Owner.MODEL:
            part["tokens"] = [{"text": text} | next(rows, {}) for text in pieces(chat, ids)]
        else:
            part |= {"text": _text(chat, ids), "count": len(ids)}
        parts.append(part)
    return {
        "answer": story.answer,
        "correct": seat.reward > 0,
        "stop": str(story.stop),
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
        [(_text(chat, [token]), round(p, 3)) for token, p in zip(ids, ps, strict=True)]
        for ids, ps in zip(ids_R_K.tolist(), logp_R_K.exp().tolist(), strict=True)
    ]


def _text(chat: Chat, ids: Sequence[int]) -> str:
    return str(chat.tokenizer.decode(list(ids), skip_special_tokens=False))
