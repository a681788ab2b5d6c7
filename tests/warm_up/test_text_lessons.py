"""Lessons on text: every value stands in the passage it is said of, every question leads to its answer."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from piplay.envs.search.match import contains
from piplay.envs.search.tool import query_of
from piplay.errors import InputError
from piplay.warm_up.source import Lessons

TEAMS, PLACES = ["Ledger", "Harbour", "Signal", "Meadow", "Copper"], ["Turku", "Leeds", "Bergen", "Porto", "Gdansk"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Services kept by teams, teams in towns, towns in countries."""
    rows = []
    for team, place in zip(TEAMS, PLACES, strict=True):
        service = f"{team.lower()}-service"
        rows += [
            (service, f"{service} is written in Go. {service} is maintained by the {team} team."),
            (f"{team} team", f"The {team} team is led by {team} Nair. The {team} team is located in {place}."),
            (place, f"{place} is a town in Europe. {place} was founded in 12{len(place)}4."),
        ]
    file = tmp_path_factory.mktemp("text") / "corpus.jsonl"
    file.write_text("".join(json.dumps({"title": t, "text": x}) + "\n" for t, x in rows))
    return file


def test_lessons_on_text_say_what_the_text_says(corpus: Path) -> None:
    texts = {row["title"]: row["text"] for row in map(json.loads, corpus.read_text().splitlines())}
    by_folded = {title.lower().removeprefix("the "): text for title, text in texts.items()}
    lessons = Lessons(None, {}, 1, corpus=corpus, corpus_share=1.0, goes_on=0.0).draw(("a",), 400)
    counts = Counter(lesson.teaches for lesson in lessons)
    assert {"read", "alone1", "true2", "foreign2", "examine1", "examine2"} <= set(counts)
    for lesson in lessons:
        if lesson.role != "student":
            continue
        searched = [query_of(said.call) for said in lesson.said if said.call]
        read = [by_folded[query.lower().removeprefix("the ")] for query in searched]
        answer = lesson.said[-1].content
        assert answer in read[-1]
        assert lesson.said[-1].think.endswith(f": {answer}.")
        assert all(found.endswith(text) for found, text in zip(lesson.found, read, strict=True))
        assert all(query in text for query, text in zip(searched[1:], read, strict=False)), "found before it is sought"
        question = lesson.view.partition(" Path:")[0]
        assert not contains(question, answer)
        assert "{}" not in lesson.view + lesson.said[0].think
        assert len(searched) == (int(lesson.teaches[-1]) if lesson.teaches.startswith("true") else len(searched))


def test_two_hops_are_asked_by_words_for_what_lies_between(corpus: Path) -> None:
    lessons = Lessons(None, {}, 1, corpus=corpus, corpus_share=1.0).draw(("a",), 400)
    questions = {lesson.view.partition(" Path:")[0] for lesson in lessons if lesson.teaches == "true2"}
    assert questions
    for question in questions:
        named = [
            title
            for title in [f"{t.lower()}-service" for t in TEAMS] + [f"{t} team" for t in TEAMS]
            if title in question
        ]
        assert len(named) == 1, question


def test_what_a_benchmark_asks_is_left_out(corpus: Path, tmp_path: Path) -> None:
    bench = tmp_path / "facts.jsonl"
    bench.write_text(
        json.dumps({"question": "?", "golden_answers": ["x"], "metadata": {"titles": ["Ledger team", "Turku"]}})
    )
    lessons = Lessons(None, {}, 1, corpus=corpus, corpus_share=1.0, without=bench).draw(("a",), 300)
    said = " ".join(lesson.view + " ".join(lesson.found) for lesson in lessons)
    assert "Signal team is led" in said
    assert not re.search("Ledger team is|Turku is", said)


@pytest.mark.parametrize(
    ("rows", "bench", "said"),
    [
        ([{"text": "No title here."}], None, "no passage of .* has a title"),
        ([{"title": "A", "text": "Well. Well."}], None, "0 facts were found in 1 passages"),
        ([{"title": "A", "text": "A is led by Bo."}], "{}\n", "names its evidence"),
        ([{"title": "A", "text": "A is led by Bo."}], "no\n", "cannot be read as JSON Lines"),
    ],
)
def test_text_without_lessons(rows: list[dict[str, str]], bench: str | None, said: str, tmp_path: Path) -> None:
    file, without = tmp_path / "c.jsonl", tmp_path / "b.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if bench is not None:
        without.write_text(bench)
    with pytest.raises(InputError, match=said):
        Lessons(None, {}, 1, corpus=file, corpus_share=1.0, without=without if bench else None).draw(("a",), 3)
