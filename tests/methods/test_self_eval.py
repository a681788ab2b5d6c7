"""Which passages are set aside, and how many questions are tried."""

from collections.abc import Sequence

import pytest
from toys.scripted import LIMITS, DictSearcher, ScriptedEngine, says, tools

from piplay.chat.base import Chat
from piplay.engine.protocol import Generate
from piplay.envs.search.environment import reserve_passages
from piplay.envs.search.question import Passage, Question
from piplay.methods.pi_play.evaluation import ROUNDS, write_questions
from piplay.methods.pi_play.game import Examine
from piplay.rollout.stage import Stage
from piplay.types import Key


def corpus(size: int) -> list[Passage]:
    return [Passage(str(i), f"Town {i}", f"Town {i} lies on the river R{i}.") for i in range(size)]


@pytest.mark.parametrize(("size", "aside"), [(0, 0), (19, 0), (20, 2), (34, 3), (700, 70)])
def test_a_tenth_is_set_aside_where_there_is_enough(size: int, aside: int) -> None:
    passages = corpus(size)
    kept, reserved = map(list, reserve_passages(passages, 0, 0.1))
    assert len(reserved) == aside
    assert sorted(kept + reserved, key=passages.index) == passages
    assert kept == sorted(kept, key=passages.index)
    assert reserved == sorted(reserved, key=passages.index)
    assert [kept, reserved] == list(map(list, reserve_passages(passages, 0, 0.1)))


def test_another_seed_sets_others_aside() -> None:
    chosen = [{passage.id for passage in reserve_passages(corpus(200), seed, 0.1)[1]} for seed in range(5)]
    assert len(set(map(frozenset, chosen))) == 5
    assert len(set().union(*chosen)) > 60  # of at most 100: from all over the corpus


@pytest.mark.parametrize(("good", "rounds", "written"), [(10, 1, 4), (3, 2, 4), (1, 4, 4), (0, ROUNDS, 0)])
def test_tries_are_bounded_and_questions_differ(tiny_chat: Chat, good: int, rounds: int, written: int) -> None:
    """Of each round's four tries the first ``good`` pass."""
    passages = corpus(40)
    asked: list[Key] = []

    def seeds(key: Key) -> Sequence[Question]:
        asked.append(key)
        start = 4 * len(asked)
        return [Question(f"{key}/{i}", 1, source=passages[start + i]) for i in range(4)]

    def script(request: Generate) -> str:
        town = 4 * (request.key[1] + 1) + request.key[2]
        return says(f"Question: Which river is at town {town}? Answer: R{town}" if request.key[2] < good else "?")

    stage = Stage(ScriptedEngine(tiny_chat, script), tiny_chat, tools(DictSearcher(passages)), LIMITS)
    probes = write_questions(stage, Examine({}, probes=0), {"examiner": "base"}, seeds, 4)
    assert asked == [("probes", i) for i in range(rounds)]
    assert len(probes) == len({probe.question for probe in probes}) == written
    assert all(probe.answers[0] in probe.source.text for probe in probes)
