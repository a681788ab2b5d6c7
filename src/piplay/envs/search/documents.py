"""Documents: text and Markdown, and what markitdown turns into Markdown, cut into passages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from piplay.envs.search.question import Passage
from piplay.envs.search.rows import Skipped
from piplay.envs.search.words import pieces, sentences, size
from piplay.errors import in_a_line

PLAIN = (".txt", ".md")
_CONVERTERS = {".pdf": "PdfConverter", ".html": "HtmlConverter", ".htm": "HtmlConverter", ".docx": "DocxConverter"}
CONVERTED = tuple(_CONVERTERS)
"""What markitdown reads (extra ``documents``)."""
_HEADING = re.compile(r" {0,3}#{1,6}(?=\s)")
_FENCE = re.compile(r"\s*(?:`{3,}[^`]*|~{3,}.*)")


def read_documents(path: Path, files: Sequence[Path], words: int, skipped: Skipped) -> list[Passage]:
    """The passages of documents, at most ``words`` words each, see ``_cut``; ids are ``relative/path.md#1`` and so on.

    What cannot be read is added to ``skipped``.
    """
    passages = []
    for file in files:
        name = file.name if file == path else file.relative_to(path).as_posix()
        document, why = _markdown(file) if file.suffix.lower() in CONVERTED else (_decode(file.read_bytes()), None)
        if document is None:
            skipped.add(path, name, why or "is not UTF-8")
            continue
        cut = _cut(document, file.stem, words)
        passages += [Passage(f"{name}#{number}", title, text) for number, (title, text) in enumerate(cut, 1)]
    return passages


def _markdown(file: Path) -> tuple[str | None, str | None]:
    """A document as Markdown, or why it is not to be had."""
    kind = file.suffix.lower()
    try:
        import markitdown

        # By the ending alone: what markitdown takes a damaged file for would be read as text.
        converter = getattr(markitdown.converters, _CONVERTERS[kind])()
        with file.open("rb") as opened:
            found: str = converter.convert(opened, markitdown.StreamInfo(extension=kind, charset="utf-8")).markdown
    except ModuleNotFoundError as error:
        return None, f"needs {error.name}: pip install 'piplay[documents]'"
    except OSError:
        raise
    except Exception as error:  # of many kinds, by what is wrong with the file
        return None, f"cannot be read by markitdown ({in_a_line(error)[:150]})"
    return found, None


def _decode(raw: bytes) -> str | None:
    """A document's text without its byte order mark; None where it is neither UTF-8 nor marked as UTF-16."""
    try:
        return raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        return None


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


def _heading(line: str) -> str:
    """The text of a line that is a ``#`` heading, without the ``#`` that may close it; empty where there is none."""
    opened = _HEADING.match(line)
    words = line[opened.end() :].split() if opened else []
    if len(words) > 1 and not words[-1].strip("#"):
        del words[-1]
    text = " ".join(words)
    return text if re.search(r"\w", text) else ""


def _sections(document: str, stem: str) -> Iterator[tuple[str, list[list[str]]]]:
    """(title, paragraphs as words) of each stretch between ``#`` headings; a ``#`` inside a code fence is none.

    What stands before the first heading goes under that heading too, or under ``stem`` when there is none. A heading
    with nothing of its own below it becomes a paragraph of the next section, or its own text when none follows.
    """
    stretches: list[tuple[str, list[list[str]]]] = [("", [[]])]
    fenced = False
    for line in document.splitlines():
        fenced ^= bool(_FENCE.fullmatch(line))
        if not fenced and (heading := _heading(line)):
            stretches.append((heading, [[]]))
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
