"""What a challenger gets, which questions are handed over, and what a solver gets."""

from dataclasses import replace
from typing import Any

import pytest
from systems import ASKED, SEED, play, script
from toys.scripted import says, told, turn

from piplay.chat.base import Chat
from piplay.envs.search.question import Question
from piplay.methods.r_zero import Challenge, Solve, challenger_reward, well_formed
from piplay.types import Episode, StopReason


@pytest.mark.parametrize(
    ("share", "cluster", "code", "paper"),
    [
        (0.7, 0.1, 0.2, 0.5),
        (0.5, 0.0, 0.5, 1.0),
        (1.0, 0.25, -0.25, 0.0),
        (0.0, 0.0, 0.0, 0.0),
        (0.9, 0.5, -0.4, 0.0),
        (None, 0.1, -1.1, 0.0),
    ],
)
def test_a_challenger_is_rewarded_for_uncertainty_and_pays_for_repetition(
    share: float | None, cluster: float, code: float, paper: float
) -> None:
    assert challenger_reward(share, cluster, "code") == pytest.approx(code)
    assert challenger_reward(share, cluster, "paper") == pytest.approx(paper)


def challenge(chat: Chat, right: int, final: str | None = None, **options: Any) -> Episode:
    students = ["Quil"] * right + [f"Town {i}" for i in range(10 - right)]
    write = script(students) if final is None else script(students, final)
    return play(chat, Challenge(**options), write)[0]


@pytest.mark.parametrize(("right", "kept"), [(2, False), (3, True), (5, True), (8, True), (9, False), (10, False)])
def test_questions_within_the_band_are_handed_over_with_the_majority(tiny_chat: Chat, right: int, kept: bool) -> None:
    episode = challenge(tiny_chat, right)
    assert episode.facts["gate"] == ("" if kept else "band")
    assert episode.facts["majority"] == right / 10
    assert [(task.question, task.answers) for task in episode.written if isinstance(task, Question)] == (
        [(ASKED, ("quil",))] if kept else []
    )


def test_the_papers_band_is_an_option(tiny_chat: Chat) -> None:
    assert challenge(tiny_chat, 8, band=(0.25, 0.75)).written == ()


@pytest.mark.parametrize("form", ["code", "paper"])
def test_the_batch_decides_what_a_challenger_gets(tiny_chat: Chat, form: Any) -> None:
    other = "Question: Who founded the museum that burnt down? Answer: Oum"
    game = Challenge(form=form)
    batch = [challenge(tiny_chat, 7), challenge(tiny_chat, 10), challenge(tiny_chat, 7, other)]
    batch.append(challenge(tiny_chat, 7, "no question"))
    final = game.finalize_batch(batch)
    assert [episode.facts["cluster"] for episode in final] == [0.5, 0.5, 0.25, 0.25]
    expected = [challenger_reward(s, c, form) for s, c in ((0.7, 0.5), (1.0, 0.5), (0.7, 0.25), (None, 0.25))]
    assert [episode.trajectories[0].reward for episode in final] == pytest.approx(expected)
    for before, after in zip(batch, final, strict=True):
        assert after.trajectories[1:] == before.trajectories[1:]
    row = game.metrics(final, lambda task: "true")
    assert (row["cluster_share"], row["distinct"]) == (0.375, pytest.approx(2 / 3))
    assert (row["gate/band"], row["gate/format"], row["gate/passed"]) == (1, 1, 2)


def test_a_solver_gets_nine_tenths_for_the_label_and_one_for_its_form(tiny_chat: Chat) -> None:
    said = [says("Quil", "it is"), says("Quil"), says("Oum", "it is"), says("Oum")]
    task = replace(SEED, question=ASKED, answers=("quil",))
    game = Solve(rollouts=4)
    episode, _ = play(tiny_chat, game, lambda request: said[int(request.key[-3])], task)
    assert [one.reward for one in episode.trajectories] == pytest.approx([1.0, 0.9, 0.1, 0.0])
    assert episode.facts["k"] == 2
    row = game.metrics([episode], lambda task: "false")
    assert (row["accuracy"], row["false_agreement"]) == (0.5, 0.5)


def test_a_well_formed_answer_is_one_that_every_turn_thought_about() -> None:
    assert well_formed(told([turn(think="so"), turn("Oum", "then")]))
    assert not well_formed(told([turn(), turn("Oum", "then")]))
    assert not well_formed(told([turn("Oum", "then")], stop=StopReason.TURN_TOKENS))
