"""What moves weights: AdamW, or Muon for a model's matrices beside it, and how their state is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import Parameter

from piplay.engine.local.sharded import own_part

Kind = Literal["adamw", "muon"]


@dataclass(frozen=True, slots=True)
class Optimizer:
    """The optimisers of one policy by name; they share a learning rate."""

    parts: Mapping[str, torch.optim.Optimizer]

    @classmethod
    def of(cls, kind: Kind, weights: Mapping[str, Parameter], weight_decay: float) -> Optimizer:
        """AdamW over all weights, or Muon (Jordan et al. 2024) over the matrices and AdamW over the rest.

        Muon's steps are scaled to AdamW's root mean square (Liu et al. 2025, arXiv 2502.16982), so one rate serves
        both. Embeddings and the head stay with AdamW.
        """
        muon = {
            name: weight
            for name, weight in weights.items()
            if kind == "muon" and weight.ndim == 2 and not any(part in name for part in ("embed", "lm_head"))
        }
        others = [weight for name, weight in weights.items() if name not in muon]
        parts: dict[str, torch.optim.Optimizer] = {
            "adamw": torch.optim.AdamW(others, weight_decay=weight_decay, fused=True)
        }
        if muon:
            parts["muon"] = torch.optim.Muon(
                list(muon.values()), weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
            )
        return cls(parts)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self.parts.values():
            part.zero_grad(set_to_none=True)

    def step(self, lr: float) -> None:
        """One step at this rate."""
        for part in self.parts.values():
            for group in part.param_groups:
                group["lr"] = lr
            part.step()

    def state(self) -> dict[str, Tensor]:
        """Its moments under names of files, ``PART.WEIGHT.ENTRY``."""
        return {
            f"{name}.{index}.{key}": value
            for name, part in self.parts.items()
            for index, entry in part.state_dict()["state"].items()
            for key, value in entry.items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Read back what ``state`` gave, among other tensors."""
        for name, part in self.parts.items():
            weights = [weight for group in part.param_groups for weight in group["params"]]
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                kind, _, rest = key.partition(".")
                if kind == name:
                    index, _, entry = rest.partition(".")
                    weight = weights[int(index)]
                    shared = value.shape == weight.shape
                    # A copy: else it is a view of the file, all of which stays mapped for as long as the optimiser.
                    state.setdefault(int(index), {})[entry] = (own_part(value, weight) if shared else value).clone()
            part.load_state_dict({"state": state, "param_groups": part.state_dict()["param_groups"]})
