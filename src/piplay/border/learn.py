"""What advantages and losses give while policies learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from piplay.border.code import kind_of, name_of, own
from piplay.errors import InputError
from piplay.types import Floats


def advantages_of(advantage: Any, scored: Sequence[Any]) -> Floats:
    """An advantage's numbers (N,), one a trajectory."""
    name = name_of(advantage)
    with own(name):
        found = advantage(scored)
    return _floats(found, len(scored), f"{name}: the advantages", "one number a trajectory")


def weights_of(loss: Any, batch: Any, coefficient: float) -> list[Floats]:
    """A loss's weights, one array (T,) a trajectory."""
    name = f"{name_of(loss)}.weights"
    with own(name):
        found = loss.weights(batch, coefficient)
    if not isinstance(found, list | tuple) or len(found) != len(batch.scored):
        raise InputError(f"{name} gave {_shape(found)} for {len(batch.scored)} trajectories: give one array each")
    return [
        _floats(weight_T, len(trained_T), f"{name}: the weights of a trajectory", "one number a token")
        for weight_T, trained_T in zip(found, batch.trained, strict=True)
    ]


def losses_of(loss: Any, rows: Any) -> tuple[Any, dict[str, Any]]:
    """A loss's sum over some rows, and what each row reports under the names of ``metrics``, and ``loss``.

    On a GPU only shapes are looked at: there a value would have to be waited for.
    """
    name = name_of(loss)
    with own(name):
        found = loss(rows)
    if not isinstance(found, tuple) or len(found) != 2 or not isinstance(found[1], dict):
        raise InputError(f"{name} gave {kind_of(found)} when it was called: give the sum, and what rows report")
    value, reported = found
    if getattr(value, "shape", None) != ():
        raise InputError(f"{name}: the loss is {_shape(value)}: give one tensor, the sum over the rows")
    if rows.logp_R.requires_grad and not value.requires_grad:
        raise InputError(
            f"{name}: the loss has no gradient, so nothing would be learnt from it: compute it from rows.logp_R or "
            "rows.logp_R_V, and detach no more than what is reported"
        )
    ours = name.startswith("piplay.")  # where their sums are not finite, weights are no longer
    if not ours and value.device.type == "cpu" and not value.isfinite() and rows.logp_R.isfinite().all():
        raise InputError(
            f"{name}: the loss is {float(value.detach())} over {len(rows.logp_R)} rows: correct its formula"
        )
    for metric in ("loss", *loss.metrics):
        if metric not in reported:
            raise InputError(f"{name} does not report {metric!r}: give a value a row of it, and of each of `metrics`")
    length = rows.logp_R.shape
    for metric, value_R in reported.items():
        if getattr(value_R, "shape", None) != length:
            raise InputError(f"{name}: {metric!r} is {_shape(value_R)}: give a tensor of {length[0]} rows")
        if value_R.requires_grad:
            raise InputError(f"{name}: {metric!r} has a gradient: report it without, as .detach() gives it")
        if metric != "loss" and metric not in loss.metrics:
            raise InputError(f"{name} reports {metric!r}: say in `metrics` how rows become one number")
    return value, reported


def _floats(values: Any, length: int, what: str, each: str) -> Floats:
    """The same values as float32, where they are finite numbers and so many."""
    if isinstance(values, np.ndarray) and values.dtype == np.float32:
        found = values
    else:
        try:
            found = np.asarray(values, dtype=np.float32)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"{what} are {_shape(values)}, which holds no numbers: give {each}") from error
    if found.shape != (length,):
        raise InputError(f"{what} are {_shape(values)}, and {length} are wanted: give {each}")
    if not np.isfinite(found).all():
        raise InputError(f"{what} are not finite: give finite numbers")
    return found


def _shape(value: Any) -> str:
    """What a value is, with its shape or length."""
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"an array of shape {tuple(shape)}"
    return f"{kind_of(value)} of {len(value)}" if isinstance(value, list | tuple | dict) else kind_of(value)
