"""The engine in one process: generates and trains over named policies on one device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from piplay.engine.local.freed import give_back
from piplay.engine.local.generate import Sampler
from piplay.engine.local.stops import StopTexts
from piplay.engine.local.trainer import LocalTrainer, check_device
from piplay.engine.protocol import Generate, Generated, Usage
from piplay.errors import InputError
from piplay.settings import EngineSettings, Lora, Policy
from piplay.types import Key, PolicyRef


class LocalEngine(LocalTrainer):
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
        cuda_graphs: bool = False,
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
            cuda_graphs: replay the steps that only decode as CUDA graphs; ``device`` has to be CUDA's.

        Raises:
            InputError: no usable model in ``model_path``, a policy that follows none, or adapters or checkpointing that
                this model cannot have.
        """
        super().__init__(
            model_path, policies, seed=seed, threads=threads, micro_batch_tokens=micro_batch_tokens, device=device,
            dtype=dtype, lora=lora, checkpointing=checkpointing,
        )  # fmt: skip
        self.deterministic = self._device.type == "cpu"
        self._slots, self._cache_tokens, self._cuda_graphs = slots, cache_tokens, cuda_graphs
        self._stop_texts = StopTexts(model_path)
        self._samplers: dict[PolicyRef, Sampler] = {}
        self._submitted, self._usage = 0, Usage()

    @classmethod
    def check(cls, settings: EngineSettings) -> None:
        """Raises ``InputError`` where torch has no such device here, or CUDA graphs are asked of another device."""
        check_device(settings.device)
        if settings.cuda_graphs and torch.device(settings.device).type != "cuda":
            raise InputError(f'engine.cuda_graphs needs engine.device = "cuda", not "{settings.device}": leave it out')

    @classmethod
    def start(cls, model: Path, policies: Mapping[str, Policy], settings: EngineSettings, *, seed: int) -> LocalEngine:
        """The engine that settings describe; see the constructor and ``check``."""
        cls.check(settings)
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
            cuda_graphs=settings.cuda_graphs,
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
                cuda_graphs=self._cuda_graphs,
            )
        sampler.submit(self._submitted, request)
        self._submitted += 1

    def ready(self, pause: Callable[[], bool] | None = None) -> list[Generated]:
        while any(sampler.pending for sampler in self._samplers.values()):
            finished: list[tuple[int, Generated]] = []
            for sampler in self._samplers.values():
                if sampler.pending:
                    finished += sampler.step()
            if finished:
                return [generated for _, generated in sorted(finished, key=lambda numbered: numbered[0])]
            if pause is not None and pause():
                break
        return []

    def close(self, session: Key) -> None:
        for ref in list(self._samplers):
            self._samplers[ref].close(session)
            if self._samplers[ref].empty:
                del self._samplers[ref]
                give_back()

    def usage(self) -> Usage:
        return replace(self._usage)

    def _writing(self, ref: PolicyRef) -> bool:
        return ref in self._samplers and self._samplers[ref].pending

    def _changed(self, ref: PolicyRef) -> None:
        self._samplers.pop(ref, None)
