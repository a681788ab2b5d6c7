"""Pools of earlier selves: what is kept, who is seated, who is trained, and by what a mixture goes."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from piplay.algo.losses.base import Loss
from piplay.rollout.stage import Seats
from piplay.settings import Opponents, Phase
from piplay.training.learner import Learner
from piplay.training.opponents import OpponentPools
from piplay.types import Episode, Owner, PolicyRef, Sample, ScoredTrajectory, State, StopReason, Task, Trajectory


class Snapshots:
    """A trainer that only notes what is asked of it."""

    def __init__(self) -> None:
        self.kept: list[PolicyRef] = []
        self.trained: list[tuple[str, list[Sample]]] = []

    def snapshot(self, policy: str, name: str) -> PolicyRef:
        assert PolicyRef(policy, name) not in self.kept
        self.kept.append(PolicyRef(policy, name))
        return self.kept[-1]

    def forget(self, snapshot: PolicyRef) -> None:
        self.kept.remove(snapshot)

    def train(
        self, policy: str, samples: Sequence[Sample], losses: Mapping[str, Loss], lr: float | None = None
    ) -> dict[str, float]:
        self.trained.append((policy, list(samples)))
        return {}


def phase(learn: Sequence[str] = ("first", "second"), **opponents: Any) -> Phase:
    return Phase.model_validate(
        {
            "name": "selfplay", "game": "spiral:Play", "tasks": "deals", "opponents": opponents,
            "seats": {"first": "player", "second": "player", "judge": "judge"},
            "learn": {role: {"advantage": "none"} for role in learn},
        }
    )  # fmt: skip


def pools(made: Phase, states: dict[str, State], trainer: Any) -> OpponentPools:
    assert isinstance(made.opponents, Opponents)
    return OpponentPools(made, made.opponents, states, trainer, seed=3)


def episode(seats: Seats, first: float, second: float, key: tuple[str | int, ...] = ("e",)) -> Episode:
    def move(role: str, reward: float) -> ScoredTrajectory:
        owner_T = np.array([Owner.PROMPT, Owner.MODEL], np.int8)
        trajectory = Trajectory(
            (*key, role), role, seats[role], np.array([1, 2]), owner_T, np.zeros(2, np.float32), 1, (), (),
            StopReason.ANSWERED,
        )  # fmt: skip
        return ScoredTrajectory(trajectory, key, reward)

    return Episode(key, Task("t"), (move("first", first), move("second", second)))


def by_rank(better: Callable[[str, str], float], met: list[Seats]) -> Callable[[Any, Sequence[Seats]], list[Episode]]:
    """Plays matches whose outcome the names of the snapshots decide."""

    def play(key: Any, seatings: Sequence[Seats]) -> list[Episode]:
        met.extend(seatings)
        results = [better(seats["first"].snapshot, seats["second"].snapshot) for seats in seatings]
        return [episode(seats, gain, -gain) for seats, gain in zip(seatings, results, strict=True)]

    return play


def nobody(key: Any, seatings: Sequence[Seats]) -> Sequence[Episode]:
    raise AssertionError("no matches were wanted")


def test_a_pool_takes_snapshots_and_forgets_the_oldest() -> None:
    trainer, states = Snapshots(), {}
    for step in range(9):
        # What it knows is in the states: a new one goes on.
        pools(phase(draw="uniform", every=2, size=3), states, trainer).refresh(("m1", "selfplay", step), nobody)
        names = [ref.snapshot for ref in trainer.kept]
        newest = step // 2
        assert names == [f"selfplay-{number}" for number in range(max(0, newest - 2), newest + 1)]
        assert {ref.name for ref in trainer.kept} == {"player"}
    assert states["player"]["snapshots"] == ["selfplay-2", "selfplay-3", "selfplay-4"]


@pytest.mark.parametrize("draw", ["latest", "uniform"])
def test_one_learning_role_is_live_and_the_others_are_snapshots(draw: str) -> None:
    trainer, states = Snapshots(), {}
    made = pools(phase(draw=draw, every=1, size=3), states, trainer)
    for step in range(4):
        made.refresh(("m1", "selfplay", step), nobody)
    seatings = made.seat(("m1", "selfplay", 3), 600)
    assert [seats["first"].live + seats["second"].live for seats in seatings] == [1] * 600
    assert {seats["judge"] for seats in seatings} == {PolicyRef("judge")}
    assert 250 < sum(seats["first"].live for seats in seatings) < 350
    drawn = Counter(ref.snapshot for seats in seatings for ref in seats.values() if not ref.live)
    if draw == "latest":
        assert drawn == {"selfplay-3": 600}
    else:
        assert set(drawn) == {"selfplay-1", "selfplay-2", "selfplay-3"}
        assert min(drawn.values()) > 150
    assert made.seat(("m1", "selfplay", 3), 600) == seatings
    assert made.seat(("m1", "selfplay", 4), 600) != seatings


def test_a_role_that_alone_learns_is_always_live() -> None:
    made = pools(phase(["second"], draw="latest"), {}, Snapshots())
    made.refresh(("m1", "selfplay", 0), nobody)
    for seats in made.seat(("m1", "selfplay", 0), 20):
        assert seats["second"].live
        assert seats["first"] == PolicyRef("player", "selfplay-0")


def test_only_what_the_live_policy_played_is_trained_on() -> None:
    trainer = Snapshots()
    live, old = PolicyRef("player"), PolicyRef("player", "selfplay-0")
    episodes = [
        episode({"first": live, "second": old}, 1, -1, ("e", 0)),
        episode({"first": old, "second": live}, 1, -1, ("e", 1)),
        episode({"first": live, "second": old}, 0, 0, ("e", 2)),
    ]
    Learner(trainer, {}, 0).learn(1, phase(draw="uniform"), 0, episodes)  # type: ignore[arg-type]
    [(policy, samples)] = trainer.trained
    assert policy == "player"
    assert {sample.policy for sample in samples} == {live}
    assert [sample.key for sample in samples] == [("e", 0, "first"), ("e", 2, "first"), ("e", 1, "second")]


def test_a_new_snapshot_meets_each_of_the_others_from_both_seats() -> None:
    met: list[Seats] = []
    made = pools(phase(draw="nash", every=1, matches=4), {}, Snapshots())
    for step in range(3):
        made.refresh(("m1", "selfplay", step), by_rank(lambda one, two: 1.0, met))
    pairs = Counter((seats["first"].snapshot, seats["second"].snapshot) for seats in met)
    names = ["selfplay-0", "selfplay-1", "selfplay-2"]
    assert pairs == {(one, two): 2 for one in names for two in names if one != two}
    # The first seat always wins: no snapshot is better than another.
    assert made.mixture("player") == pytest.approx([1 / 3] * 3)


def test_with_nash_opponents_come_from_the_equilibrium_of_what_was_won() -> None:
    def newer_wins(one: str, two: str) -> float:
        return 1.0 if one > two else -1.0

    states: dict[str, State] = {}
    made = pools(phase(draw="nash", every=1, size=3), states, Snapshots())
    for step in range(4):
        made.refresh(("m1", "selfplay", step), by_rank(newer_wins, []))
    assert made.mixture("player") == pytest.approx([0, 0, 1])
    drawn = {ref.snapshot for seats in made.seat(("k",), 50) for ref in seats.values() if not ref.live}
    assert drawn == {"selfplay-3"}
    assert {name for first, second, *_ in states["player"]["won"] for name in (first, second)} == set(
        states["player"]["snapshots"]
    )


def test_in_a_circle_nash_draws_all_alike() -> None:
    beats = {("selfplay-0", "selfplay-1"), ("selfplay-1", "selfplay-2"), ("selfplay-2", "selfplay-0")}
    made = pools(phase(draw="nash", every=1), {}, Snapshots())
    for step in range(3):
        made.refresh(("k", step), by_rank(lambda one, two: 1.0 if (one, two) in beats else -1.0, []))
    assert made.mixture("player") == pytest.approx([1 / 3] * 3)
