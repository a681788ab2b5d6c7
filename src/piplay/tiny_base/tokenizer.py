"""The tiny base's tokenizer: byte-level BPE of its own, its control tokens and its chat template."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

CALL_OPEN, CALL_CLOSE = '{"name": "search", "arguments": {"query": "', '"}}'
"""The frame of the tool call's JSON. Each half is one token, so that a call costs little more than its query."""
CONTROL = ("<|pad|>", "<|end|>", "<|system|>", "<|tools|>", "<|user|>", "<|assistant|>", "<|tool|>")
TAGS = ("<think>", "</think>", "<tool_call>", "</tool_call>", CALL_OPEN, CALL_CLOSE)
TEMPLATE = """\
{%- if tools or messages[0].role == 'system' -%}
<|system|>
{%- if messages[0].role == 'system' %}{{ messages[0].content }}{% endif -%}
{%- if tools %}<|tools|>{% for tool in tools %}{{ tool.function.name }}(\
{{ tool.function.parameters.properties | join(', ') }}) {% endfor %}{% endif -%}
<|end|>
{%- endif -%}
{%- for message in messages -%}
{%- if message.role == 'assistant' -%}
<|assistant|>{{ message.content }}
{%- for call in message.tool_calls or [] -%}
<tool_call>{{ {'name': call.function.name, 'arguments': call.function.arguments} | tojson }}</tool_call>
{%- endfor -%}
<|end|>
{%- elif message.role in ('user', 'tool') -%}
<|{{ message.role }}|>{{ message.content }}<|end|>
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}
"""


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Learn a vocabulary of ``vocab_size`` ids, control tokens included.

    Every stretch of text between control tokens starts with a space of its own, so that a name is the same tokens
    wherever it stands: in a passage, in a query and as an answer.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(TAGS),
        special_tokens=list(CONTROL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(tag, normalized=False, special=False) for tag in TAGS])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|pad|>", clean_up_tokenization_spaces=False
    )
    fast.chat_template = TEMPLATE
    return fast
