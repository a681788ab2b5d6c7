"""What a search shows is cut where a setting says so, and passages that do not fit are said before a run."""

import itertools
import json
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piplay.envs.search.environment import SearchEnvironment
from piplay.envs.search.question import Passage, show
from piplay.envs.search.tool import cut, search
from piplay.envs.search.words import length
from piplay.errors import InputError, InputWarning

LONG = "It is a town of many streets. " * 200


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    file = tmp_path / "corpus.jsonl"
    rows = [
        {"id": i, "title": f"Bor{i}", "text": f"The river of Bor{i} is Tam{i}. {LONG * (i % 4 == 0)}"}
        for i in range(40)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def words_of(text: str) -> int:
    return len(text.split())


def test_one_search_shows_so_many_words(corpus: Path) -> None:
    environment = SearchEnvironment(corpus=corpus, top_k=3, shown_words=30)
    [tool] = environment.tools
    [found] = tool.answer([search("the river of Bor8")])
    assert found.data[0].title == "Bor8"
    assert found.data[0].text.endswith(" …")
    assert words_of(" ".join(passage.text for passage in found.data)) <= 30 + found.text.count(" …")
    assert found.text == show(found.data)
    assert max(words_of(passage.text) for passage in environment.seeds) == 31
    assert max(words_of(passage.text) for passage in environment.reserved) <= 31
    assert len(environment.seeds) + len(environment.reserved) == 40


def test_without_the_setting_all_is_shown(corpus: Path) -> None:
    environment = SearchEnvironment(corpus=corpus)
    [found] = environment.tools[0].answer([search("the river of Bor8")])
    assert words_of(found.data[0].text) > 1000


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(1, 60))
def test_what_one_passage_leaves_the_later_ones_have(sizes: list[int], words: int) -> None:
    passages = [Passage(str(i), "", " ".join(["w"] * size)) for i, size in enumerate(sizes)]
    shown = cut(passages, words)
    kept = [words_of(passage.text.removesuffix(" …")) for passage in shown]
    assert sum(kept) <= words
    assert all(
        passage.text.endswith(" …") == (size > count) for passage, size, count in zip(shown, sizes, kept, strict=True)
    )
    for place, (size, count) in enumerate(zip(sizes, kept, strict=True)):
        share = (words - sum(kept[:place])) // (len(sizes) - place)
        assert count == min(size, share)
    assert list(cut(passages, None)) == passages
    assert list(itertools.starmap(Passage, [(p.id, p.title, p.text) for p in cut(passages, 10_000)])) == passages


def test_scripts_without_spaces_are_cut_too() -> None:
    [shown] = cut([Passage("1", "白塔", "城中有一座白塔。" * 50)], 20)
    assert length(shown.text.removesuffix(" …")) == 20


@pytest.mark.slow
def test_the_share_that_does_not_fit_is_said_with_a_remedy(corpus: Path) -> None:
    with pytest.warns(
        InputWarning, match=r"25\.0% of the passages do not fit.* set environment\.shown_words to some 45"
    ) as said:
        SearchEnvironment(corpus=corpus).check_fit(lambda text: 2 * words_of(text), 182)
    assert len(said) == 1
    with pytest.warns(InputWarning, match=r"100\.0% .* it is too little for any, or raise limits\.tokens"):
        SearchEnvironment(corpus=corpus).check_fit(words_of, -3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SearchEnvironment(corpus=corpus, shown_words=45).check_fit(lambda text: 2 * words_of(text), 182)
        SearchEnvironment().check_fit(words_of, 100)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shown_words": 0}, "environment.shown_words is 0: give at least 1"),
        ({"title_weight": 0.0}, "environment.title_weight is 0.0: give a number above 0"),
        ({"title_weight": float("nan")}, "environment.title_weight is nan"),
    ],
)
def test_settings_out_of_range(options: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        SearchEnvironment(**options)  # type: ignore[arg-type]


def test_a_strict_corpus_refuses(corpus: Path) -> None:
    with corpus.open("a") as file:
        file.write("{}\n")
    with pytest.warns(InputWarning, match="1 of 41 passages is skipped"):
        SearchEnvironment(corpus=corpus)
    with pytest.raises(InputError, match="line 41 has no field for a text"):
        SearchEnvironment(corpus=corpus, strict=True)
