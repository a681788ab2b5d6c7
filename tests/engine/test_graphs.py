"""Decode steps that are replayed, on a CPU: a tape of torch's operations stands for a CUDA graph."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_helpers import make_sample
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from turns import END, SEED, assert_same, contexts, drain, request

from piplay.algo.losses.pg import PgLoss
from piplay.engine.local import graphs
from piplay.engine.local.cache import bucket
from piplay.engine.local.engine import LocalEngine
from piplay.engine.protocol import Generate, Generated
from piplay.errors import InputError
from piplay.recipes import load_config
from piplay.settings import Policy
from piplay.training.assemble import load_engine, playing
from piplay.types import Key, PolicyRef, Stop

pytestmark = pytest.mark.slow

Folder = Callable[[str], Path]
SYNCING = {"item", "_local_scalar_dense", "nonzero", "is_nonzero", "equal"}


class Tape(TorchDispatchMode):
    """Keeps what is called on which tensors, and does it once more: as a graph, blind to all else that has changed."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func.overloadpacket.__name__ in SYNCING:
            raise RuntimeError(f"{func} waits for the device")
        result = func(*args, **kwargs or {})
        self._calls.append((func, args, kwargs or {}, result))
        return result

    def replay(self) -> None:
        for func, args, kwargs, result in self._calls:
            for old, new in zip(tree_leaves(result), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class Recorder:
    """Counts tapes and replays."""

    captured = replayed = 0

    def __init__(self, device: torch.device) -> None:
        assert device.type == "cpu"

    def capture(self, forward: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        forward()
        with Tape() as tape:
            result = forward()
        Recorder.captured += 1
        result.fill_(torch.nan)  # a graph that is captured has computed nothing yet

        def replay() -> None:
            Recorder.replayed += 1
            tape.replay()

        return replay, result


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> type[Recorder]:
    monkeypatch.setattr(graphs, "Recorder", Recorder)
    monkeypatch.setattr(Recorder, "captured", 0)
    monkeypatch.setattr(Recorder, "replayed", 0)
    return Recorder


def make_engine(path: Path, cuda_graphs: bool, **rest: Any) -> LocalEngine:
    specs = {"student": Policy(lr=0.1), "base": Policy(follows="student", tau=0.0)}
    return LocalEngine(path, specs, seed=SEED, threads=1, micro_batch_tokens=64, cuda_graphs=cuda_graphs, **rest)


def play(engine: LocalEngine, sessions: int) -> dict[Key, Generated]:
    """Three turns of each session, with a tool's tokens between, at several temperatures."""
    rng = np.random.default_rng(5)
    tools = rng.integers(0, END, (sessions, 3, 30))
    found: dict[Key, Generated] = {}
    asked: dict[Key, Generate] = {}

    def ask(session: Key, turn: int, ids: Any) -> None:
        number = int(session[1])
        one = request((*session, turn), ids, 5 + number % 7, (0, 0.7, 1)[number % 3], session=session)
        asked[one.key] = one
        engine.submit(one)

    for number, ids in enumerate(contexts(sessions, seed=3)):
        ask(("s", number), 0, ids)
    while ready := engine.ready():
        for done in ready:
            found[done.key] = done
            session, turn = done.key[:2], int(done.key[2])
            if turn < 2:
                tool = tools[int(session[1]), turn, : 1 + turn * 20]
                ask(session, turn + 1, np.concatenate([asked[done.key].ids_T, done.ids, tool]))
            else:
                engine.close(session)
    return found


@pytest.mark.parametrize(
    ("kind", "room"),
    [
        ("qwen3", {"slots": 3}),
        ("qwen2", {"slots": 20}),
        ("llama", {"slots": 18, "cache_tokens": 640}),
    ],
    ids=["few slots", "all", "few pages"],
)
def test_replayed_steps_draw_what_others_do(
    kind: str, room: dict[str, int], model_folder: Folder, recorder: type[Recorder]
) -> None:
    usual, replaying = (play(make_engine(model_folder(kind), on, **room), sessions=20) for on in (False, True))
    assert len(usual) == 3 * 20
    assert usual.keys() == replaying.keys()
    for key, done in replaying.items():
        assert_same(done, usual[key])
    assert 0 < recorder.captured < recorder.replayed


def test_a_cache_that_grows_is_captured_again(
    model_folder: Folder, recorder: type[Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session writes alone before the pages lie elsewhere, and again afterwards: its steps have equal shapes."""
    monkeypatch.setattr("piplay.engine.local.cache.POOL_BUCKET", 2)
    found, pages = [], []
    for on in (False, True):
        engine, results = make_engine(model_folder("qwen3"), on, slots=8), {}
        for asked in (
            [request(("first",), [1, 2, 3], 9, session=("alone",), stop=Stop(()))],
            [request(("r", i), ids, 9, stop=Stop(())) for i, ids in enumerate(contexts(7, seed=8))],
            [request(("last",), [4, 5, 6], 9, session=("alone",), stop=Stop(()))],
        ):
            for one in asked:
                engine.submit(one)
            results |= drain(engine)
            pages += [sampler._cache.layers[0].shape[1] for sampler in engine._samplers.values()]
        found.append(results)
    assert pages[0] < pages[1] == pages[2]
    for key, done in found[1].items():
        assert_same(done, found[0][key])


def test_weights_that_have_moved_are_read(model_folder: Folder, recorder: type[Recorder]) -> None:
    samples = [make_sample(number, terms=("pg",)) for number in range(4)]
    found = []
    for on in (False, True):
        engine = make_engine(model_folder("qwen3"), on, slots=4)
        for number in range(2):
            for policy in ("student", "base"):
                key = (policy, number)
                engine.submit(request(key, [1, 2, 3], 9, policy=PolicyRef(policy), session=(policy,), stop=Stop(())))
        found.append(drain(engine))
        engine.train("student", samples, {"pg": PgLoss()})
        engine.submit(request(("again",), [1, 2, 3], 9, session=("student",), stop=Stop(())))
        found[-1] |= drain(engine)
    for key, done in found[1].items():
        assert_same(done, found[0][key])
    assert abs(found[1][("again",)].logprobs - found[1][("student", 1)].logprobs).max() > 1e-3


def test_a_forward_that_waits_for_the_device_is_refused(
    model_folder: Folder, recorder: type[Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(model_folder("llama"), True, slots=2)
    rotary = engine._policies.model(PolicyRef("student")).base_model.rotary_emb
    forward = rotary.forward

    def waiting(states: Tensor, position_ids: Tensor) -> Any:
        assert position_ids.max().item() < 1000
        return forward(states, position_ids)

    monkeypatch.setattr(rotary, "forward", waiting)
    engine.submit(request(("one",), [1, 2]))
    with pytest.raises(InputError, match=r"engine\.cuda_graphs: this model's forward cannot be captured \(.* waits"):
        engine.ready()


def test_few_sizes_that_are_near_above() -> None:
    sizes = [bucket(count) for count in range(1, 2000)]
    assert sorted({size for size in sizes if size <= 64}) == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]
    assert all(count <= size < 1.5 * count for count, size in enumerate(sizes, 1))
    assert len(set(sizes)) == 22


def test_graphs_are_of_the_local_engine_on_cuda() -> None:
    for kind in ("vllm", "ray"):
        with pytest.raises(InputError, match=rf'cuda_graphs: of engine.kind "local", and it is "{kind}": leave it out'):
            load_config("smoke", {"engine.kind": kind, "engine.cuda_graphs": True})
    config = load_config("smoke", {"engine.cuda_graphs": True})
    with pytest.raises(InputError, match=r'engine.cuda_graphs needs engine.device = "cuda", not "cpu": leave it out'):
        load_engine(config)
    assert not playing(config, Path("model")).engine.cuda_graphs, "an agent is asked on any machine"
