"""A world on disk: records, passages and questions as JSON Lines, the last two as FlashRAG lays them out."""

from __future__ import annotations

import json
import os
import shutil
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from piplay.envs.search.corpus import read_corpus
from piplay.envs.search.question import Passage
from piplay.envs.search.stored import LARGE, Stored
from piplay.envs.world.benchmark import ChainQuestion, Hop, questions, split
from piplay.envs.world.generate import encyclopedia
from piplay.envs.world.records import Entity, Records
from piplay.envs.world.render import passage, passages
from piplay.errors import InputError
from piplay.files import from_json

T = TypeVar("T")
Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class World:
    """What a run needs of a world."""

    records: Records
    passages: Sequence[Passage]
    """One an entity, in the order of the records, whose id is its entity's name; then those that are about none."""
    train_ids: frozenset[str]
    """The passages that self-play may start from."""
    heldout: list[ChainQuestion]
    train: list[ChainQuestion]


def build(records: Records, seed: int, per_hop: int = 100) -> World:
    """Render, split and examine records, in memory."""
    train, heldout = split(records, seed)
    return World(
        records,
        tuple(passages(records, seed)),
        frozenset(train),
        questions(records, heldout, seed, per_hop, label="heldout"),
        questions(records, train, seed, per_hop, label="train"),
    )


def default_world(seed: int = 0, per_hop: int = 100) -> World:
    """The fictional encyclopedia of a seed."""
    return build(encyclopedia(seed), seed, per_hop)


def default_passages(seed: int = 0) -> list[Passage]:
    """The passages of ``default_world``."""
    return passages(encyclopedia(seed), seed)


def write_world(
    folder: Path,
    entities: Iterable[Entity],
    seed: int,
    source: str,
    per_hop: int = 100,
    text: Callable[[Records], Iterable[Passage]] | None = None,
) -> World:
    """Build a world and write it to ``folder``, whole or not at all.

    Entities are written as they come, and so are passages: only names are held. ``source`` says where the entities come
    from. ``text`` gives passages of one's own in the place of rendered ones, those of the entities first, in their
    order and under their names. Raises InputError when the folder exists and is not empty, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists already: name a new folder or remove it.")
    half = folder.absolute().parent / f".{folder.name}.{os.getpid()}"
    try:
        half.mkdir(parents=True)
        records = Records(_write(half / "records.jsonl", map(_entity_line, entities), _entity))
        told = text(records) if text else (passage(records, entity, seed) for entity in records)
        found = _write(half / "passages.jsonl", map(_passage_line, told), _passage)
        train, heldout = split(records, seed)
        world = World(
            records,
            found,
            frozenset(train),
            questions(records, heldout, seed, per_hop, label="heldout"),
            questions(records, train, seed, per_hop, label="train"),
        )
        _write(half / "train.jsonl", map(_question_line, world.train), _question)
        _write(half / "heldout.jsonl", map(_question_line, world.heldout), _question)
        about = {
            "seed": seed,
            "source": source,
            "entities": len(records.entities),
            "relations": len({relation for entity in records for relation in entity.facts}),
            "train": train,
        }
        (half / "world.json").write_text(json.dumps(about, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        os.replace(half, folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}): name a folder that can.") from error
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return world


def read_passages(folder: Path) -> Sequence[Passage]:
    """The passages of the world in ``folder``, without its truth. Raises InputError as ``read_world`` does."""
    if not (folder / "world.json").is_file():
        raise InputError(f"{folder} is no world folder, it has no world.json: write one with `piplay world make`.")
    return read_corpus(folder / "passages.jsonl", strict=True)


def read_world(folder: Path) -> World:
    """The world in ``folder``, whose entities and passages stay on disk where they are many.

    Raises InputError naming the file and line that cannot be read.
    """
    corpus = read_passages(folder)
    records = _read_records(folder / "records.jsonl")
    for name, found in zip_longest(records.by_name, islice(corpus, len(records.by_name))):
        if found is None or found.id != name:
            raise InputError(f"{folder}: passages.jsonl does not have one passage a record, in order: make it again.")
    try:
        about = from_json((folder / "world.json").read_text(encoding="utf-8"))
        train = frozenset(about["train"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f'{folder / "world.json"} has no list "train" of passages: make the world again.') from error
    if strangers := train - records.by_name.keys():
        raise InputError(f'{folder / "world.json"} trains on "{min(map(str, strangers))}", which is no passage.')
    return World(
        records,
        corpus if isinstance(corpus, Stored) else tuple(corpus),
        train,
        read_questions(folder / "heldout.jsonl"),
        read_questions(folder / "train.jsonl"),
    )


def _read_records(path: Path) -> Records:
    large = path.is_file() and path.stat().st_size > LARGE
    entities: list[Entity] = []
    starts = array("q")
    line_of: dict[str, int] = {}
    for number, start, entity in _read(path, _entity):
        if entity.name in line_of:
            raise InputError(f'{path}, lines {line_of[entity.name]} and {number} both name "{entity.name}".')
        line_of[entity.name] = number
        if large:
            starts.append(start)
        else:
            entities.append(entity)
    if not large:
        return Records(tuple(entities))
    starts.append(path.stat().st_size)
    return Records(_stored(path, starts, _entity))


def read_questions(path: Path) -> list[ChainQuestion]:
    """The questions of a FlashRAG file: ``{"id", "question", "golden_answers", "metadata"}`` a line.

    ``metadata`` and its ``hops`` and ``path`` may be missing. Raises InputError with file and line.
    """
    found = [question for _, _, question in _read(path, _question)]
    if not found:
        raise InputError(f'{path} holds no questions: write one {{"id", "question", "golden_answers"}} a line.')
    return found


def _write(path: Path, lines: Iterable[Line], parse: Callable[[Line], T]) -> Stored[T]:
    """Write lines one after another; what they say can be read back."""
    starts = array("q", [0])
    with path.open("wb") as file:
        for line in lines:
            starts.append(starts[-1] + file.write(f"{json.dumps(line, ensure_ascii=False)}\n".encode()))
    return _stored(path, starts, parse)


def _stored(path: Path, starts: array[int], parse: Callable[[Line], T]) -> Stored[T]:
    return Stored(path, np.frombuffer(starts, dtype=np.int64), lambda raw, _: parse(from_json(raw)))


def _read(path: Path, parse: Callable[[Line], T]) -> Iterator[tuple[int, int, T]]:
    """Each line's number, its first byte and what it says; blank lines are skipped."""
    start = end = 0
    try:
        with path.open("rb") as lines:
            for number, raw in enumerate(lines, 1):
                start, end = end, end + len(raw)
                line = raw.decode("utf-8")
                if line.strip():
                    yield number, start, _say(line, f"{path}, line {number}", parse)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 at byte {start + error.start} (counted from 0): save it as UTF-8."
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): make the world again.") from error


def _say(line: str, where: str, parse: Callable[[Line], T]) -> T:
    try:
        fields = from_json(line)
        if not isinstance(fields, dict):
            raise TypeError("it is no JSON object")
        return parse(fields)
    except (ValueError, KeyError, TypeError) as error:
        reason = f'"{error.args[0]}" is missing' if isinstance(error, KeyError) else str(error)
        raise InputError(f"{where} cannot be read: {reason}.") from error


def _passage_line(passage: Passage) -> Line:
    return {"id": passage.id, "contents": f"{passage.title}\n{passage.text}"}


def _passage(line: Line) -> Passage:
    title, _, text = line["contents"].partition("\n")
    return Passage(line["id"], title, text)


def _entity_line(entity: Entity) -> Line:
    line: dict[str, Any] = {
        "name": entity.name,
        "kind": entity.kind,
        "facts": dict(entity.facts),
        "aliases": list(entity.aliases),
        "pronoun": entity.pronoun,
    }
    lists = {"more": entity.more, "unstated": entity.unstated}
    return line | {field: {r: list(values) for r, values in found.items()} for field, found in lists.items() if found}


def _entity(line: Line) -> Entity:
    facts = line["facts"]
    if not isinstance(facts, dict):
        raise TypeError('"facts" must be an object of strings')
    for value in facts.values():
        _text(value, "facts")
    return Entity(
        _text(line["name"], "name"),
        _text(line["kind"], "kind"),
        facts,
        _texts(line.get("aliases", []), "aliases"),
        _text(line.get("pronoun", "its"), "pronoun"),
        _lists(line.get("more", {}), "more"),
        _lists(line.get("unstated", {}), "unstated"),
    )


def _question_line(question: ChainQuestion) -> Line:
    path = [{"query": hop.query, "relation": hop.relation, "value": hop.value} for hop in question.path]
    return {
        "id": question.id,
        "question": question.question,
        "golden_answers": list(question.answers),
        "metadata": {"hops": question.hops, "path": path},
    }


def _question(line: Line) -> ChainQuestion:
    answers = _texts(line["golden_answers"], "golden_answers")
    if not answers:
        raise ValueError('"golden_answers" is empty')
    about = line.get("metadata") or {}
    hops = about.get("hops") if isinstance(about, dict) else None
    path = about.get("path") if isinstance(about, dict) else None
    # Other benchmarks keep other things under these names.
    ours = isinstance(path, list) and all(isinstance(hop, dict) and "relation" in hop for hop in path)
    return ChainQuestion(
        str(line["id"]),
        _text(line["question"], "question"),
        answers,
        hops if isinstance(hops, int) else None,
        tuple(Hop(hop["query"], hop["relation"], hop["value"]) for hop in path) if ours and path else (),
    )


def _lists(value: object, field: str) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise TypeError(f'"{field}" must be an object of lists of strings')
    return {relation: _texts(values, field) for relation, values in value.items()}


def _texts(value: object, field: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f'"{field}" must be a list of strings')
    return tuple(_text(item, field) for item in value)


def _text(value: object, field: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError(f'"{field}" must hold text, not {json.dumps(value)[:40]}')
    return value
