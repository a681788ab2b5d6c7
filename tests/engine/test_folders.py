"""Model folders as people bring them: refused in one sentence, or unpacked, or played as transformers plays them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from toys.models import tiny_gguf, toy_model, toy_tokenizer
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    OPTConfig,
    PretrainedConfig,
)

from piplay.engine.local.attention import Packed, load_model
from piplay.engine.local.engine import LocalEngine
from piplay.engine.local.folders import check_fit, usable
from piplay.engine.protocol import Generate
from piplay.errors import InputError
from piplay.settings import EngineSettings, Policy
from piplay.types import PolicyRef, Stop

pytestmark = pytest.mark.slow

TOKENIZER = toy_tokenizer("base")
SMALL = {"vocab_size": len(TOKENIZER), "bos_token_id": None, "eos_token_id": 0, "pad_token_id": None}
OTHERS: dict[str, PretrainedConfig] = {
    "gpt2": GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.3, **SMALL),
    "neox": GPTNeoXConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        initializer_range=0.3,
        max_position_embeddings=64,
        **SMALL,
    ),
    "opt": OPTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        ffn_dim=64,
        word_embed_proj_dim=32,
        init_std=0.3,
        max_position_embeddings=64,
        **SMALL,
    ),
}


def saved(config: PretrainedConfig, folder: Path) -> Path:
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", OTHERS)
def test_models_without_groups_of_heads_write_what_transformers_writes(family: str, tmp_path: Path) -> None:
    folder = saved(OTHERS[family], tmp_path / family)
    engine = LocalEngine.start(folder, {"student": Policy()}, EngineSettings(slots=4), seed=0)
    prompts = [[5, 6, 7, 8], [9, 10, 11], [5, 6, 7, 8, 12]]
    for i, prompt in enumerate(prompts):
        key = ("e", i)
        engine.submit(Generate(key, PolicyRef("student"), np.array(prompt), key, 12, 0.0, Stop((0,))))
    written = {}
    while ready := engine.ready():
        written |= {one.key[1]: one.ids.tolist() for one in ready}
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    for i, prompt in enumerate(prompts):
        ids = list(prompt)
        while len(ids) < len(prompt) + len(written[i]):
            ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        assert written[i] == ids[len(prompt) :]


def test_a_model_with_biases_of_its_own_is_refused(tmp_path: Path) -> None:
    folder = saved(BloomConfig(hidden_size=32, n_layer=2, n_head=4, **SMALL), tmp_path / "bloom")
    with pytest.raises(InputError, match="attention of its own") as caught:
        LocalEngine.start(folder, {"student": Policy()}, EngineSettings(), seed=0)
    assert "\n" not in str(caught.value)


def test_a_model_whose_half_precision_rounds_its_logits_apart_is_not_taken_for_another(tmp_path: Path) -> None:
    """Any two orders of the same sums end in other logits; in fp32 they are judged alike."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=64, num_hidden_layers=12, num_attention_heads=4, num_key_value_heads=2, intermediate_size=96,
        initializer_range=1.0, **SMALL,
    )  # fmt: skip
    folder = saved(config, tmp_path / "wild")
    model = load_model(folder, torch.device("cpu"), torch.bfloat16)
    ids = torch.arange(9)[None]
    ours = model(ids, position_ids=ids, use_cache=False, view=Packed([9], [None], model.device)).logits.float()
    ours.logsumexp(-1).sum().backward()  # no weight was left in inference mode
    with torch.no_grad():
        model.set_attn_implementation("eager")
        plain = model(ids, use_cache=False).logits.float()
    assert (ours - plain).abs().max() > 0.05 * plain.abs().max()
    read = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).state_dict()
    assert all(torch.equal(value, read[name]) for name, value in model.state_dict().items())
    assert {value.dtype for name, value in model.named_buffers() if "inv_freq" in name} == {torch.float32}


def test_more_ids_than_rows_and_more_tokens_than_positions_are_refused(tmp_path: Path) -> None:
    config = LlamaConfig(hidden_size=32, max_position_embeddings=64, **SMALL)
    config.save_pretrained(tmp_path)
    check_fit(tmp_path, TOKENIZER, 64)
    with pytest.raises(InputError, match=r"made for 64 tokens .* --limits.tokens 64"):
        check_fit(tmp_path, TOKENIZER, 65)
    config.rope_parameters = {
        "rope_type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 64,
        "rope_theta": 1e4,
    }
    config.save_pretrained(tmp_path)
    check_fit(tmp_path, TOKENIZER, 256)
    config.vocab_size = len(TOKENIZER) - 1
    config.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=f"rows for {len(TOKENIZER) - 1}"):
        check_fit(tmp_path, TOKENIZER)


def test_adapters_whose_base_is_gone_are_refused(tmp_path: Path) -> None:
    base, adapters = toy_model("qwen3", tmp_path / "base"), tmp_path / "adapters"
    adapters.mkdir()
    (adapters / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    assert usable(adapters) == adapters
    base.rename(tmp_path / "moved")
    with pytest.raises(InputError, match="is not there: put it back, or write where it is now"):
        usable(adapters)


@pytest.mark.parametrize("agent", ["student", "player"])
def test_a_runs_directory_is_refused_with_what_to_give(tmp_path: Path, agent: str) -> None:
    (tmp_path / "piplay.json").write_text("{}")
    (tmp_path / "config.json").write_text(json.dumps({"agent": agent}))
    with pytest.raises(InputError, match=f"final/{agent}, which `piplay resume"):
        usable(tmp_path)
    (tmp_path / "final" / agent).mkdir(parents=True)
    with pytest.raises(InputError, match=f"give .*final/{agent}$"):
        usable(tmp_path)


def test_a_gguf_file_is_unpacked_once_into_an_ordinary_folder(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    file = tmp_path / "tiny.gguf"
    written = tiny_gguf(file)
    folder = usable(file)
    assert (folder, usable(tmp_path)) == (tmp_path / "tiny", tmp_path / "tiny")
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert torch.allclose(model.model.embed_tokens.weight.float(), written, atol=1e-2)
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    (folder / "gguf.json").write_text("{}")
    with pytest.raises(InputError, match="move or remove that folder"):
        usable(file)
    (tmp_path / "other.gguf").write_bytes(b"GGUF")
    with pytest.raises(InputError, match="2 GGUF files"):
        usable(tmp_path)
    with pytest.raises(InputError, match="cannot be read as a GGUF model"):
        usable(tmp_path / "other.gguf")
