"""Where things are drawn, read back from the drawing."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parsed import drawn, figure, heights, parse, said

from piplay.report.bars import before_after, funnel, heat_map, stacked_over_steps, times
from piplay.report.curves import Curve, over_iterations, over_steps, thinned
from piplay.report.svg import Block, ticks

BLOCKS = [Block(1, 3, 1, "examine", "E", 0), Block(4, 8, 1, "study", "S", 1), Block(9, 11, 2, "examine", "E", 0)]
VALUES = st.floats(-1e6, 1e6).filter(lambda v: v == 0 or abs(v) > 1e-6)


@given(VALUES, VALUES)
def test_ticks_enclose_what_is_drawn(a: float, b: float) -> None:
    low, high = sorted((a, b))
    marks = ticks(low, high)
    unseen = 1e-8 * (high - low) + 1e-9 * (abs(high) + abs(low))
    assert marks[0] <= low + unseen
    assert marks[-1] >= high - unseen
    assert 2 <= len(marks) <= 9
    steps = {round(y - x, 9) for x, y in pairwise(marks)}
    assert max(steps) - min(steps) <= 1e-6 * max(steps) + 1e-9


@pytest.mark.slow
@given(st.lists(st.floats(0, 3), min_size=8, max_size=8))
def test_curves_are_drawn_at_their_values(values: list[float]) -> None:
    study = list(zip(range(4, 9), values[3:], strict=True))
    lines = [Curve("kl", [list(zip(range(1, 4), values, strict=False)), study]), Curve("other", [[(9.0, 1.5)]])]
    chart = parse(over_steps("T", "nats", "Healthy.", lines, BLOCKS))
    slope, _ = heights(chart)
    assert drawn(chart)["kl"] == pytest.approx(values, abs=0.06 * abs(slope) + 1e-9)
    assert drawn(chart)["other"] == pytest.approx([1.5], abs=0.06 * abs(slope) + 1e-9)
    assert list(said(chart)["kl"]) == list(range(1, 9))
    assert [len(line.attributes["points"].split()) for line in chart.all("polyline")] == [3, 5, 1]
    assert len(chart.all("rect")) == len(BLOCKS)


def test_names_beside_the_lines_do_not_overlap() -> None:
    lines = [Curve(f"{h} hops", [[(0.0, 0.5), (2.0, 1.0)]]) for h in range(1, 7)]
    chart = parse(over_iterations("T", "share", "Healthy.", lines))
    names = [float(n.attributes["y"]) for n in chart.all("text") if n.text.endswith("hops")]
    assert len(names) == 6
    assert min(b - a for a, b in pairwise(sorted(names))) >= 11.9


def test_many_points_are_averaged() -> None:
    points = [(float(i), math.sin(i)) for i in range(1, 10001)]
    whole, rest = thinned([points[:9000], points[9000:]], 250)
    assert (len(whole), len(rest)) == (225, 25)
    assert sum(y for _, y in [*whole, *rest]) / 250 == pytest.approx(sum(y for _, y in points) / 10000)
    assert whole[1] == pytest.approx((60.5, sum(y for _, y in points[40:80]) / 40))
    assert thinned([points[:3], points[3:5]]) == [points[:3], points[3:5]]


def test_bars_stand_as_high_as_their_rates() -> None:
    chart = parse(before_after("T", "share", "Healthy.", [("1 hop", 20, 0.9, 0.95), ("2 hops", 40, 0.0, 0.35)]))
    slope, _ = heights(chart)
    for style, rates in (("before", [0.9, 0.0]), ("after", [0.95, 0.35])):
        high = [-slope * float(bar.attributes["height"]) for bar in chart.all("rect", style)]
        assert high == pytest.approx(rates, abs=0.002)
    assert "0.35 of 40 questions (95 % interval 0.22 to 0.50)" in chart.text


def test_before_alone_has_one_bar_a_group() -> None:
    chart = parse(before_after("T", "share", "Healthy.", [("1 hop", 20, 0.9, None)]))
    assert len(chart.all("rect")) == 1


def test_the_k_histogram_fills_each_step() -> None:
    counts = {1: {0: 4, 5: 4}, 2: {1: 8}, 9: {0: 1, 2: 2, 5: 5}}
    chart = parse(stacked_over_steps("T", "share", "Healthy.", counts, BLOCKS))
    slope, _ = heights(chart)
    for step, found in counts.items():
        bars = [b for b in chart.all("rect") if b.text.startswith(f"step {step}: k")]
        assert sum(-slope * float(b.attributes["height"]) for b in bars) == pytest.approx(1, abs=0.01)
        shares = {k: n / 8 for k, n in found.items()}
        read = {int(b.text.partition("k = ")[2][0]): -slope * float(b.attributes["height"]) for b in bars}
        assert read == pytest.approx(shares, abs=0.005)


def test_a_long_k_histogram_adds_neighbours_up() -> None:
    counts = {step: {step % 3: 10} for step in range(1, 1000)}
    chart = parse(stacked_over_steps("T", "share", "Healthy.", counts, [Block(1, 999, 1, "study", "S", 0)]))
    bars = [b.all("title")[0].text for b in chart.all("rect") if "of" in b.text]
    assert len(bars) <= 3 * 120
    assert sum(int(text.split(" for ")[1].split()[0]) for text in bars) == 9990


def test_a_funnel_loses_what_each_gate_refuses() -> None:
    chart = parse(funnel("T", "questions", "Healthy.", {"format": 30, "leak": 0, "hops": 20}, 50))
    kept = [float(b.attributes["width"]) for b in chart.all("rect", "kept")]
    assert [w / kept[0] for w in kept] == pytest.approx([1, 0.7, 0.7, 0.5, 0.5], abs=0.001)
    assert [n.text for n in chart.all("text", "value")] == ["100", "−30", "0", "−20", "50"]


def test_a_heat_map_shades_by_its_numbers() -> None:
    chart = parse(heat_map("T", "share", "Healthy.", ["base", "1"], {"one": [0.2, 0.9], "two": [0.0, 1.0]}, "student"))
    assert [n.text for n in chart.all("text", "value")] == ["0.20", "0.90", "0.00", "1.00"]
    assert [float(b.attributes["fill-opacity"]) for b in chart.all("rect")] == [0.2, 0.9, 0.0, 1.0]


def test_time_is_cut_into_parts() -> None:
    chart = parse(times("T", "s", "Healthy.", {"study": {"play": 30.0, "train": 60.0}, "write": {"play": 10.0}}))
    wide = [float(b.attributes["width"]) for b in chart.all("rect") if b.text.endswith(" s")]
    assert [w / wide[0] for w in wide] == pytest.approx([1, 2, 1 / 3], abs=0.01)
    assert [n.text for n in chart.all("text", "value")] == ["90", "10"]


def test_every_chart_says_what_it_shows() -> None:
    for chart in (
        over_iterations("Reward", "mean", "Healthy: yes.", [Curve("a", [[(0.0, 0.1)]])]),
        funnel("Reward", "mean", "Healthy: yes.", {"leak": 1}, 2),
        times("Reward", "mean", "Healthy: yes.", {"study": {"play": 0.0}}),
    ):
        tree = figure(parse(chart), "Reward")
        assert tree.all("h3")[0].text == "Reward mean"
        assert tree.all("figcaption")[0].text == "Healthy: yes."
        assert tree.all("svg")[0].attributes["aria-label"] == "Reward"
