"""The search environment: passages to search and to start from, and with a world the truth of what is asked."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from piplay.envs.search.benchmarks import task_of
from piplay.envs.search.bm25 import TITLE_WEIGHT
from piplay.envs.search.corpus import files_read, read_corpus
from piplay.envs.search.question import Passage, Question, show
from piplay.envs.search.searcher import Searcher
from piplay.envs.search.stored import Changed, Chosen
from piplay.envs.search.tool import SearchTool, cut
from piplay.envs.search.words import length
from piplay.envs.world.questions import Solver
from piplay.envs.world.store import World, default_passages, default_world, read_passages, read_world
from piplay.errors import InputError, InputWarning
from piplay.protocols import Audit
from piplay.registry import make, resolve
from piplay.streams import stream

ROOM = "piplay.envs.search"
"""Where searchers are looked for before the Python path."""
SAMPLE = 500
"""Passages at most that are measured before a run."""
MIN_PASSAGES = 20
"""Below, a tenth would be one passage or none, and self-play needs them all."""


class SearchEnvironment:
    """A corpus, or a world with computable truth, behind the search tool."""

    def __init__(
        self,
        seed: int = 0,
        truth: bool = True,
        *,
        world: Path | None = None,
        corpus: Path | None = None,
        searcher: str = "bm25:BM25Searcher",
        searcher_options: Mapping[str, Any] | None = None,
        top_k: int = 1,
        passage_words: int = 50,
        title_weight: float | None = None,
        shown_words: int | None = None,
        strict: bool = False,
        reserve: float = 0.1,
        timeout: float = 60.0,
        patience: float = 300.0,
    ) -> None:
        """Read what is searched, and index it. Long because each setting has its sentence here.

        Args:
            seed: the run's; draws which passages are reserved.
            truth: whether a world's held-out questions and its verdicts are wanted too.
            world: a world folder; with neither world nor corpus the default world is made.
            corpus: text to search; the truth of its questions is unknown.
            searcher: ``module:Class`` below ``piplay.envs.search``, or of one's own; constructed with the passages, a
                sequence (of a large corpus one that reads them from disk).
            searcher_options: its constructor's options, by name.
            top_k: passages that one search returns.
            passage_words: words of a passage, where a corpus is a folder of documents that are cut into passages; two
                characters of a script without spaces count as one word.
            title_weight: what a word in a passage's title counts for one in its text (BM25F). By default 5 in a corpus;
                in a world, whose texts say their titles where they state a fact, the title is the text's first line.
            shown_words: words that one search shows at most, of all its passages together, and a prompt of a seed
                passage; by default all of them.
            strict: whether what cannot be read of a corpus is refused; by default it is skipped and counted.
            reserve: the share of a corpus's passages that self-play does not start from: questions to measure by are
                made from them.
            timeout: seconds after which a batch of searches counts as failed.
            patience: seconds that a run waits for a searcher that fails to answer again, before it ends and can be
                resumed.

        Raises:
            InputError: a setting is out of range, world and corpus are both given, or what they name cannot be read.
        """
        if world is not None and corpus is not None:
            raise InputError("the environment search has a world and a corpus: give one of them")
        _check(top_k, passage_words, shown_words, title_weight, reserve)
        _check_seconds(timeout, patience)
        make_searcher = _searcher(
            searcher, searcher_options or {}, title_weight or (None if corpus is None else TITLE_WEIGHT)
        )
        self.corpus = corpus
        self.seeds: Sequence[Passage] = ()
        """Passages that examiners start from."""
        self.reserved: Sequence[Passage] = ()
        """Passages that examiners start from for a self-generated evaluation set alone."""
        self.heldout: Sequence[Question] = ()
        """Questions with their true paths, for evaluation alone."""
        self.labelled: Sequence[Question] = ()
        """Questions with true answers that start from ``seeds``, so that none of them is held out: for methods that
        learn from labels."""
        self.audit: Audit | None = None
        passages = self._read(world, corpus, truth, passage_words, strict)
        if corpus is not None:
            self.seeds, self.reserved = reserve_passages(passages, seed, reserve)
        self.searcher = make_searcher(passages)
        self.tools = (SearchTool(self.searcher, top_k, shown_words, timeout, patience),)
        if shown_words is not None:
            self.seeds, self.reserved = (Changed(found, self._cut) for found in (self.seeds, self.reserved))
        self._passages: Sequence[Passage] = passages

    @classmethod
    def settled(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """See ``Environment``. A searcher may have ``settled()``: those of its own options that a run has to keep."""
        name, mine = options.get("searcher"), options.get("searcher_options") or {}
        if not (isinstance(name, str) and isinstance(mine, Mapping)):  # refused when it is made
            return dict(options)
        if not hasattr(resolve(name, "searcher", ROOM), "settled"):
            return dict(options)
        searcher: Any = _searcher(name, mine, None)(())
        return {**options, "searcher_options": {**mine, **searcher.settled()}}

    def _cut(self, passage: Passage) -> Passage:
        return cut([passage], self.tools[0].shown_words)[0]

    def check_fit(self, tokens: Callable[[str], int], room: int) -> None:
        """Warn of passages that a search shows at such length that no turn can follow.

        Args:
            tokens: how many a text has.
            room: those of a trajectory, one turn left out.
        """
        [tool] = self.tools
        sample = self._passages[:: -(-len(self._passages) // SAMPLE)]
        lengths = [tokens(show(cut([passage], tool.shown_words))) for passage in sample]
        most = room // tool.top_k
        share = sum(length > most for length in lengths) / len(lengths)
        if share:
            a_word = max(lengths) / length(show(cut([sample[int(np.argmax(lengths))]], tool.shown_words)))
            words = int(room / 2 / a_word)
            remedy = f"set environment.shown_words to some {words}" if words > 0 else "it is too little for any"
            warnings.warn(
                f"{share:.1%} of the passages do not fit, and end an episode that finds them: for what a search shows "
                f"({tool.top_k}) limits.tokens leaves {max(room, 0)} beside one turn: {remedy}, or raise limits.tokens",
                InputWarning,
                stacklevel=2,
            )

    def _read(
        self, world: Path | None, corpus: Path | None, truth: bool, words: int, strict: bool
    ) -> Sequence[Passage]:
        """The passages that are searched; of a world, where they are wanted, its questions and its truth too."""
        if corpus is not None:
            return read_corpus(corpus, words, strict)
        if not truth:
            return read_passages(world) if world is not None else default_passages()
        made = read_world(world) if world is not None else default_world()
        self._know(made)
        return made.passages

    def _know(self, world: World) -> None:
        """Take a world's questions and its truth."""
        solver = Solver(world.records)
        self.seeds = Chosen(
            world.passages, [i for i, name in enumerate(world.records.by_name) if name in world.train_ids]
        )
        self.heldout = [task_of(question) for question in world.heldout]
        self.labelled = [task_of(question) for question in world.train]
        self.audit = lambda task: str(solver.judge(task.question, task.answers[0] if task.answers else ""))

    @property
    def repeatable(self) -> bool:
        """Whether the same run would find the same again: not where its searcher says otherwise."""
        return bool(getattr(self.searcher, "repeatable", True))

    @property
    def files(self) -> Mapping[str, Sequence[Path]]:
        """See ``Environment``: of a folder with a corpus only some files are read."""
        return {} if self.corpus is None else {"corpus": files_read(self.corpus)}

    def describe(self) -> str:
        """See ``Environment.describe``."""
        return f"{len(self.seeds)} passages to start from, {len(self.heldout)} held-out questions"


def reserve_passages(
    passages: Sequence[Passage], seed: int, share: float
) -> tuple[Sequence[Passage], Sequence[Passage]]:
    """The passages that self-play may start from and those reserved, a random share; both in their order."""
    count = round(share * len(passages)) if len(passages) >= MIN_PASSAGES else 0
    taken = np.zeros(len(passages), dtype=bool)
    taken[stream(seed, ("probes", "reserve")).permutation(len(passages))[:count]] = True
    return Chosen(passages, np.flatnonzero(~taken)), Chosen(passages, np.flatnonzero(taken))


def _searcher(
    name: str, options: Mapping[str, Any], title_weight: float | None
) -> Callable[[Sequence[Passage]], Searcher]:
    """What makes the searcher of passages; one's own need not know a title's weight."""
    kind = resolve(name, "searcher", ROOM)
    [first, *_] = signature(kind).parameters or ["passages"]

    def made(passages: Sequence[Passage]) -> Searcher:
        searcher: Searcher = make(name, options, "searcher", ROOM, **{first: passages, "title_weight": title_weight})
        return searcher

    return made


def _check(top_k: int, passage_words: int, shown_words: int | None, title_weight: float | None, reserve: float) -> None:
    for name, number in (("top_k", top_k), ("passage_words", passage_words), ("shown_words", shown_words)):
        if number is not None and number < 1:
            raise InputError(f"environment.{name} is {number}: give at least 1")
    if title_weight is not None and not 0 < title_weight < math.inf:
        raise InputError(f"environment.title_weight is {title_weight}: give a number above 0")
    if not 0 <= reserve < 1:
        raise InputError(f"environment.reserve is {reserve}: give a share from 0 to below 1")


def _check_seconds(timeout: float, patience: float) -> None:
    if not 0 < timeout < math.inf:
        raise InputError(f"environment.timeout is {timeout}: give seconds above 0")
    if not 0 <= patience < math.inf:
        raise InputError(f"environment.patience is {patience}: give seconds, 0 for none")
