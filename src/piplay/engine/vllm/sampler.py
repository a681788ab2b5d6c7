"""vLLM as a sampler of turns: token ids in and out, one thread, one step at a time.

It knows no socket and no trainer. What it writes under are versions, ``POLICY@VERSION``, that it was given: adapters,
several at once, or the whole weights of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from vllm import EngineArgs, LLMEngine, SamplingParams
from vllm.lora.request import LoRARequest
from vllm.sampling_params import RequestOutputKind

from piplay.engine.local.stops import StopTexts
from piplay.engine.protocol import Generate, Generated, Usage
from piplay.engine.vllm.draws import Draws, asking, telling
from piplay.engine.vllm.memory import BLOCK, cache_bytes
from piplay.engine.vllm.messages import Settings
from piplay.engine.vllm.transfer import BACKEND, Worker
from piplay.types import Floats, Ints

_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks of adapters that vLLM has room for."""


@dataclass(slots=True)
class _Writing:
    """A turn on its way."""

    request: Generate
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    def add(self, completion: Any) -> None:
        new = list(completion.token_ids)
        self.ids += new
        self.logprobs += [of_token[token].logprob for token, of_token in zip(new, completion.logprobs, strict=True)]


class Sampler:
    """One vLLM engine and the turns that it is writing."""

    def __init__(self, settings: Settings) -> None:
        """Load the base model and reserve the cache. vLLM raises whatever it likes where it cannot."""
        self._settings = settings
        self._engine = LLMEngine.from_engine_args(_engine_args(settings))
        self._stop_texts = StopTexts(settings.model)
        self._adapters: dict[str, LoRARequest] = {}
        self._version = ""
        self._made = self._most = 0
        self._writing: dict[str, _Writing] = {}
        self.usage = Usage()

    @property
    def writing(self) -> bool:
        """Whether there is anything to step for."""
        return bool(self._writing)

    def submit(self, version: str, request: Generate) -> None:
        """Begin to write a turn under a version that was given."""
        self._made += 1
        name = str(self._made)
        params = SamplingParams(
            temperature=0.0, max_tokens=request.max_new, logprobs=0, ignore_eos=True, detokenize=False,
            stop_token_ids=list(request.stop.ids), extra_args=asking(request, self._settings.seed),
            # Texts are looked for after each token.
            output_kind=RequestOutputKind.DELTA if request.stop.texts else RequestOutputKind.FINAL_ONLY,
        )  # fmt: skip
        self._writing[name] = _Writing(request)
        self._add(name, request.ids_T, params, version)

    def _add(self, name: str, ids_T: Ints, params: SamplingParams, version: str) -> None:
        adapter = self._adapters.get(version)
        self._engine.add_request(name, {"prompt_token_ids": ids_T.tolist()}, params, lora_request=adapter)

    def step(self) -> list[tuple[str, Generated]]:
        """One forward; the turns that ended with it, each with the version that vLLM says it was written under.

        Raises:
            FloatingPointError: the weights are lost.
        """
        self._most = max(self._most, min(len(self._writing), self._settings.slots))
        self.usage.steps += 1
        self.usage.capacity += self._most
        ended = []
        for output in self._engine.step():
            turn, completion = self._writing[output.request_id], output.outputs[0]
            turn.add(completion)
            texts = turn.request.stop.texts
            said = bool(texts) and bool(turn.ids) and self._stop_texts.complete(texts, turn.ids)
            if said and not output.finished:
                self._engine.abort_request([output.request_id])
            if said or output.finished:
                ended.append(self._end(output, turn, said or turn.ids[-1] in turn.request.stop.ids))
        return ended

    def _end(self, output: Any, turn: _Writing, closed: bool) -> tuple[str, Generated]:
        del self._writing[output.request_id]
        logprobs = np.array(turn.logprobs, np.float32)
        if not np.isfinite(logprobs).all():
            raise FloatingPointError("the policy's output is not finite, its weights are lost")
        cached = output.num_cached_tokens or 0
        self.usage.drawn += len(turn.ids)
        self.usage.shared += cached
        self.usage.prefilled += len(turn.request.ids_T) - cached
        made = Generated(turn.request.key, np.array(turn.ids, np.int64), logprobs, closed, 0)
        return self._written_under(output), made

    def _written_under(self, output: Any) -> str:
        """The version that vLLM says a turn is of."""
        if self._settings.rank:
            return str(output.lora_request.lora_name) if output.lora_request is not None else ""
        return str(self._engine.get_weight_version())

    def hold(self, version: str, path: Path) -> None:
        """Take a version: the adapters in a folder, or whole weights in a file.

        Whole weights take the place of those that were there, so nothing may be on its way.
        """
        if path.is_dir():
            self._made += 1
            self._adapters[version] = LoRARequest(version, self._made, str(path))
            self._engine.add_lora(self._adapters[version])
            return
        if self._writing:
            raise ValueError(f"{version} cannot take the place of {self._version} while that is writing")
        self._engine.collective_rpc("start_weight_update")
        self._engine.collective_rpc("update_weights", args=({"path": str(path)},))
        self._engine.collective_rpc("finish_weight_update")
        self._engine.reset_prefix_cache()
        self._engine.set_weight_version(version)
        self._version = version

    def drop(self, version: str) -> None:
        """Forget adapters."""
        self._engine.remove_lora(self._adapters.pop(version).lora_int_id)

    def read(self, asked: Sequence[tuple[str, Ints]]) -> list[Floats]:
        """The log-probability of each token but the first, (T − 1,), of sequences, each under a version.

        They are written together, token by token as turns are: of prompts vLLM gives none where there are adapters.
        Nothing else may be on its way.
        """
        for number, (version, ids_T) in enumerate(asked):
            params = SamplingParams(
                temperature=0.0, max_tokens=len(ids_T) - 1, logprobs=0, ignore_eos=True, detokenize=False,
                extra_args=telling(ids_T[1:]), output_kind=RequestOutputKind.FINAL_ONLY,
            )  # fmt: skip
            self._add(f"read-{number}", ids_T[:1], params, version)
        found: dict[str, Floats] = {}
        while len(found) < len(asked):
            for output in self._engine.step():
                written = output.outputs[0]
                pairs = zip(written.token_ids, written.logprobs, strict=True)
                found[output.request_id] = np.array([at[token].logprob for token, at in pairs], np.float32)
        return [found[f"read-{number}"] for number in range(len(asked))]


def _engine_args(settings: Settings) -> EngineArgs:
    on_cpu = settings.device == "cpu"
    cached = cache_bytes(
        settings.model,
        settings.dtype,
        settings.longest,
        settings.slots,
        settings.cache_tokens,
        settings.tensor_parallel,
    )
    args = EngineArgs(
        model=str(settings.model), skip_tokenizer_init=True, dtype=settings.dtype, seed=0,
        max_model_len=settings.longest, max_num_seqs=settings.slots, block_size=BLOCK,
        max_num_batched_tokens=max(settings.micro_batch_tokens, settings.slots),
        kv_cache_memory_bytes=cached, enable_prefix_caching=True, enable_chunked_prefill=True,
        logits_processors=[Draws], logprobs_mode="raw_logprobs", max_logprobs=1, async_scheduling=False,
        disable_log_stats=True, enforce_eager=on_cpu, generation_config="vllm",
    )  # fmt: skip
    if settings.tensor_parallel > 1:
        args = replace(
            args, tensor_parallel_size=settings.tensor_parallel, distributed_executor_backend="mp",
            worker_extension_cls=f"{Worker.__module__}.{Worker.__qualname__}",
        )  # fmt: skip
    if settings.rank:
        return replace(
            args, enable_lora=True, max_loras=settings.adapters, max_lora_rank=_room(settings.rank),
            max_cpu_loras=4 * settings.adapters,
        )  # fmt: skip
    return replace(args, weight_transfer_config={"backend": BACKEND})


def _room(rank: int) -> int:
    return next(room for room in _RANKS if room >= rank)
