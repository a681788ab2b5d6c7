"""What is fuzzed: every reader and parser of text and files from outside, each as a function of bytes.

A target may raise ``InputError``, and nothing else.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from toys.tokenizers import KINDS
from toys.tools import TOOLS

from piplay.chat.base import Chat
from piplay.chat.choose import choose
from piplay.envs.search.benchmarks import read_benchmark
from piplay.envs.search.bm25 import BM25Searcher
from piplay.envs.search.corpus import read_corpus
from piplay.envs.search.match import exact_match
from piplay.envs.search.question import Passage
from piplay.envs.search.values import canonical, mentions, same_value
from piplay.envs.search.words import pieces, sentences
from piplay.envs.world.generate import encyclopedia
from piplay.envs.world.questions import Solver
from piplay.envs.world.store import read_world, write_world
from piplay.envs.world.tables import read_tables
from piplay.errors import InputError
from piplay.eval.metrics import f1
from piplay.recipes import load_config, recipes, validated
from piplay.terminal import escaped

Target = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """A target and inputs that it takes, from which others are made."""

    target: Target
    seeds: tuple[bytes, ...]
    share: int = 1
    """How many inputs it gets for one of a slow target."""


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="piplay-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))


def clear() -> None:
    """Remove what the targets wrote."""
    shutil.rmtree(_folder(), ignore_errors=True)


def _text(data: bytes) -> str:
    """Bytes as text; some have lone surrogates, as Python's arguments can."""
    return data.decode("utf-8", "surrogateescape")


def _file(suffix: str, read: Callable[[Path], object]) -> Target:
    """A target that reads a file of that name."""

    def target(data: bytes) -> object:
        path = _folder() / f"input{suffix}"
        path.write_bytes(data)
        return read(path)

    return target


# Files of rows and documents

_ROWS = [{"id": i, "title": f"Town {i}", "text": "Bor lies on the Tamsin.", "question": "Who?", "answers": ["Bor", "b"]}
         for i in range(3)]  # fmt: skip
_LINES = "".join(f"{json.dumps(row)}\n" for row in _ROWS).encode()
_CSV = b'id,title,text,question,answers\n1,"Bor, old","a ""b"" c",Who?,"[""x""]"\n2,B,c,Why?,y\n'
_SEARCH_R1 = (
    b'{"data_source": "nq", "prompt": [{"role": "user", "content": "Answer. Question: who? \\n"}], '
    b'"reward_model": {"ground_truth": {"target": ["x"]}}, "extra_info": {"index": 1}}\n'
)


@cache
def _parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(_ROWS), file)
    return file.getvalue()


_TYPES = (
    pa.string(), pa.large_string(), pa.binary(), pa.date32(), pa.date64(), pa.timestamp("ns"), pa.timestamp("s", "UTC"),
    pa.time64("us"), pa.duration("s"), pa.float16(), pa.float64(), pa.int64(), pa.uint64(), pa.list_(pa.int8()),
)  # fmt: skip


def _cells(data: bytes) -> object:
    """Parquet whose cells hold whatever bytes there are: text that is no UTF-8, dates that never were."""
    kinds = [_TYPES[byte % len(_TYPES)] for byte in data[:3].ljust(3, b"\0")]
    body = data[3:].ljust(160, b"\0")
    columns = {}
    for name, kind in zip(("id", "text", "question"), kinds, strict=True):
        if kind in (pa.string(), pa.large_string(), pa.binary()):
            cells = pa.array(
                [body[i * 9 : i * 9 + 9] for i in range(5)],
                pa.large_binary() if kind == pa.large_string() else pa.binary(),
            )
            columns[name] = pa.Array.from_buffers(kind, 5, cells.buffers())
        elif pa.types.is_list(kind):
            columns[name] = pa.array([[1], None, [], [2, 3], [4]], kind)
        else:
            columns[name] = pa.Array.from_buffers(kind, 5, [None, pa.py_buffer(body[:80])])
    columns["answers"] = pa.array(["x"] * 5)
    path = _folder() / "cells.parquet"
    with suppress(pa.ArrowException, ValueError):
        pq.write_table(pa.table(columns), path)
        with suppress(InputError):
            read_benchmark(path)
        return read_corpus(path)


def _corpora() -> dict[str, tuple[bytes, ...]]:
    contents = (
        b'{"id": "1", "contents": "\\"Bor\\"\\nA town."}\n{"_id": 2, "metadata": {"title": "T"}, "text": ["a", ["b"]]}'
    )
    return {
        ".jsonl": (_LINES, contents, _SEARCH_R1),
        ".json": (json.dumps(_ROWS).encode(), json.dumps({"data": _ROWS}).encode()),
        ".csv": (_CSV, b"\xef\xbb\xbf" + _CSV),
        ".tsv": (_CSV.replace(b",", b"\t"), b"1\tA passage.\tBor\n"),
        ".parquet": (_parquet(),),
        ".jsonl.gz": (gzip.compress(_LINES),),
        ".csv.bz2": (bz2.compress(_CSV),),
        ".json.xz": (lzma.compress(json.dumps(_ROWS).encode()),),
    }


_MARKDOWN = "# Bor #\n\nBor lies on the Tamsin. It is old.\n```\n# no heading\n```\n## Sub\n日本。 x\n".encode()

# Tables


_SQL = """
CREATE TABLE town (name TEXT PRIMARY KEY, river TEXT, near TEXT, land_id INTEGER REFERENCES Land(ID));
CREATE TABLE land (name TEXT, id INTEGER PRIMARY KEY, capital TEXT REFERENCES town);
CREATE VIEW pairs AS SELECT * FROM town, land;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 25)
INSERT INTO town SELECT 'Town' || i, 'River' || i % 9, 'Town' || (i * 7 % 26), i % 3 FROM n;
INSERT INTO land VALUES ('Bor', 0, 'Town1'), ('Oum', 1, 'Town2'), ('Tam', 2, 'Town3');
"""


_ENDLESS = b"""CREATE TABLE town (name TEXT);
CREATE VIEW v AS WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n)
SELECT i, zeroblob(90000) AS z FROM n"""


def _database(script: str = _SQL) -> bytes:
    """A database that a script makes, as far as it goes."""
    base = sqlite3.connect(":memory:")
    left = iter(range(100))
    base.set_progress_handler(lambda: next(left, None) is None, 10_000)
    for statement in script.replace("\0", "").split(";"):
        with suppress(sqlite3.Error, sqlite3.Warning):
            base.execute(statement)
    try:
        base.commit()
        return base.serialize()
    except sqlite3.Error:
        return b""


def _scripted(data: bytes) -> object:
    """The last table or view of a database, and all its tables."""
    path = _folder() / "scripted.sqlite"
    raw = _database(data.decode("utf-8", "replace"))
    path.write_bytes(raw)
    names = re.findall(rb"(?i)CREATE (?:TABLE|VIEW) (\w+)", data)
    with suppress(InputError):
        read_tables([path])
    return read_tables([Path(f"{path}:{names[-1].decode()}")]) if names else None


def _table(separator: str) -> bytes:
    rows = [["name", "river", "near", "tags", "founded", "of"]]
    rows += [[f"Town{i}", f"River{i}", f"Town{i * 7 % 24}", "a/b", f"{1900 + i}.0", f"Town{i % 4}"] for i in range(24)]
    return "".join(separator.join(row) + "\n" for row in rows).encode()


_OBJECTS = b"".join(
    json.dumps({"name": f"Town{i}", "river": f"R{i}", "near": [f"Town{i * 7 % 24}", f"Town{i % 5}"], "n": i}).encode()
    + b"\n"
    for i in range(24)
)


def _made(path: Path) -> object:
    """A world made of a table, which has to be writable too."""
    records, summary = read_tables([path])
    folder = _folder() / "made"
    shutil.rmtree(folder, ignore_errors=True)
    return write_world(folder, records, 0, path.name, per_hop=2), summary


# Worlds


@cache
def _world() -> Path:
    folder = _folder() / "world"
    write_world(folder, encyclopedia(1, 100), 1, "fuzzed", per_hop=2)
    return folder


def _of_world(name: str) -> Fuzzed:
    """A world of which one file is another."""

    def target(data: bytes) -> object:
        broken = _folder() / f"world-{name}"
        if not broken.exists():
            shutil.copytree(_world(), broken)
        (broken / name).write_bytes(data)
        return read_world(broken)

    return Fuzzed(target, ((_world() / name).read_bytes(),))


# Chats


@cache
def chats() -> Mapping[str, Chat]:
    """Every chat over every kind of tokenizer that can be played with it."""
    made: dict[str, Chat] = {}
    for name, tokenizer in KINDS.items():
        for kind in ("native", "chat", "tags"):
            try:
                made[f"{kind}, {name}"] = choose(kind, tokenizer(), TOOLS, ())
            except InputError:
                continue
    return made


_TURNS = (
    b'<think>Look.</think><tool_call>\n{"name": "search", "arguments": {"query": "Bor"}}\n</tool_call><|im_end|>',
    b"<search>river of Bor</search>",
    b"<think>So.</think><answer>Bor</answer>",
    b"[search(query='Bor')]",
    b'<function=search><parameter=query>Bor</parameter></function>{"a": [1, 2.5e3, null, true, "\\u00e9"]}',
    b"Question: Who?\nAnswer: Bor",
)


def _parse_text(data: bytes) -> object:
    chat = list(chats().values())[data[0] % len(chats())] if data else next(iter(chats().values()))
    ids = chat.tokenizer(data[1:].decode("utf-8", "replace"), add_special_tokens=False).input_ids
    turn = chat.parse(ids)
    return chat.check(turn.call) if turn.call is not None else turn


def _parse_ids(data: bytes) -> object:
    chat = list(chats().values())[data[0] % len(chats())] if data else next(iter(chats().values()))
    ids = np.frombuffer(data[1 : len(data) // 2 * 2 - 1], dtype="<u2") % len(chat.tokenizer)
    return chat.parse(ids.tolist())


# Settings


def _recipe(data: bytes) -> object:
    path = _folder() / "recipe.toml"
    path.write_bytes(data)
    return load_config(path, {})


def _override(data: bytes) -> object:
    key, _, value = _text(data).partition("=")
    return load_config("smoke", {key: value})


def _settings(data: bytes) -> object:
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return validated(tree, "config.json") if isinstance(tree, dict) else None


# Text


@cache
def _searcher() -> BM25Searcher:
    return BM25Searcher([Passage(str(i), f"Town {i}", "This town lies on the river R. 東京 é") for i in range(20)])


@cache
def _solver() -> Solver:
    return Solver(encyclopedia(1, 100))


def _as_text(data: bytes) -> str:
    """Text as it is where a border has let it pass: without lone surrogates."""
    return data.decode("utf-8", "replace")


def _words(data: bytes) -> object:
    text = _as_text(data)
    return sentences(pieces(text.split()), 5), _searcher().search([text], 2)


def _values(data: bytes) -> object:
    one, _, other = _as_text(data).partition("|")
    return (
        canonical(one),
        mentions(one, other),
        same_value(one, [other]),
        exact_match(one, [other]),
        f1(one, [other]),
        escaped(one),
    )


def _asked(data: bytes) -> object:
    text = _as_text(data)
    return _solver().solve(text), _solver().judge(text, text[:9])


def _smoke() -> bytes:
    return json.dumps(load_config("smoke", {}).model_dump(mode="json")).encode()


def _recipes() -> tuple[bytes, ...]:
    folder = Path(load_config.__code__.co_filename).parent
    return tuple((folder / f"{name}.toml").read_bytes() for name in recipes() if name != "frozen-lake")


def targets() -> dict[str, Fuzzed]:
    """All of them, by name."""
    found = {f"corpus{end}": Fuzzed(_file(end, read_corpus), seeds, 4) for end, seeds in _corpora().items()}
    found |= {f"benchmark{end}": Fuzzed(_file(end, read_benchmark), seeds, 4) for end, seeds in _corpora().items()}
    for end in (".md", ".txt"):
        found[f"document{end}"] = Fuzzed(_file(end, read_corpus), (_MARKDOWN,), 8)
    separated = {".csv": ",", ".tsv": "\t", ".txt": ";"}
    tables = {end: (_table(sign), b"sep=;\r\n" + _table(";")) for end, sign in separated.items()}
    for end, seeds in (tables | {".jsonl": (_OBJECTS,), ".sqlite": (_database(),)}).items():
        found[f"table{end}"] = Fuzzed(_file(end, _made), seeds, 2)
    names = ("records.jsonl", "passages.jsonl", "heldout.jsonl", "world.json")
    found |= {f"world {name}": _of_world(name) for name in names}
    found |= {
        "turn as text": Fuzzed(_parse_text, _TURNS, 16),
        "turn as ids": Fuzzed(_parse_ids, _TURNS, 16),
        "recipe": Fuzzed(_recipe, _recipes(), 2),
        "override": Fuzzed(_override, (b"policies.student.lr=1e-4", b"phases.study.learn.student.losses.pg.weight=0.1",
                                       b"environment.world=x", b"phases.study.until={metric='a', above=1}")),
        "settings": Fuzzed(_settings, (_smoke(),), 4),
        "parquet cells": Fuzzed(_cells, (_LINES, b"caf\xe9|2024|" + bytes(40), b"\xff" * 30), 4),
        "table script": Fuzzed(_scripted, (_SQL.encode(), _ENDLESS), 4),
        "words": Fuzzed(_words, (_MARKDOWN, "東京は日本。 Ça va? 1,000 km".encode()), 8),
        "values": Fuzzed(_values, (b"1,000 km|1000 km", b"5 May 1836|1836-05-05", b"(5)|-5", b"C++|C#"), 16),
        "question": Fuzzed(_asked, (b"Name the river of the capital of Bor.", b"What is the river of X?"), 4),
    }  # fmt: skip
    return found
