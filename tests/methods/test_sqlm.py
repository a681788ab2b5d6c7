"""The majority is the answer, whatever the proposer wrote."""

import pytest
from systems import ASKED, SEED, play, script

from piplay.chat.base import Chat
from piplay.envs.search.question import Question
from piplay.methods.judges import vote
from piplay.methods.sqlm import SelfQuestion, proposer_reward


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["x", "x", "x", "x"], 0),  # all agree
        (["x", "x", "x", "y"], 1),
        (["x", "x", "y", "y"], 1),
        (["x", "x", "", ""], 1),
        (["x", "y", "z", "w"], 0),  # a majority of one
        (["x", "", "", ""], 0),
        (["", "", "", ""], 0),
    ],
)
def test_a_proposer_is_rewarded_where_some_agree_and_not_all(answers: list[str], expected: float) -> None:
    assert proposer_reward(vote(answers)) == expected


def test_solvers_are_rewarded_for_the_majority_and_not_for_the_written_answer(tiny_chat: Chat) -> None:
    episode, _ = play(tiny_chat, SelfQuestion(), script(["Quil", "Oum", "Quil", ""]))
    assert [one.reward for one in episode.trajectories] == [1.0, 1.0, 0.0, 1.0, 0.0]
    assert episode.trajectories[0].group == ("hops", SEED.hops)
    [task] = episode.written
    assert isinstance(task, Question)
    assert (task.question, task.answers) == (ASKED, ("quil",))
    assert episode.facts == {"gate": "", "k": 2.0, "n": 4.0, "majority": 0.5}
    row = SelfQuestion().metrics([episode], lambda task: "false")
    assert (row["majority_share"], row["label_accuracy"], row["false_agreement"]) == (0.5, 0.0, 0.5)


def test_without_any_answer_no_one_is_rewarded_and_nothing_is_written(tiny_chat: Chat) -> None:
    episode, _ = play(tiny_chat, SelfQuestion(), script([""] * 4))
    assert [one.reward for one in episode.trajectories] == [0.0] * 5
    assert episode.written == ()


def test_a_proposal_that_cannot_be_read_is_not_learnt_from(tiny_chat: Chat) -> None:
    episode, _ = play(tiny_chat, SelfQuestion(), script([], "no question"))
    [proposer] = episode.trajectories
    assert (proposer.reward, proposer.weight, episode.facts) == (0.0, 0.0, {"gate": "format"})
