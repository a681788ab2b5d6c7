"""Questions with gold answers as tasks: a world's own, and other people's by whatever names they give the parts."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from piplay.envs.search.question import Question, Step
from piplay.envs.search.rows import FORMATS, PACKED, Skipped, is_table, rows
from piplay.envs.world.benchmark import ChainQuestion, Hop
from piplay.errors import InputError, InputWarning
from piplay.files import from_json

MARK = "Question:"
"""What stands before the question in a prompt."""
_QUESTIONS = ("question", "query", "input", "problem")
_GOLDS = (
    "golden_answers", "answers", "answer", "possible_answers", "gold", "golds", "gold_answer", "target", "targets",
    "ground_truth", "ground_truths", "reference", "references", "label", "output",
)  # fmt: skip
_ALIASES = ("answer_aliases", "aliases")
_REWARDS = ("reward_model", "reward_spec")
_IDS = ("id", "_id", "qid", "question_id", "query_id", "uid")
_INSIDE = ("extra_info", "metadata")
NAMES = frozenset(
    (*_QUESTIONS, *_GOLDS, *_ALIASES, *_REWARDS, *_IDS, *_INSIDE, "prompt", "data_source", "hops", "env_class", "index")
)
_GIVE = f"give a file ({', '.join(FORMATS)}; packed: {', '.join(PACKED)}) of questions with gold answers"
_ASKED = re.compile(r"""(.*[?？؟]["'”’»)\]]*)\s+(?=[A-Z<\\*(\[#-])""", re.DOTALL)
"""A question with a mark, and behind it something new: instructions."""


def read_benchmark(path: Path, strict: bool = False) -> list[Question]:
    """The questions of a file, in its order; ``hops`` is 0 where the file does not say.

    JSON Lines, JSON, CSV, TSV or parquet, packed or not. Gold answers stand in ``reward_model.ground_truth`` or
    ``reward_spec.ground_truth`` and its ``target`` (Search-R1, verl, SkyRL), or else in ``golden_answers`` (FlashRAG),
    ``answers``, ``answer`` and the like: a text, a number, a list of such, or such a list as JSON text. The question
    stands in ``question``, ``query``, …, or else in ``prompt`` behind its last "Question:" and before the instructions.
    Ids are ``data_source/id`` where there is a source, since one file may hold several benchmarks.

    A row without a question or without a gold answer is skipped. How many there are, where and why is an
    ``InputWarning``; with ``strict`` the first is refused.

    Raises InputError where the file cannot be read, or holds no question.
    """
    return [task for _, task in _read(path, strict)]


def read_sets(path: Path, strict: bool = False) -> dict[str, list[Question]]:
    """The questions of a file, as ``read_benchmark`` reads them, by their ``data_source``, in the order of the file.

    Those of rows without one stand under the empty text.
    """
    sets: dict[str, list[Question]] = {}
    for source, task in _read(path, strict):
        sets.setdefault(source, []).append(task)
    return sets


def _read(path: Path, strict: bool) -> list[tuple[str, Question]]:
    """Each question with its ``data_source``."""
    if not path.is_file():
        raise InputError(f"there is no benchmark file {path}: {_GIVE}.")
    if not is_table(path):
        raise InputError(f"{path} is no file of a kind that is known: {_GIVE}.")
    skipped = Skipped(strict)
    tasks = list[tuple[str, Question]]()
    try:
        for number, row in enumerate(rows(path, skipped, NAMES), 1):
            try:
                tasks.append((str(row.fields.get("data_source") or ""), _task(row.fields, number)))
            except ValueError as problem:
                skipped.add(path, row.place, str(problem))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): make it readable.") from error
    if not tasks:
        reasons = [f": {place} {reason}" for reason, (_, place) in skipped.reasons.items()]
        raise InputError(f"{path} holds no questions that can be read{reasons[0] if reasons else ''}; {_GIVE}.")
    if sentence := skipped.sentence(path, len(tasks), "questions"):
        warnings.warn(sentence, InputWarning, stacklevel=3)
    return tasks


def task_of(question: ChainQuestion) -> Question:
    """A benchmark question as a task, its true path as an examiner would have noted it."""
    path = tuple(Step(step.query, step.query, f"{step.relation}: {step.value}.") for step in question.path)
    return Question(question.id, question.hops or 0, question.question, question.answers, None, path)


def first_of_each_hop(tasks: Sequence[Question], count: int) -> list[Question]:
    """The first ``count`` tasks of each hop count, fewest hops first."""
    chosen: list[Question] = []
    for hops in sorted({task.hops for task in tasks}):
        chosen += [task for task in tasks if task.hops == hops][:count]
    return chosen


def _task(row: Mapping[str, Any], number: int) -> Question:
    """A row as a task. Raises ValueError with what it lacks."""
    question = _question(row)
    golds = _golds(row)
    if not golds:
        raise ValueError(f"has no gold answer in any of {', '.join(row)}")
    hops = next((h for h in (_inside(row, "metadata", "hops"), row.get("hops")) if type(h) is int), 0)
    names = (*(row.get(name) for name in _IDS), _inside(row, "extra_info", "index"), row.get("index"))
    name = next((n for n in names if isinstance(n, str | int) and str(n).strip()), number)
    source = row.get("data_source")
    path = _path(_inside(row, "metadata", "path"))
    known = ChainQuestion(str(name) if not source else f"{source}/{name}", question, golds, hops, path)
    return replace(task_of(known), published=True)


def _path(path: Any) -> tuple[Hop, ...]:
    """A world's own path; other benchmarks keep other things under this name."""
    if not isinstance(path, list) or not all(
        isinstance(hop, dict) and hop.keys() >= {"query", "relation", "value"} for hop in path
    ):
        return ()
    return tuple(Hop(hop["query"], hop["relation"], hop["value"]) for hop in path)


def _question(row: Mapping[str, Any]) -> str:
    places = (*(row.get(name) for name in _QUESTIONS), _inside(row, "extra_info", "question"))
    found = next((text.strip() for text in places if isinstance(text, str) and text.strip()), "")
    found = found or _asked(row.get("prompt"))
    if re.search("[\ud800-\udfff]", found):  # JSON can escape it, but no tokenizer or file takes it
        raise ValueError("has half of a surrogate pair (\\ud800 to \\udfff)")
    return found


def _asked(prompt: Any) -> str:
    """The question in a prompt: its text, or the user's messages in a list of chat messages.

    It goes on to the next blank line, and no further than a question mark behind which something new begins.
    """
    if isinstance(prompt, str) and prompt.lstrip().startswith("["):
        prompt = _parsed(prompt)
    messages = prompt if isinstance(prompt, list) else [{"content": prompt}]
    texts = [_inside(m, "content") for m in messages if _inside(m, "role") in (None, "user", "human")]
    whole = "\n".join(text for text in texts if isinstance(text, str)).strip()
    if not whole:
        raise ValueError('has no question, and none in "prompt"')
    _, mark, question = whole.rpartition(MARK)
    if not mark and "\n" in whole:
        raise ValueError(f'has no question, and no "{MARK}" in "prompt"')
    question = re.split(r"\n\s*\n", question.strip(), maxsplit=1)[0]
    asked = _ASKED.match(question)
    question = (asked[1] if asked else question).strip()
    if not question:
        raise ValueError(f'has no question behind "{MARK}" in "prompt"')
    return question


def _golds(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The gold answers of a row, the first that are found; with them the aliases that stand beside an answer."""
    places = [_inside(row, name, "ground_truth") for name in _REWARDS]
    places += [row.get(name) for name in _GOLDS] + [_inside(row, name, "answer") for name in _INSIDE]
    found: tuple[str, ...] = next((golds for place in places if (golds := _texts(place))), ())
    aliases = [alias for name in _ALIASES for alias in _texts(row.get(name))]
    return tuple(dict.fromkeys((*found, *aliases))) if found else ()


def _texts(value: Any) -> tuple[str, ...]:
    """Answers: of a text, a number, yes or no, a list, such a list as text, or an object that names them."""
    if isinstance(value, bool):
        return ("yes" if value else "no",)
    if isinstance(value, int | float):
        whole = isinstance(value, float) and value.is_integer()
        return (str(int(value) if whole else value),) if value == value else ()
    if isinstance(value, list):
        return tuple(dict.fromkeys(text for part in value for text in _texts(part)))
    if isinstance(value, dict):
        inside = [value.get(name) for name in ("target", "value", "text", "answer", "golden_answers")]
        found = next((texts for place in inside if (texts := _texts(place))), ())
        return tuple(dict.fromkeys((*found, *_texts(value.get("aliases"))))) if found else ()
    if not isinstance(value, str) or not value.strip() or re.search("[\ud800-\udfff]", value):
        return ()
    listed = _parsed(value) if value.strip().startswith("[") else None
    return _texts(listed) if isinstance(listed, list) and listed else (value,)


def _parsed(text: str) -> Any:
    """A list that is written as JSON or as Python writes it; None where it is neither."""
    try:
        return from_json(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _inside(row: Any, *names: str) -> Any:
    """What lies at a path of nested fields; None where there is no such path."""
    for name in names:
        row = row.get(name) if isinstance(row, dict) else None
    return row
