"""Reading a corpus: passages as they are (JSONL), or documents (.txt, .md) cut into passages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from piplay.envs.search.cache import fingerprint, kept
from piplay.envs.search.question import Passage
from piplay.envs.search.stored import LARGE, Stored
from piplay.envs.search.words import pieces, sentences, size
from piplay.errors import InputError

_DOCUMENTS = (".txt", ".md")
_LAYOUT = '{"id": ..., "contents": "title\\ntext"}'
_HEADING = re.compile(r" {0,3}#{1,6}\s+(.*?\w.*?)(?:\s+#+)?\s*")
_FENCE = re.compile(r"\s*(?:`{3,}[^`]*|~{3,}.*)")


class StoredPassages(Stored[Passage]):
    """The passages of a large JSON Lines file."""

    def __init__(self, path: Path, starts_N1: npt.NDArray[np.int64], content: str) -> None:
        super().__init__(path, starts_N1, lambda raw, at: _parse(_decode(raw, path, at), f"{path}, byte {at}"))
        self.content = content
        """The file's fingerprint: what is computed from the passages is kept under it."""


def read_corpus(path: Path, words: int = 50) -> Sequence[Passage]:
    """The passages at ``path``, in file order; never none, never two passages with one id.

    ``path`` is one of:

    - a folder that holds ``passages.jsonl``, such as a world: that file is read;
    - a ``.jsonl`` file, one ``{"id", "contents"}`` a line (other fields are ignored, blank lines skipped). The first
      line of the contents is the title, in double quotes or not (FlashRAG's layout), the rest is the text;
    - a folder of .txt and .md files, at any depth, in the order of their paths: cut into passages of at most ``words``
      words, see ``_cut``. Ids are ``relative/path.md#1``, ``#2`` and so on.

    The passages of a .jsonl file of more than 8 MiB stay on disk (``StoredPassages``). It is checked in full when it is
    first read; where its lines start is kept in the cache.

    Raises InputError for whatever cannot be read as one of these, ValueError when ``words < 1``.
    """
    if words < 1:
        raise ValueError(f"words must be at least 1, not {words}")
    try:
        if not path.exists():
            raise InputError(f"{path} does not exist: give a .jsonl file or a folder of .txt and .md files.")
        if path.is_dir():
            passages = path / "passages.jsonl"
            return _read_jsonl(passages) if passages.exists() else _read_documents(path, words)
        if path.suffix.lower() == ".jsonl":
            return _read_jsonl(path)
    except OSError as error:
        raise InputError(
            f"{error.filename} cannot be read ({error.strerror}): make it readable or remove it."
        ) from error
    raise InputError(
        f"{path} is neither a folder nor a .jsonl file: put .txt and .md files into a folder and name that."
    )


def _decode(raw: bytes, path: Path, offset: int = 0) -> str:
    """``raw``, which stands at byte ``offset`` of ``path``, as text, without the file's byte order mark."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        at = offset + error.start
        raise InputError(f"{path} is not UTF-8 at byte {at} (counted from 0): save it as UTF-8.") from error
    return text if offset else text.removeprefix("\ufeff")


def _read_jsonl(path: Path) -> Sequence[Passage]:
    if path.stat().st_size <= LARGE:
        return [passage for _, passage in _scan(path)]
    content = fingerprint(path)

    def check(folder: Path) -> None:
        starts = np.fromiter((start for start, _ in _scan(path)), np.int64)
        if fingerprint(path) != content:
            raise InputError(f"{path} changed while it was read: start again.")
        np.save(folder / "starts.npy", np.append(starts, path.stat().st_size))

    return StoredPassages(path, np.load(kept(f"{content}-lines-1", check) / "starts.npy"), content)


def _scan(path: Path) -> Iterator[tuple[int, Passage]]:
    """Each passage of a file with the byte that its line starts at."""
    line_of: dict[str, int] = {}
    offset = 0
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, 1):
            start = offset
            offset += len(raw)
            line = _decode(raw, path, start)
            if not line.strip():
                continue
            passage = _parse(line, f"{path}, line {number}")
            if passage.id in line_of:
                first = line_of[passage.id]
                raise InputError(
                    f'{path}, lines {first} and {number} both have the id "{passage.id}": make ids unique.'
                )
            line_of[passage.id] = number
            yield start, passage
    if not line_of:
        raise InputError(f"{path} holds no passages: write one {_LAYOUT} a line.")


def _parse(line: str, where: str) -> Passage:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise InputError(f"{where} is not JSON ({reason}): write one {_LAYOUT} a line.") from error
    if not isinstance(record, dict):
        raise InputError(f"{where} is not a JSON object: write one {_LAYOUT} a line.")
    for field, kinds, wanted in (("id", (str, int), "a string or an integer"), ("contents", (str,), "a string")):
        if field not in record:
            raise InputError(f'{where} has no "{field}": write one {_LAYOUT} a line.')
        value = record[field]
        if not isinstance(value, kinds) or isinstance(value, bool):  # True is an int to Python
            raise InputError(f'{where}: "{field}" must be {wanted}, not {json.dumps(value)[:40]}.')
        if not str(value).strip():
            raise InputError(f'{where}: "{field}" is empty: fill it in or remove the line.')
        if re.search("[\ud800-\udfff]", str(value)):  # JSON can escape it, but no tokenizer or file takes it
            raise InputError(f'{where}: "{field}" has half of a surrogate pair (\\ud800 to \\udfff): remove it.')
    title, _, text = record["contents"].partition("\n")
    title, text = title.strip(), text.strip()
    if len(title) > 1 and title[0] == title[-1] == '"':
        title = title[1:-1].strip()
    if not title or not text:
        missing = "text after its title line" if title else "title in its first line"
        raise InputError(f'{where}: "contents" has no {missing}: write one {_LAYOUT} a line.')
    return Passage(id=str(record["id"]), title=title, text=text)


def _read_documents(folder: Path, words: int) -> list[Passage]:
    names = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.suffix.lower() in _DOCUMENTS}
    files = [(name, path) for name, path in sorted(names.items()) if not path.is_dir()]
    if not files:
        raise InputError(f"{folder} holds no .txt or .md file and no passages.jsonl: put your documents there.")
    passages = []
    for name, path in files:
        pieces = _cut(_decode(path.read_bytes(), path), path.stem, words)
        passages += [Passage(f"{name}#{number}", title, text) for number, (title, text) in enumerate(pieces, 1)]
    if not passages:
        raise InputError(
            f"{folder}: not one of its .txt and .md files ({len(files)}) has a word: write something there."
        )
    return passages


def _cut(document: str, stem: str, words: int) -> Iterator[tuple[str, str]]:
    """(title, text) of each passage: as many paragraphs as fit into ``words``, on lines of their own.

    A passage never crosses a heading. A paragraph that does not fit whole is cut between sentences, a sentence that
    does not fit between words. Runs of whitespace become one space; no word is lost.
    """
    for title, paragraphs in _sections(document, stem):
        room = 0.0
        texts: list[str] = []
        for paragraph in map(pieces, filter(None, paragraphs)):
            joint = "\n"
            for part in [paragraph] if sum(map(size, paragraph)) <= words else sentences(paragraph, words):
                taken = sum(map(size, part))
                if taken > room:
                    texts.append("")
                    room, joint = words, ""
                texts[-1] += joint + "".join(part)
                room -= taken
                joint = ""
        yield from ((title, text.rstrip()) for text in texts)


def _sections(document: str, stem: str) -> Iterator[tuple[str, list[list[str]]]]:
    """(title, paragraphs as words) of each stretch between ``#`` headings; a ``#`` inside a code fence is none.

    What stands before the first heading goes under that heading too, or under ``stem`` when there is none. A heading
    with nothing of its own below it becomes a paragraph of the next section, or its own text when none follows.
    """
    stretches: list[tuple[str, list[list[str]]]] = [("", [[]])]
    fenced = False
    for line in document.splitlines():
        fenced ^= bool(_FENCE.fullmatch(line))
        if not fenced and (heading := _HEADING.fullmatch(line)):
            stretches.append((" ".join(heading[1].split()), [[]]))
        elif line.strip():
            stretches[-1][1][-1].extend(line.split())
        else:
            stretches[-1][1].append([])
    (_, preamble), *headed = stretches
    if any(preamble):
        yield headed[0][0] if headed else stem, preamble
    bare: list[list[str]] = []
    for title, paragraphs in headed:
        if any(paragraphs):
            yield title, bare + paragraphs
            bare = []
        else:
            bare.append(title.split())
    if bare:
        yield headed[-1][0], bare
