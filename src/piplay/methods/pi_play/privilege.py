"""What a teacher is shown beside the question: the path by which it was made, or something else in the path's place.

The others are controls. All of them stand in the same slot of the same prompt, so that nothing but its content differs
(arXiv 2609.20612 has such controls for another method; the paper has half the path and the answer).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal
from weakref import WeakKeyDictionary

from pydantic import BeforeValidator

from piplay.chat.base import Chat
from piplay.envs.search.question import Question
from piplay.envs.search.values import mentions
from piplay.errors import InputError
from piplay.methods.pi_play.views import path_text, privileged_view
from piplay.rollout.context import Context
from piplay.types import Ints


def as_privilege(value: Any) -> Any:
    """A privilege as a recipe or the command line gives it, where the word ``true`` is read as a boolean."""
    return "true" if value is True else value


Privilege = Annotated[Literal["true", "half", "answer", "evidence", "foreign", "none"], BeforeValidator(as_privilege)]
"""What stands in the slot.

- ``true``: the question's own path.
- ``half``: half of its steps, ⌈n/2⌉ of n, drawn at random and in their order.
- ``answer``: the gold answer alone.
- ``evidence``: what was noted of each step's passage, without the queries.
- ``foreign``: another question's path, see ``foreign``.
- ``none``: nothing; the words around the slot stay.
"""
LIKE = 0.1
"""A foreign path is of like length if it has at most such a share of tokens more or less."""
_LENGTHS: WeakKeyDictionary[Chat, dict[str, int]] = WeakKeyDictionary()
"""Tokens of paths, as long as their chat lives: every task of a step asks for those of all."""


def privileged_prompt(task: Question, privilege: Privilege, system: str, context: Context) -> Ints:
    """The teacher's prompt. Raises ``InputError`` where the task lacks what it shows."""
    return context.chat.prompt(system, privileged_view(task.question, shown(task, privilege, context)))


def shown(task: Question, privilege: Privilege, context: Context) -> str:
    """What stands in the slot; what is random is drawn under the context's key.

    Raises ``InputError`` where the task has no path, or no answer, and one is needed; or where no other question of the
    batch has a path that could stand for it.
    """
    if privilege == "none":
        return ""
    if privilege == "answer":
        if not task.answers:
            raise InputError(f"the task {task.id} has no answer to show a teacher: set options.privilege to another")
        return task.answers[0]
    if not task.path:
        raise InputError(
            f"the task {task.id} has no path, and the privilege {privilege!r} shows one: take tasks that keep theirs, "
            'or set options.privilege to "none"'
        )
    if privilege == "foreign":
        return path_text(foreign(task, context).path)
    if privilege == "evidence":
        return " ".join(step.evidence for step in task.path)
    steps = len(task.path)
    if privilege == "half":
        kept = context.rng("half").permutation(steps)[: -(-steps // 2)]
        return path_text([task.path[i] for i in sorted(kept)])
    return path_text(task.path)


def foreign(task: Question, context: Context) -> Question:
    """The question of the batch whose path is shown for the task's: drawn among those whose paths are of like length.

    It shares no step with the task's path and does not name an answer of the task; only where no path of the batch is
    so, any other path. Of like length are those within ``LIKE`` of the task's in tokens; where there are none, those
    whose length is nearest.
    """
    others = [other for other in context.batch if isinstance(other, Question) and other.path not in ((), task.path)]
    if not others:
        raise InputError(
            f'options.privilege = "foreign" finds no other question\'s path for the task {task.id} among the '
            f"{len(context.batch)} that are played at once: play more of them (the phase's episodes)"
        )
    others = [other for other in others if not _tells(other, task)] or others
    length = _tokens(context.chat, path_text(task.path))
    gaps = [abs(_tokens(context.chat, path_text(other.path)) - length) for other in others]
    most = max(LIKE * length, min(gaps))
    alike = [other for other, gap in zip(others, gaps, strict=True) if gap <= most]
    return alike[int(context.rng("foreign").integers(len(alike)))]


def _tells(other: Question, task: Question) -> bool:
    """Whether another question's path has a step of the task's, or names an answer of it."""
    return not set(task.path).isdisjoint(other.path) or _names(path_text(other.path), task.answers)


@lru_cache(maxsize=2**16)
def _names(text: str, answers: Sequence[str]) -> bool:
    return any(mentions(text, answer) for answer in answers)


def _tokens(chat: Chat, text: str) -> int:
    known = _LENGTHS.setdefault(chat, {})
    if text not in known:
        known[text] = len(chat.encode(text))
    return known[text]
