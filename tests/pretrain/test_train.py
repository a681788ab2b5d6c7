"""Pre-training in every shape and both chats, for two steps each."""

import json
from pathlib import Path

import pytest
from toys.models import toy_tokenizer
from transformers import AutoConfig

from piplay.assemble import load_chat
from piplay.cli import main
from piplay.errors import InputError


@pytest.mark.parametrize(
    ("shape", "tokenizer", "protocol"),
    [
        ("qwen3", "qwen3", "native"),
        ("qwen2", "qwen2", "native"),
        ("llama", "llama", "native"),
        ("llama", "base", "tags"),
    ],
)
def test_a_model_of_any_shape_is_made_in_either_chat(tmp_path: Path, shape: str, tokenizer: str, protocol: str) -> None:
    toy_tokenizer(tokenizer).save_pretrained(tmp_path)
    small = "--steps 2 --tokens 600 --threads 1"
    assert main(["pretrain", str(tmp_path), *small.split(), "--shape", shape, "--chat", protocol]) == 0
    config = AutoConfig.from_pretrained(tmp_path)
    assert (config.model_type, config.hidden_size) == (shape, 128)
    assert json.loads((tmp_path / "pretrain.jsonl").read_text().splitlines()[0])["loss"] > 0
    assert not (tmp_path / "state.pt").exists()
    if protocol == "tags":
        with pytest.raises(InputError, match="no chat template"):
            load_chat(tmp_path)
    assert load_chat(tmp_path, protocol).end_ids
