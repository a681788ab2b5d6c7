"""Pre-training in every shape and both chats, for two steps each."""

import json
from pathlib import Path

import pytest
from toys.models import toy_tokenizer
from transformers import AutoConfig

from piplay.cli.main import main
from piplay.errors import InputError
from piplay.tiny_base import train
from piplay.tiny_base.train import pretrain
from piplay.training.assemble import load_chat

pytestmark = pytest.mark.slow


def test_what_was_interrupted_goes_on_with_the_rates_of_its_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy_tokenizer("qwen3").save_pretrained(tmp_path)
    monkeypatch.setattr(train, "STORED_EVERY", 20)
    steps, made = 24, iter(range(22))

    def stopped(*lessons: object) -> object:
        if next(made, None) is None:
            raise KeyboardInterrupt
        return loss_of(*lessons)

    loss_of = train.loss_of
    monkeypatch.setattr(train, "loss_of", stopped)
    with pytest.raises(KeyboardInterrupt):
        pretrain(tmp_path, steps=steps, tokens=200, threads=1)
    monkeypatch.setattr(train, "loss_of", loss_of)
    pretrain(tmp_path, steps=steps, tokens=200, threads=1)
    logged = [json.loads(line) for line in (tmp_path / "pretrain.jsonl").read_text().splitlines()]
    assert [row["step"] for row in logged] == [0, 10, 20, 20]
    for row in logged:
        rising, falling = (row["step"] + 1) / 50, (steps - row["step"]) / (0.35 * steps)
        assert row["lr"] == pytest.approx(train.ADAM_LR * min(1, rising) * min(1, falling))


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
    assert load_chat(tmp_path, protocol).stop.ids
