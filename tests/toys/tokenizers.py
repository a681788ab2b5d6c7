"""Small tokenizers of every kind of model, with the control tokens of Qwen3 and its template."""

from __future__ import annotations

from collections.abc import Callable

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from toys.models import FAMILIES, toy_tokenizer
from transformers import PreTrainedTokenizerFast

QWEN = FAMILIES["qwen3"]
ADDED = (*QWEN.control, *QWEN.tags)
CHARACTERS = sorted({*map(chr, range(32, 127)), "\n", "é"})


def _finished(backend: Tokenizer, unknown: str) -> PreTrainedTokenizerFast:
    backend.add_special_tokens([AddedToken(token, special=True) for token in (unknown, *QWEN.control)])
    backend.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in QWEN.tags])
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=QWEN.end, unk_token=unknown, clean_up_tokenization_spaces=False
    )
    made.chat_template = QWEN.template
    return made


def bpe_unk() -> PreTrainedTokenizerFast:
    """BPE on characters, which has no bytes to fall back on."""
    vocab = {token: i for i, token in enumerate(("<unk>", *CHARACTERS, "▁", "th", "he"))}
    backend = Tokenizer(models.BPE(vocab, [("t", "h"), ("h", "e")], unk_token="<unk>"))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    return _finished(backend, "<unk>")


def unigram() -> PreTrainedTokenizerFast:
    """Unigram, whose vocabulary is a list: the control tokens are pieces too."""
    pieces = [("<unk>", 0.0), *((token, -1.0) for token in ADDED), *((token, -5.0) for token in (*CHARACTERS, "▁"))]
    backend = Tokenizer(models.Unigram(pieces, unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    backend.decoder = decoders.Metaspace(prepend_scheme="never")
    return _finished(backend, "<unk>")


def wordpiece() -> PreTrainedTokenizerFast:
    """WordPiece, whose control tokens are words of the vocabulary."""
    tokens = dict.fromkeys(("[UNK]", *ADDED, *CHARACTERS, *(f"##{character}" for character in CHARACTERS)))
    backend = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    backend.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return _finished(backend, "[UNK]")


def wordlevel() -> PreTrainedTokenizerFast:
    """A word a token; the control tokens are words of the vocabulary."""
    tokens = dict.fromkeys(("[UNK]", *ADDED, *CHARACTERS, "Bor", "search"))
    backend = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    return _finished(backend, "[UNK]")


KINDS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "byte BPE": lambda: toy_tokenizer("qwen3"),
    "BPE with unk": bpe_unk,
    "Unigram": unigram,
    "WordPiece": wordpiece,
    "WordLevel": wordlevel,
}
