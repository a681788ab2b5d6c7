"""Small random chat models of known families, tokenizers included, made on the fly."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast, Qwen3Config

CHATML = """\
{%- if tools -%}
<|im_start|>system
{% if messages[0].role == 'system' %}{{ messages[0].content + '\\n\\n' }}{% endif %}# Tools
<tools>{% for tool in tools %}
{{ tool | tojson }}{% endfor %}
</tools><|im_end|>
{% elif messages[0].role == 'system' -%}
<|im_start|>system
{{ messages[0].content }}<|im_end|>
{% endif -%}
{%- for message in messages -%}
{%- if message.role in ('user', 'assistant') -%}
<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% elif message.role == 'tool' -%}
<|im_start|>user
<tool_response>
{{ message.content }}
</tool_response><|im_end|>
{% endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}
"""
FORGETFUL = CHATML.replace("{{ message.content }}<|im_end|>", "{{ message.content.split('</think>')[-1] }}<|im_end|>")
"""Qwen3's shape where it drops the reasoning of turns that are past."""
LLAMA = """\
{{- bos_token }}
{%- if messages[0].role == 'system' or tools %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' }}
{%- if messages[0].role == 'system' %}{{- messages[0].content | trim }}{% endif %}
{%- for tool in tools or [] %}{{- '\\n' + (tool | tojson) }}{% endfor %}
{{- '<|eot_id|>' }}
{%- endif %}
{%- for message in messages %}
{%- if message.role in ('user', 'assistant') %}
{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content | trim + '<|eot_id|>' }}
{%- elif message.role == 'tool' %}
{{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' + message.content | tojson + '<|eot_id|>' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
SHAPES = {
    "qwen3": (CHATML, "<|im_end|>", ("<|endoftext|>", "<|im_start|>", "<|im_end|>")),
    "llama": (LLAMA, "<|eot_id|>", ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")),
}
_TEXT = [
    "Name the river of the capital of Bor. Write a question: start from the passage and search for each further hop.",
    '{"name": "search", "arguments": {"query": "the capital of Bor"}} Question: Answer: Path: Hops: Passage:',
    "The museum stands in the town, and its founder was born there in 1836; nobody knows when she left.",
]


def toy_tokenizer(kind: str, template: str | None = None) -> PreTrainedTokenizerFast:
    """A byte-level BPE of a few hundred ids with the control tokens and the template of a known family."""
    known, end, control = SHAPES[kind]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(_TEXT * 3, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in control])
    tags = ("<think>", "</think>", "<tool_call>", "</tool_call>")
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in tags])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end, clean_up_tokenization_spaces=False)
    if kind == "llama":
        fast.bos_token = control[0]
    fast.chat_template = known if template is None else template
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
    config = Qwen3Config(**shape, tie_word_embeddings=True) if kind == "qwen3" else LlamaConfig(**shape)
    torch.manual_seed(7)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
