"""Gates and rewards of one's own: asked in their place, paid in their place, refused at the border."""

import pytest
from toys.scripted import DictSearcher, ScriptedEngine, context, says, searching, tools

from piplay.chat.base import Chat
from piplay.engine.protocol import Generate
from piplay.envs.search.question import Passage, Question
from piplay.envs.search.tool import passages_of
from piplay.errors import InputError
from piplay.methods.pi_play.game import Examine, PrivilegedStudy, Study
from piplay.methods.pi_play.hooks import load_gates, load_reward
from piplay.methods.pi_play.rewards import difficulty_reward
from piplay.rollout.driver import drive
from piplay.types import Episode, Trajectory

BOR = Passage("p1", "Bor", "Bor lies on the Tamsin.")
TAMSIN = Passage("p2", "Tamsin", "The Tamsin rises at Oum.")
SEED = Question("s", 2, source=BOR)
asked: list[tuple[Question, Trajectory]] = []


def suspicious(draft: Question, trajectory: Trajectory) -> bool:
    asked.append((draft, trajectory))
    return "Oum" not in draft.answers


def trusting(draft: Question, trajectory: Trajectory) -> bool:
    asked.append((draft, trajectory))
    return True


def letters(answer: str, golds: list[str]) -> float:
    """The share of the gold's letters that the answer has."""
    return len(set(answer) & set(golds[0])) / len(set(golds[0]))


def generous(answer: str, golds: list[str]) -> float:
    return 3.0


def lost(answer: str, golds: list[str]) -> float:
    return float("nan")


def silent(answer: str, golds: list[str]) -> None:
    return None


def talk(request: Generate) -> str:
    if request.policy.name == "examiner":
        turns = [searching("Tamsin", "river: Tamsin"), says("Question: Where does it rise? Answer: Oum", "spring: Oum")]
        return turns[int(request.key[-1])]
    return says(["Oum", "Ou", "x"][int(request.key[-3])])


def play(chat: Chat, game: object, task: Question) -> Episode:
    engine = ScriptedEngine(chat, talk)
    [episode] = drive([game.play(task, context(chat))], engine, tools(DictSearcher([BOR, TAMSIN])))  # type: ignore[attr-defined]
    return episode


def test_a_gate_refuses_what_it_was_shown(tiny_chat: Chat) -> None:
    asked.clear()
    gates = ["test_own:suspicious", "format", "test_own:trusting"]
    episode = play(tiny_chat, Examine({}, probes=3, gates=gates), SEED)
    assert (episode.facts["gate"], episode.written, len(episode.trajectories)) == ("test_own:suspicious", (), 1)
    assert episode.trajectories[0].reward == 0.0
    [(draft, trajectory)] = asked
    assert (draft.question, draft.answers, draft.source) == ("Where does it rise?", ("Oum",), BOR)
    assert [step.query for step in draft.path] == ["Bor", "Tamsin"]
    assert [passages_of(use) for use in trajectory.uses] == [(TAMSIN,)]


def test_gates_of_the_package_are_asked_first_and_own_ones_in_their_order(tiny_chat: Chat) -> None:
    asked.clear()
    refused = play(
        tiny_chat, Examine({}, probes=0, gates=["test_own:suspicious", "hops"]), Question("s", 4, source=BOR)
    )
    assert (refused.facts["gate"], asked) == ("hops", [])
    gates = ["test_own:trusting", "test_own:suspicious"]
    assert play(tiny_chat, Examine({}, probes=0, gates=gates), SEED).facts["gate"] == "test_own:suspicious"
    assert len(asked) == 2
    assert play(tiny_chat, Examine({}, probes=0, gates=gates[:1]), SEED).written


def test_a_reward_pays_students_and_only_what_earns_all_is_right(tiny_chat: Chat) -> None:
    task = Question("t", 2, "Where does it rise?", ("Oum",), BOR)
    episode = play(tiny_chat, Study(rollouts=3, reward="test_own:letters", privilege="none"), task)
    assert [seat.reward for seat in episode.trajectories] == [1.0, 2 / 3, 0.0]
    assert episode.facts == {"k": 1.0}
    exact = play(tiny_chat, Study(rollouts=3, privilege="none"), task)
    assert [seat.reward for seat in exact.trajectories] == [1.0, 0.0, 0.0]


def test_a_reward_counts_in_the_examiners_difficulty(tiny_chat: Chat) -> None:
    episode = play(tiny_chat, Examine({}, probes=3, gates=[], reward="test_own:letters"), SEED)
    assert [seat.reward for seat in episode.trajectories[1:]] == [1.0, 2 / 3, 0.0]
    assert episode.facts["k"] == 1.0
    assert episode.facts["r_d"] == difficulty_reward(1, 3)


def test_an_answer_that_is_none_earns_nothing() -> None:
    assert load_reward("test_own:generous")("", ["Oum"]) == 0.0


@pytest.mark.parametrize("name", ["test_own:generous", "test_own:lost", "test_own:silent"])
def test_a_reward_that_is_no_share_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="has to be a number from 0 to 1"):
        load_reward(name)("Oum", ["Oum"])


def test_names_that_name_nothing_are_refused_when_the_game_is_made() -> None:
    with pytest.raises(InputError, match=r"no reward 'test_own:leters'.*did you mean 'letters'"):
        Study(reward="test_own:leters")
    with pytest.raises(InputError, match="no reward"):
        PrivilegedStudy(reward="nowhere:letters")
    with pytest.raises(InputError, match=r"no gate 'test_own:trustng'.*did you mean 'trusting'"):
        Examine({}, gates=["format", "test_own:trustng"])
    assert load_gates(["format", "leak"]) == {}
