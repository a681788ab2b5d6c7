"""A sampler without vLLM, in a thread behind the same messages: this project's own model and draws."""

from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import Pipe
from pathlib import Path
from threading import Lock, Thread

import torch
from safetensors.torch import load_file

from piplay.engine.local import adapters
from piplay.engine.local.attention import load_model
from piplay.engine.local.generate import Sampler as Writer
from piplay.engine.local.scored import score
from piplay.engine.local.stops import StopTexts
from piplay.engine.protocol import Generate, Generated, Usage
from piplay.engine.vllm import proof
from piplay.engine.vllm.engine import VllmEngine
from piplay.engine.vllm.messages import Settings
from piplay.engine.vllm.serve import serve
from piplay.settings import EngineSettings, Lora, Policy
from piplay.types import Floats, Ints

_LOADING = Lock()
"""transformers loads one model at a time."""


class FakeSampler:
    """Has the methods of ``engine/vllm/sampler.py``. ``skip``: a tensor that it never takes; ``lies``: what it says of
    the version that it wrote under."""

    def __init__(self, settings: Settings, skip: str = "", lies: str = "") -> None:
        self.settings, self.skip, self.lies = settings, skip, lies
        self.base = load_model(settings.model, torch.device("cpu"), getattr(torch, settings.dtype))
        self.models = {"": self.base}
        self.writers: dict[str, Writer] = {}
        self.version = ""
        self.usage = Usage()
        self.turns = 0

    @property
    def writing(self) -> bool:
        return any(writer.pending for writer in self.writers.values())

    def submit(self, version: str, request: Generate) -> None:
        if version not in self.writers:
            self.writers[version] = Writer(
                self.models[version], seed=self.settings.seed, slots=self.settings.slots, cache_tokens=None,
                token_budget=self.settings.micro_batch_tokens, stop_texts=StopTexts(self.settings.model), version=-1,
                usage=self.usage,
            )  # fmt: skip
        self.turns += 1
        self.writers[version].submit(self.turns, request)

    def step(self) -> list[tuple[str, Generated]]:
        return [
            (self.lies or version, made)
            for version, writer in self.writers.items()
            if writer.pending
            for _, made in writer.step()
        ]

    @torch.no_grad()
    def hold(self, version: str, path: Path) -> None:
        if path.is_dir():
            with _LOADING:
                model = load_model(self.settings.model, torch.device("cpu"), getattr(torch, self.settings.dtype))
            weights = adapters.inject(model, Lora(rank=self.settings.rank), 0)
            given = load_file(path / "adapter_model.safetensors")
            found = {key: f"base_model.model.{key.replace('.default.', '.')}" for key in weights}
        else:
            assert not self.writing
            model, given = self.base, load_file(path)
            weights = dict(model.named_parameters())
            found = {key: key for key in weights}
            self.models.clear()
            self.writers.clear()
        for key, weight in weights.items():
            if not self.skip or self.skip not in key:
                weight.copy_(given[found[key]])
        self.models[version] = model

    def drop(self, version: str) -> None:
        del self.models[version]
        self.writers.pop(version, None)

    def read(self, asked: Sequence[tuple[str, Ints]]) -> list[Floats]:
        return [score(self.models[version], [proof.sample(ids)], "", 1000)[0][1:] for version, ids in asked]


class FakeChild:
    """A thread in the place of a process."""

    def __init__(self, make: Callable[[], FakeSampler]) -> None:
        self.connection, self.theirs = Pipe()
        self.sampler: FakeSampler | None = None
        self.thread = Thread(target=self._run, args=(make,), daemon=True)
        self.thread.start()

    def _run(self, make: Callable[[], FakeSampler]) -> None:
        try:
            with _LOADING:
                self.sampler = make()
            self.theirs.send(("started",))
            serve(self.theirs, self.sampler)  # type: ignore[arg-type]
        except (EOFError, OSError):
            pass
        except Exception as error:
            self.theirs.send(("failed", str(error)))

    def kill(self) -> None:
        """What the other end sees of a process that was killed."""
        self.theirs.close()

    def stop(self) -> str:
        self.connection.close()
        return "it was killed"


class FakeVllm(VllmEngine):
    """The engine over such samplers."""

    def __init__(
        self,
        model: Path,
        policies: dict[str, Policy],
        settings: EngineSettings,
        seed: int,
        tokens: int = 1000,
        make: Callable[[Settings], FakeSampler] = FakeSampler,
    ) -> None:
        self.make = make
        super().__init__(model, policies, settings, seed=seed, tokens=tokens)

    def _child(self, number: int) -> FakeChild:
        self._children.append(FakeChild(partial(self.make, self._settings)))
        return self._children[-1]
