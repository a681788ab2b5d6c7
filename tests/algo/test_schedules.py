import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from piplay.algo.schedules import Number, Schedule, resolved, value
from piplay.errors import InputError

numbers = TypeAdapter(Number)
RAMP = {"from": 0.3, "to": 0.0, "steps": 100, "shape": "cosine"}


def test_decay_starts_with_the_second_iteration() -> None:
    weight = numbers.validate_python({"start": 0.8, "decay": 0.5})
    assert [value(weight, m, update=7) for m in (1, 2, 3)] == [0.8, 0.4, 0.2]
    with pytest.raises(ValueError, match="from 1"):
        value(weight, 0, 0)


def test_a_plain_number_stays() -> None:
    assert [value(numbers.validate_python(2), m, u) for m, u in ((1, 0), (3, 50))] == [2.0, 2.0]


def test_the_curriculum_of_spear() -> None:
    """Bonus of 3 calls .30, .15, 0 and replay coefficient 0, .5, 1 at updates 0, 50 and 100, T = 100."""
    bonus = numbers.validate_python(RAMP)
    replay = numbers.validate_python({"from": 0, "to": 1, "steps": 100, "shape": "cosine"})
    assert [value(bonus, 1, u) for u in (0, 50, 100, 180)] == pytest.approx([0.3, 0.15, 0, 0])
    assert [value(replay, 1, u) for u in (0, 50, 100, 180)] == pytest.approx([0, 0.5, 1, 1])


@given(st.floats(-5, 5), st.floats(-5, 5), st.integers(1, 50), st.integers(0, 60))
def test_both_shapes_go_from_end_to_end(first: float, last: float, steps: int, update: int) -> None:
    share = min(update, steps) / steps
    linear = Schedule.model_validate({"from": first, "to": last, "steps": steps})
    cosine = Schedule.model_validate({"from": first, "to": last, "steps": steps, "shape": "cosine"})
    assert value(linear, 1, update) == pytest.approx((1 - share) * first + share * last)
    expected = last + (first - last) * (1 + math.cos(math.pi * share)) / 2
    assert value(cosine, 1, update) == pytest.approx(expected)


def test_options_are_resolved_wherever_they_stand() -> None:
    options = {"eps": RAMP, "old": "sampler", "inner": {"list": [1, {"start": 2.0, "decay": 0.5}], "start": "x"}}
    assert resolved(options, 2, 100) == {"eps": 0.0, "old": "sampler", "inner": {"list": [1, 1.0], "start": "x"}}
    assert resolved({"eps": Schedule.model_validate(RAMP)}, 1, 0) == {"eps": 0.3}


def test_it_is_written_as_it_was_read() -> None:
    for tree in (RAMP, {"start": 1.0, "decay": 0.5}):
        assert numbers.dump_python(numbers.validate_python(tree), mode="json") == tree


@pytest.mark.parametrize(
    ("tree", "complaint"),
    [
        ({"start": 1.0}, "lr: a schedule needs start and decay, or from, to and steps; this one has start"),
        ({"from": 1.0, "to": 0.0}, "needs start and decay, or from, to and steps"),
        ({"start": 1.0, "decay": 0.5, "steps": 3}, "this one has start, decay, steps"),
        ({"from": 1.0, "to": 0.0, "steps": 0}, "lr.steps: .*greater than or equal to 1"),
        ({"from": 1.0, "to": 0.0, "steps": 3, "shape": "round"}, "lr.shape: .*'linear' or 'cosine'"),
    ],
)
def test_a_wrong_schedule_is_named(tree: dict[str, object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        resolved({"lr": tree}, 1, 0)
    with pytest.raises(ValidationError):
        numbers.validate_python(tree)
