"""The trainer of one process and one device, whoever writes."""

from __future__ import annotations

import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from piplay.algo.losses.base import Loss
from piplay.engine.local.checkpointing import recomputing
from piplay.engine.local.freed import give_back
from piplay.engine.local.policies import Policies
from piplay.engine.local.ranks import Ranks, deal
from piplay.engine.local.rows import has_loss
from piplay.engine.local.scored import score
from piplay.engine.local.sharded import part_of, release, within
from piplay.engine.local.update import Filling, Tally, Trainer, filling_of
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
        mesh: DeviceMesh | None = None,
        exact: bool = False,
    ) -> None:
        """See ``LocalEngine``; ``mesh``: see ``Policies``; ``exact``: by deterministic algorithms alone, as the whole
        process from here on."""
        if exact:
            # cuBLAS reads it with its first product.
            os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
            torch.use_deterministic_algorithms(True)
            weakref.finalize(self, torch.use_deterministic_algorithms, False)
        torch.set_num_threads(threads)
        self._device = torch.device(device)
        self._policies = Policies(model_path, policies, self._device, dtype, lora, checkpointing, seed, mesh)
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
        give_back()
        tally, any_loss = self._accumulate(policy, samples, losses), any(map(has_loss, samples))
        metrics = tally.metrics() | {"grad_norm": self.step(policy, lr, any_loss)}
        for ref in changing:
            self._changed(ref)
        give_back()
        return metrics

    def _accumulate(self, policy: str, samples: Sequence[Sample], losses: Mapping[str, Loss]) -> Tally:
        """The gradients of all samples, summed over the ranks where there are several."""
        if self._ranks is None:
            return self.gradients(policy, samples, losses, {})
        # Here, where what is wrong can be said.
        self._trainer(PolicyRef(policy), losses).check(samples)
        parts = deal(samples, 1 + len(self._ranks.children))
        dealt = [[samples[i] for i in part] for part in parts]
        filling = filling_of(dealt, self._tokens) if self._ranks.shared_out else {}
        self._ranks.begin(policy, dealt[1:], losses, filling)
        with self._ranks.watched():
            mine = self.gradients(policy, dealt[0], losses, filling)
        found = [mine, *self._ranks.sum(self._policies.masters(policy))]
        tally = Tally(losses)
        for part, one in zip(parts, found, strict=True):
            tally.join(one, part)
        return tally

    def gradients(self, policy: str, samples: Sequence[Sample], losses: Mapping[str, Loss], filling: Filling) -> Tally:
        """Make the gradients of these samples, in the place of those that there were; see ``Trainer.accumulate``."""
        student = self._policies.trained(policy)
        with recomputing(student):
            return self._trainer(PolicyRef(policy), losses).accumulate(samples, filling)

    def _trainer(self, policy: PolicyRef, losses: Mapping[str, Loss]) -> Trainer:
        asked = {scoring.policy for loss in losses.values() for scoring in loss.scorings}
        others = {name: self._policies.model(PolicyRef.of(name)) for name in sorted(asked)}
        return Trainer(self._policies.model(policy), losses, others, self._tokens)

    def step(self, policy: str, lr: float | None, any_loss: bool) -> float:
        """One optimiser step, left out where there was no loss, and one move of the followers; the gradients' norm."""
        if self._ranks is not None:
            self._ranks.step(policy, lr, any_loss)
        with self._ranks.watched() if self._ranks is not None else nullcontext():
            norm = self._policies.step(policy, lr) if any_loss else 0.0
        self._policies.follow(policy)
        return norm

    def score(self, policy: PolicyRef, samples: Sequence[Sample], view: str = "") -> list[Floats]:
        return self.compute(policy, score, samples, view, self._tokens)  # type: ignore[no-any-return]

    def compute(self, policy: PolicyRef, function: Callable[..., Any], *given: Any) -> Any:
        """``function(model, *given)``, which may compute of a policy's model what it likes, and has no gradients."""
        model = self._policies.model(policy)
        with self._beside("compute", policy, function, *given), torch.no_grad():
            try:
                return within(model, function, model, *given)
            finally:
                release([model])

    def change(self, policy: PolicyRef, function: Callable[[Iterable[Tensor]], None]) -> None:
        """Let ``function`` change in place what this rank has of a policy's weights."""
        function([part_of(weight) for weight in self._policies.weights(policy).values()])

    def read(self, policy: PolicyRef, samples: Sequence[Sample], losses: Mapping[str, Loss]) -> list[dict[str, Floats]]:
        with self._beside("read", policy, samples, losses):
            return self._trainer(policy, losses).read(samples)

    def _beside(self, method: str, *given: Any) -> AbstractContextManager[None]:
        """Where the weights are shared out, have the other ranks do meanwhile what this one does."""
        if self._ranks is None or not self._ranks.shared_out:
            return nullcontext()
        return self._ranks.beside(method, *given)

    def snapshot(self, policy: str, name: str) -> PolicyRef:
        taken = self._policies.snapshot(policy, name)
        if self._ranks is not None:
            self._ranks.all("snapshot", policy, name)
        return taken

    def forget(self, snapshot: PolicyRef) -> None:
        self._refuse_while_writing([snapshot])
        self._policies.forget(snapshot)
        if self._ranks is not None:
            self._ranks.all("forget", snapshot)
        self._changed(snapshot)

    def save(self, folder: Path) -> None:
        with self._beside("stored"):
            self._policies.save(folder)

    def load(self, folder: Path) -> None:
        before = self._policies.refs()
        self._refuse_while_writing(before)
        for ref in before:
            self._changed(ref)
        # First here, where what is wrong with it can be said.
        self._policies.load(folder)
        if self._ranks is not None:
            self._ranks.all("load", folder)

    def export(self, policy: str, folder: Path) -> None:
        with self._beside("gathered", PolicyRef(policy)):
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
