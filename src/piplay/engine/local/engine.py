"""The engine in one process: generates and trains over named policies on one device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from piplay.algo.losses.base import Loss
from piplay.config import EngineSettings, Lora, Policy
from piplay.engine.local.checkpointing import recomputing
from piplay.engine.local.generate import Sampler
from piplay.engine.local.policies import Policies
from piplay.engine.local.scored import score
from piplay.engine.local.stops import StopTexts
from piplay.engine.local.update import Trainer
from piplay.engine.protocol import Generate, Generated, Usage
from piplay.errors import InputError, first_line
from piplay.types import Floats, Key, PolicyRef, Sample


class LocalEngine:
    """An ``Engine`` over PyTorch and Hugging Face's model definitions."""

    def __init__(
        self,
        model_path: Path,
        policies: Mapping[str, Policy],
        *,
        seed: int,
        slots: int,
        threads: int,
        micro_batch_tokens: int,
        cache_tokens: int | None = None,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        lora: Lora = Lora(),  # noqa: B008 (frozen)
        checkpointing: bool = False,
    ) -> None:
        """Load the model once and give every policy its own weights: a copy, or with LoRA adapters on the one base.

        Args:
            model_path: a Hugging Face folder (Qwen2, Qwen3, Llama and models alike: full causal attention).
            policies: the policies by name, used as file names in checkpoints.
            seed: the run's; with a request's key it names the draws.
            slots: sessions cached at once per policy; more of them queue.
            threads: CPU threads, set for the whole process: other counts give other last bits.
            micro_batch_tokens: tokens in one row of training, and new tokens of prompts in one forward.
            cache_tokens: tokens cached at once per policy; None: as many as the sessions have. A turn that finds no
                room waits; where those that write outgrow it, the youngest waits too and is read again later.
            device: where everything lies.
            dtype: what models, keys and values are held and computed in; see ``policies.py`` for masters.
            lora: rank 0 for none.
            checkpointing: compute each layer of a trained policy once more in the backward.

        Raises:
            InputError: no usable model in ``model_path``, a policy that follows none, or adapters or checkpointing that
                this model cannot have.
        """
        torch.set_num_threads(threads)
        self._device = torch.device(device)
        self.deterministic = self._device.type == "cpu"
        self._policies = Policies(model_path, policies, self._device, dtype, lora, checkpointing, seed)
        self._seed, self._slots, self._cache_tokens, self._tokens = seed, slots, cache_tokens, micro_batch_tokens
        self._stop_texts = StopTexts(model_path)
        self._samplers: dict[PolicyRef, Sampler] = {}
        self._submitted, self._usage = 0, Usage()

    @classmethod
    def start(cls, model: Path, policies: Mapping[str, Policy], settings: EngineSettings, *, seed: int) -> LocalEngine:
        """The engine that settings describe.

        Raises:
            InputError: see the constructor; or torch has no such device here.
        """
        check_device(settings.device)
        return cls(
            model,
            policies,
            seed=seed,
            slots=settings.slots,
            cache_tokens=settings.cache_tokens,
            threads=settings.threads,
            micro_batch_tokens=settings.micro_batch_tokens,
            device=settings.device,
            dtype=getattr(torch, settings.dtype),
            lora=settings.lora,
            checkpointing=settings.checkpointing,
        )

    def submit(self, request: Generate) -> None:
        sampler = self._samplers.get(request.policy)
        if sampler is None:
            sampler = self._samplers[request.policy] = Sampler(
                self._policies.model(request.policy),
                seed=self._seed,
                slots=self._slots,
                cache_tokens=self._cache_tokens,
                token_budget=self._tokens,
                stop_texts=self._stop_texts,
                version=self._policies.version(request.policy),
                usage=self._usage,
            )
        sampler.submit(self._submitted, request)
        self._submitted += 1

    def ready(self) -> list[Generated]:
        while any(sampler.pending for sampler in self._samplers.values()):
            finished: list[tuple[int, Generated]] = []
            for sampler in self._samplers.values():
                if sampler.pending:
                    finished += sampler.step()
            if finished:
                return [generated for _, generated in sorted(finished, key=lambda numbered: numbered[0])]
        return []

    def close(self, session: Key) -> None:
        for ref, sampler in list(self._samplers.items()):
            sampler.close(session)
            if sampler.empty:
                del self._samplers[ref]

    def usage(self) -> Usage:
        return replace(self._usage)

    def train(
        self, policy: str, samples: Sequence[Sample], losses: Mapping[str, Loss], lr: float | None = None
    ) -> dict[str, float]:
        """One optimiser step and one move of the followers; see ``protocol.Trainer.train``.

        Returns:
            ``loss`` (the sum of weight times loss), ``tokens`` (written by the model), and over these tokens
            ``entropy`` (of the student, in nats) and ``logprob_diff_max`` (|trainer − sampler|); ``grad_norm`` (before
            clipping; 0 where the step was left out). And what each loss reports of the samples with its term, whatever
            its weights: see ``metrics`` of the losses. A name that an earlier loss has too gets the term before it.
        """
        changing = [PolicyRef(name) for name in (policy, *self._policies.followers(policy))]
        self._refuse_while_writing(changing)
        student = self._policies.trained(policy)
        with recomputing(student):
            metrics, any_loss = Trainer(student, losses, self._asked(losses), self._tokens).accumulate(samples)
        metrics["grad_norm"] = self._policies.step(policy, lr) if any_loss else 0.0
        self._policies.follow(policy)
        for ref in changing:
            self._samplers.pop(ref, None)
        return metrics

    def score(self, policy: PolicyRef, samples: Sequence[Sample], view: str = "") -> list[Floats]:
        return score(self._policies.model(policy), samples, view, self._tokens)

    def read(self, policy: PolicyRef, samples: Sequence[Sample], losses: Mapping[str, Loss]) -> list[dict[str, Floats]]:
        return Trainer(self._policies.model(policy), losses, self._asked(losses), self._tokens).read(samples)

    def _asked(self, losses: Mapping[str, Loss]) -> dict[str, Any]:
        """The models that losses ask, by policy."""
        asked = {scoring.policy for loss in losses.values() for scoring in loss.scorings}
        return {name: self._policies.model(PolicyRef(name)) for name in sorted(asked)}

    def snapshot(self, policy: str, name: str) -> PolicyRef:
        return self._policies.snapshot(policy, name)

    def forget(self, snapshot: PolicyRef) -> None:
        self._refuse_while_writing([snapshot])
        self._policies.forget(snapshot)
        self._samplers.pop(snapshot, None)

    def save(self, folder: Path) -> None:
        self._policies.save(folder)

    def load(self, folder: Path) -> None:
        self._refuse_while_writing(self._samplers)
        self._samplers.clear()
        self._policies.load(folder)

    def export(self, policy: str, folder: Path) -> None:
        self._policies.export(policy, folder)

    def _refuse_while_writing(self, refs: Iterable[PolicyRef]) -> None:
        for ref in refs:
            if ref in self._samplers and self._samplers[ref].pending:
                raise ValueError(f"policy {ref} cannot change while it is writing")


def check_device(device: str) -> None:
    """Raises ``InputError`` where torch has no such device here."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"the device {device!r} cannot be used here ({first_line(error)}): name another") from error
