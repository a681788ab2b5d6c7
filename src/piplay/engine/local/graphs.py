"""Decode steps as CUDA graphs: what is some thousands of launches becomes one (docs/performance.md).

A graph works on the tensors that it was captured with. So there is one for each set of shapes, which padding keeps few,
and a step's inputs are copied into it. Inputs are all that steps of the same shapes differ in, as long as weights and
cache stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from piplay.engine.local.cache import Batch
from piplay.errors import InputError, first_line, out_of_memory


def hidden(model: Any, ids_N: Tensor, position_N: Tensor, batch: Batch) -> Tensor:
    """Last hidden states (N, D) of a forward of the sampler's."""
    last: Tensor = model.base_model(
        input_ids=ids_N[None], position_ids=position_N[None], past_key_values=batch, view=batch
    ).last_hidden_state
    return last[0]


class Recorder:
    """Captures graphs that share the memory of their temporaries: a result is good until another is replayed."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._pool = device, torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def capture(self, forward: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """What computes ``forward`` again, and the tensor that it leaves the result in."""
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            forward()  # what libraries set up in their first call cannot be captured
        graph = torch.cuda.CUDAGraph()
        # Other threads may use the GPU meanwhile: that is no part of it.
        with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
            result = forward()
        return graph.replay, result


class Graphs:
    """The decode steps of one model over one cache."""

    def __init__(self, model: Any) -> None:
        self._model, self._pages = model, 0
        self._recorder: Recorder | None = None
        self._captured: dict[tuple[torch.Size, ...], tuple[list[Tensor], Callable[[], None], Tensor]] = {}

    def hidden(self, ids_N: Tensor, position_N: Tensor, batch: Batch) -> Tensor:
        """As ``hidden``, of a padded decode step; good until the next one.

        Raises:
            InputError: the model does something in its forward that no graph can hold.
        """
        if self._recorder is None or batch.pages != self._pages:
            # A cache that has grown lies elsewhere.
            self._captured, self._pages, self._recorder = {}, batch.pages, Recorder(ids_N.device)
        inputs = [ids_N, position_N, *batch.inputs]
        shapes = tuple(tensor.shape for tensor in inputs)
        if shapes not in self._captured:
            try:
                captured = self._recorder.capture(lambda: hidden(self._model, ids_N, position_N, batch))
            except RuntimeError as error:
                if out_of_memory(error):
                    raise
                raise InputError(
                    f"engine.cuda_graphs: this model's forward cannot be captured ({first_line(error)}): leave it out"
                ) from error
            self._captured[shapes] = inputs, *captured
        kept, replay, result = self._captured[shapes]
        for static, new in zip(kept, inputs, strict=True):
            static.copy_(new)
        replay()
        return result
