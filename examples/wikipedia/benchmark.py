"""FanOutQA (arXiv 2402.14116) over a corpus of titled passages, as rows in the layout of FlashRAG.

Each of its questions is taken apart, to any depth, into questions about one article: a leaf has a question, an answer
and the title of the article that is its evidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from piplay.envs.search.match import contains

SHORT = 5
"""Words of an answer that counts as short."""

Row = dict[str, Any]
Leaf = Mapping[str, Any]
"""A question, whole or a part, as FanOutQA has it."""


def leaves(question: Leaf) -> Iterator[Leaf]:
    """The questions about one article that a question is taken apart into; itself where it is about one."""
    parts = question.get("decomposition") or []
    for part in parts:
        yield from leaves(part)
    if not parts:
        yield question


def retrieval(questions: Sequence[Leaf], texts: Mapping[str, str]) -> list[Row]:
    """Every question about one article that is in the corpus, with all answers that it has there."""
    return [_row(same[0], [title], same) for (_, title), same in _known(questions, texts).items()]


def facts(questions: Sequence[Leaf], texts: Mapping[str, str]) -> list[Row]:
    """Those of them with an answer that is one short text or number and stands, word for word, in the article."""
    rows = []
    for (_, title), same in _known(questions, texts).items():
        stated = [leaf for leaf in same if _stated(leaf["answer"], texts[title])]
        if stated:
            rows.append(_row(stated[0], [title], stated))
    return rows


def whole(questions: Sequence[Leaf], texts: Mapping[str, str]) -> list[Row]:
    """The whole questions that take only articles of the corpus."""
    needed = [(question, list(dict.fromkeys(map(_title, leaves(question))))) for question in questions]
    return [
        _row(question, titles, [question]) for question, titles in needed if all(title in texts for title in titles)
    ]


def _known(questions: Sequence[Leaf], texts: Mapping[str, str]) -> dict[tuple[str, str], list[Leaf]]:
    """The leaves whose article is in the corpus, by question and title: several questions may need the same."""
    found: dict[tuple[str, str], list[Leaf]] = {}
    for leaf in (leaf for question in questions for leaf in leaves(question)):
        if _title(leaf) in texts:
            found.setdefault((leaf["question"], _title(leaf)), []).append(leaf)
    return found


def _title(leaf: Leaf) -> str:
    return str((leaf.get("evidence") or {}).get("title", ""))


def _stated(answer: Any, text: str) -> bool:
    one = isinstance(answer, str | int | float) and not isinstance(answer, bool)
    return one and len(str(answer).split()) <= SHORT and contains(text, str(answer))


def _row(question: Leaf, titles: Sequence[str], same: Sequence[Leaf]) -> Row:
    """A question in FlashRAG's layout: ``hops`` articles are needed for it, ``answer`` is as FanOutQA has it."""
    golds = list(dict.fromkeys(spelt(leaf["answer"]) for leaf in same))
    about = {"hops": len(titles), "titles": list(titles), "answer": same[0]["answer"]}
    return {"id": question["id"], "question": question["question"], "golden_answers": golds, "metadata": about}


def spelt(answer: Any) -> str:
    """An answer as one text: a list with commas, a table as "name: value" with semicolons, truth as yes and no."""
    if isinstance(answer, bool):
        return "yes" if answer else "no"
    if isinstance(answer, Mapping):
        return "; ".join(f"{name}: {spelt(value)}" for name, value in answer.items())
    if isinstance(answer, list):
        return ", ".join(spelt(part) for part in answer)
    return str(answer)
