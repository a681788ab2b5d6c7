"""A world on disk: records, passages and questions as JSON Lines, the last two as FlashRAG lays them out."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from piplay.errors import InputError
from piplay.search.corpus import read_corpus
from piplay.types import Passage
from piplay.world.benchmark import Hop, Question, questions, split
from piplay.world.generate import encyclopedia
from piplay.world.records import Entity, Records
from piplay.world.render import passages

T = TypeVar("T")
Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class World:
    """What a run needs of a world."""

    records: Records
    passages: tuple[Passage, ...]
    """One an entity, in the order of the records; a passage's id is its entity's name."""
    train_ids: frozenset[str]
    """The passages that self-play may start from."""
    heldout: list[Question]
    train: list[Question]


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


def write_world(folder: Path, records: Records, seed: int, source: str, per_hop: int = 100) -> World:
    """Build a world and write it to ``folder``, whole or not at all.

    ``source`` says where the records come from. Raises InputError when the folder exists and is not empty, or cannot
    be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists already: name a new folder or remove it.")
    world = build(records, seed, per_hop)
    about = {
        "seed": seed,
        "source": source,
        "entities": len(records.entities),
        "relations": len({relation for entity in records.entities for relation in entity.facts}),
        "train": [p.id for p in world.passages if p.id in world.train_ids],
    }
    half = folder.absolute().parent / f".{folder.name}.{os.getpid()}"
    try:
        half.mkdir(parents=True)
        _write(half / "records.jsonl", map(_entity_line, records.entities))
        _write(half / "passages.jsonl", ({"id": p.id, "contents": f"{p.title}\n{p.text}"} for p in world.passages))
        _write(half / "train.jsonl", map(_question_line, world.train))
        _write(half / "heldout.jsonl", map(_question_line, world.heldout))
        (half / "world.json").write_text(json.dumps(about, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        os.replace(half, folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}): name a folder that can.") from error
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return world


def read_world(folder: Path) -> World:
    """The world in ``folder``. Raises InputError naming the file and line that cannot be read."""
    if not (folder / "world.json").is_file():
        raise InputError(f"{folder} is no world folder, it has no world.json: write one with `piplay world make`.")
    entities = [entity for _, entity in _read(folder / "records.jsonl", _entity)]
    names: dict[str, int] = {}
    for number, entity in _read(folder / "records.jsonl", _entity):
        if entity.name in names:
            first = names[entity.name]
            raise InputError(f'{folder / "records.jsonl"}, lines {first} and {number} both name "{entity.name}".')
        names[entity.name] = number
    corpus = read_corpus(folder / "passages.jsonl")
    if [passage.id for passage in corpus] != [entity.name for entity in entities]:
        raise InputError(f"{folder}: passages.jsonl does not have one passage a record, in order: make it anew.")
    try:
        about = json.loads((folder / "world.json").read_text(encoding="utf-8"))
        train = frozenset(about["train"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f'{folder / "world.json"} has no list "train" of passage ids: make the world anew.') from error
    if strangers := train - names.keys():
        raise InputError(f'{folder / "world.json"} trains on "{min(map(str, strangers))}", which is no passage.')
    return World(
        Records(tuple(entities)),
        tuple(corpus),
        train,
        read_questions(folder / "heldout.jsonl"),
        read_questions(folder / "train.jsonl"),
    )


def read_questions(path: Path) -> list[Question]:
    """The questions of a FlashRAG file: ``{"id", "question", "golden_answers", "metadata"}`` a line.

    ``metadata`` and its ``hops`` and ``path`` may be missing. Raises InputError with file and line.
    """
    found = [question for _, question in _read(path, _question)]
    if not found:
        raise InputError(f'{path} holds no questions: write one {{"id", "question", "golden_answers"}} a line.')
    return found


def _write(path: Path, lines: Iterable[Line]) -> None:
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")


def _read(path: Path, parse: Callable[[Line], T]) -> list[tuple[int, T]]:
    """Each line's number and what it says; blank lines are skipped."""
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 at byte {error.start} (counted from 0): save it as UTF-8.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): make the world anew.") from error
    parsed = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
            if not isinstance(fields, dict):
                raise TypeError("it is no JSON object")
            parsed.append((number, parse(fields)))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            reason = f'"{error.args[0]}" is missing' if isinstance(error, KeyError) else str(error)
            raise InputError(f"{path}, line {number} cannot be read: {reason}.") from error
    return parsed


def _entity_line(entity: Entity) -> Line:
    return {
        "name": entity.name,
        "kind": entity.kind,
        "facts": dict(entity.facts),
        "aliases": list(entity.aliases),
        "pronoun": entity.pronoun,
    }


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
    )


def _question_line(question: Question) -> Line:
    path = [{"query": hop.query, "relation": hop.relation, "value": hop.value} for hop in question.path]
    return {
        "id": question.id,
        "question": question.question,
        "golden_answers": list(question.answers),
        "metadata": {"hops": question.hops, "path": path},
    }


def _question(line: Line) -> Question:
    answers = _texts(line["golden_answers"], "golden_answers")
    if not answers:
        raise ValueError('"golden_answers" is empty')
    about = line.get("metadata") or {}
    hops = about.get("hops") if isinstance(about, dict) else None
    path = about.get("path") if isinstance(about, dict) else None
    # Other benchmarks keep other things under these names.
    ours = isinstance(path, list) and all(isinstance(hop, dict) and "relation" in hop for hop in path)
    return Question(
        str(line["id"]),
        _text(line["question"], "question"),
        answers,
        hops if isinstance(hops, int) else None,
        tuple(Hop(hop["query"], hop["relation"], hop["value"]) for hop in path) if ours and path else (),
    )


def _texts(value: object, field: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f'"{field}" must be a list of strings')
    return tuple(_text(item, field) for item in value)


def _text(value: object, field: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError(f'"{field}" must hold text, not {json.dumps(value)[:40]}')
    return value
