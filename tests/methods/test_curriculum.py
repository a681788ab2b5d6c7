import pytest

from piplay.methods.pi_play.curriculum import faded, hop_shares


def test_the_share_goes_where_answers_differ() -> None:
    # 40 : 30 : 20 : 10 by hop; torn 0 of 9, 5 of 9, 0 of 4, none tried; so i = .1, .6, .2, 1.
    odds = hop_shares((4, 3, 2, 1), {"2": 5}, {"1": 9, "2": 9, "3": 4}, curriculum=0.5)
    parts = [0.4 * 0.1, 0.3 * 0.6, 0.2 * 0.2, 0.1 * 1.0]
    wanted = [0.5 * p + 0.5 * part / sum(parts) for p, part in zip([0.4, 0.3, 0.2, 0.1], parts, strict=True)]
    assert odds == pytest.approx(wanted)
    assert sum(odds) == pytest.approx(1)


def test_without_a_share_the_odds_stay_as_they_are() -> None:
    assert hop_shares((3, 1), {"1": 7}, {"1": 9, "2": 20}, curriculum=0) == [0.75, 0.25]


def test_a_hop_count_with_odds_of_nothing_is_never_played() -> None:
    assert hop_shares((0, 1, 1), {}, {}, curriculum=1) == [0, 0.5, 0.5]


def test_older_counts_fade() -> None:
    counts: dict[str, float] = {}
    for _ in range(200):
        counts = faded(counts, {"2": 3})
    assert counts["2"] == pytest.approx(3 / (1 - 0.8))
    assert faded(counts, {"1": 1}) == pytest.approx({"1": 1, "2": 0.8 * counts["2"]})
