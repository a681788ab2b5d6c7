"""Adapters against the merged formula, written out: W + (α/r) B A as plain tensors under plain autograd."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_helpers import M, make_sample
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor
from torch.func import functional_call
from transformers import PreTrainedModel
from turns import STOP

from piplay.algo.losses.distill import DistillLoss
from piplay.algo.losses.kl import KlLoss
from piplay.algo.losses.pg import PgLoss
from piplay.engine.local.adapters import base_of
from piplay.engine.local.attention import load_model
from piplay.engine.local.engine import LocalEngine
from piplay.engine.protocol import Generate
from piplay.errors import InputError
from piplay.settings import Lora, Policy
from piplay.types import PolicyRef, Sample

pytestmark = pytest.mark.slow

Folder = Callable[[str], Path]
Plain = Callable[[str | Path], PreTrainedModel]
SPECS = {
    "student": Policy(lr=0.02),
    "examiner": Policy(lr=0.01),
    "teacher": Policy(follows="student", tau=0.25),
    "base": Policy(follows="student", tau=0.0),
}
CPU = torch.device("cpu")
LORA = Lora(rank=3, alpha=12)
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# All of the vocabulary: the KL of a row is exact.
LOSSES = {"pg": PgLoss(), "distill": DistillLoss("teacher", top_k=61), "kl": KlLoss("base")}


def make(path: Path, lora: Lora = LORA, tokens: int = 64, **rest: Any) -> LocalEngine:
    return LocalEngine(path, SPECS, seed=5, slots=4, threads=1, micro_batch_tokens=tokens, lora=lora, **rest)


def factors(engine: LocalEngine, name: str) -> dict[str, Tensor]:
    """The adapter's A and B, as a checkpoint names them."""
    return {key: p.detach().clone() for key, p in engine._policies._moving[name].masters.items()}


def by_hand(model: PreTrainedModel, adapter: dict[str, Tensor], scale: float) -> dict[str, Tensor]:
    """The model's weights with W + scale · B A in the place of W; differentiable in A and B."""
    weights = {key: parameter.detach() for key, parameter in model.named_parameters()}
    for key in [key for key in adapter if "lora_A" in key]:
        target = key.replace(".lora_A.default", "")
        weights[target] = weights[target] + scale * adapter[key.replace("lora_A", "lora_B")] @ adapter[key]
    return weights


def logits(model: PreTrainedModel, weights: dict[str, Tensor], ids: Sequence[int]) -> Tensor:
    return functional_call(model, weights, (torch.tensor([list(ids)]),)).logits[0]


def shake(engine: LocalEngine, *names: str) -> None:
    """Move every policy's adapter somewhere else, B away from 0."""
    for number, name in enumerate(names):
        generator = torch.Generator().manual_seed(number)
        moving = engine._policies._moving[name]
        with torch.no_grad():
            for master in moving.masters.values():
                master += 0.2 * torch.randn(master.shape, generator=generator)
        moving.round()


def test_a_new_adapter_changes_nothing_and_is_the_same_for_every_policy(model_folder: Folder, plain: Plain) -> None:
    engine, ids = make(model_folder("qwen3")), torch.arange(30)[None]
    with torch.no_grad():
        expected = plain("qwen3")(ids).logits
        for name in SPECS:
            torch.testing.assert_close(engine._policies.model(PolicyRef(name))(ids).logits, expected)
    begun = factors(engine, "student")
    assert {key.split(".")[-4] for key in begun} == set(LINEAR)
    for name in ("examiner", "teacher"):
        assert all(torch.equal(value, begun[key]) for key, value in factors(engine, name).items())
    for key, value in begun.items():
        bound = value.shape[1] ** -0.5
        assert bool((value == 0).all()) if "lora_B" in key else bound / 2 < float(value.abs().max()) <= bound


def test_there_is_one_base_in_memory(model_folder: Folder) -> None:
    engine = make(model_folder("llama"))
    places = {
        name: {
            p.data_ptr() for key, p in engine._policies.model(PolicyRef(name)).named_parameters() if "lora" not in key
        }
        for name in SPECS
    }
    assert len(places["base"]) > 20
    assert all(place == places["base"] for place in places.values())
    trained = sum(
        p.numel()
        for group in engine._policies._optimizer("student").parts["adamw"].param_groups
        for p in group["params"]
    )
    linear = [m for m in engine._policies.model(PolicyRef("base")).model.modules() if isinstance(m, torch.nn.Linear)]
    assert trained == sum(3 * (m.in_features + m.out_features) for m in linear)


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_each_policy_writes_under_its_own_adapter(kind: str, model_folder: Folder, plain: Plain) -> None:
    """All pending at once, several turns of each, and the base between them."""
    engine, model = make(model_folder(kind)), plain(kind)
    shake(engine, "student", "examiner", "teacher")
    weights = {name: by_hand(model, factors(engine, name), 12 / 3) for name in ("student", "examiner", "teacher")}
    weights["base"] = by_hand(model, {}, 1.0)
    rng = np.random.default_rng(0)
    asked = [
        Generate((name, i), PolicyRef(name), rng.integers(0, 60, 5 + 3 * i), (name, i), 6, float(i % 2), STOP)
        for i in range(3)
        for name in SPECS
    ]
    for turn in range(2):
        results = {}
        for one in asked:
            engine.submit(one)
        while ready := engine.ready():
            results |= {generated.key: generated for generated in ready}
        following = []
        for one in asked:
            made = results[one.key]
            whole = np.concatenate([one.ids_T, made.ids])
            with torch.no_grad():
                rows = logits(model, weights[one.policy.name], whole).log_softmax(-1)[len(one.ids_T) - 1 : -1]
            expected = rows.gather(1, torch.tensor(made.ids)[:, None])[:, 0]
            np.testing.assert_allclose(made.logprobs, expected, atol=1e-4)
            if one.temperature == 0:
                assert rows.argmax(-1).tolist() == made.ids.tolist()
            ids = np.append(whole, [7, 8])
            following.append(Generate((*one.key, turn), one.policy, ids, one.session, 6, one.temperature, STOP))
        asked = following


def loss_by_hand(model: PreTrainedModel, student: Any, teacher: Any, base: Any, samples: Sequence[Sample]) -> Tensor:
    """Formula 5 token by token, with the exact KL to the teacher and its own prompt."""
    total = torch.zeros(())
    for sample in samples:
        prefix = sample.views["privileged"]
        behind = np.concatenate([prefix, sample.ids_T[sample.prompt_len :]])
        logp = logits(model, student, sample.ids_T).log_softmax(-1)
        with torch.no_grad():
            logq = logits(model, teacher, behind).log_softmax(-1)
            logr = logits(model, base, sample.ids_T).log_softmax(-1)
        for t in np.flatnonzero(sample.owner_T == M):
            token, row = sample.ids_T[t], logp[t - 1]
            kl = (row.exp() * (row - logq[t - 1 + len(prefix) - sample.prompt_len])).sum()
            d = logr[t - 1, token] - row[token]
            terms = {name: float(weight[t]) for name, weight in sample.terms.items()}
            total = total - terms["pg"] * row[token] + terms["distill"] * kl + terms["kl"] * (d.exp() - d - 1)
    return total


@pytest.mark.parametrize("checkpointing", [False, pytest.param(True, marks=pytest.mark.long)])
def test_training_adapters_is_training_the_merged_formula(
    checkpointing: bool, model_folder: Folder, plain: Plain
) -> None:
    engine, model = make(model_folder("qwen3"), checkpointing=checkpointing), plain("qwen3")
    shake(engine, "student", "teacher")
    mine = {key: value.requires_grad_() for key, value in factors(engine, "student").items()}
    teacher, start, base = factors(engine, "teacher"), factors(engine, "student"), by_hand(model, {}, 1.0)
    began = factors(engine, "teacher")
    optimizer = torch.optim.AdamW(mine.values(), 0.02, weight_decay=0.0, foreach=False)
    for step in range(2):
        samples = [make_sample(10 * step + i, ("pg", "distill", "kl"), 9 if i % 2 else None) for i in range(4)]
        engine.train("student", samples, LOSSES)
        loss = loss_by_hand(model, by_hand(model, mine, 4.0), by_hand(model, teacher, 4.0), base, samples)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(mine.values(), 1.0)
        optimizer.step()
        teacher = {key: 0.75 * value + 0.25 * mine[key].detach() for key, value in teacher.items()}
    for name, expected, before in (("student", mine, start), ("teacher", teacher, began)):
        for key, value in factors(engine, name).items():
            assert (value - expected[key]).norm() < 0.01 * (expected[key] - before[key]).norm(), (name, key)
    for key, value in engine._policies.model(PolicyRef("base")).named_parameters():
        assert torch.equal(value, dict(model.named_parameters())[key]), key
    assert all(torch.equal(value, factors(make(model_folder("qwen3")), "examiner")[key])
               for key, value in factors(engine, "examiner").items())  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_saved_and_loaded_trains_on_to_the_same_bits(dtype: torch.dtype, model_folder: Folder, tmp_path: Path) -> None:
    straight, resumed = (make(model_folder("qwen3"), dtype=dtype, checkpointing=True) for _ in range(2))
    for number in (1, 2):
        straight.train("student", [make_sample(10 * number + i, ("pg", "distill", "kl")) for i in range(4)], LOSSES)
    straight.save(tmp_path)
    resumed.load(tmp_path)
    for engine in (straight, resumed):
        engine.train("student", [make_sample(30 + i, ("pg", "distill", "kl")) for i in range(4)], LOSSES)
    for name in ("student", "examiner", "teacher"):
        ours, others = factors(straight, name), factors(resumed, name)
        assert all(torch.equal(value, others[key]) for key, value in ours.items())
    models = [engine._policies.model(PolicyRef("student")) for engine in (straight, resumed)]
    pairs = zip(*(model.parameters() for model in models), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert {path.name for path in tmp_path.iterdir()} == {
        "engine.json", "student.safetensors", "examiner.safetensors", "teacher.safetensors",
    }  # fmt: skip
    stored = load_file(tmp_path / "teacher.safetensors")
    assert stored
    assert all(".lora_" in key and value.dtype == torch.float32 for key, value in stored.items())


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_an_export_is_adapters_that_transformers_and_peft_load(
    kind: str, model_folder: Folder, plain: Plain, tmp_path: Path
) -> None:
    engine, model, ids = make(model_folder(kind)), plain(kind), torch.arange(30)[None]
    shake(engine, "student")
    for name in ("student", "base"):
        engine.export(name, tmp_path / name)
    assert base_of(tmp_path / "student") == model_folder(kind)
    expected = logits(model, by_hand(model, factors(engine, "student"), 4.0), ids[0].tolist())
    loaded = plain(tmp_path / "student")
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids).logits[0], expected, atol=1e-4, rtol=1e-4)
    # As a user merges them, to have one folder of weights.
    merged = PeftModel.from_pretrained(plain(kind), tmp_path / "student").merge_and_unload()
    with torch.no_grad():
        torch.testing.assert_close(merged(ids).logits[0], expected, atol=1e-4, rtol=1e-4)
    assert base_of(tmp_path / "base") is None
    for key, value in plain(tmp_path / "base").named_parameters():
        assert torch.equal(value, dict(model.named_parameters())[key])


def test_a_bf16_export_plays_what_was_played_to_the_bit(model_folder: Folder, tmp_path: Path) -> None:
    """Merged in bf16 it would not: small steps are less than the rounding of the weights that they are added to."""
    engine, ids = make(model_folder("llama"), dtype=torch.bfloat16), torch.arange(30)[None]
    for number in range(3):
        engine.train("student", [make_sample(number * 4 + i, ("pg",)) for i in range(4)], LOSSES, lr=1e-4)
    engine.export("student", tmp_path)
    assert {path.suffix for path in tmp_path.iterdir() if path.stat().st_size > 20_000} <= {".safetensors"}
    played, loaded = engine._policies.model(PolicyRef("student")), load_model(tmp_path, CPU, torch.bfloat16)
    with torch.no_grad():
        assert torch.equal(played(ids).logits, loaded(ids).logits)
        assert not torch.equal(played(ids).logits, engine._policies.model(PolicyRef("base"))(ids).logits)


@pytest.mark.parametrize(
    ("targets", "complaint"),
    [(("nowhere",), "nowhere"), (("q_proj", "lm_head"), "head"), (("embed_tokens",), "embeddings")],
)
def test_targets_that_cannot_have_adapters(targets: tuple[str, ...], complaint: str, model_folder: Folder) -> None:
    with pytest.raises(InputError, match=complaint):
        make(model_folder("llama"), Lora(rank=2, targets=targets))


def test_targets_name_the_layers(model_folder: Folder) -> None:
    engine = make(model_folder("qwen3"), Lora(rank=2, targets=("q_proj", "down_proj")))
    assert {key.split(".")[-4] for key in factors(engine, "student")} == {"q_proj", "down_proj"}


def test_without_peft_it_says_what_to_install(model_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InputError, match=r"piplay\[lora\]"):
        make(model_folder("qwen3"))


def test_a_checkpoint_of_other_adapters_is_an_input_error(model_folder: Folder, tmp_path: Path) -> None:
    make(model_folder("qwen3")).save(tmp_path)
    with pytest.raises(InputError, match="another model"):
        make(model_folder("qwen3"), Lora(rank=2)).load(tmp_path)
