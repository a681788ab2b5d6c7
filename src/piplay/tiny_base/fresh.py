"""A model of random weights in the tiny base's size, with a tokenizer made for its worlds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, Qwen2Config, Qwen3Config
from transformers.utils import logging

from piplay.envs.world.generate import encyclopedia, varied
from piplay.envs.world.questions import BENCHMARK_FORMS, EXAMINER_FORM
from piplay.envs.world.render import passage
from piplay.methods.pi_play.views import CHECKER, EXAMINER, READER, STUDENT
from piplay.streams import stream
from piplay.tiny_base.tokenizer import train_tokenizer
from piplay.warm_up.classroom import LISTER, WRITER
from piplay.warm_up.source import FIRST_WORLD_SEED

logging.disable_progress_bar()

VOCABULARY = 2048
WORLDS = 400
"""Whose texts the vocabulary is made from."""
SIZE = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 2048,
    "rope_theta": 10_000.0,
}
Family = Literal["qwen3", "qwen2", "llama"]
FAMILIES = {"qwen3": Qwen3Config, "qwen2": Qwen2Config, "llama": LlamaConfig}


def fresh(folder: Path, family: Family = "qwen3", template: bool = True, seed: int = 0) -> None:
    """Write such a model as a Hugging Face folder; without ``template`` its tokenizer has no chat template."""
    tokenizer = train_tokenizer(tokenizer_texts(seed), VOCABULARY)
    if not template:
        tokenizer.chat_template = None
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    config = FAMILIES[family](
        vocab_size=len(tokenizer),
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        **SIZE,
    )
    config.save_pretrained(folder)
    # Some families' tokenizers add a token of their own when they are loaded.
    loaded = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    config.vocab_size = max(loaded.get_vocab().values()) + 1
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)


def tokenizer_texts(seed: int) -> Iterator[str]:
    """Text of worlds of lessons for the vocabulary, and every prompt and form of question."""
    prompts = (
        CHECKER,
        EXAMINER,
        STUDENT,
        LISTER,
        WRITER,
        READER,
        "Hops: 1. Passages: Passage: Path: x > y Note: yes no none",
    )
    for form in (*BENCHMARK_FORMS, EXAMINER_FORM, *prompts):
        yield from [f"search(query) Question: Answer: Give the. Who or what is {form}"] * 2000
    for number in range(WORLDS):
        rng = stream(seed, ("vocabulary", number))
        world_seed = FIRST_WORLD_SEED + int(rng.integers(2**40))
        records = encyclopedia(world_seed, 40) if number % 3 == 0 else varied(world_seed, simple=number % 9 == 1)
        for entity in records.entities:
            yield passage(records, entity, world_seed).text
