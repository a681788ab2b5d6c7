"""What an advantage or a loss of one's own does wrong is one sentence that names it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from border_helpers import loop_of, settings

from piplay.algo.losses.base import Batch, Scoring, over_tokens
from piplay.border.learn import losses_of
from piplay.chat.base import Chat
from piplay.errors import InputError
from piplay.settings import Learn
from piplay.training.learner import make_advantage, make_losses
from piplay.types import Floats, ScoredTrajectory, State

HERE = Path(__file__).name


def advantage(found: Any, kept: Any = 0.0) -> type[Any]:
    @dataclass
    class Mine:
        state: State

        def __call__(self, scored: Sequence[ScoredTrajectory]) -> Any:
            self.state["kept"] = kept
            return found(scored) if callable(found) else found

    return Mine


class Uncalled:
    def __init__(self, state: State) -> None: ...


ADVANTAGES: dict[str, tuple[Any, str]] = {
    "too short": (
        advantage(np.zeros(1, np.float32)),
        r"Mine: the advantages are an array of shape \(1,\), and 2 are wa",
    ),
    "of two axes": (advantage(np.zeros((2, 1), np.float32)), r"an array of shape \(2, 1\)"),
    "nothing": (
        advantage(None),
        r"Mine: the advantages are None, which holds no numbers|Mine: the advantages are None",
    ),
    "texts": (advantage(["a", "b"]), r"Mine: the advantages are a list of 2, which holds no numbers"),
    "not finite": (advantage([0.0, float("inf")]), r"Mine: the advantages are not finite"),
    "an error": (
        advantage(lambda scored: 1 / 0),
        rf"Mine raised ZeroDivisionError: division by zero \({HERE}, line \d+\)",
    ),
    "an array in its state": (
        advantage([0.0, 0.0], np.zeros(2)),
        r"the state of the advantage \S+:Now cannot be kept in a checkpoint: state\['kept'\] is a ndarray",
    ),
    "no call": (Uncalled, r":Uncalled has no method '__call__': an advantage needs __call__"),
}


@pytest.mark.parametrize("case", ADVANTAGES)
def test_an_advantage_that_is_wrong_is_named(
    tiny_chat: Chat, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, sentence = ADVANTAGES[case]
    monkeypatch.setitem(globals(), "Now", kind)
    config = settings("border_helpers:Guess", learn={"guesser": {"advantage": f"{__name__}:Now"}})
    with pytest.raises(InputError, match=sentence):
        loop_of(config, tiny_chat, tmp_path / "run").train()


def test_an_advantage_may_give_any_numbers(tiny_chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "Now", advantage([1, np.float64(0.5)]))
    config = settings("border_helpers:Guess", learn={"guesser": {"advantage": f"{__name__}:Now"}})
    loop_of(config, tiny_chat, tmp_path / "run").train()


@dataclass(frozen=True)
class Good:
    """A loss of 0."""

    metrics: ClassVar = {"zero": "mean"}
    scorings = ()

    def weights(self, batch: Batch, coefficient: float) -> list[Floats]:
        return over_tokens(batch, coefficient)

    def __call__(self, rows: Any) -> Any:
        zero_R = torch.zeros_like(rows.logp_R)
        return zero_R.sum(), {"loss": zero_R, "zero": zero_R}


def without(name: str) -> type[Any]:
    parts = ("metrics", "scorings", "weights", "__call__")
    return type("Part", (), {part: vars(Good)[part] for part in parts if part != name})


def test_a_loss_that_lacks_a_part_is_refused_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    learn = Learn.model_validate({"losses": {"mine": {"kind": f"{__name__}:Now"}}})
    monkeypatch.setitem(globals(), "Now", Good)
    assert set(make_losses(learn)) == {"mine"}
    for name in ("metrics", "scorings", "weights", "__call__"):
        monkeypatch.setitem(globals(), "Now", without(name))
        with pytest.raises(InputError, match=rf":Part has no (method )?{name!r}: a loss needs"):
            make_losses(learn)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"metrics": {"zero": "average"}}, r":Changed.metrics is \{'zero': 'average'\}.*one of sum, mean and rollout"),
        ({"metrics": ("zero",)}, r":Changed.metrics is \('zero',\)"),
        ({"metrics": {"reward": "mean"}}, r":Changed.metrics: 'reward' is logged of every role already"),
        ({"metrics": {"grad_norm": "mean"}}, r":Changed.metrics: 'grad_norm' is logged of every role already"),
        ({"scorings": Scoring("teacher")}, r":Changed.scorings is a Scoring: make it a property that gives a tuple"),
        ({"scorings": lambda self: ()}, r":Changed.scorings is a method: make it a property"),
    ],
)
def test_a_loss_whose_metrics_or_scorings_are_none_is_refused(
    changes: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "Now", type("Changed", (Good,), changes))
    with pytest.raises(InputError, match=sentence):
        make_losses(Learn.model_validate({"losses": {"mine": {"kind": f"{__name__}:Now"}}}))


def test_parts_of_no_such_kind_say_what_they_need() -> None:
    with pytest.raises(InputError, match="no method '__call__': an advantage needs"):
        make_advantage(Learn.model_validate({"advantage": f"{__name__}:Uncalled"}), {})


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (None, r":Weighing.weights gave None for 2 trajectories: give one array each"),
        ([np.zeros(3, np.float32)], r":Weighing.weights gave a list of 1 for 2 trajectories"),
        (
            [np.zeros(3, np.float32)] * 2,
            r"the weights of a trajectory are an array of shape \(3,\), and \d+ are wanted",
        ),
    ],
)
def test_weights_of_the_wrong_length_are_refused(
    tiny_chat: Chat, tmp_path: Path, found: Any, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weighing = type("Weighing", (Good,), {"weights": lambda self, batch, coefficient: found})
    monkeypatch.setitem(globals(), "Now", weighing)
    config = settings("border_helpers:Guess", learn={"guesser": {"losses": {"mine": {"kind": f"{__name__}:Now"}}}})
    with pytest.raises(InputError, match=sentence):
        loop_of(config, tiny_chat, tmp_path / "run").train()


ROWS = SimpleNamespace(logp_R=torch.zeros(4))
ZERO_R = torch.zeros(4)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (None, r":Giving gave None when it was called"),
        (ZERO_R.sum(), r":Giving gave a Tensor when it was called: give the sum, and what rows report"),
        ((ZERO_R, {"loss": ZERO_R, "zero": ZERO_R}), r":Giving: the loss is an array of shape \(4,\): give one tensor"),
        ((ZERO_R.sum(), {"zero": ZERO_R}), r":Giving does not report 'loss'"),
        ((ZERO_R.sum(), {"loss": ZERO_R}), r":Giving does not report 'zero'"),
        (
            (ZERO_R.sum(), {"loss": ZERO_R, "zero": ZERO_R.sum()}),
            r":Giving: 'zero' is an array of shape \(\): give a ten",
        ),
        ((ZERO_R.sum(), {"loss": ZERO_R, "zero": ZERO_R, "more": ZERO_R}), r":Giving reports 'more': say in `metrics`"),
    ],
)
def test_what_a_loss_gives_has_to_fit_its_rows(found: Any, sentence: str) -> None:
    loss = type("Giving", (Good,), {"__call__": lambda self, rows: found})()
    with pytest.raises(InputError, match=sentence):
        losses_of(loss, ROWS)


def test_a_loss_that_fits_passes_untouched() -> None:
    value, reported = losses_of(Good(), ROWS)
    assert value.shape == ()
    assert set(reported) == {"loss", "zero"}
