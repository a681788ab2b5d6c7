"""What each role reads: its system prompt, and its view of an episode."""

from __future__ import annotations

from collections.abc import Sequence

from piplay.envs.search.question import Passage, Step, show

STUDENT = "Answer the question: search for one fact at a time."
EXAMINER = "Write a question: start from the passage and search for each further hop."
CHECKER = "Say whether the note is what the passage says: yes or no."
READER = "Answer the question from the passages."


def examiner_view(passage: Passage, hops: int) -> str:
    """What the examiner sees: how many hops, and the seed passage."""
    return f"Hops: {hops}. Passage: {show([passage])}"


def checker_view(passages: Sequence[Passage], note: str) -> str:
    """What the checker sees: one step of a path, the passages found and what the examiner noted of them."""
    return f"Passage: {show(passages)} Note: {note}"


def reader_view(passages: Sequence[Passage], question: str) -> str:
    """What the reader sees: the passages that a question was made from, and the question, but no path and no answer."""
    return f"Passages: {show(passages)} Question: {question}"


def student_view(question: str) -> str:
    """What the student sees."""
    return question


def path_text(path: Sequence[Step]) -> str:
    """A path as it is shown: each step's query and what was noted of what it found."""
    return " ".join(f"{step.query} > {step.evidence}" for step in path)


def privileged_view(question: str, shown: str) -> str:
    """The student's view, and in a slot behind it what only the teacher is shown; the slot may be empty."""
    return f"{student_view(question)} Path: {shown}" if shown else f"{student_view(question)} Path:"


def teacher_view(question: str, path: Sequence[Step]) -> str:
    """What the teacher sees: the student's view and the path; with an empty path exactly the student's view."""
    return privileged_view(question, path_text(path)) if path else student_view(question)
