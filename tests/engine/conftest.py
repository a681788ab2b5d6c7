"""Tiny random models in every supported shape, and references that share no code with the engine."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders
from tokenizers.models import WordLevel
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

# What they assert is shown as what tests assert is.
pytest.register_assert_rewrite("conformance", "turns")
from turns import SAYS  # noqa: E402

VOCABULARY = 61
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    # Wide enough that the next token depends on the context and the distribution is far from uniform.
    "initializer_range": 0.25,
}
CONFIGS = {
    "qwen3": lambda: Qwen3Config(**SHAPE, head_dim=16, tie_word_embeddings=True),
    "llama": lambda: LlamaConfig(**SHAPE, tie_word_embeddings=False),
    "qwen2": lambda: Qwen2Config(**SHAPE, tie_word_embeddings=True),
}


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            torch.manual_seed(len(kind))
            made[kind] = tmp_path_factory.mktemp("models") / kind
            AutoModelForCausalLM.from_config(CONFIGS[kind]()).save_pretrained(made[kind])
            (made[kind] / "tokenizer.json").write_text('{"stands for": "a tokenizer"}')
            (made[kind] / "README.md").write_text("a model card that is not the export's")
        return made[kind]

    return make


@pytest.fixture(scope="session")
def plain(model_folder: Callable[[str], Path]) -> Callable[[str | Path], PreTrainedModel]:
    """The same model as transformers itself runs it."""

    def load(kind: str | Path) -> PreTrainedModel:
        path = model_folder(kind) if isinstance(kind, str) else kind
        return AutoModelForCausalLM.from_pretrained(path, attn_implementation="eager", dtype=torch.float32).eval()

    return load


@pytest.fixture(scope="session")
def lettered(model_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model ``qwen3`` with a tokenizer whose tokens are ``SAYS``."""
    folder = tmp_path_factory.mktemp("lettered") / "model"
    shutil.copytree(model_folder("qwen3"), folder)
    tokenizer = Tokenizer(WordLevel({word: token for token, word in enumerate(SAYS)}, unk_token=SAYS[0]))
    tokenizer.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=SAYS[-1]).save_pretrained(folder)
    return folder
