"""Chat templates of every shape of a call that is known: one frame of roles, in words of our own, and calls as they are
written by families of models."""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

FRAME = """\
{%- macro call(tool) -%}CALL{%- endmacro -%}
{%- for message in messages -%}
    {%- if message.role == 'system' -%}
        {{- '<|system|>' + message.content -}}
        {%- if tools -%}{{- '. Tools: ' + (tools | tojson) -}}{%- endif -%}
        {{- '<|end|>' -}}
    {%- elif message.role == 'user' -%}
        {{- '<|user|>' + message.content + '<|end|>' -}}
    {%- elif message.role == 'tool' -%}
        {{- '<|tool|>' + message.content + '<|end|>' -}}
    {%- else -%}
        {{- '<|assistant|>' -}}
        {%- if message.reasoning_content -%}{{- 'OPEN' + message.reasoning_content + 'CLOSE' -}}{%- endif -%}
        {{- message.content -}}
        {%- if message.tool_calls -%}
            {{- 'BEGIN' -}}
            {%- for one in message.tool_calls -%}{{- call(one.function) -}}{%- endfor -%}
            {{- 'FINISH' -}}
        {%- endif -%}
        {{- 'END' -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>PROMPT' -}}{%- endif -%}
"""
_EACH = "{%- for key, value in tool.arguments.items() -%}"
_TEXT = "{{- value if value is string else value | tojson -}}"
SHAPES = {
    "functions": (
        "<tool_call>\n{{- '<function=' + tool.name + '>\n' -}}"
        + _EACH
        + "{{- '<parameter=' + key + '>\n' -}}"
        + _TEXT
        + "{{- '\n</parameter>\n' -}}{%- endfor -%}</function>\n</tool_call>\n",
        "",
        "",
    ),
    "keys": (
        "{{- '<tool_call>' + tool.name + '\n' -}}"
        + _EACH
        + "{{- '<arg_key>' + key + '</arg_key>\n<arg_value>' -}}"
        + _TEXT
        + "{{- '</arg_value>\n' -}}{%- endfor -%}</tool_call>",
        "",
        "",
    ),
    "invoke": (
        "{{- '<invoke name=\"' + tool.name + '\">\n' -}}"
        + _EACH
        + "{{- '<parameter name=\"' + key + '\">' -}}"
        + _TEXT
        + "{{- '</parameter>\n' -}}{%- endfor -%}{{- '</invoke>\n' -}}",
        "<calls>\n",
        "</calls>",
    ),
    "closed by keys": (
        "{{- '<invoke name=\"' + tool.name + '\">' -}}"
        + _EACH
        + "{{- '<' + key + '>' -}}"
        + _TEXT
        + "{{- '</' + key + '>' -}}{%- endfor -%}{{- '</invoke>' -}}",
        "<calls>",
        "</calls>",
    ),
    "python": (
        "{{- tool.name + '(' -}}"
        + _EACH
        + "{{- key + '=' -}}"
        + '{%- if value is string -%}{{- "\'" + value + "\'" -}}{%- else -%}{{- value | string -}}{%- endif -%}'
        + "{{- ', ' if not loop.last -}}{%- endfor -%}{{- ')' -}}",
        "<|calls|>[",
        "]<|/calls|>",
    ),
    "bare python": (
        "{{- tool.name + '(' -}}"
        + _EACH
        + "{{- key + '=\"' + value | string + '\"' -}}"
        + "{{- ', ' if not loop.last -}}{%- endfor -%}{{- ')' -}}",
        "[",
        "]",
    ),
    "named": ("{{- '<|call|>' + tool.name + '<|args|>' + tool.arguments | tojson -}}", "", ""),
    "fenced": (
        "{{- '<|call|>function<|sep|>' + tool.name + '\n```json\n' + tool.arguments + '\n```<|/call|>\n' -}}",
        "<|calls|>",
        "<|/calls|>",
    ),
    "addressed": ("{{- ' to=functions.' + tool.name + '<|args|>json<|sep|>' + tool.arguments | tojson -}}", "", ""),
    "quoted": (
        "{{- '<|call|>call:' + tool.name + '{' -}}"
        + _EACH
        + "{{- key + ':' -}}"
        + "{%- if value is string -%}{{- '<|q|>' + value + '<|q|>' -}}{%- else -%}{{- value | tojson -}}{%- endif -%}"
        + "{{- ',' if not loop.last -}}{%- endfor -%}{{- '}<|/call|>' -}}",
        "",
        "",
    ),
    "list": (
        "{{- {'tool_name': tool.name, 'parameters': tool.arguments} | tojson -}}",
        "<|calls|>[\n    ",
        "\n]<|/calls|>",
    ),
    "json": (
        "{{- '<tool_call>' + {'name': tool.name, 'arguments': tool.arguments} | tojson + '</tool_call>' -}}",
        "",
        "",
    ),
    "json to the end": (
        "{{- 'function call<|sep|>' + {'name': tool.name, 'arguments': tool.arguments} | tojson -}}",
        "",
        "",
    ),
    "json in json": (
        "{{- '<|call|>' + {'name': tool.name, 'arguments': tool.arguments | tojson} | tojson + '<|/call|>' -}}",
        "",
        "",
    ),
}
"""A call, and what opens and closes a list of them."""
CONTROL = (
    *("<s>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|end|>", "<|calls|>", "<|/calls|>", "<|call|>"),
    *("<|/call|>", "<|args|>", "<|sep|>", "<|q|>", "<|return|>", "[THINK]", "[/THINK]", "<|channel>", "<channel|>"),
)


def shaped(
    shape: str,
    *,
    reasoning: tuple[str, str] = ("<think>", "</think>"),
    prompt: str = "",
    end: str = "<|end|>",
) -> str:
    """A template whose calls have a shape."""
    call, begin, finish = SHAPES[shape]
    text = FRAME.replace("BEGIN", begin.replace("\n", "\\n")).replace("FINISH", finish.replace("\n", "\\n"))
    text = text.replace("OPEN", reasoning[0]).replace("CLOSE", reasoning[1]).replace("PROMPT", prompt)
    return text.replace("END", end).replace("CALL", call)


def speaking(template: str, kind: str = "bytes", end: str = "<|end|>") -> PreTrainedTokenizerFast:
    """A tokenizer with a template: of bytes, or SentencePiece's with a space before ``each`` stretch or the first."""
    words = [
        "You search. Which river is it? Name the river of Bor at Oum. function parameter query arguments name json"
    ]
    if kind == "bytes":
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        made.train_from_iterator(
            words * 3, trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, show_progress=False)
        )
    else:
        vocab = {"<unk>": 0} | {f"<0x{i:02X}>": i + 1 for i in range(256)}
        pieces = ["▁", *sorted(set(words[0]) - {" "}), "▁B", "or", "▁Bor", "▁r", "iv", "er", "▁riv", "▁river"]
        vocab |= {piece: len(vocab) + i for i, piece in enumerate(pieces)}
        merges = [
            ("▁", "B"),
            ("o", "r"),
            ("▁B", "or"),
            ("▁", "r"),
            ("i", "v"),
            ("e", "r"),
            ("▁r", "iv"),
            ("▁riv", "er"),
        ]
        made = Tokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
        if kind == "each":
            made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        else:
            made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        made.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in CONTROL])
    made.add_tokens(
        [
            AddedToken(f"<{slash}{name}>", special=False, normalized=False)
            for name in ("think", "tool_call")
            for slash in ("", "/")
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token=end, clean_up_tokenization_spaces=False, chat_template=template
    )
