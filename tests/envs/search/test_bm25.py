"""BM25 against the formula worked out word by word, and the order and tokens it promises."""

import itertools
import math
import os
import subprocess
import sys
from collections import Counter

import bm25s
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from piplay.envs.search.bm25 import BM25Searcher, title_token
from piplay.envs.search.index import Index
from piplay.envs.search.question import Passage
from piplay.envs.search.words import tokenize

WORDS = st.sampled_from(["amber", "birch", "cedar", "dune", "elm", "fern"])
TEXTS = st.lists(WORDS, max_size=12).map(" ".join)


def corpus(*texts: str) -> list[Passage]:
    return [Passage(str(i), "", text) for i, text in enumerate(texts)]


def found(texts: list[str], query: str, k: int = 10) -> list[int]:
    return [int(passage.id) for passage in BM25Searcher(corpus(*texts)).search([query], k)[0]]


def lucene(texts: list[str], query: str, k1: float, b: float) -> list[float]:
    """Kamphuis et al. (2020), table 1, Lucene (accurate), in the order it is written there; words split at spaces."""
    documents = [Counter(text.split()) for text in texts]
    mean = sum(document.total() for document in documents) / len(documents)
    scores = []
    for document in documents:
        score = 0.0
        for word in query.split():
            df = sum(word in other for other in documents)
            idf = math.log(1 + (len(documents) - df + 0.5) / (df + 0.5))
            if word in document:
                tf = document[word]
                score += idf * tf / (tf + k1 * (1 - b + b * document.total() / mean))
        scores.append(score)
    return scores


@pytest.mark.slow
@given(st.lists(TEXTS, min_size=1, max_size=15), TEXTS, st.sampled_from([(1.5, 0.75), (0.9, 0.4)]))
def test_the_order_is_that_of_the_formula(texts: list[str], query: str, parameters: tuple[float, float]) -> None:
    k1, b = parameters
    expected = lucene(texts, query, k1, b)
    hits = BM25Searcher(corpus(*texts), k1=k1, b=b).search([query], len(texts))[0]
    order = [int(passage.id) for passage in hits]
    assert sorted(order) == [i for i, score in enumerate(expected) if score > 0]
    for before, after in itertools.pairwise(order):
        assert expected[before] > expected[after] - 1e-12
    for text in set(texts):  # the same text is the same score to the last bit, so corpus order must decide
        twins = [i for i in order if texts[i] == text]
        assert twins == sorted(twins)


@pytest.mark.slow
@given(st.lists(TEXTS, min_size=1, max_size=8), TEXTS)
def test_the_scores_are_those_of_the_formula(texts: list[str], query: str) -> None:
    # The order alone would not notice a constant factor or a float32 index; the scores do.
    words = tokenize(query)
    if words and any(texts):
        index = BM25Searcher(corpus(*texts))._index
        assert index is not None
        scores = index.scores(words)
        assert scores == pytest.approx(lucene(texts, query, 1.5, 0.75), rel=1e-12)


def bm25f(passages: list[Passage], query: str, weight: float, k1: float, b: float) -> list[float]:
    """BM25F as Zaragoza et al. (2004) write it: frequencies normalised field by field, weighted, summed, saturated."""
    fields = [[Counter(tokenize(text)) for text in (p.title, p.text)] for p in passages]
    for (title, _), passage in zip(fields, passages, strict=True):
        title.update([title_token(passage.title)] * bool(passage.title))
    means = [sum(document[f].total() for document in fields) / len(fields) for f in (0, 1)]
    scores = []
    for document in fields:
        score = 0.0
        for word in [*tokenize(query), title_token(query)]:
            df = sum(word in other[0] or word in other[1] for other in fields)
            idf = math.log(1 + (len(fields) - df + 0.5) / (df + 0.5))
            tf = sum(
                w * document[f][word] / (1 - b + b * document[f].total() / means[f])
                for f, w in ((0, weight), (1, 1.0))
                if document[f][word]
            )
            score += idf * tf / (k1 + tf)
        scores.append(score)
    return scores


PASSAGES = st.lists(st.tuples(st.lists(WORDS, max_size=3).map(" ".join), TEXTS), min_size=1, max_size=12)


@pytest.mark.slow
@given(PASSAGES, TEXTS, st.sampled_from([1.0, 2.5, 5.0]))
def test_the_title_is_a_field_with_a_weight_of_its_own(pairs: list[tuple[str, str]], query: str, weight: float) -> None:
    passages = [Passage(str(i), title, text) for i, (title, text) in enumerate(pairs)]
    index = BM25Searcher(passages, title_weight=weight)._index
    if index is not None and query:
        scores = index.scores([*tokenize(query), title_token(query)])
        assert scores == pytest.approx(bm25f(passages, query, weight, 1.5, 0.75), rel=1e-12)


@pytest.mark.slow
@given(st.lists(TEXTS, min_size=1, max_size=12), TEXTS)
def test_one_field_is_bm25s_to_the_bit(texts: list[str], query: str) -> None:
    split = [text.split() for text in texts]
    if any(split) and query:
        numbers = {word: i for i, word in enumerate(dict.fromkeys(word for text in split for word in text))}
        theirs = bm25s.BM25(method="lucene", k1=1.5, b=0.75, dtype="float64")
        ids = [[numbers[word] for word in text] for text in split]
        theirs.scores = theirs.build_index_from_ids(range(len(numbers)), ids, show_progress=False)
        known = [numbers[word] for word in query.split() if word in numbers]
        ours = Index.build([[text] for text in split], [1.0], 1.5, 0.75).scores(query.split())
        assert ours.tolist() == theirs.get_scores_from_ids(known).tolist()


def test_documents_of_many_parts_are_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    texts = [[[f"w{i}" for i in rng.integers(0, 30, rng.integers(0, size))] for size in (4, 20)] for _ in range(200)]
    whole = Index.build(texts, [5.0, 1.0], 1.5, 0.75)
    monkeypatch.setattr("piplay.envs.search.postings._AT_ONCE", 7)
    parts = Index.build(texts, [5.0, 1.0], 1.5, 0.75)
    for word in range(30):
        assert parts.scores([f"w{word}"]).tolist() == whole.scores([f"w{word}"]).tolist()


@pytest.mark.slow
def test_choosing_finds_what_scoring_all_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rare words in long texts against common ones in short texts, where stopping early is easily wrong."""
    monkeypatch.setattr("piplay.envs.search.index.DENSE", 0)
    monkeypatch.setattr(Index, "_all", None)
    rng = np.random.default_rng(0)
    odds = 1 / np.arange(1, 13) ** 1.2
    for _ in range(60):
        texts = [[f"w{i}" for i in rng.choice(12, rng.integers(1, 25), p=odds / odds.sum())] for _ in range(60)]
        index = Index.build([[text] for text in texts], [1.0], 1.5, 0.75)
        for _ in range(20):
            words, k = [f"w{i}" for i in rng.integers(0, 12, rng.integers(1, 7))], int(rng.integers(1, 6))
            scores = index.scores(words)
            best = np.lexsort((np.arange(60), -scores))[:k]
            assert index.hits(words, k) == [(i, scores[i]) for i in best if scores[i]]


def test_title_and_text_are_searched() -> None:
    passages = [Passage("a", "Amber Coast", "A dune."), Passage("b", "Birch", "The coast of cedar.")]
    assert BM25Searcher(passages).search(["amber", "cedar", "coast"], 5) == [
        [passages[0]],
        [passages[1]],
        [passages[0], passages[1]],  # shorter, so better
    ]


def test_a_query_that_is_a_title_finds_it_before_a_passage_that_says_it_more_often() -> None:
    passages = [
        Passage("a", "libc6-dev", "libc6-dev libc6 libc6 libc6-dev libc6 elm"),
        Passage("b", "libc6", "The size of libc6 is 4 amber dune"),
        Passage("c", "", "libc6 libc6 libc6 libc6"),
    ]
    searcher = BM25Searcher(passages, title_weight=None)
    assert [searcher.search([query], 1)[0][0].id for query in ("libc6", " Libc6 ", "libc6-dev")] == ["b", "b", "a"]
    assert searcher.search(["size of libc6"], 1)[0][0].id == "b"  # by its words, as before
    assert searcher.search(["libc6 libc6"], 1)[0][0].id == "c"


def test_ties_stand_in_corpus_order_and_k_cuts_them_there() -> None:
    texts = ["elm fern", "dune elm", "amber", "elm birch"] * 25
    elms = [i for i, text in enumerate(texts) if "elm" in text]
    assert found(texts, "elm", 100) == elms
    assert found(texts, "elm", 7) == elms[:7]
    assert found(texts[::-1], "elm", 7) == [i for i, text in enumerate(texts[::-1]) if "elm" in text][:7]


def test_a_better_passage_overtakes_earlier_ones() -> None:
    assert found(["elm dune", "elm fern", "elm elm"], "elm", 2) == [2, 0]


def test_queries_of_a_batch_do_not_touch_each_other() -> None:
    searcher = BM25Searcher(corpus("elm fern", "dune", "elm"))
    queries = ["elm", "", "dune elm", "elm", "unknown"]
    assert searcher.search(queries, 2) == [searcher.search([query], 2)[0] for query in queries]
    assert searcher.search([], 2) == []


@pytest.mark.parametrize("query", ["", "  \n", "?!", "- _ '", "oak"])
def test_nothing_comes_back_without_a_shared_word(query: str) -> None:
    assert found(["elm", "dune"], query) == []


@pytest.mark.parametrize("texts", [[], [""], ["...", "—"]])
def test_a_corpus_without_words_never_matches(texts: list[str]) -> None:
    assert found(texts, "elm") == []


def test_a_passage_without_words_stands_in_nobody_elses_way() -> None:
    assert found(["", "elm", "..."], "elm") == [1]


def test_k_must_be_positive() -> None:
    with pytest.raises(ValueError, match="k must be at least 1"):
        BM25Searcher(corpus("elm")).search(["elm"], 0)


@pytest.mark.slow
def test_hash_randomisation_changes_nothing() -> None:
    # bm25s numbers its words in the order of a set of strings, which differs from process to process.
    code = (
        "from piplay.envs.search.bm25 import BM25Searcher; from piplay.envs.search.question import Passage\n"
        "p = [Passage(str(i), '', f'w{i % 7} w{i % 5} w{i % 3} x') for i in range(60)]\n"
        "print([h.id for hits in BM25Searcher(p).search(['w1 w2 x', 'x w4 w0 w1'], 60) for h in hits])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert outputs.pop().count("'") == 2 * 120


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The Cat", ["the", "cat"]),
        ("libgcc-s1", ["libgcc-s1", "libgcc", "s1"]),
        ("libstdc++6.", ["libstdc++6", "libstdc", "6"]),
        ("(Arvel-7)", ["arvel-7", "arvel", "7"]),
        ("America/New_York", ["america/new_york", "america", "new", "york"]),
        ("https://a.b:80/", ["https://a.b:80", "https", "a", "b", "80"]),
        ("O'Brien's, '80s", ["o'brien's", "o", "brien", "s", "80s"]),
        ("end. Next - one, two", ["end", "next", "one", "two"]),
        ("ÅNGSTRÖM Łódź Москва 東京", ["ångström", "łódź", "москва", "東", "京", "東京"]),
        ("cafe\u0301", ["caf\u00e9"]),
        ("__ -- ...", []),
    ],
)
def test_tokens(text: str, tokens: list[str]) -> None:
    assert tokenize(text) == tokens


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("libgcc-s1", ["libgcc-s2 of s1", "libgcc and its part s1", "s1 libgcc", "libgcc", "gcc-s1"]),
        ("libstdc++6", ["libstdc 6", "libstdc++5 and 6", "6 libstdc++"]),
        ("Arvel-7", ["Arvel 7", "Arvel-17", "Arvel-8 7", "Arvel"]),
        ("America/New_York", ["New York in America", "America/York New", "new_york america"]),
    ],
)
def test_an_exact_compound_name_wins_and_its_parts_still_match(name: str, others: list[str]) -> None:
    texts = [*others, f"{name} is described at greater length in this passage", "the unrelated one"]
    order = found(texts, name.upper())
    assert order[0] == len(others)
    assert sorted(order) == list(range(len(others) + 1))
