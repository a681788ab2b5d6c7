"""Of several drafts the best formed is kept, and cut."""

import pytest
from systems import ASKED, SEED, play
from toys.scripted import says, searching

from piplay.chat.base import Chat
from piplay.engine.protocol import Generate
from piplay.methods.dr_zero import Write
from piplay.methods.pi_play.rewards import difficulty_reward

GATES = ("format", "leak", "grounded")
DRAFTS = [
    (None, "Question: Where does it rise, Oum? Answer: Oum"),  # leaks
    (None, "Question: Which river? Answer: Tamsin"),  # no search: r_f = (1 + 1 + 1/2 + 1)/4
    ("Tamsin", f"Question: {ASKED} Answer: Oum"),  # r_f = 1
    ("Tamsin", "Question: And where, then? Answer: Oum"),  # as good, and later
]


def write(request: Generate) -> str:
    query, final = DRAFTS[int(request.key[request.key.index("draft") + 1])]
    if query and request.key[-1] == 0:
        return searching(query, "lies on: Tamsin.")
    return says(final, "rises in: Oum.")


def test_difficulty_is_highest_where_one_of_five_is_right() -> None:
    assert [difficulty_reward(k, 5) for k in range(6)] == [0, 1, 0.75, 0.5, 0.25, 0]


@pytest.mark.parametrize(("samples", "question"), [(1, None), (2, "Which river?"), (3, ASKED), (4, ASKED)])
def test_the_best_formed_draft_is_kept(tiny_chat: Chat, samples: int, question: str | None) -> None:
    game = Write({}, probes=0, gates=GATES, samples=samples)
    episode, _ = play(tiny_chat, game, write)
    assert [task.question for task in episode.written] == ([question] if question else [])
    assert episode.facts["gate"] == ("" if question else "leak")
    assert episode.key == ("m1", "test", 0, 0)
    assert len(episode.trajectories) == samples == game.cost()["examiner"]
    if question:
        assert question in episode.trajectories[0].trajectory.answer


def test_a_question_is_cut_to_its_first_words(tiny_chat: Chat) -> None:
    episode, _ = play(tiny_chat, Write({}, probes=0, gates=GATES, samples=3, words=4), write, SEED)
    [task] = episode.written
    assert task.question == "Where does the river"  # type: ignore[attr-defined]
