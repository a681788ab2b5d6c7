"""Who is refused, what the reader sees, what fills a refused place, and who gets what."""

from collections.abc import Sequence
from typing import Any

import pytest
from systems import ASKED, BOR, GOOD, SEED, TAMSIN, play, prompt, script
from toys.scripted import searching

from piplay.chat.base import Chat
from piplay.envs.search.question import Question, show
from piplay.methods.pi_play.views import teacher_view
from piplay.methods.ssp import SearchSelfPlay


def game(state: dict[str, Any] | None = None, **options: Any) -> SearchSelfPlay:
    mild = {"solvers": 4, "check": "none", "min_words": 5, "min_searches": 1}
    return SearchSelfPlay({} if state is None else state, **(mild | options))


def rewards(scored: Sequence[Any], role: str) -> list[float]:
    return [one.reward for one in scored if one.trajectory.role == role]


@pytest.mark.parametrize("right", range(5))
def test_the_proposer_gets_what_the_solvers_miss(tiny_chat: Chat, right: int) -> None:
    students = ["Oum"] * right + ["Bor"] * (4 - right)
    episode, _ = play(tiny_chat, game(), script(students))
    assert rewards(episode.trajectories, "examiner") == [1 - right / 4]
    assert rewards(episode.trajectories, "student") == [1.0] * right + [0.0] * (4 - right)
    assert len({one.group for one in episode.trajectories if one.trajectory.role == "student"}) == 1
    assert (episode.facts["gate"], episode.facts["k"]) == ("", right)
    [task] = episode.written
    assert isinstance(task, Question)
    assert (task.question, task.answers) == (ASKED, ("Oum",))


@pytest.mark.parametrize(
    ("final", "query", "options", "gate"),
    [
        ("no question", "Tamsin", {}, "format"),
        ("Question: Does it rise in Oum? Answer: Oum", "Tamsin", {}, "leak"),
        ("Question: Where does the river rise? Answer: Nowhere", "Tamsin", {}, "grounded"),
        ("Question: Where, then? Answer: Oum", "Tamsin", {}, "length"),
        (f"Question: {'so ' * 400}where? Answer: Oum", "Tamsin", {}, "length"),
        (GOOD, "Tamsin", {"min_words": 8}, "length"),
        (GOOD, "Tamsin", {"min_searches": 2}, "searches"),
        ("Question: On which river does it lie? Answer: Tamsin", "Nothing", {}, "searches"),
    ],
)
def test_rules_refuse_before_anyone_else_is_asked(
    tiny_chat: Chat, final: str, query: str, options: dict[str, int], gate: str
) -> None:
    episode, _ = play(tiny_chat, game(check="path", **options), script([], final, query))
    assert (episode.facts, episode.written) == ({"gate": gate}, ())
    assert rewards(episode.trajectories, "examiner") == [0.0]
    assert len(episode.trajectories) == 1


def test_the_same_search_twice_is_refused(tiny_chat: Chat) -> None:
    def write(request: Any) -> str:
        return searching("Tamsin", "river") if request.key[-1] < 2 else GOOD

    assert play(tiny_chat, game(), write)[0].facts["gate"] == "searches"


def test_the_reader_answers_at_once_from_all_that_the_proposer_saw(tiny_chat: Chat) -> None:
    episode, engine = play(tiny_chat, game(check="passages"), script(["Oum"] * 4))
    assert rewards(episode.trajectories, "reader") == [1.0]
    seen = prompt(tiny_chat, engine, "reader")
    assert ASKED in seen
    assert show([BOR]) in seen
    assert show([TAMSIN]) in seen
    refused, engine = play(tiny_chat, game(check="passages"), script([], reader=searching("Tamsin")))
    assert refused.facts["gate"] == "read"
    assert rewards(refused.trajectories, "examiner") == [0.0]
    assert len([request for request in engine.seen if "reader" in request.key]) == 1


def test_a_reader_with_the_path_reads_what_a_teacher_reads(tiny_chat: Chat) -> None:
    episode, engine = play(tiny_chat, game(check="path", noise=0), script(["Oum"] * 4))
    [task] = episode.written
    assert isinstance(task, Question)
    orders = [teacher_view(task.question, path) for path in (task.path, task.path[::-1])]
    assert any(view in prompt(tiny_chat, engine, "reader") for view in orders)


def test_noise_is_what_other_proposers_of_the_last_step_saw(tiny_chat: Chat) -> None:
    state: dict[str, Any] = {}
    first, engine = play(tiny_chat, game(state, check="passages"), script(["Oum"] * 4))
    assert prompt(tiny_chat, engine, "reader").count("Passages:") == 1
    game(state, check="passages").finalize_batch([first])
    assert state["shown"] == [show([BOR]), show([TAMSIN])]
    others = [f"Town {i}: It lies on the R{i}." for i in range(6)]
    state["shown"] += others
    mixtures = set()
    for number in range(3):
        for noise in (0, 4, 50):
            _, engine = play(tiny_chat, game(state, check="passages", noise=noise), script(["Oum"] * 4), number=number)
            seen = prompt(tiny_chat, engine, "reader")
            found = tuple(line for line in others if line in seen)
            assert len(found) == min(noise, 6)
            assert seen.count(show([BOR])) == seen.count(show([TAMSIN])) == 1
            mixtures |= {found} if noise == 4 else set()
    assert len(mixtures) > 1


def test_a_refused_place_is_taken_by_an_earlier_question_and_its_proposer_gets_nothing(tiny_chat: Chat) -> None:
    state = {"pool": [["Which river is long?", "Quil"]]}
    played = game(state)
    episode, engine = play(tiny_chat, played, script(["Quil", "Oum", "Quil", "Oum"], "no question"))
    assert rewards(episode.trajectories, "examiner") == [0.0]
    assert rewards(episode.trajectories, "student") == [1.0, 0.0, 1.0, 0.0]
    assert episode.written == ()
    assert "Which river is long?" in prompt(tiny_chat, engine, "student")
    row = played.metrics([episode], None)
    assert (row["refused"], row["refilled"], row["gate/format"]) == (1.0, 1.0, 1)
    assert "accuracy" not in row
    alone, _ = play(tiny_chat, game(state, refill="none"), script([], "no question"))
    assert len(alone.trajectories) == 1


def test_the_pool_holds_what_was_admitted_until_it_is_emptied(tiny_chat: Chat) -> None:
    state: dict[str, Any] = {}
    played = game(state, reset=3)
    good, _ = play(tiny_chat, played, script(["Oum"] * 4))
    bad, _ = play(tiny_chat, played, script([], "no question"))
    sizes = []
    for _ in range(4):
        assert played.finalize_batch([good, bad]) == [good, bad]
        sizes.append(len(state["pool"]))
    assert sizes == [1, 2, 0, 1]
    assert state["pool"] == [[ASKED, "Oum"]]


def test_a_failed_tool_is_no_failure_of_the_solver(tiny_chat: Chat) -> None:
    def write(request: Any) -> str:
        number = int(request.key[request.key.index("student") + 1]) if "student" in request.key else -1
        return searching("broken") if number == 3 else script(["Oum", "Oum", "Bor"])(request)

    episode, _ = play(tiny_chat, game(), write, SEED, down=("broken",))
    assert rewards(episode.trajectories, "examiner") == [pytest.approx(1 / 3)]
    assert episode.facts["n"] == 3
