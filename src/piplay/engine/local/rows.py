"""Samples as rows of sequences laid end to end, without padding, and the forward of a row.

A prompt that the rollouts of one question have in common stands in a row once. Of a row only the places that predict a
token the model wrote go on to the vocabulary.

``_N``: a place of a row; ``_R``: a model token of it; ``_D``: the model's width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from piplay.algo.packing import fill, lay_out
from piplay.engine.local.attention import Packed
from piplay.types import Ints, Owner, Sample


def check_arrays(sample: Sample) -> None:
    """Raises ``ValueError`` for a model token in a sample's prompt, or arrays of different lengths."""
    if (sample.owner_T[: max(sample.prompt_len, 1)] == Owner.MODEL).any():
        raise ValueError(f"sample {sample.key} has a model token in its prompt")
    arrays: list[np.ndarray[Any, Any]] = [sample.owner_T, sample.logprobs_T, *sample.terms.values()]
    if any(len(array) != len(sample.ids_T) for array in arrays):
        raise ValueError(f"sample {sample.key} has arrays of different lengths")


def check_view(sample: Sample, view: str) -> None:
    """Raises ``ValueError`` where a sample lacks a view."""
    if view and view not in sample.views:
        raise ValueError(f"sample {sample.key} has no view {view!r}, only {sorted(sample.views) or 'its own prompt'}")


def has_loss(sample: Sample) -> bool:
    """Whether any of its model tokens has a weight."""
    written_T = sample.owner_T == Owner.MODEL
    return any(bool(weight_T[written_T].any()) for weight_T in sample.terms.values())


def written(sample: Sample) -> Ints:
    """Where its model tokens stand."""
    return np.flatnonzero(sample.owner_T == Owner.MODEL)


def _prompt(sample: Sample, view: str = "") -> Ints:
    """What stands before the response in one of a sample's views, by default its own."""
    return sample.views[view] if view else sample.ids_T[: sample.prompt_len]


def filled(samples: Sequence[Sample], members: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Rows of ``members`` (indices into ``samples``) that have model tokens, equal prompts side by side."""
    first: dict[bytes, int] = {}
    begun = [first.setdefault(_prompt(sample).tobytes(), number) for number, sample in enumerate(samples)]
    ordered = sorted((i for i in members if written(samples[i]).size), key=begun.__getitem__)
    whole, added = _costs([samples[i] for i in ordered])
    for row in fill(range(len(ordered)), whole, added, budget):
        yield [ordered[place] for place in row]


def _costs(samples: Sequence[Sample]) -> tuple[list[int], list[int]]:
    """Tokens that each sample takes of a row by itself and behind the sample before it, in the longest of its views."""
    whole, added = [], []
    before: dict[str, Ints] = {}
    for sample in samples:
        response = len(sample.ids_T) - sample.prompt_len
        prompts = {view: _prompt(sample, view) for view in ("", *sample.views)}
        new = [
            0 if view in before and np.array_equal(prompt, before[view]) else len(prompt)
            for view, prompt in prompts.items()
        ]
        whole.append(response + max(map(len, prompts.values())))
        added.append(response + max(new))
        before = prompts
    return whole, added


def predicting(model: Any, samples: Sequence[Sample], view: str = "") -> Tensor:
    """Hidden states (R, D) that predict the samples' model tokens, behind the prompts of a view."""
    layout = lay_out(
        [_prompt(sample, view) for sample in samples],
        [sample.ids_T[sample.prompt_len :] for sample in samples],
        [written(sample) - sample.prompt_len for sample in samples],
    )

    def on_device(array: Ints) -> Tensor:
        return torch.from_numpy(array).to(model.device)

    hidden_1_N_D = model.base_model(
        input_ids=on_device(layout.ids_N)[None],
        position_ids=on_device(layout.position_N)[None],
        use_cache=False,
        view=Packed(layout.lengths, layout.parents, model.device),
    ).last_hidden_state
    # Not by indexing: on several threads its backward adds what stands at one place in any order.
    picked: Tensor = hidden_1_N_D[0].index_select(0, on_device(layout.row_R))
    return picked
