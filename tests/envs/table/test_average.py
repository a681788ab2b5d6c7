"""The mixture of policies as one behaviour policy: worth, against anyone, the mean of what its members are worth."""

import json

import numpy as np
import pytest

from piplay.envs.table import Kuhn
from piplay.envs.table.average import member, mixture, own_reach
from piplay.envs.table.solve import Policy, information_sets, uniform, value


def random_policy(seed: int) -> Policy:
    rng = np.random.default_rng(seed)
    shares = {(at.seat, at.view): tuple(rng.dirichlet(np.full(len(at.legal), 0.4))) for at in information_sets(Kuhn())}
    return lambda view, legal, seat: shares[seat, view]


def test_against_anyone_it_is_worth_the_mean_of_its_members() -> None:
    members = [random_policy(seed) for seed in range(4)]
    mixed = mixture(json.loads(json.dumps([member(Kuhn(), one) for one in members])))
    for other in (uniform, random_policy(9), members[0]):
        for seat in (0, 1):
            pairs = [(one, other) if seat == 0 else (other, one) for one in (*members, mixed)]
            *worths, found = [value(Kuhn(), pair)[seat] for pair in pairs]
            assert found == pytest.approx(np.mean(worths))


def test_reach_is_of_ones_own_moves_alone() -> None:
    policy = random_policy(1)
    reach = {(at.seat, at.view): share for at, share in own_reach(Kuhn(), policy).items()}
    assert len(reach) == 12
    for (seat, view), share in reach.items():
        expected = 1.0
        if "Actions: check bet" in view:
            opening = view.replace("Actions: check bet", "Actions: none").replace("call fold", "check bet")
            expected = policy(opening.replace("Pot: 3", "Pot: 2"), ("check", "bet"), 0)[0]
        assert share == pytest.approx(expected), (seat, view)


def test_a_view_that_nobody_plays_towards_is_played_evenly() -> None:
    def never_checks(view: str, legal: tuple[str, ...], seat: int) -> tuple[float, float]:
        return (0.0, 1.0)

    played = mixture([member(Kuhn(), never_checks)])
    for at in information_sets(Kuhn()):
        expected = (0.5, 0.5) if "Actions: check bet" in at.view else (0.0, 1.0)
        assert played(at.view, at.legal, at.seat) == expected
