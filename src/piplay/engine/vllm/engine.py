"""The engine of one machine whose turns vLLM writes: today's trainer here, samplers in processes of their own."""

from __future__ import annotations

import dataclasses
import shutil
import time
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from piplay.algo.losses.base import Loss
from piplay.engine.child import ChildProcess
from piplay.engine.local import adapters
from piplay.engine.local.ranks import MODULE, Other, Ranks, Start, environment
from piplay.engine.local.trainer import LocalTrainer, check_device
from piplay.engine.placement import Placement, gpus, placed
from piplay.engine.protocol import EngineLost, Generate, Generated, Usage
from piplay.engine.shared import SharedFolder
from piplay.engine.vllm import proof, serve
from piplay.engine.vllm.installed import check_installed, versions
from piplay.engine.vllm.memory import check_heads
from piplay.engine.vllm.messages import Settings, Version
from piplay.engine.vllm.pool import Child, Pool, Replica
from piplay.errors import InputError, InputWarning
from piplay.settings import EngineSettings, Policy
from piplay.types import Floats, Key, PolicyRef, Sample


class VllmEngine(LocalTrainer):
    """An ``Engine`` whose trainer owns all weights, and whose samplers hold versions of them."""

    deterministic = False

    @property
    def versions(self) -> dict[str, str]:
        """Of what samplers stand on, for a run's record."""
        return versions()

    def __init__(
        self, model: Path, policies: Mapping[str, Policy], settings: EngineSettings, *, seed: int, tokens: int
    ):
        """Load the trainer, start the samplers and prove that they write what the trainer reads.

        Args:
            model: see ``LocalEngine``.
            policies: by name.
            settings: the engine's.
            seed: the run's; with a request's key it names the draws.
            tokens: the most of a sequence.

        Raises:
            InputError: see ``LocalEngine``, ``place`` and ``check_heads``; or vLLM cannot run this model here.
        """
        check_heads(model, settings.tensor_parallel)
        # Some may be lost since the last engine.
        gpus.cache_clear()
        self._placement = self._placed(settings)
        devices = self._placement.trainers
        if len(devices) < settings.trainers:
            few = f"{len(devices)} of engine.trainers = {settings.trainers} have room, and learn"
            warnings.warn(few, InputWarning, stacklevel=2)
        shared = SharedFolder()
        self._folder = shared.path
        self._children: list[Child] = []
        weakref.finalize(self, _clear, self._children, shared)
        try:
            # They find each other before any of them loads a model.
            several = len(devices) > 1
            ranks = Ranks(model, policies, settings, devices, seed, self._meeting(), self._begin) if several else None
            self._children += ranks.children if ranks else []
            super().__init__(
                model, policies, seed=seed, threads=settings.threads, micro_batch_tokens=settings.micro_batch_tokens,
                device=devices[0], dtype=getattr(torch, settings.dtype), lora=settings.lora,
                checkpointing=settings.checkpointing, mesh=ranks.mesh if ranks else None,
                exact=settings.exact,
            )  # fmt: skip
            self._ranks = ranks
            self._path, self._dtype, self._rank, self._longest = model, settings.dtype, settings.lora.rank, tokens
            self._loads = 0
            self._synced = self._usual = 0.0
            self._settings = Settings(
                model=model, seed=seed, slots=settings.slots, longest=tokens, cache_tokens=settings.cache_tokens,
                micro_batch_tokens=settings.micro_batch_tokens, device=settings.device, dtype=settings.dtype,
                threads=settings.threads, rank=self._rank,
                # Of the policies that move, and one of zeros for those that do not.
                adapters=1 + sum(1 for ref in self._policies.refs() if self._policies.weights(ref)),
                tensor_parallel=settings.tensor_parallel, exact=settings.exact,
            )  # fmt: skip
            self._pool = Pool(
                self._child, self._prove, self._give, samplers=settings.samplers, slots=settings.slots,
                restarts=settings.restarts, alone=not self._rank,
            )  # fmt: skip
        except EngineLost as error:
            raise InputError(f"engine.kind {settings.kind}: {error}") from error

    @classmethod
    def check(cls, settings: EngineSettings) -> None:
        """Raises ``InputError`` where vLLM is not there, of another version or device, or there are too few GPUs."""
        check_device(settings.device)
        check_installed(settings.device)
        placed(settings)

    @classmethod
    def start(
        cls, model: Path, policies: Mapping[str, Policy], settings: EngineSettings, *, seed: int, tokens: int
    ) -> VllmEngine:
        """The engine that settings describe; see the constructor and ``check``."""
        cls.check(settings)
        return cls(model, policies, settings, seed=seed, tokens=tokens)

    def submit(self, request: Generate) -> None:
        version = self._version(request.policy)
        longest = len(request.ids_T) + request.max_new
        if longest > self._longest:
            raise ValueError(f"request {request.key} may take {longest} tokens, and a sampler has {self._longest}")
        self._pool.submit(version, request)

    def ready(self, pause: Callable[[], bool] | None = None) -> list[Generated]:
        return self._pool.ready(pause)

    def close(self, session: Key) -> None:
        self._pool.close(session)

    def usage(self) -> Usage:
        return self._pool.usage()

    def train(
        self, policy: str, samples: Sequence[Sample], losses: Mapping[str, Loss], lr: float | None = None
    ) -> dict[str, float]:
        """See ``LocalTrainer.train``.

        Returns:
            The same, and ``sync/seconds``, what giving weights to samplers has taken since the last step.
        """
        metrics = super().train(policy, samples, losses, lr)
        metrics["sync/seconds"], self._synced = self._synced, 0.0
        mean, bound = metrics.get("logprob_diff_mean", 0.0), proof.BOUNDS[self._dtype]
        if mean > max(2 * self._usual, bound / 10):
            warnings.warn(
                f"samplers and trainer differ by {mean:.2g} nats a token in the mean, and by {self._usual:.2g} in the "
                "self-test: what is learnt is off-policy by so much",
                InputWarning,
                stacklevel=2,
            )
        return metrics

    def load(self, folder: Path) -> None:
        super().load(folder)
        # The same numbers of updates, and other weights.
        self._loads += 1

    def _writing(self, ref: PolicyRef) -> bool:
        return self._pool.pending(str(ref))

    def _changed(self, ref: PolicyRef) -> None:
        self._pool.drop(str(ref))
        shutil.rmtree(self._folder / str(ref), ignore_errors=True)

    def _version(self, ref: PolicyRef) -> Version:
        """The version that a policy is of now. Raises ``ValueError`` where there is no such policy."""
        return Version(str(ref), self._policies.version(ref), self._loads)

    def _placed(self, settings: EngineSettings) -> Placement:
        """Where trainers and samplers are to be."""
        return placed(settings)

    def _meeting(self) -> Path | str:
        """See ``Ranks``."""
        return self._folder / "ranks"

    def _begin(self, start: Start) -> Other:
        """Begin the process of a trainer's rank."""
        log = self._folder / f"rank-{start.rank}.log"
        return ChildProcess(MODULE, start, log, environment(start))

    def _child(self, number: int) -> Child:
        """Begin the process of a sampler."""
        settings = dataclasses.replace(self._settings, gpus=self._placement.samplers[number])
        log = self._folder / f"sampler-{len(self._children)}.log"
        self._children.append(ChildProcess(serve.MODULE, settings, log, serve.environment(settings)))
        return self._children[-1]

    def _give(self, replica: Replica, version: Version) -> None:
        """Hand a sampler a version: a folder of adapters, which stays there, or a file of whole weights, which goes."""
        began = time.monotonic()
        path = self._folder / version.policy / str(version)
        if self._rank and not path.is_dir():
            self._write_adapters(PolicyRef.of(version.policy), path)
        if self._rank:
            replica.call("hold", str(version), path)
        else:
            path.parent.mkdir(exist_ok=True)
            ref = PolicyRef.of(version.policy)
            with self._beside("gathered", ref):
                save_file({key: weight.contiguous() for key, weight in self._policies.gather(ref)}, path)
            try:
                replica.call("hold", str(version), path)
            finally:
                path.unlink()
        self._synced += time.monotonic() - began

    def _write_adapters(self, ref: PolicyRef, path: Path) -> None:
        """Write a policy's adapters; of one that never moves adapters of zeros.

        On a CPU vLLM 0.32 gives a turn without adapters, beside others with, the last one's.
        """
        like = next(other for other in self._policies.refs() if self._policies.weights(other))
        weights = self._policies.weights(ref) or adapters.zeros(self._policies.weights(like))
        adapters.write(self._policies.model(like), weights, path)

    def _prove(self, replica: Replica) -> None:
        """See ``proof.py``. Adapters are proven side by side in one batch, whole weights one after the other."""
        true = next(ref for ref in self._policies.refs() if self._policies.weights(ref))
        now = self._version(true)
        asked = self.compute(true, proof.sequences, self._longest)

        def expected(ref: PolicyRef) -> list[Floats]:
            return [logp_T[1:] for logp_T in self.score(ref, [proof.sample(ids_T) for ids_T in asked])]

        def written(*versions: str) -> list[Floats]:
            found: list[Floats] = replica.call("read", [(version, ids_T) for version in versions for ids_T in asked])
            return found

        stale = written("")
        with self._beside("snapshot", true.name, "self-test"):
            moved = self._policies.snapshot(true.name, "self-test")
        try:
            with self._beside("change", moved, proof.move):
                self.change(moved, proof.move)
            then = Version(str(moved), now.updates, now.loads)
            target = {then: expected(moved), now: expected(true)}
            proof.check_control(stale, target[then], self._dtype)
            for together in [(then, now)] if self._rank else [(then,), (now,)]:
                for version in together:
                    self._give(replica, version)
                read = written(*map(str, together))
                proof.check(read, [logp_T for version in together for logp_T in target[version]], self._dtype)
        finally:
            with self._beside("forget", moved):
                self._policies.forget(moved)
            shutil.rmtree(self._folder / str(moved), ignore_errors=True)
        if self._rank:
            for version in (then, now):
                replica.call("drop", str(version))
        self._usual = proof.apart(read[-len(asked) :], target[now])[0]
        self._synced = 0.0


def _clear(children: Sequence[Child], shared: SharedFolder) -> None:
    for child in children:
        child.stop()
    shared.remove()
