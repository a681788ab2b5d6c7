"""Words and sentences of any script: what search, matching, scores and the cutting of documents share.

A word is a run of letters, digits and the marks upon them. Some scripts are written without spaces between words
(Chinese characters, kana, Thai, Lao, Khmer, Burmese), and Korean joins particles to its nouns: there a character with
its marks takes the place of a word, and search looks for two in a row.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise

import regex

_JOINED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Hangul}\p{LB=SA}ー]&&\p{L}"
"""Letters that stand side by side without spaces; LB=SA are the scripts of South East Asia."""
_OPENING = r"\p{Ps}\p{Pi}"

_LATIN_COMPOUND = re.compile(r"[^\W_]+(?:[-.+/_:']+[^\W_]+)*")
_LATIN_PART = re.compile(r"[^\W_]+")
_LETTERS = rf"(?:[[\p{{L}}\p{{N}}]--[{_JOINED}]]\p{{M}}*)+"
_CHARACTER = rf"[{_JOINED}]\p{{M}}*"
_RUN = regex.compile(rf"(?P<joined>(?:{_CHARACTER})+)|{_LETTERS}(?:[-.+/_:']+{_LETTERS})*", regex.V1)
_PART = regex.compile(_LETTERS, regex.V1)
_CHARACTERS = regex.compile(_CHARACTER, regex.V1)
_LETTER = regex.compile(r"\p{LB=SA}")
_NO_WORD = regex.compile(r"[^\p{L}\p{M}\p{N}\s\x00-\x7f]+", regex.V1)
_UNLIKE_LATIN = regex.compile(rf"[\p{{M}}[{_JOINED}]]", regex.V1)
_HAS_JOINED = regex.compile(f"[{_JOINED}]", regex.V1)

_SIGNS = (
    dict.fromkeys("‘’‚‛′ʼ´`", "'")
    | dict.fromkeys("“”„‟″«»", '"')
    | dict.fromkeys("‐‑‒–−־", "-")
    | dict.fromkeys("—―™℠\u2028\u2029", " ")
    | {fraction: f" {fraction}" for fraction in "¼½¾⅓⅔⅛⅜⅝⅞"}
    | {"ı": "i"}
)
_SIGN = re.compile(f"[{''.join(_SIGNS)}]")
_BEYOND_LATIN = re.compile(r"[\xad\u0300-\U0010ffff]")
_UNSEEN = regex.compile(r"[[\p{Cf}\p{Variation_Selector}]--\u200b]", regex.V1)
_SPACE_UNSEEN = regex.compile(rf"(?<=[[{_JOINED}]\p{{M}}])\u200b(?=[{_JOINED}])", regex.V1)
_ABJAD = regex.compile(r"[\p{Arabic}\p{Hebrew}]")
_OPTIONAL = regex.compile(
    r"[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed]"
)
_DIGIT = regex.compile(r"[\p{Nd}--[0-9]]", regex.V1)

_NOT_LATIN = regex.compile(r"[[\p{L}\p{Nd}]--[\p{Latin}\p{Common}]]|[\p{Nd}--[0-9]]|[\uff00-\uffef]", regex.V1)

_WITHIN = f"[^[{_JOINED}]{_OPENING}]+"
_PIECE = regex.compile(
    rf"[{_OPENING}]*(?:{_CHARACTER}[^\p{{L}}\p{{N}}{_OPENING}]*|{_WITHIN}(?:[{_OPENING}]+{_WITHIN})*)|[{_OPENING}]+",
    regex.V1,
)
_CLOSERS = r"""["'”’»)\]\p{Pe}\p{Pf}]*"""
_END = regex.compile(rf"[\p{{STerm}}…]{_CLOSERS}\s*$", regex.V1)
_END_WITHOUT_SPACE = regex.compile(rf"[\p{{STerm}}--[.!?]]{_CLOSERS}$", regex.V1)
_PAUSE = regex.compile(rf"(?:\s|[,;:،؛，、；：]{_CLOSERS})$", regex.V1)


def fold(text: str) -> str:
    """The text as it is compared: lower case, and one form for what is written in several.

    Compatibility forms (full-width letters and digits, ligatures), quotation marks, dashes, digits of any script, the
    dotted and the dotless i of Turkish each become one; what is not seen (joiners, soft hyphens) and what is optional
    (Arabic and Hebrew vowel signs, hamza on its bearer) go. Accents stay.
    """
    text = text if text.isascii() else _SIGN.sub(lambda match: _SIGNS[match[0]], text)
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _fold_beyond_latin(text) if _BEYOND_LATIN.search(text) else text


def _fold_beyond_latin(text: str) -> str:
    text = _DIGIT.sub(lambda match: str(unicodedata.decimal(match[0])), _UNSEEN.sub("", text))
    if "\u200b" in text:
        text = _SPACE_UNSEEN.sub("", text).replace("\u200b", " ")
    if _ABJAD.search(text):
        text = _OPTIONAL.sub("", unicodedata.normalize("NFD", text))
    return unicodedata.normalize("NFC", text.replace("i\u0307", "i"))


def tokenize(text: str) -> list[str]:
    """The words ``text`` is indexed and searched by, folded, in order. No stop words, no stemming.

    A compound, i.e. runs joined by any of ``- . + / _ : '``, stands there whole and then in its parts
    (``libgcc-s1``, ``libgcc``, ``s1``), so that its exact name outweighs its parts. Of a run of characters without
    spaces each two neighbours stand there, and before them each alone, as far as it can mean something alone: a letter
    of Thai cannot, unless it is the whole run.
    """
    text = fold(text)
    tokens: list[str] = []
    if text.isascii() or not _UNLIKE_LATIN.search(text):
        for compound in _LATIN_COMPOUND.findall(text):
            parts = _LATIN_PART.findall(compound)
            tokens += parts if len(parts) == 1 else [compound, *parts]
        return tokens
    for run in _RUN.finditer(text):
        if run["joined"]:
            characters = _CHARACTERS.findall(run[0])
            if len(characters) == 1 or not _LETTER.match(run[0]):
                tokens += characters
            tokens += map("".join, pairwise(characters))
        else:
            parts = _PART.findall(run[0])
            tokens += parts if len(parts) == 1 else [run[0], *parts]
    return tokens


def apart(text: str) -> str:
    """The folded text with a space on both sides of each character that takes the place of a word.

    Beyond ASCII nothing but letters, digits and their marks is left.
    """
    if text.isascii():
        return text.lower()
    return spaced(_NO_WORD.sub(" ", fold(text)))


def spaced(text: str) -> str:
    """The text with a space on both sides of each character that takes the place of a word."""
    return text if text.isascii() else str(_CHARACTERS.sub(r" \g<0> ", text))


def in_latin(text: str) -> bool:
    """Whether each letter and digit is one of the Latin script, and none is full-width."""
    return text.isascii() or not _NOT_LATIN.search(text)


def length(text: str) -> float:
    """How many words a text has, split at white space; two characters of a script without spaces count as one word."""
    return sum(map(size, pieces(text.split())))


def beginning(text: str, words: float) -> str:
    """The first so many words of a text; all of it, as it is, where it has no more."""
    if length(text) <= words:
        return text
    taken: list[str] = []
    room = words
    for piece in pieces(text.split()):
        room -= size(piece)
        if room < 0:
            break
        taken.append(piece)
    return "".join(taken).rstrip()


def pieces(words: Sequence[str]) -> list[str]:
    """The least that a text is cut into: words with the space behind them, and characters that stand for words.

    Marks stay with what they close or open. Joined, they are the words with one space between them.
    """
    found: list[str] = []
    for number, word in enumerate(words, 1):
        found += [word] if word.isascii() or not _HAS_JOINED.search(word) else _PIECE.findall(word)
        if number < len(words):
            found[-1] += " "
    return found


def size(piece: str) -> float:
    """What a piece counts as, in words."""
    return 1.0 if piece.isascii() or not _HAS_JOINED.search(piece) else 0.5


def sentences(paragraph: Sequence[str], words: int) -> Iterator[list[str]]:
    """The sentences of a paragraph that is given in pieces, in order; one longer than ``words`` in shorter stretches.

    A stretch ends with a word; where there are no spaces, at a comma if one stands in its second half.
    """
    sentence: list[str] = []
    room = float(words)
    for place, piece in enumerate(paragraph):
        if size(piece) > room:
            yield from _stretch(sentence)
            room = words - sum(map(size, sentence))
        sentence.append(piece)
        room -= size(piece)
        spaced = piece.endswith(" ") or place == len(paragraph) - 1
        if (_END if spaced else _END_WITHOUT_SPACE).search(piece):
            yield sentence
            sentence, room = [], float(words)
    if sentence:
        yield sentence


def _stretch(sentence: list[str]) -> Iterator[list[str]]:
    """Take what a full stretch holds out of a sentence that goes on."""
    pauses = [place for place, piece in enumerate(sentence, 1) if _PAUSE.search(piece) and 2 * place > len(sentence)]
    end = pauses[-1] if pauses else len(sentence)
    taken, sentence[:] = sentence[:end], sentence[end:]
    yield taken
