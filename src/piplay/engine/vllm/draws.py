"""This project's draw within vLLM: a logits processor after which the most likely token is the one that was drawn.

vLLM then chooses greedily. So a token depends on its request's key and its place in the turn alone: not on who else is
in the batch, on the process, or on how often the request was sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from vllm.config import VllmConfig
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor, MoveDirectionality

from piplay.engine.local.generate import draw
from piplay.engine.protocol import Generate
from piplay.streams import stream
from piplay.types import Ints


def asking(request: Generate, seed: int) -> dict[str, Any]:
    """What a request's sampling parameters carry as ``extra_args``."""
    return {"seed": seed, "key": list(request.key), "temperature": request.temperature}


def telling(ids_T: Ints) -> dict[str, Any]:
    """The same of a request that is to write certain tokens, so that its log-probabilities are theirs."""
    return {"told": ids_T.tolist()}


@dataclass(frozen=True, slots=True)
class _Row:
    """A request of the batch whose tokens vLLM does not choose."""

    written: list[int]
    """vLLM's own list, which grows by each token."""
    uniforms: npt.NDArray[np.float64]
    """One a token of the turn, in order."""
    temperature: float
    told: list[int]
    """The tokens themselves, where they are told."""


class Draws(LogitsProcessor):  # type: ignore[misc]
    """Replaces the logits of a row by those of one certain token, where its request has a temperature or is told."""

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        self._device = device
        self._rows: dict[int, _Row] = {}

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        if batch_update is None:
            return
        for row in batch_update.removed:
            self._rows.pop(row, None)
        for row, params, _, written in batch_update.added:
            asked = params.extra_args or {}
            self._rows.pop(row, None)
            if "told" in asked:
                self._rows[row] = _Row(written, np.zeros(params.max_tokens), 1.0, asked["told"])
            elif asked.get("temperature"):
                uniforms = stream(asked["seed"], tuple(asked["key"])).random(params.max_tokens)
                self._rows[row] = _Row(written, uniforms, asked["temperature"], [])
        for one, other, direction in batch_update.moved:
            moved, replaced = self._rows.pop(one, None), self._rows.pop(other, None)
            if moved is not None:
                self._rows[other] = moved
            if replaced is not None and direction is MoveDirectionality.SWAP:
                self._rows[one] = replaced

    def apply(self, logits: Tensor) -> Tensor:
        if not self._rows:
            return logits
        rows = [self._rows[row] for row in sorted(self._rows)]
        row_R = torch.tensor(sorted(self._rows), device=self._device)
        chosen_R, _ = draw(
            logits[row_R],
            torch.tensor([row.uniforms[len(row.written)] for row in rows], device=self._device),
            torch.tensor([row.temperature for row in rows], dtype=torch.float32, device=self._device),
        )
        for place, row in enumerate(rows):
            if row.told:
                chosen_R[place] = row.told[len(row.written)]
        logits[row_R] = -torch.inf
        logits[row_R, chosen_R] = 0.0
        return logits
