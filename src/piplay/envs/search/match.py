"""Exact match with the normalisation of SQuAD and FlashRAG; and the words of any script by which texts are compared."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from piplay.envs.search.words import apart, in_latin

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalise(text: str) -> str:
    """Lower case, without punctuation, articles and extra white space, in that order."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def folded(text: str) -> str:
    """The words of the text with one space between them; a character of a script without spaces is one of them.

    Of ASCII text this is ``normalise``. Beyond it, what is one but for its form is made one first (``words.fold``).
    """
    return normalise(apart(text))


def exact_match(answer: str, golds: Sequence[str]) -> bool:
    """Whether the answer equals any gold, both normalised; a gold that normalises to nothing matches nothing.

    A gold in letters or digits beyond the Latin script, for which SQuAD has no rule, is compared by its words.
    """
    return any(_same(answer, gold) for gold in golds)


def _same(answer: str, gold: str) -> bool:
    if in_latin(gold) and in_latin(answer):
        said, wanted = normalise(answer), normalise(gold)
    else:
        said, wanted = folded(answer), folded(gold)
    return bool(said) and said == wanted


def contains(text: str, phrase: str) -> bool:
    """Whether the words of the phrase occur in the text, in their order and whole."""
    wanted = folded(phrase)
    return bool(wanted) and f" {wanted} " in f" {folded(text)} "
