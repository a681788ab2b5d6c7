"""Published question sets: where their files lie as FlashRAG lays them out, and how they are fetched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from piplay.envs.search.benchmarks import NAMES, read_benchmark, read_sets
from piplay.envs.search.question import Question
from piplay.envs.search.rows import PACKED, Skipped, is_table, rows
from piplay.errors import InputError, nearest
from piplay.streams import stream

FLASHRAG = "RUC-NLPIR/FlashRAG_datasets"
"""The data set of the Hugging Face hub that has the files."""


@dataclass(frozen=True, slots=True)
class PublishedSet:
    """A set as it is published."""

    split: str
    """The split that numbers are published for."""
    count: int
    """Its questions."""
    folder: str = ""
    """FlashRAG's name of its folder, where that is another than the set's."""
    elsewhere: str = ""
    """Where it comes from, where that is not FlashRAG."""


SETS = {
    "nq": PublishedSet("test", 3_610),
    "triviaqa": PublishedSet("test", 11_313),
    "popqa": PublishedSet("test", 14_267),
    "hotpotqa": PublishedSet("dev", 7_405),
    "2wiki": PublishedSet("dev", 12_576, folder="2wikimultihopqa"),
    "musique": PublishedSet("dev", 2_417),
    "bamboogle": PublishedSet("test", 125),
    "fanoutqa": PublishedSet("dev", 310, elsewhere="its questions come with the package fanoutqa of the package index"),
}
"""By the name that tables have; the first seven are Search-R1's (arXiv 2503.09516), 51,713 questions together."""
_OTHER_SPLITS = ("test", "dev", "validation", "val", "train")
"""Of a set that is not in the table, the first that there is."""
_SOURCES = {"2wikimultihopqa": "2wiki", "2wikimultihop": "2wiki", "natural_questions": "nq", "trivia_qa": "triviaqa"}
_PREFIX = "searchr1_"
"""What verl puts before the names of Search-R1's sets."""


def set_name(source: str) -> str:
    """The set that a ``data_source`` or a word of ``--bench`` means."""
    name = source.strip().lower().removeprefix(_PREFIX)
    return _SOURCES.get(name, name)


def read_named(names: Sequence[str], folder: Path, strict: bool) -> dict[str, list[Question]]:
    """The questions of each set. Raises ``InputError``, with the command that fetches them, where files are missing."""
    files = {name: find(name, folder) for name in names}
    missing = [name for name, file in files.items() if file is None]
    if missing:
        raise InputError(_remedy(missing, folder))
    return {name: read_benchmark(file, strict) for name, file in files.items() if file is not None}


def read_grouped(file: Path, strict: bool) -> dict[str, list[Question]]:
    """The questions of one file by set; those without a ``data_source`` are of a set that has the file's name."""
    sets: dict[str, list[Question]] = {}
    for source, tasks in read_sets(file, strict).items():
        sets.setdefault(set_name(source) or file.stem, []).extend(tasks)
    return sets


def has_several(file: Path) -> bool:
    """Whether a file's rows come from several sets."""
    if not (file.is_file() and is_table(file)):
        return False
    first: str | None = None
    for row in rows(file, Skipped(False), NAMES):
        name = set_name(str(row.fields.get("data_source") or ""))
        first = name if first is None else first
        if name != first:
            return True
    return False


def find(name: str, folder: Path) -> Path | None:
    """A set's file; None where there is none."""
    known = SETS.get(name)
    splits = (known.split,) if known else _OTHER_SPLITS
    places = dict.fromkeys((known.folder or name, name) if known else (name,))
    endings = (".jsonl", *(f".jsonl{packed}" for packed in PACKED), ".json", ".parquet")
    files = (folder / place / f"{split}{ending}" for split in splits for place in places for ending in endings)
    return next((file for file in files if file.is_file()), None)


def sample(tasks: Sequence[Question], name: str, count: int | None, seed: int) -> list[Question]:
    """``count`` questions of a set in its order: a larger sample of the same seed holds a smaller one."""
    if count is None or count >= len(tasks):
        return list(tasks)
    drawn = stream(seed, ("eval", "sample", name)).permutation(len(tasks))[:count]
    return [tasks[place] for place in sorted(drawn.tolist())]


def _remedy(missing: Sequence[str], folder: Path) -> str:
    """What is missing, and how to get it, in one sentence."""
    strange = [name for name in missing if name not in SETS]
    if strange:
        name = strange[0]
        return (
            f"there is no set {name!r}{nearest(name, SETS)} in {folder}: name some of {', '.join(SETS)}, or put its "
            f"questions at {folder / name / 'test.jsonl'}"
        )
    paths = {name: f"{SETS[name].folder or name}/{SETS[name].split}.jsonl" for name in missing}
    fetched = [path for name, path in paths.items() if not SETS[name].elsewhere]
    told = []
    if fetched:
        told.append(f"`hf download {FLASHRAG} {' '.join(fetched)} --repo-type dataset --local-dir {folder}` fetches it")
    told += [
        f"of {name} {SETS[name].elsewhere}: put them there, {{id, question, golden_answers}} a line"
        for name in missing
        if SETS[name].elsewhere
    ]
    return f"{folder} has no {', '.join(paths.values())}: {'; '.join(told)}"
