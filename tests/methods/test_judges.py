"""The vote of several answers, and what it is worth as a label."""

import pytest

from piplay.envs.search.question import Question
from piplay.methods.judges import vote, vote_metrics
from piplay.types import Episode


def test_most_of_the_answers_win_however_they_are_written() -> None:
    ballot = vote(["Oum", "the oum.", "Bor", ""])
    assert (ballot.majority, ballot.votes, ballot.size, ballot.share) == ("oum", 2, 4, 0.5)
    assert ballot.counts == {"oum": 2, "bor": 1}
    assert ballot.agrees("OUM!")
    assert not ballot.agrees("Bor")


def test_of_equal_answers_the_first_wins() -> None:
    assert vote(["Bor", "Oum", "Oum", "Bor"]).majority == "bor"


@pytest.mark.parametrize("answers", [[], ["", "", ""], ["...", "!?", ""]])
def test_no_answer_never_wins(answers: list[str]) -> None:
    ballot = vote(answers)
    assert (ballot.majority, ballot.votes, ballot.share) == ("", 0, 0.0)
    assert not ballot.agrees("")
    assert vote(["", "", "Oum"]).majority == "oum"


def test_labels_are_measured_where_there_is_a_true_answer() -> None:
    def episode(answer: str, share: float) -> Episode:
        task = Question("t", 1, "Who?", (answer,))
        return Episode(("e",), task, (), written=(task,), facts={"majority": share})

    episodes = [episode("true", 1.0), episode("false", 0.5), episode("true", 0.75), episode("ill_typed", 0.25)]
    refused = Episode(("e",), Question("t"), (), facts={"gate": "format"})
    row = vote_metrics([*episodes, refused], lambda task: task.answers[0])
    assert row == {"majority_share": 0.625, "label_accuracy": pytest.approx(2 / 3)}
    assert vote_metrics([refused], None) == {}
