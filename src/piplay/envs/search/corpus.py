"""Reading a corpus: passages from files of rows, or documents cut into passages."""

from __future__ import annotations

import json
import warnings
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt

from piplay.envs.search.cache import fingerprint, kept
from piplay.envs.search.documents import CONVERTED, PLAIN, read_documents
from piplay.envs.search.passages import CONTENTS, HEADLESS, NAMES, id_of, passage_of
from piplay.envs.search.question import Passage
from piplay.envs.search.rows import FORMATS, PACKED, Skipped, is_plain_lines, is_table, parse_line, rows
from piplay.envs.search.stored import LARGE, Stored
from piplay.errors import InputError, InputWarning
from piplay.files import from_json

DOCUMENTS = (*PLAIN, *CONVERTED)
_GIVE = (
    f"give a file ({', '.join(FORMATS)}; packed: {', '.join(PACKED)}) or a folder of such or of documents "
    f"({', '.join(DOCUMENTS)})"
)


class StoredPassages(Stored[Passage]):
    """The passages of a large corpus, which stay on disk."""

    def __init__(self, path: Path, starts_N1: npt.NDArray[np.int64], content: str) -> None:
        super().__init__(path, starts_N1, lambda raw, at: _parse(raw, f"byte {at}"))
        self.content = content
        """The corpus's fingerprint: what is computed from the passages is kept under it."""


def read_corpus(path: Path, words: int = 50, strict: bool = False) -> Sequence[Passage]:
    """The passages at ``path``, in file order; never none, never two passages with one id.

    ``path`` is one of:

    - a folder that holds ``passages.jsonl``, such as a world, or BEIR's ``corpus.jsonl``: that file is read;
    - a file of rows: JSON Lines, JSON, CSV, TSV or parquet, packed or not, or a folder of such. See ``passage_of`` for
      the names that id, title and text may have; a row without an id has its number;
    - a document (.txt, .md; with the extra ``documents`` .pdf, .html and .docx, by markitdown) or a folder of such, at
      any depth, in the order of their paths: cut into passages of at most ``words`` words, see ``read_documents``.

    A row that cannot be read, that has no text, or that repeats an earlier id is skipped. How many there are, where
    and why is an ``InputWarning``; with ``strict`` the first is refused. The passages of files of more than 8 MiB stay
    on disk (``StoredPassages``): where the lines start, and of other files than JSON Lines a copy of what they say, is
    kept in the cache.

    Raises InputError for whatever cannot be read as one of these, ValueError when ``words < 1``.
    """
    if words < 1:
        raise ValueError(f"words must be at least 1, not {words}")
    try:
        if not path.exists():
            raise InputError(f"{path} does not exist: {_GIVE}.")
        documents, tables = _inside(path) if path.is_dir() else _alone(path)
        if tables:
            return _read_tables(path, tables, strict)
        skipped = Skipped(strict)
        passages = read_documents(path, documents, words, skipped)
        if not passages and not skipped.reasons:
            raise InputError(f"{path}: not one of its documents ({len(documents)}) has a word: write something there.")
        _tell(path, len(passages), skipped)
        return passages
    except OSError as error:
        raise InputError(
            f"{error.filename or path} cannot be read ({error.strerror or error}): make it readable or remove it."
        ) from error


def files_read(path: Path) -> list[Path]:
    """The files that ``read_corpus`` reads there."""
    documents, tables = _inside(path, warn=False) if path.is_dir() else _alone(path)
    return tables or documents


def _alone(path: Path) -> tuple[list[Path], list[Path]]:
    if path.suffix.lower() in DOCUMENTS:
        return [path], []
    if is_table(path):
        return [], [path]
    raise InputError(f"{path} is no file of a kind that is known: {_GIVE}.")


def _inside(folder: Path, warn: bool = True) -> tuple[list[Path], list[Path]]:
    """The documents of a folder, or its files of rows; a README beside such is no document. ``warn`` where both are."""
    for name in ("passages.jsonl", "corpus.jsonl", *(f"corpus.jsonl{end}" for end in PACKED)):
        if (folder / name).exists():
            return [], [folder / name]
    names = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    there = [path for name, path in sorted(names.items()) if not path.is_dir() and not _hidden(name)]
    documents = [path for path in there if path.suffix.lower() in DOCUMENTS]
    tables = [path for path in there if is_table(path)]
    texts = [path for path in documents if path.suffix.lower() in PLAIN]
    if tables and all(path.stem.lower() in ("readme", "license", "licence") for path in texts):
        return [], tables
    if tables and documents and warn:
        warnings.warn(
            f"{folder}: its documents are read, and {len(tables)} other files ({tables[0].name}) are left out: name "
            "one to read that instead",
            InputWarning,
            stacklevel=4,
        )
    if not documents:
        kinds = Counter(path.suffix.lower() or path.name for path in there)
        found = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common(5))
        holds = f" but {found}{' …' if len(kinds) > 5 else ''}" if found else ""
        raise InputError(f"{folder} holds no document and no file of rows{holds}: {_GIVE}.")
    return documents, []


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _read_tables(path: Path, files: Sequence[Path], strict: bool) -> Sequence[Passage]:
    skipped = Skipped(strict)
    if sum(file.stat().st_size for file in files) <= LARGE:
        passages: Sequence[Passage] = [passage for _, passage, _ in _scan(path, files, skipped)]
    else:
        passages, skipped = _stored(path, files, strict)
    _tell(path, len(passages), skipped)
    return passages


def _tell(path: Path, count: int, skipped: Skipped) -> None:
    """Say what was skipped; raises InputError where nothing is left."""
    if not count:
        reasons = [f"{where} {why}" for why, (_, where) in skipped.reasons.items()]
        why = f": {reasons[0]}" if reasons else ""
        raise InputError(f"{path} holds no passages that can be read{why}; {CONTENTS}.")
    if sentence := skipped.sentence(path, count, "passages"):
        warnings.warn(sentence, InputWarning, stacklevel=4)


def _scan(path: Path, files: Sequence[Path], skipped: Skipped) -> Iterator[tuple[int, Passage, bool]]:
    """Each passage with the byte that its line starts at, and whether its id is its own."""
    seen: set[str] = set()
    number = 0
    for file in files:
        within = "" if file == path or len(files) == 1 else f"{file.relative_to(path).as_posix()}, "
        for row in rows(file, skipped, NAMES, HEADLESS):
            number += 1
            passage = passage_of(row.fields, str(number))
            place = within + row.place
            if isinstance(passage, str):
                skipped.add(path, place, passage)
            elif passage.id in seen:
                skipped.add(path, place, "has the id of an earlier one")
            else:
                seen.add(passage.id)
                yield row.start, passage, bool(id_of(row.fields))


def _stored(path: Path, files: Sequence[Path], strict: bool) -> tuple[StoredPassages, Skipped]:
    """The passages of large files: of JSON Lines the file itself where each line has an id, else a copy."""
    prints = [fingerprint(file) for file in files]
    content = prints[0] if len(files) == 1 else blake2b("".join(prints).encode(), digest_size=16).hexdigest()

    def check(folder: Path) -> None:
        skipped = Skipped(strict)
        if not (len(files) == 1 and is_plain_lines(files[0]) and _note_starts(path, files[0], skipped, folder)):
            skipped = Skipped(strict)
            write_passages((passage for _, passage, _ in _scan(path, files, skipped)), folder)
        if [fingerprint(file) for file in files] != prints:
            raise InputError(f"{path} changed while it was read: start again.")
        (folder / "skipped.json").write_text(json.dumps(skipped.reasons), encoding="utf-8")

    folder = kept(f"{content}-passages-3", check)
    skipped = Skipped(strict, from_json((folder / "skipped.json").read_text(encoding="utf-8")))
    if strict and skipped.reasons:
        reason, (_, place) = next(iter(skipped.reasons.items()))
        skipped.add(path, place, reason)
    if (folder / "passages.jsonl").exists():
        return open_passages(folder, content), skipped
    return StoredPassages(files[0], np.load(folder / "starts.npy"), content), skipped


def _note_starts(path: Path, file: Path, skipped: Skipped, folder: Path) -> bool:
    """Write down where the lines of a file start; False where one has no id of its own."""
    starts = array("q")
    for start, _, own in _scan(path, [file], skipped):
        if not own:
            return False
        starts.append(start)
    np.save(folder / "starts.npy", np.append(np.array(starts, np.int64), file.stat().st_size))
    return True


def write_passages(found: Iterable[Passage], folder: Path) -> None:
    """Write passages and where each starts into a folder, for ``open_passages``."""
    starts = array("q", [0])
    with (folder / "passages.jsonl").open("wb") as file:
        for passage in found:
            line = {"id": passage.id, "title": passage.title, "text": passage.text}
            starts.append(starts[-1] + file.write(f"{json.dumps(line, ensure_ascii=False)}\n".encode()))
    np.save(folder / "starts.npy", np.array(starts, np.int64))


def open_passages(folder: Path, content: str) -> StoredPassages:
    """The passages that ``write_passages`` wrote, of this fingerprint."""
    return StoredPassages(folder / "passages.jsonl", np.load(folder / "starts.npy"), content)


def _parse(raw: bytes, place: str) -> Passage:
    passage = passage_of(parse_line(raw), place)
    if isinstance(passage, str):
        raise ValueError(f"{place} {passage}")
    return passage
