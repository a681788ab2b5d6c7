"""What is searched and what is asked: passages, questions, and the paths by which questions were made."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

from piplay.envs.search.words import beginning
from piplay.errors import InputError
from piplay.types import Json, Task

_NAME = 6
"""Words of a text that stand for a missing title."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One retrievable piece of a corpus."""

    id: str
    title: str
    """Empty where it has none."""
    text: str

    @property
    def name(self) -> str:
        """What it is called: its title, or the first words of its text."""
        return self.title or beginning(self.text, _NAME)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a question construction path (QCP)."""

    query: str
    """What was searched for; for the first step, the seed passage's title."""
    passage_id: str
    """The passage that came back first; empty when nothing did."""
    evidence: str
    """What the examiner took from that passage, in its own words."""


@dataclass(frozen=True, slots=True)
class Question(Task):
    """A question and its answers. What an examiner starts from is one too, without a question yet."""

    kind: ClassVar[str] = "question"
    hops: int = 0
    """Passages that it takes to answer; 0 where that is not known."""
    question: str = ""
    answers: tuple[str, ...] = ()
    """The gold answer first, then its aliases."""
    source: Passage | None = None
    """The seed passage: kept on every written question, so that a wrong answer can be traced."""
    path: tuple[Step, ...] = ()
    """The QCP, first hop first."""
    published: bool = False
    """Of a published benchmark: its answers are compared by SQuAD's rule (``match.py``), those of others as values."""

    def row(self) -> dict[str, Json]:
        """See ``Task.row``."""
        return {"hops": self.hops, "question": self.question, "answers": list(self.answers)}


def check_asks(name: str, columns: Collection[str]) -> None:
    """Raises ``InputError`` where a run, whose rollouts have these columns, played no questions: it cannot be asked."""
    if columns and "question" not in columns:
        raise InputError(f"the run {name} plays a game without questions: only what learns to answer them can be asked")


def show(passages: Sequence[Passage]) -> str:
    """Search results as a role reads them."""
    if not passages:
        return "Nothing found."
    if len(passages) == 1:
        return _said(passages[0])
    return " ".join(f"({i}) {_said(passage)}" for i, passage in enumerate(passages, 1))


def _said(passage: Passage) -> str:
    return f"{passage.title}: {passage.text}" if passage.title else passage.text


def contents(passage: Passage) -> str:
    """A passage as FlashRAG's and Search-R1's corpora have it: the title in quotes, in a line of its own."""
    return f'"{passage.title}"\n{passage.text}'
