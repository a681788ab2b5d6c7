"""Small random chat models of known families, tokenizers included, made on the fly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from toys.templates import LLAMA3, QWEN2, QWEN3
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)


@dataclass(frozen=True, slots=True)
class Family:
    """What a tokenizer of a family knows."""

    template: str | None
    end: str
    control: tuple[str, ...]
    """Special tokens; the first begins a text where the family has one that does."""
    tags: tuple[str, ...] = ()
    """Added tokens that are not special."""
    config: type[PretrainedConfig] = LlamaConfig
    begins: bool = False


_CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_CALL, _RESULT, _THINK = ((f"<{name}>", f"</{name}>") for name in ("tool_call", "tool_response", "think"))
_LLAMA = ("begin_of_text", "end_of_text", "start_header_id", "end_header_id", "eom_id", "eot_id", "python_tag")
FAMILIES = {
    "qwen3": Family(QWEN3, "<|im_end|>", _CHATML, _CALL + _RESULT + _THINK, Qwen3Config),
    "qwen2": Family(QWEN2, "<|im_end|>", _CHATML, _CALL, Qwen2Config),
    "llama": Family(LLAMA3, "<|eot_id|>", tuple(f"<|{name}|>" for name in _LLAMA), begins=True),
    "base": Family(None, "<|endoftext|>", ("<|endoftext|>",)),
}
_TEXT = [
    "Name the river of the capital of Bor. Write a question: start from the passage and search for each further hop.",
    '{"name": "search", "arguments": {"query": "the capital of Bor"}} Question: Answer: Path: Hops: Passage:',
    "The museum stands in the town, and its founder was born there in 1836; nobody knows when she left.",
]


def toy_tokenizer(kind: str, template: str | None = None) -> PreTrainedTokenizerFast:
    """A byte-level BPE of a few hundred ids with the control tokens and the template of a known family."""
    family = FAMILIES[kind]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(_TEXT * 3, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in family.control])
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in family.tags])
    begin = family.control[0]
    if family.begins:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", special_tokens=[(begin, tokenizer.token_to_id(begin))]
        )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=family.end, clean_up_tokenization_spaces=False)
    if family.begins:
        fast.bos_token = begin
    fast.chat_template = template or family.template
    return fast


def toy_model(kind: str, folder: Path, template: str | None = None) -> Path:
    """A random model of that family with its tokenizer, as a Hugging Face folder."""
    tokenizer = toy_tokenizer(kind, template)
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "initializer_range": 0.2,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
    }
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(
        FAMILIES[kind].config(**shape, tie_word_embeddings=kind.startswith("qwen"))
    )
    if kind == "llama":
        ends = ("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>")
        model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(ends)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_gguf(file: Path) -> torch.Tensor:
    """A random Llama of one layer with a vocabulary of bytes, written by the package itself; its embeddings."""
    import gguf

    rng = np.random.default_rng(0)
    words = [f"<0x{i:02X}>" for i in range(61)] + ["<unk>", "<s>", "</s>"]
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(8)
    writer.add_vocab_size(len(words))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(words)
    writer.add_token_scores([0.0] * len(words))
    writer.add_token_types([6] * 61 + [2, 3, 3])
    writer.add_bos_token_id(62)
    writer.add_eos_token_id(63)
    embedding = rng.normal(size=(len(words), 32)).astype(np.float32)
    shapes = {f"blk.0.attn_{name}": (32, 32) for name in ("q", "k", "v", "output")}
    shapes |= {"blk.0.ffn_gate": (64, 32), "blk.0.ffn_up": (64, 32), "blk.0.ffn_down": (32, 64)}
    shapes |= {"blk.0.attn_norm": (32,), "blk.0.ffn_norm": (32,), "output_norm": (32,), "output": (len(words), 32)}
    writer.add_tensor("token_embd.weight", embedding)
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", rng.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return torch.from_numpy(embedding)
