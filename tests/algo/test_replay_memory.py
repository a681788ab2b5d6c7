from pathlib import Path
from typing import Any

import numpy as np
import pytest
from algo_helpers import scored

from piplay.algo.replay import Replay
from piplay.errors import InputError
from piplay.types import ScoredTrajectory, StopReason


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def rewards(found: list[ScoredTrajectory]) -> list[float]:
    return sorted(one.reward for one in found)


def test_positive_gives_each_better_than_its_group_back_once_and_when_it_is_full() -> None:
    replay = Replay("positive", size=3, age=10)
    replay.add([scored(1.0), scored(0.2), scored(0.0), scored(0.5, group=("alone",))], 0)
    assert len(replay) == 1
    assert replay.draw([], 1, rng()) == []
    failed = scored(9.0, group=("b",), stop=StopReason.TOOL_FAILED)
    replay.add([scored(0.9, group=("b",)), scored(0.8, group=("b",)), scored(0, group=("b",)), failed], 1)
    assert rewards(replay.draw([], 2, rng())) == [0.8, 0.9, 1.0]
    assert len(replay) == 0


def test_what_is_too_old_or_too_much_goes() -> None:
    replay = Replay("positive", size=2, age=3)
    for step, reward in enumerate((1.0, 2.0, 3.0)):
        replay.add([scored(reward), scored(0)], step)
    assert len(replay) == 2
    assert replay.draw([], 5, rng()) == []
    assert len(replay) == 1
    replay.add([scored(4.0), scored(0)], 5)
    assert rewards(replay.draw([], 5, rng())) == [3.0, 4.0]


def test_the_last_success_comes_where_all_of_its_prompt_fail() -> None:
    replay = Replay("last_success", size=10, age=10)
    replay.add([scored(0.7, prompt=(1, 2)), scored(0.9, prompt=(1, 2)), scored(1.0, prompt=(3, 4))], 0)
    replay.add([scored(0.8, prompt=(1, 2)), scored(0.5, prompt=(5, 6))], 1)
    batch = [scored(0.0, prompt=prompt, group=(str(prompt),)) for prompt in ((1, 2), (1, 2), (3, 4), (5, 6))]
    batch.append(scored(1.0, prompt=(3, 4), group=("(3, 4)",)))
    [drawn] = replay.draw(batch, 2, rng())
    assert drawn.reward == 0.8
    assert drawn.group == ("(1, 2)",)
    assert [one.reward for one in replay.draw(batch, 2, rng())] == [0.8], "it stays for another time"
    assert replay.draw(batch, 12, rng()) == []


def plain(found: list[ScoredTrajectory]) -> list[Any]:
    return [
        (
            [array.tolist() for array in (one.trajectory.ids_T, one.trajectory.owner_T, one.trajectory.logprobs_T)],
            [one.trajectory.logprobs_T.dtype, one.trajectory.ids_T.dtype, one.trajectory.owner_T.dtype],
            (one.trajectory.key, one.trajectory.role, one.trajectory.policy, one.trajectory.prompt_len),
            (one.trajectory.stop, one.trajectory.version),
            (one.group, one.reward, one.weight, one.baseline),
            {name: ids.tolist() for name, ids in one.views.items()},
            None if one.mask_T is None else one.mask_T.tolist(),
            None if one.turn_rewards is None else one.turn_rewards.tolist(),
        )
        for one in found
    ]


def test_what_was_saved_goes_on_the_same_to_the_bit(tmp_path: Path) -> None:
    def batch(step: int) -> list[ScoredTrajectory]:
        draws = np.random.default_rng(step)
        return [
            scored(
                float(reward), turns=(1 + number, 2), group=("q", number % 2), weight=0.3, baseline=("kuhn", number),
                mask_T=np.arange(number + 6) % 2 == 0 if number % 3 else None,
                turn_rewards=draws.random(2).astype(np.float32) if number % 2 else None,
            )
            for number, reward in enumerate(draws.random(6))
        ]  # fmt: skip

    straight, replay = Replay("positive", 7, 4), Replay("positive", 7, 4)
    for step in range(6):
        straight.add(batch(step), step)
        replay.add(batch(step), step)
        replay.save(tmp_path / "replay.npz")
        replay = Replay("positive", 7, 4)
        replay.load(tmp_path / "replay.npz")
        expected = plain(straight.draw([], step, np.random.default_rng(step)))
        assert plain(replay.draw([], step, np.random.default_rng(step))) == expected
    assert step == 5


def test_a_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    replay, path = Replay("positive", 3, 3), tmp_path / "replay.npz"
    with pytest.raises(InputError, match="missing or cut short"):
        replay.load(path)
    replay.add([scored(1.0), scored(0.0)], 0)
    replay.save(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="missing or cut short"):
        replay.load(path)
    with pytest.raises(InputError, match="at least 1"):
        Replay("positive", 0, 3)
