"""The trainer of one process and one device, whoever writes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from piplay.algo.losses.base import Loss
from piplay.engine.local.checkpointing import recomputing
from piplay.engine.local.policies import Policies
from piplay.engine.local.ranks import Ranks, deal
from piplay.engine.local.rows import has_loss
from piplay.engine.local.scored import score
from piplay.engine.local.update import Tally, Trainer
from piplay.errors import InputError, first_line
from piplay.settings import Lora, Policy
from piplay.types import Floats, PolicyRef, Sample


class LocalTrainer(ABC):
    """A ``Trainer`` over PyTorch and Hugging Face's model definitions. Whoever writes is told what changes."""

    def __init__(
        self,
        model_path: Path,
        policies: Mapping[str, Policy],
        *,
        seed: int,
        threads: int,
        micro_batch_tokens: int,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        lora: Lora = Lora(),  # noqa: B008 (frozen)
        checkpointing: bool = False,
    ) -> None:
        """See ``LocalEngine``."""
        torch.set_num_threads(threads)
        self._device = torch.device(device)
        self._policies = Policies(model_path, policies, self._device, dtype, lora, checkpointing, seed)
        self._seed, self._tokens = seed, micro_batch_tokens
        self._ranks: Ranks | None = None

    @abstractmethod
    def _writing(self, ref: PolicyRef) -> bool:
        """Whether a turn is being written under a policy, or waits to be."""

    @abstractmethod
    def _changed(self, ref: PolicyRef) -> None:
        """A policy's weights are others from now on, or gone."""

    def train(
        self, policy: str, samples: Sequence[Sample], losses: Mapping[str, Loss], lr: float | None = None
    ) -> dict[str, float]:
        """One optimiser step and one move of the followers; see ``protocol.Trainer.train``.

        Returns:
            ``loss`` (the sum of weight times loss), ``tokens`` (written by the model), and over these tokens
            ``entropy`` (of the student, in nats), ``logprob_diff_mean`` and ``logprob_diff_max`` (|trainer −
            sampler|); ``grad_norm`` (before clipping; 0 where the step was left out). And what each loss reports of the
            samples with its term, whatever its weights: see ``metrics`` of the losses. A name that an earlier loss has
            too gets the term before it.
        """
        changing = [PolicyRef(name) for name in (policy, *self._policies.followers(policy))]
        self._refuse_while_writing(changing)
        tally, any_loss = self._accumulate(policy, samples, losses), any(map(has_loss, samples))
        metrics = tally.metrics() | {"grad_norm": self.step(policy, lr, any_loss)}
        for ref in changing:
            self._changed(ref)
        return metrics

    def _accumulate(self, policy: str, samples: Sequence[Sample], losses: Mapping[str, Loss]) -> Tally:
        """The gradients of all samples, summed over the ranks where there are several."""
        if self._ranks is None:
            return self.gradients(policy, samples, losses)
        # Here, where what is wrong can be said.
        self._trainer(PolicyRef(policy), losses).check(samples)
        parts = deal(samples, 1 + len(self._ranks.children))
        mine, *others = [[samples[i] for i in part] for part in parts]
        self._ranks.begin(policy, others, losses)
        found = [self.gradients(policy, mine, losses), *self._ranks.sum(self._policies.masters(policy))]
        tally = Tally(losses)
        for part, one in zip(parts, found, strict=True):
            tally.join(one, part)
        return tally

    def gradients(self, policy: str, samples: Sequence[Sample], losses: Mapping[str, Loss]) -> Tally:
        """Make the gradients of these samples alone, in the place of those that there were."""
        student = self._policies.trained(policy)
        with recomputing(student):
            return self._trainer(PolicyRef(policy), losses).accumulate(samples)

    def _trainer(self, policy: PolicyRef, losses: Mapping[str, Loss]) -> Trainer:
        asked = {scoring.policy for loss in losses.values() for scoring in loss.scorings}
        others = {name: self._policies.model(PolicyRef.of(name)) for name in sorted(asked)}
        return Trainer(self._policies.model(policy), losses, others, self._tokens)

    def step(self, policy: str, lr: float | None, any_loss: bool) -> float:
        """One optimiser step, left out where there was no loss, and one move of the followers; the gradients' norm."""
        if self._ranks is not None:
            self._ranks.step(policy, lr, any_loss)
        norm = self._policies.step(policy, lr) if any_loss else 0.0
        self._policies.follow(policy)
        return norm

    def score(self, policy: PolicyRef, samples: Sequence[Sample], view: str = "") -> list[Floats]:
        return score(self._policies.model(policy), samples, view, self._tokens)

    def read(self, policy: PolicyRef, samples: Sequence[Sample], losses: Mapping[str, Loss]) -> list[dict[str, Floats]]:
        return self._trainer(policy, losses).read(samples)

    def snapshot(self, policy: str, name: str) -> PolicyRef:
        if self._ranks is not None:
            self._ranks.all("snapshot", policy, name)
        return self._policies.snapshot(policy, name)

    def forget(self, snapshot: PolicyRef) -> None:
        self._refuse_while_writing([snapshot])
        if self._ranks is not None:
            self._ranks.all("forget", snapshot)
        self._policies.forget(snapshot)
        self._changed(snapshot)

    def save(self, folder: Path) -> None:
        self._policies.save(folder)

    def load(self, folder: Path) -> None:
        before = self._policies.refs()
        self._refuse_while_writing(before)
        for ref in before:
            self._changed(ref)
        if self._ranks is not None:
            self._ranks.all("load", folder)
        self._policies.load(folder)

    def export(self, policy: str, folder: Path) -> None:
        self._policies.export(policy, folder)

    def _refuse_while_writing(self, refs: Sequence[PolicyRef]) -> None:
        for ref in refs:
            if self._writing(ref):
                raise ValueError(f"policy {ref} cannot change while it is writing")


def check_device(device: str) -> None:
    """Raises ``InputError`` where torch has no such device here."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"the device {device!r} cannot be used here ({first_line(error)}): name another") from error
