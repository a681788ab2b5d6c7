"""Which models can be played, and how: every chat template in some wheels is tried, and docs/models.md written.

``make survey-chats`` downloads the wheels of ``benchmarks/survey/requirements.txt`` and calls this. They are read,
never imported, and nothing of their templates is kept. The real tokenizers are not in them: each template is tried
with two made here, a byte-level BPE and a SentencePiece-like one, with the control tokens that the template names. So
ids show the mechanisms, not each model's merges.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from piplay.chat.base import Chat
from piplay.chat.choose import choose
from piplay.chat.native import Native
from piplay.chat.tagged import instruction
from piplay.chat.template import DAY, Template
from piplay.chat.templated import Templated
from piplay.errors import InputError
from piplay.types import ToolCall, ToolSpec

SEARCH = ToolSpec(
    "search",
    "Finds passages about a query.",
    {
        "type": "object",
        "properties": {"query": {"type": "string", "description": "What to look for."}},
        "required": ["query"],
    },
)
CONTROL = re.compile(
    r"<[|｜][^\s'\"{}|｜<>]{1,40}[|｜]>|<\|[\w\"]+>|<[\w]+\|>|</?(?:start|end)_of_\w+>|</?s>|<unk>|<pad>|<eos>|<bos>|"
    r"</?(?:think|tool_call|tool_response|minimax:tool_call|seed:[\w:]+|start_function_call|end_function_call)>|"
    r"<_(?:start|end|user|bot|system|end_)?>|\[/?[A-Z]{2,}(?:_[A-Z]+)*\]|\[gMASK\]|<sop>|\[e~\[|\]~b\]|\]~!b\["
)
"""What looks like a control token in a template."""
QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PIECES = (
    *('"', "'", "\\", "{", "}", "[", "]", "(", ")", "\n", "\t", ", ", ": ", "=", "<", ">", "</", '"}}', "]) ", "é"),
    *(
        "中",
        "😀",
        "Bor",
        " the river of ",
        "null",
        "42",
        "</tool_call>",
        "</parameter>",
        "</arg_value>",
        "</b>",
        "<think>",
    ),
    *("</think>", "```", "search(query='x')", '{"name": "search"}', "\\n", "&lt;", "‹", "¿", "ß", "हिन्दी", "  "),
)


@dataclass(frozen=True)
class Found:
    """A model's template in a wheel."""

    wheel: str
    name: str
    template: str
    stops: tuple[str, ...] = ()


def trl(wheel: zipfile.ZipFile) -> Iterator[Found]:
    """The templates that TRL keeps to tell models apart, without those that it changed for training."""
    for entry in sorted(wheel.namelist()):
        path = Path(entry)
        if path.suffix == ".jinja" and not path.stem.endswith("_training"):
            yield Found("trl", path.stem, wheel.read(entry).decode())


def xinference(wheel: zipfile.ZipFile) -> Iterator[Found]:
    """Those of the language models that xinference lists."""
    for entry in sorted(wheel.namelist()):
        if entry.startswith("xinference/model/llm/") and entry.endswith(".json"):
            data = json.loads(wheel.read(entry))
            for model in data if isinstance(data, list) else [data]:
                if isinstance(model, dict) and model.get("chat_template"):
                    stops = tuple(model.get("stop") or ())
                    yield Found("xinference", model["model_name"], model["chat_template"], stops)


def unsloth(wheel: zipfile.ZipFile) -> Iterator[Found]:
    """Those that unsloth assigns to ``CHAT_TEMPLATES``: read off the source, which is not run."""
    texts: dict[str, str] = {}
    stops: dict[str, str] = {}
    for node in ast.parse(wheel.read("unsloth/chat_templates.py")).body:
        if not isinstance(node, ast.Assign):
            continue
        target, value = node.targets[0], node.value
        text = _text(value, texts)
        if isinstance(target, ast.Name) and text is not None:
            texts[target.id] = text
        if isinstance(target, ast.Subscript) and isinstance(value, ast.Tuple):
            name = ast.literal_eval(target.slice)
            template = _text(value.elts[0], texts)
            end = _text(value.elts[1], texts) or ""
            if template is not None and isinstance(name, str):
                stops[name] = end
                yield Found("unsloth", name, template, (end,) if end not in ("", "eos_token") else ())


def _text(node: ast.expr, known: dict[str, str]) -> str | None:
    """A text that a source spells out, by itself or of others."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = [_text(side, known) for side in (node.left, node.right)]
        return None if None in parts else "".join(map(str, parts))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "replace":
        whole, *given = (_text(part, known) for part in (node.func.value, *node.args[:2]))
        return None if whole is None or None in given else whole.replace(*map(str, given))
    return None


READERS = {"trl": trl, "xinference": xinference, "unsloth": unsloth}


@cache
def tokenizer_of(kind: str, template: str, stops: tuple[str, ...]) -> PreTrainedTokenizerFast:
    """A tokenizer of a kind that has a template and the control tokens that it names."""
    text = [f"You search. Which river is it? Be brief and answer. search query arguments name {template[:4000]}"]
    if kind == "byte-level":
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(QWEN_WORDS), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        made.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        made.train_from_iterator(
            text * 3, trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
        )
    else:
        made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
        made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        made.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
        specials = ["<unk>", *(f"<0x{i:02X}>" for i in range(256))]
        words = trainers.BpeTrainer(vocab_size=900, special_tokens=specials, show_progress=False, max_token_length=6)
        made.train_from_iterator(re.findall(r"\S+|\s", text[0].replace(" ", "▁")), words)
        data = json.loads(made.to_str())
        data["added_tokens"] = [token for token in data["added_tokens"] if token["content"] == "<unk>"]
        made = Tokenizer.from_str(json.dumps(data))
    named = dict.fromkeys([*stops, *CONTROL.findall(template), "<s>", "</s>"])
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in named if token])
    end = next((token for token in stops if token), "</s>")
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<s>",
        eos_token=end,
        clean_up_tokenization_spaces=False,
        chat_template=template,
    )


@dataclass(frozen=True)
class Outcome:
    """How a template is played with one tokenizer."""

    mode: str
    form: str
    exact: bool
    read: int
    """Of 100 awkward queries."""
    why: str


def try_one(found: Found, kind: str) -> Outcome:
    """What ``--chat auto`` makes of a template."""
    tokenizer = tokenizer_of(kind, found.template, found.stops)
    try:
        chat = choose("auto", tokenizer, [SEARCH], [])
    except InputError as error:
        return Outcome("refused", "", False, 0, str(error))
    form = getattr(chat, "form", "")
    queries = awkward()
    read = sum(_reads(chat, query) for query in queries)
    return Outcome(chat.kind, form, exact(chat), read, chat.why)


@cache
def awkward() -> tuple[str, ...]:
    """A hundred queries of awkward pieces."""
    random = Random(0)
    made = ("".join(random.choice(PIECES) for _ in range(random.randrange(1, 9))) for _ in range(1000))
    return tuple(dict.fromkeys(text.strip() for text in made if text.strip()))[:100]


def _reads(chat: Chat, query: str) -> bool:
    call = ToolCall("search", {"query": query})
    ids = chat.written(chat.phrase(call=call))
    return chat.parse(ids).call == call and not any(token in chat.stop.ids for token in ids[:-1])


def exact(chat: Chat) -> bool:
    """Whether the ids of a conversation of three turns are those of apply_chat_template."""
    if isinstance(chat, Native):
        # Where the prompt opens the reasoning there is no turn without.
        plain = chat.opens_reasoning or _exact_native(chat, "")
        return plain and (not chat.keeps_reasoning or _exact_native(chat, "first the river"))
    return isinstance(chat, Templated) and _exact_tagged(chat)


def _exact_native(chat: Native, think: str) -> bool:
    style = chat.style
    messages = style.start("You search.", "Which river is it?")
    ids = chat.prompt("You search.", "Which river is it?").tolist()
    same = ids == rendered(chat, messages)
    for query in ("river of Bor", "Oum"):
        text = chat.phrase(think, call=ToolCall("search", {"query": query}))
        ids += [*chat.written(text), *chat.tool_turn("Bor lies at the Oum.", "search")]
        messages = [*messages, style.call(("search", {"query": query}), think=think)]
        messages = [*messages, style.result("search", "Bor lies at the Oum.")]
        same = same and ids == rendered(chat, messages)
    return same


def _exact_tagged(chat: Templated) -> bool:
    system = f"{instruction(chat.tools)}\n\nYou search."
    style = chat.style
    messages = style.start(system, "Which river is it?")
    ids = chat.prompt("You search.", "Which river is it?").tolist()
    same = ids == rendered(chat, messages)
    for query in ("river of Bor", "Oum") if chat.form == "A" else ():
        text = chat.phrase(think="first the river", call=ToolCall("search", {"query": query}))
        ids += [*chat.written(text), *chat.tool_turn("Bor lies at the Oum.", "search")]
        messages = [*messages, style.answer(text.strip())]
        messages = [*messages, style.user("<information>\nBor lies at the Oum.\n</information>")]
        same = same and ids == rendered(chat, messages)
    return same


def rendered(chat: Chat, messages: Any) -> list[int]:
    """The ids that the template itself gives."""
    function = {"name": SEARCH.name, "description": SEARCH.description, "parameters": dict(SEARCH.parameters)}
    tools = [{"type": "function", "function": function}] if isinstance(chat, Native) else None
    return list(
        chat.tokenizer.apply_chat_template(
            [dict(message) for message in messages],
            tools=tools,
            add_generation_prompt=True,
            return_dict=False,
            chat_template=Template(chat.tokenizer, chat.tools).source(bool(tools)),
            date_string=DAY.strftime("%d %b %Y"),
        )
    )


PAGE = """\
# Which models can be played, and how

Written by `make survey-chats` on {day}, from the chat templates that these wheels of the package index carry:
{wheels}. They are read, not imported, and nothing of them is kept here. The original tokenizers
are not in them: each template was tried with two made for it, a byte-level BPE with Qwen's way to split words and a
SentencePiece-like one with a space before each stretch, and the control tokens that the template names. So the ids show
the mechanisms, not each model's merges.

`--chat auto` takes the first of three ways that can be played as the template would render it
([guide](guides/own-model.md)): **native** calls, **chat** (tags within the template; form A has results as a user's
messages, B within one assistant turn), **tags** in plain text.

{summary}

*Exact*: the ids of a prompt and two calls with their results are those of `apply_chat_template`, with both tokenizers,
with reasoning and without where the template keeps it (form B: of the prompt; a result within an assistant turn is in
no template). *Read back*: of 100 awkward queries (quotes, brackets, line breaks, closing tags, other scripts), the
fewer of the two tokenizers.

| model | in | mode | form | exact | read back | why not native |
|---|---|---|---|---|---|---|
{rows}
"""


def page(rows: Sequence[tuple[Found, list[Outcome]]], wheels: Sequence[Path]) -> str:
    """The page on what was found, a row a named model."""
    lines = list[str]()
    counts: Counter[str] = Counter()
    for found, (first, other) in rows:
        mode = first.mode if other.mode == first.mode else f"{first.mode}, {other.mode} with SentencePiece"
        exact, read = first.exact and other.exact, min(first.read, other.read)
        why = "" if first.mode == "native" else first.why.partition("not native: ")[2].partition("; not")[0]
        told = "" if first.mode == "tags" else "yes" if exact else "no"
        cells = (found.name, found.wheel, mode, first.form, told, str(read), why.removeprefix("a chat template "))
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
        played = first.mode in ("native", "chat")
        counts.update({first.mode: 1, "exact": exact and played, "read": read == 100 and played, "played": played})
    summary = (
        f"{len(rows)} named models: {counts['native']} native, {counts['chat']} chat, {counts['tags']} plain tags, "
        f"{counts['refused']} refused. {counts['played']} ({counts['played'] / len(rows):.0%}) play natively or within "
        f"their template; of these {counts['exact']} are exact, and {counts['read']} read all 100 awkward queries back."
    )
    versions = ", ".join(" ".join(path.name.split("-")[:2]) for path in wheels)
    return PAGE.format(day=date.today().isoformat(), wheels=versions, summary=summary, rows="\n".join(lines))


def main() -> None:
    """Read the wheels and write the page."""
    parser = argparse.ArgumentParser(description="try the chat templates that some wheels carry")
    parser.add_argument("wheels", type=Path, help="a folder with the wheels")
    parser.add_argument("page", type=Path, help="where the page is written")
    given = parser.parse_args()
    wheels = [path for path in sorted(given.wheels.glob("*.whl")) if path.name.split("-")[0] in READERS]
    found: dict[tuple[str, str], Found] = {}
    for path in wheels:
        with zipfile.ZipFile(path) as wheel:
            found |= {(one.wheel, one.name): one for one in READERS[path.name.split("-")[0]](wheel)}
    tried: dict[tuple[str, tuple[str, ...]], list[Outcome]] = {}
    for one in found.values():
        if (one.template, one.stops) not in tried:
            tried[one.template, one.stops] = [try_one(one, kind) for kind in ("byte-level", "SentencePiece")]
    text = page([(one, tried[one.template, one.stops]) for one in found.values()], wheels)
    given.page.write_text(text, encoding="utf-8")
    print(next(line for line in text.splitlines() if "named models" in line))


if __name__ == "__main__":
    main()
